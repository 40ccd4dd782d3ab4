/** The one filter of a study: it lives in the URL, drives every plot and the table, and is what the API takes. */
import type { Query } from "../api/client";

export const STATES = ["QUEUED", "RUNNING", "PAUSED", "COMPLETED", "PRUNED", "FAILED", "INFEASIBLE"] as const;
export type State = (typeof STATES)[number];

export type Interval = { low?: number; high?: number };
export type Among = { in: (string | number | boolean | null)[] };
export type Bounds = Interval | Among;

export type Filter = {
  state?: State[];
  /** Of these trials, chosen one by one. */
  number?: number[];
  tag?: string[];
  where?: Record<string, Bounds>;
  at_least?: number;
  at_most?: number;
  top?: number;
};

/** The API takes no more. */
const MOST_NUMBERS = 1_000;

/** The filter that a URL's search parameters hold; whatever is not one is left out. */
export function readFilter(search: Record<string, unknown>): Filter {
  const filter: Filter = {};
  const states = list(search.state).filter((item): item is State => STATES.includes(item as State));
  if (states.length) filter.state = states;
  const numbers = list(search.number).filter((item): item is number => Number.isInteger(item) && Number(item) >= 0);
  if (numbers.length) filter.number = numbers.slice(0, MOST_NUMBERS);
  const tags = list(search.tag).filter((item): item is string => typeof item === "string" && item !== "");
  if (tags.length) filter.tag = tags;
  const where = readWhere(search.where);
  if (Object.keys(where).length) filter.where = where;
  for (const name of ["at_least", "at_most"] as const) {
    if (isFinite_(search[name])) filter[name] = search[name];
  }
  if (isFinite_(search.top) && Number.isInteger(search.top) && search.top >= 1) filter.top = search.top;
  return filter;
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : value === undefined ? [] : [value];
}

function isFinite_(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

function readWhere(value: unknown): Record<string, Bounds> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return {};
  const found: Record<string, Bounds> = {};
  for (const [name, bounds] of Object.entries(value)) {
    const read = readBounds(bounds);
    if (read) found[name] = read;
  }
  return found;
}

function readBounds(value: unknown): Bounds | null {
  if (typeof value !== "object" || value === null) return null;
  if ("in" in value) return Array.isArray(value.in) && value.in.length ? { in: value.in } : null;
  const interval: Interval = {};
  if ("low" in value && isFinite_(value.low)) interval.low = value.low;
  if ("high" in value && isFinite_(value.high)) interval.high = value.high;
  return Object.keys(interval).length ? interval : null;
}

/** As the API takes it. */
export function filterQuery(filter: Filter): Query {
  const { where, ...rest } = filter;
  return where && Object.keys(where).length ? { ...rest, where: JSON.stringify(where) } : rest;
}

/** How many conditions it makes. */
export function conditions(filter: Filter): number {
  const { state, number, tag, where, at_least, at_most, top } = filter;
  const bounds = (at_least === undefined && at_most === undefined ? 0 : 1) + (top === undefined ? 0 : 1);
  return (
    (state?.length ? 1 : 0) +
    (number?.length ? 1 : 0) +
    (tag?.length ? 1 : 0) +
    Object.keys(where ?? {}).length +
    bounds
  );
}

/** The filter with other bounds for one parameter; null takes them away. */
export function bounded(filter: Filter, name: string, bounds: Bounds | null): Filter {
  const where = { ...filter.where };
  if (bounds) where[name] = bounds;
  else delete where[name];
  const { where: _, ...rest } = filter;
  return Object.keys(where).length ? { ...rest, where } : rest;
}
