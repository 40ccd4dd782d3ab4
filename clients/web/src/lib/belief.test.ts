import { expect, it } from "vitest";
import type { Schemas } from "../api/client";
import { fanOf } from "./belief";

const FORETOLD = {
  steps: [2, 4],
  mean: [2, 1],
  quantiles: { "0.05": [1, 0.5], "0.25": [1.5, 0.8], "0.5": [2, 1], "0.75": [2.5, 1.2], "0.95": [3, 1.5] },
} as unknown as Schemas["PredictionsOut"];

it("a fan is closed: along the lower quantile and back along the upper", () => {
  const fan = fanOf(
    [
      [1, 4],
      [2, 2],
    ],
    FORETOLD,
  );
  expect(fan.bands[0]).toEqual([
    [2, 1],
    [4, 0.5],
    [4, 1.5],
    [2, 3],
  ]);
  expect(fan.bands[1]).toEqual([
    [2, 1.5],
    [4, 0.8],
    [4, 1.2],
    [2, 2.5],
  ]);
  expect(fan.final).toEqual({ low: 0.5, median: 1, high: 1.5 });
});

it("rows hold what was seen and what is expected, by step", () => {
  expect(
    fanOf(
      [
        [1, 4],
        [2, 2],
      ],
      FORETOLD,
    ).rows,
  ).toEqual([
    [1, 4, null, null, null, null, null],
    [2, 2, 1, 1.5, 2, 2.5, 3],
    [4, null, 0.5, 0.8, 1, 1.2, 1.5],
  ]);
});

it("what is not finite is no point, and without a belief there is no fan", () => {
  const fan = fanOf(
    [
      [1, Number.NaN],
      [2, null],
      [3, 5],
    ],
    undefined,
  );
  expect(fan.seen).toEqual([[3, 5]]);
  expect(fan.bands).toEqual([[], []]);
  expect(fan.final).toBeNull();
});

it("the frame shows all that is expected", () => {
  const { frame } = fanOf(
    [[1, 100], ...Array.from({ length: 20 }, (_, i) => [i + 2, 2] as [number, number])],
    FORETOLD,
  );
  expect(frame.min).toBeLessThan(0.5);
  expect(frame.max).toBeGreaterThan(3);
  expect(frame.max).toBeLessThan(100);
});
