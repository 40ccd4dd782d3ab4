import { expect, it } from "vitest";
import { hypervolumes, satisfied } from "./pareto";

it("the hypervolume grows with every point that is not dominated, and with no other", () => {
  const points: [number, number][] = [
    [1, 3],
    [3, 1],
    [2, 2],
    [3, 3],
    [5, 0],
    [Number.NaN, 0],
    [1, 1],
  ];
  expect(hypervolumes(points, [4, 4])).toEqual([3, 5, 6, 6, 6, 6, 9]);
});

it("constraints are met up to their bound", () => {
  expect([
    satisfied("ms <= 5", 5),
    satisfied("ms <= 5", 5.1),
    satisfied("ms >= 1e-3", 0.01),
    satisfied("ms <= 5", null),
  ]).toEqual([true, false, true, false]);
});
