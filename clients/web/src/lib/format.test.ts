import { describe, expect, it } from "vitest";
import { ago, count, csv, duration, shown, shownValue } from "./format";

describe("numbers", () => {
  it.each([
    [0.0812345, "0.08123"],
    [1234, "1234"],
    [-0.5, "−0.5"],
    [1.2e-7, "1.2e−7"],
    [1e30, "1e30"],
    [123456789, "1.23e8"],
    [Number.NaN, "NaN"],
    [Number.NEGATIVE_INFINITY, "−∞"],
    [null, "–"],
    [0, "0"],
  ])("%s reads %s", (value, text) => expect(shown(value)).toBe(text));

  it("values of any kind have a word", () => {
    expect(shownValue({ kind: "cosine", peak: 0.001 })).toBe("cosine · 0.001");
    expect(shownValue([1, "a"])).toBe('[1,"a"]');
    expect(shownValue(undefined)).toBe("–");
  });
});

it("thousands stand apart", () => {
  expect([0, 999, 1000, 1234567].map(count)).toEqual(["0", "999", "1,000", "1,234,567"]);
});

describe("times", () => {
  it.each([
    [0.25, "250 ms"],
    [45, "45 s"],
    [200, "3 min 20 s"],
    [7200, "2 h"],
    [187_200, "2 d 4 h"],
    [3_600_000, "42 d"],
  ])("%s seconds are %s", (seconds, text) => expect(duration(seconds)).toBe(text));

  it("the present is just now", () => {
    expect(ago("2026-01-01T00:00:00Z", Date.parse("2026-01-01T00:00:03Z"))).toBe("just now");
  });
});

describe("comma-separated values", () => {
  it("are quoted where they must be, and no formula runs in a spreadsheet", () => {
    expect(
      csv(
        ["a", "b"],
        [
          ['say "hi"', "=1+1"],
          [-1, null],
        ],
      ),
    ).toBe('a,b\r\n"say ""hi""",\'=1+1\r\n-1,\r\n');
  });
});
