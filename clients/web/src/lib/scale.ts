/** From a trial's parameter to a place and a colour. */
import type { Study } from "../api/client";
import { continuous, type Scheme, TOKENS } from "./palette";

export type Parameter = Study["space"][number] & { name: string; type: string };

/** What a parameter's values look like on an axis: numbers, on a logarithmic scale or not, or names. */
export type Axis =
  | { kind: "number"; name: string; low: number; high: number; log: boolean }
  | { kind: "names"; name: string; names: readonly string[] };

/** The axes of a space: one for each parameter that varies, two or more for a schedule's kind and shares. */
export function axesOf(space: readonly Record<string, unknown>[]): Axis[] {
  return space.flatMap((item) => axesOfParameter(item as Parameter));
}

function axesOfParameter(item: Parameter): Axis[] {
  const { name, type } = item as { name: string; type: string };
  if (type === "float" || type === "int") {
    const { low, high, log } = item as unknown as { low: number; high: number; log?: unknown };
    return [{ kind: "number", name, low, high, log: log === true && low > 0 }];
  }
  if (type === "categorical") return [{ kind: "names", name, names: (item.choices as unknown[]).map(label) }];
  if (type === "ordinal") return [{ kind: "names", name, names: (item.values as unknown[]).map(label) }];
  if (type === "schedule")
    return [{ kind: "names", name: `${name}/kind`, names: (item.kinds as unknown[]).map(label) }];
  return [];
}

export function label(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** A trial's value on an axis: a number, or the index of a name; null where it has none. */
export function valueOn(axis: Axis, params: Record<string, unknown>): number | null {
  const value = rawOn(axis.name, params);
  if (axis.kind === "number") return typeof value === "number" && Number.isFinite(value) ? value : null;
  const index = value === undefined || value === null ? -1 : axis.names.indexOf(label(value));
  return index < 0 ? null : index;
}

/** "lr" is params.lr; "schedule/kind" is params.schedule.kind, unless a parameter has that very name. */
export function rawOn(name: string, params: Record<string, unknown>): unknown {
  if (name in params) return params[name];
  const at = name.lastIndexOf("/");
  const whole = at < 0 ? undefined : params[name.slice(0, at)];
  return typeof whole === "object" && whole !== null
    ? (whole as Record<string, unknown>)[name.slice(at + 1)]
    : undefined;
}

/** Where a number lies between the ends of what there is, in [0, 1]. */
export function share(value: number, low: number, high: number, log: boolean): number {
  const [a, b, x] = log ? [Math.log(low), Math.log(high), Math.log(value)] : [low, high, value];
  return b > a ? Math.min(1, Math.max(0, (x - a) / (b - a))) : 0.5;
}

export type Colouring = { by: string; of: (index: number) => string; legend: Legend };
export type Legend =
  | { kind: "names"; items: { name: string; colour: string }[] }
  | { kind: "range"; low: number; high: number; log: boolean }
  | { kind: "none" };

/** How trials, given by parallel columns, are coloured: by state, by objective, or by a parameter. */
export function colouring(
  by: string,
  axes: readonly Axis[],
  columns: {
    state: readonly string[];
    objective: readonly (number | null)[];
    params: readonly Record<string, unknown>[];
  },
  scheme: Scheme,
): Colouring {
  const tokens = TOKENS[scheme];
  if (by === "state") {
    const states = tokens.states as Record<string, string>;
    const present = [...new Set(columns.state)];
    return {
      by,
      of: (i) => states[columns.state[i]!] ?? tokens.dimmed,
      legend: { kind: "names", items: present.map((name) => ({ name, colour: states[name] ?? tokens.dimmed })) },
    };
  }
  const axis = axes.find((candidate) => candidate.name === by);
  if (axis?.kind === "names") {
    const colour = (index: number) => tokens.series[index % tokens.series.length]!;
    return {
      by,
      of: (i) => {
        const value = valueOn(axis, columns.params[i]!);
        return value === null ? tokens.dimmed : colour(value);
      },
      legend: { kind: "names", items: axis.names.map((name, i) => ({ name, colour: colour(i) })) },
    };
  }
  const value = (i: number) => (axis ? valueOn(axis, columns.params[i]!) : columns.objective[i]!);
  const [low, high] = spread(columns.state.map((_, i) => value(i)));
  const log = axis?.kind === "number" ? axis.log : low > 0 && high / low > 50;
  return {
    by,
    of: (i) => {
      const here = value(i);
      return here === null || !Number.isFinite(here) ? tokens.dimmed : continuous(share(here, low, high, log), scheme);
    },
    legend: { kind: "range", low, high, log },
  };
}

/** The range of the middle nine tenths: one wild value does not make all the others look alike. */
export function spread(values: readonly (number | null)[]): [number, number] {
  const finite = values.filter((x): x is number => x !== null && Number.isFinite(x)).sort((a, b) => a - b);
  if (!finite.length) return [0, 1];
  const at = (share: number) => finite[Math.min(finite.length - 1, Math.floor(share * finite.length))]!;
  return finite.length < 20 ? [finite[0]!, finite.at(-1)!] : [at(0.02), at(0.92)];
}

/** The rows of a sample's columns. */
export function rowsOf(sample: { number: number[]; params: Record<string, unknown[]> }): Record<string, unknown>[] {
  const names = Object.keys(sample.params);
  return sample.number.map((_, i) => {
    const row: Record<string, unknown> = {};
    for (const name of names) {
      const value = sample.params[name]![i];
      if (value !== null) row[name] = value;
    }
    return row;
  });
}
