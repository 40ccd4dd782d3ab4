import { expect, it } from "vitest";
import { definitionFromDraft, EMPTY, newParameter } from "./draft";

it("a form becomes a definition, without what was left empty", () => {
  const draft = {
    ...EMPTY,
    name: "first",
    trials: 20,
    steps: 7,
    hasResource: false,
    parameters: [
      { ...newParameter(), name: "lr", low: "1e-4", high: "one", log: true },
      { ...newParameter(), name: "opt", type: "categorical" as const, choices: ["adamw", "3"] },
      { ...newParameter(), name: "width", type: "ordinal" as const, choices: ["64", "128"] },
    ],
  };
  expect(definitionFromDraft(draft)).toEqual({
    name: "first",
    space: [
      { name: "lr", type: "float", low: 1e-4, high: "one", log: true },
      { name: "opt", type: "categorical", choices: ["adamw", 3] },
      { name: "width", type: "ordinal", values: [64, 128] },
    ],
    objectives: [{ metric: "val_loss", direction: "minimize" }],
    policy: { name: "auto" },
    budget: { trials: 20 },
  });
});

it("parameters can be told apart", () => {
  expect(newParameter().id).not.toBe(newParameter().id);
});
