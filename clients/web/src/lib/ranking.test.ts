import { expect, it } from "vitest";
import { moved, proposed } from "./ranking";

it("an item moves and the others keep their order", () => {
  expect(moved([1, 2, 3, 4], 3, 0)).toEqual([4, 1, 2, 3]);
  expect(moved([1, 2, 3], 0, 2)).toEqual([2, 3, 1]);
  expect(moved([1, 2], 0, -1)).toEqual([1, 2]);
  expect(moved([1, 2], 5, 0)).toEqual([1, 2]);
});

it("those compared least are asked about, the newest first", () => {
  expect(
    proposed(
      [0, 1, 2, 3],
      [
        [0, 3],
        [3, 1],
      ],
      3,
    ),
  ).toEqual([2, 1, 0]);
  expect(proposed([], [[0, 1]], 3)).toEqual([]);
});
