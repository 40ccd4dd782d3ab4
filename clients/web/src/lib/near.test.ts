import { expect, it } from "vitest";
import { type Box, enters, near, type Point } from "./near";

const CURVES = [
  {
    points: [
      [0, 0],
      [1, 1],
    ] as [number, number][],
  },
  {
    points: [
      [0, 5],
      [1, 4],
    ] as [number, number][],
  },
];
const tenfold = ([x, y]: [number, number]): [number, number] => [10 * x, 10 * y];

it("finds the nearest point and its curve", () => {
  expect(near(CURVES, [11, 39], tenfold)).toEqual({ curve: CURVES[1], point: [1, 4] });
});

it("finds nothing where nothing is near", () => {
  expect(near(CURVES, [500, 500], tenfold)).toBeNull();
  expect(near([], [0, 0], tenfold)).toBeNull();
});

it.each([
  ["3,1.5", true, "a point within"],
  ["5,1.5", false, "a point outside"],
  ["0,0 6,3", true, "a slope through it"],
  ["0,1.5 6,1.5", true, "level through it, no point within"],
  ["0,3 6,3", false, "level above it"],
  ["3,0 3,9", true, "upright through it"],
  ["1,0 1,3", false, "upright beside it"],
  ["0,0 3,0 6,6", true, "the second stretch alone"],
  ["0,2 2.5,0 5,0", false, "a slope that passes the corner by"],
])("says of a line %s that it enters the box 2–4 by 1–2: %s (%s)", (text, expected) => {
  const line = text.split(" ").map((pair) => pair.split(",").map(Number) as Point);
  const box: Box = [[2, 4], [1, 2]]; // biome-ignore format: one box
  expect(enters(line, box)).toBe(expected);
});
