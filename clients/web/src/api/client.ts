/** The REST API: requests, and what goes wrong with them. */
import type { components } from "./schema";

export type Schemas = components["schemas"];
export type Study = Schemas["StudyOut"];
export type Trial = Schemas["TrialOut"];
export type TrialSample = Schemas["TrialSample"];
export type Curve = Schemas["SampledCurve"];
export type Problem = { pointer: string; detail: string };

export type Query = Record<string, string | number | boolean | readonly (string | number)[] | null | undefined>;

/** An answer that is an error: RFC 9457. `status` 0 stands for no answer at all. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly problems: readonly Problem[] = [],
  ) {
    super(message);
  }
}

const BASE = "/api/v1";

export function url(path: string, query: Query = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined || value === null || value === "") continue;
    for (const item of Array.isArray(value) ? value : [value]) search.append(name, String(item));
  }
  const text = search.toString();
  return BASE + path + (text && `?${text}`);
}

async function answer<T>(path: string, options: RequestInit): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "unreachable", "The server does not answer.");
  }
  if (response.ok) return (response.status === 204 ? undefined : await response.json()) as T;
  const problem = await response.json().catch(() => null);
  const said = problem?.detail ?? `The server answered ${response.status}.`;
  throw new ApiError(response.status, problem?.code ?? "unknown", said, problem?.errors ?? []);
}

export function get<T>(path: string, query?: Query, signal?: AbortSignal): Promise<T> {
  return answer<T>(url(path, query), signal ? { signal } : {});
}

/** Sends a change. A POST carries an idempotency key, so that the browser may repeat it. */
export function send<T>(
  method: "POST" | "PATCH" | "DELETE",
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<T> {
  const all: Record<string, string> = { ...headers };
  if (body !== undefined) all["Content-Type"] = "application/json";
  if (method === "POST") all["Idempotency-Key"] = crypto.randomUUID();
  return answer<T>(url(path), { method, headers: all, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
}

/** A metric's value: NaN and infinities travel as strings. */
export function number(value: unknown): number | null {
  if (typeof value === "number") return value;
  if (value === "nan") return Number.NaN;
  if (value === "inf") return Number.POSITIVE_INFINITY;
  if (value === "-inf") return Number.NEGATIVE_INFINITY;
  return null;
}
