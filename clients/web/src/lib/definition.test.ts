import { expect, it } from "vitest";
import type { Study } from "../api/client";
import { definitionOf, freeName, parseDefinition, problemsAt } from "./definition";

it("a definition holds what defines, and nothing that is empty or of the run", () => {
  const study = { name: "a", project: "default", space: [{ name: "lr" }], budget: {}, cost: null, id: "x", trials: 3 };
  expect(definitionOf(study as unknown as Study)).toEqual({ name: "a", space: [{ name: "lr" }] });
});

it("a clone gets a name of its own", () => {
  expect(freeName("first", ["first"])).toBe("first 2");
  expect(freeName("first 2", ["first", "first 2"])).toBe("first 3");
});

it("JSON and YAML are read, and nothing else", async () => {
  expect(await parseDefinition('{"name": "a"}')).toEqual({ name: "a" });
  expect(await parseDefinition("name: a\nspace:\n  - {name: lr, low: 1e-4}")).toEqual({
    name: "a",
    space: [{ name: "lr", low: 1e-4 }],
  });
  await expect(parseDefinition("[1]")).rejects.toThrow("an object");
  await expect(parseDefinition('{"name"')).rejects.toThrow();
});

it("problems find their field", () => {
  const problems = [
    { pointer: "/space/0/low", detail: "below high" },
    { pointer: "/name", detail: "too long" },
  ];
  expect(problemsAt(problems, "/name")).toBe("too long");
  expect(problemsAt(problems, "/space/0")).toBe("low: below high");
  expect(problemsAt(problems, "/space/00")).toBeUndefined();
});
