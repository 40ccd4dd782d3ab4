import { expect, it } from "vitest";
import type { Study } from "../api/client";
import { finished, metrics, spent, telling, weighs } from "./study";

const STUDY = {
  objectives: [{ metric: "loss" }],
  outcome_constraints: ["ms <= 50", "size >= 1"],
  metrics: ["loss", "norm"],
  cost: "seconds",
  resource: { name: "epoch", min: 1, max: 10 },
  budget: { trials: 10, resource: 100, seconds: 60 },
  started: 5,
  steps_used: 80,
  started_at: "2026-01-01T00:00:00Z",
} as unknown as Study;

it("the tightest limit is shown", () => {
  const start = Date.parse("2026-01-01T00:00:00Z");
  expect(spent(STUDY, start + 1_000)).toEqual({ share: 0.8, text: "80 of 100 epochs" });
  expect(spent(STUDY, start + 600_000)).toEqual({ share: 1, text: "1 min of 1 min" });
  expect(spent({ ...STUDY, budget: {} } as Study)).toBeNull();
});

it("every metric has its name once", () => {
  expect(metrics(STUDY)).toEqual(["loss", "norm", "ms", "size", "seconds"]);
});

it("what has ended is finished, whatever came of it", () => {
  const counts = { QUEUED: 1, RUNNING: 2, PAUSED: 4, COMPLETED: 8, PRUNED: 16, FAILED: 32, INFEASIBLE: 64 };
  expect(finished({ ...STUDY, counts } as Study)).toBe(120);
  const best = { number: 0, value: 1 };
  expect(telling({ ...STUDY, counts, best, resource: { kind: "restart" } } as unknown as Study)).toBe(120);
  expect(telling({ ...STUDY, counts, best, resource: { kind: "resumable" } } as unknown as Study)).toBe(126);
});

it("freeze-thaw weighs runs, by its name or where it is the obvious choice", () => {
  const with_ = (name: string, kind: string) =>
    weighs({ ...STUDY, policy: { name }, resource: { kind } } as unknown as Study);
  expect([
    with_("freeze_thaw", "resumable"),
    with_("auto", "resumable"),
    with_("auto", "restart"),
    with_("asha", "resumable"),
  ]).toEqual([true, true, false, false]);
});
