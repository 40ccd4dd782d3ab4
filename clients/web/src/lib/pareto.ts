/** Trade-offs of two objectives, both to be minimised. */

/** The area that the first i points dominate together, up to the reference, for each i; NaN points add nothing. */
export function hypervolumes(
  points: readonly (readonly [number, number])[],
  [rx, ry]: readonly [number, number],
): number[] {
  let front: [number, number][] = []; // x ascends, y descends
  let volume = 0;
  return points.map(([x, y]) => {
    const counts = x < rx && y < ry && !front.some(([a, b]) => a <= x && b <= y);
    if (counts) {
      front = [...front.filter(([a, b]) => !(x <= a && y <= b)), [x, y] as [number, number]].sort(
        (a, b) => a[0] - b[0],
      );
      volume = 0;
      let top = ry;
      for (const [a, b] of front) {
        volume += (rx - a) * (top - b);
        top = b;
      }
    }
    return volume;
  });
}

/** Whether a value meets a constraint such as "latency_ms <= 50"; one that was not seen does not. */
export function satisfied(constraint: string, value: number | null): boolean {
  const found = /(<=|>=)\s*(\S+)\s*$/.exec(constraint);
  if (!found || value === null) return false;
  const bound = Number(found[2]);
  return found[1] === "<=" ? value <= bound : value >= bound;
}
