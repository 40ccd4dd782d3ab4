import { describe, expect, it } from "vitest";
import { continuous } from "./palette";
import { axesOf, colouring, rawOn, rowsOf, share, spread, valueOn } from "./scale";

const SPACE = [
  { name: "lr", type: "float", low: 1e-4, high: 1, log: true },
  { name: "opt", type: "categorical", choices: ["adamw", 3, null] },
  { name: "plan", type: "schedule", kinds: ["linear", "cosine"] },
  { name: "seed", type: "fixed", value: 0 },
];

describe("axes", () => {
  const axes = axesOf(SPACE);

  it("stand for what varies, a schedule by its kind", () => {
    expect(axes.map((axis) => axis.name)).toEqual(["lr", "opt", "plan/kind"]);
  });

  it("place numbers and names, and nothing that is missing", () => {
    const params = { lr: 0.01, opt: 3, plan: { kind: "cosine" } };
    expect(axes.map((axis) => valueOn(axis, params))).toEqual([0.01, 1, 1]);
    expect(axes.map((axis) => valueOn(axis, {}))).toEqual([null, null, null]);
    expect(axes.map((axis) => valueOn(axis, { lr: "x", opt: "sgd", plan: "y" }))).toEqual([null, null, null]);
  });

  it("a parameter with a slash in its name comes before a part of another", () => {
    expect(rawOn("a/b", { "a/b": 1, a: { b: 2 } })).toBe(1);
    expect(rawOn("a/b", { a: { b: 2 } })).toBe(2);
  });
});

describe("colours", () => {
  it("grow evenly along a logarithmic axis", () => {
    expect(share(0.01, 1e-4, 1, true)).toBeCloseTo(0.5);
    expect(share(5, 0, 1, false)).toBe(1);
    expect(share(3, 3, 3, false)).toBe(0.5);
  });

  it("are not flattened by one wild value", () => {
    const values = [...Array.from({ length: 99 }, (_, i) => i), 1e30, Number.NaN];
    expect(spread(values)[1]).toBeLessThan(100);
    expect(spread([null, Number.NaN])).toEqual([0, 1]);
  });

  it("say by what they are", () => {
    const columns = { state: ["RUNNING", "PAUSED"], objective: [1, null], params: [{ lr: 0.1, opt: "adamw" }, {}] };
    const byState = colouring("state", axesOf(SPACE), columns, "light");
    expect(byState.of(0)).not.toBe(byState.of(1));
    expect(byState.legend).toMatchObject({ kind: "names", items: [{ name: "RUNNING" }, { name: "PAUSED" }] });
    expect(colouring("opt", axesOf(SPACE), columns, "dark").legend).toMatchObject({ kind: "names" });
    expect(colouring("objective", axesOf(SPACE), columns, "dark").legend).toMatchObject({ kind: "range", low: 1 });
  });

  it("are hexadecimal from end to end", () => {
    for (const place of [0, 0.3, 1, -1, 2]) expect(continuous(place, "light")).toMatch(/^#[0-9a-f]{6}$/);
  });
});

it("rows of a sample lack what trials lack", () => {
  expect(rowsOf({ number: [0, 1], params: { lr: [0.1, 0.2], depth: [null, 3] } })).toEqual([
    { lr: 0.1 },
    { lr: 0.2, depth: 3 },
  ]);
});
