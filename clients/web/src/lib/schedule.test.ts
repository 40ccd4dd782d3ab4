import { describe, expect, test } from "vitest";
import golden from "../../../../tests/contracts/schedules.json";
import { multiplier, type Schedule, valueAt } from "./schedule";

describe("every kind is evaluated as by the server and the training client", () => {
  test("the vectors hold every kind", () => {
    expect(new Set(golden.map(({ schedule }) => schedule.kind)).size).toBe(12);
  });

  test.each(golden.map((item) => [JSON.stringify(item.schedule).slice(0, 80), item] as const))("%s", (_, item) => {
    item.steps.forEach((step, i) => {
      expect(Math.abs(multiplier(item.schedule, step)! - item.multipliers[i]!)).toBeLessThan(1e-12);
    });
  });
});

test("a value is the peak times the multiplier, in whole multiples where the schedule says so", () => {
  expect(valueAt({ kind: "linear", total_steps: 10, peak: 0.4 }, 5)).toBeCloseTo(0.2, 12);
  expect(valueAt({ kind: "constant", total_steps: 10 }, 5)).toBe(1);
  expect(valueAt({ kind: "linear", total_steps: 10, peak: 64, round: 8 }, 4)).toBe(40);
  expect(valueAt({ kind: "linear", total_steps: 10, peak: 64, round: 8 }, 10)).toBe(8);
});

test.each([
  [{ kind: "wiggle", total_steps: 10 }],
  [{ kind: "linear" }],
  [{ kind: "linear", total_steps: "many" }],
  [{ kind: "table", total_steps: 10 }],
  [{ kind: "piecewise", total_steps: 10, points: "none" }],
  [{ kind: "wsd", total_steps: 10, decay_shape: "steep" }],
  [{ kind: "sgdr", total_steps: 10, cycle: 0 }],
])("what is no schedule has no multiplier: %j", (schedule) => {
  expect(multiplier(schedule as Schedule, 9)).toBeNull();
  expect(valueAt(schedule as Schedule, 9)).toBeNull();
});
