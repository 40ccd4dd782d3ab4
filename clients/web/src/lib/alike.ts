/** Which metrics can share an axis. */
import { number } from "../api/client";

type Curve = { metric: string; points: readonly { value?: unknown }[] };

const FACTOR = 8;

/** `metric`, and those whose typical size is within a factor of eight of its; all, where it has no curve. */
export function alike(curves: readonly Curve[], metric: string): string[] {
  const size = new Map(curves.map((curve) => [curve.metric, typical(curve)]));
  const own = size.get(metric);
  if (!own) return curves.map((curve) => curve.metric);
  return curves
    .map((curve) => curve.metric)
    .filter((name) => {
      const other = size.get(name);
      return name === metric || (other && Math.max(other / own, own / other) <= FACTOR);
    });
}

/** The median of the absolute values; null where there is none, or it is 0. */
function typical(curve: Curve): number | null {
  const values = curve.points
    .map((point) => Math.abs(number(point.value) ?? Number.NaN))
    .filter(Number.isFinite)
    .sort((a, b) => a - b);
  return values[Math.floor(values.length / 2)] || null;
}
