/** A curve seen so far, and the fan of what is expected of the rest. */
import type { Schemas } from "../api/client";

export const BANDS = [
  { name: "90 %", low: "0.05", high: "0.95", opacity: 0.14 },
  { name: "50 %", low: "0.25", high: "0.75", opacity: 0.22 },
] as const;

type Place = [number, number];

export type Fan = {
  seen: Place[];
  median: Place[];
  /** For each of BANDS a closed outline: along the lower quantile, and back along the upper one. */
  bands: Place[][];
  final: { median: number; low: number; high: number } | null;
  /** step, observed, and five quantiles; null where there is none. */
  rows: (number | null)[][];
  lowest: number;
  /** What the axis shows: all that is expected, and of the past what is not far above it. */
  frame: { min?: number; max?: number };
};

export function fanOf(
  observed: readonly (readonly [number, number | null])[],
  foretold: Schemas["PredictionsOut"] | undefined,
): Fan {
  const seen = observed.filter((point): point is Place => point[1] !== null && Number.isFinite(point[1])).map(copy);
  const steps = foretold?.steps ?? [];
  const quantiles = foretold?.quantiles ?? {};
  const along = (name: string): Place[] => steps.map((step, i) => [step, quantiles[name]?.[i] ?? Number.NaN]);
  const bands = BANDS.map(({ low, high }) => [...along(low), ...along(high).reverse()].filter(finite));
  const last = steps.length - 1;
  const at = (name: string) => quantiles[name]?.[last];
  const [low, median, high] = [at("0.05"), at("0.5"), at("0.95")];
  const byStep = new Map<number, (number | null)[]>();
  for (const [step, value] of seen) byStep.set(step, [step, value, null, null, null, null, null]);
  steps.forEach((step, i) => {
    const expected = ["0.05", "0.25", "0.5", "0.75", "0.95"].map((name) => quantiles[name]?.[i] ?? null);
    byStep.set(step, [step, byStep.get(step)?.[1] ?? null, ...expected]);
  });
  const everything = [...seen, ...bands.flat()].map((point) => point[1]);
  return {
    seen,
    median: along("0.5").filter(finite),
    bands,
    final: low !== undefined && median !== undefined && high !== undefined ? { low, median, high } : null,
    rows: [...byStep.values()].sort((a, b) => a[0]! - b[0]!),
    lowest: everything.length ? Math.min(...everything) : 1,
    frame: frameOf(
      seen.map((point) => point[1]),
      bands.flat().map((point) => point[1]),
    ),
  };
}

function copy([step, value]: Place): Place {
  return [step, value];
}

function finite([, value]: Place): boolean {
  return Number.isFinite(value);
}

/** The first losses of a run are often ten times its last: they may leave the picture, what is expected may not. */
function frameOf(seen: number[], expected: number[]): Fan["frame"] {
  const all = [...seen].sort((a, b) => a - b);
  if (!all.length && !expected.length) return {};
  const kept = all.slice(Math.floor(0.02 * all.length), Math.max(1, Math.ceil(0.9 * all.length)));
  const [low, high] = [Math.min(...kept, ...expected), Math.max(...kept, ...expected)];
  const room = 0.06 * (high - low || Math.abs(high) || 1);
  return { min: low - room, max: high + room };
}
