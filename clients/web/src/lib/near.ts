/** Finding what is under the pointer. */
export type Point = [number, number];

/** From one corner to the other. */
export type Box = readonly [readonly [number, number], readonly [number, number]];

const REACH = 30;

/**
 * The curve with the point nearest to a place on the screen, no farther than 30 pixels.
 */
export function near<Item extends { points: readonly Point[] }>(
  curves: readonly Item[],
  [x, y]: Point,
  toPixel: (point: Point) => Point,
): { curve: Item; point: Point } | null {
  let best: { curve: Item; point: Point } | null = null;
  let least = REACH ** 2;
  for (const curve of curves) {
    for (const point of curve.points) {
      const [a, b] = toPixel(point);
      const distance = (a - x) ** 2 + (b - y) ** 2;
      if (distance < least) {
        least = distance;
        best = { curve, point };
      }
    }
  }
  return best;
}

/** Whether a line through points enters a box, given as the range of its x and that of its y. */
export function enters(points: readonly Point[], [[left, right], [top, bottom]]: Box): boolean {
  return points.some(([x, y], i) => {
    if (x >= left && x <= right && y >= top && y <= bottom) return true;
    if (i === 0) return false;
    const [fromX, fromY] = points[i - 1]!;
    const [begin, end] = [
      [left, right, fromX, x - fromX],
      [top, bottom, fromY, y - fromY],
    ].reduce(([begin, end], side) => clipped(side as Side, begin!, end!), [0, 1]) as Point;
    return begin <= end;
  });
}

type Side = [low: number, high: number, from: number, way: number];

/** The part of a stretch, as shares of it, that lies between two lines (Liang and Barsky 1984). */
function clipped([low, high, from, way]: Side, begin: number, end: number): Point {
  if (way === 0) return from >= low && from <= high ? [begin, end] : [1, 0];
  const [a, b] = [(low - from) / way, (high - from) / way];
  return [Math.max(begin, Math.min(a, b)), Math.min(end, Math.max(a, b))];
}
