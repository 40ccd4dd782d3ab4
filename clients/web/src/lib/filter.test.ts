import { describe, expect, it } from "vitest";
import { bounded, conditions, filterQuery, readFilter } from "./filter";

describe("the filter", () => {
  it("is read from what a URL holds, and nothing else is", () => {
    const search = {
      state: ["RUNNING", "LOST"],
      tag: "good",
      number: [3, -1, 2.5, "4", 0],
      where: { lr: { low: 0.1, high: "x" }, opt: { in: ["a"] }, bad: 3, none: { in: [] } },
      at_most: 0.5,
      at_least: Number.NaN,
      top: 2.5,
      colour: "lr",
    };
    expect(readFilter(search)).toEqual({
      state: ["RUNNING"],
      tag: ["good"],
      number: [3, 0],
      where: { lr: { low: 0.1 }, opt: { in: ["a"] } },
      at_most: 0.5,
    });
  });

  it("survives hostile search parameters", () => {
    for (const where of [null, [], "x", 3, { a: null }, { a: [] }]) expect(readFilter({ where })).toEqual({});
  });

  it("goes to the API with its bounds as JSON", () => {
    expect(filterQuery({ state: ["PAUSED"], where: { lr: { low: 1 } } })).toEqual({
      state: ["PAUSED"],
      where: '{"lr":{"low":1}}',
    });
    expect(filterQuery({ top: 3, where: {} })).toEqual({ top: 3 });
  });

  it("counts its conditions", () => {
    expect(conditions({})).toBe(0);
    expect(conditions({ state: ["PAUSED"], at_least: 0, at_most: 1, where: { a: { low: 1 }, b: { in: [1] } } })).toBe(
      4,
    );
  });

  it("takes other bounds for a parameter, and gives them up", () => {
    const once = bounded({ top: 2 }, "lr", { low: 1 });
    expect(once).toEqual({ top: 2, where: { lr: { low: 1 } } });
    expect(bounded(once, "lr", null)).toEqual({ top: 2 });
  });
});
