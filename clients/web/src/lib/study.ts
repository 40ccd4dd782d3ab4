/** Readings of a study's definition. */
import type { Study } from "../api/client";
import { count, duration } from "./format";

export type Objective = { metric: string; direction: "minimize" | "maximize"; summary: string; by: string };

export function objectives(study: Study): Objective[] {
  return study.objectives as unknown as Objective[];
}

export function objective(study: Study): Objective {
  return objectives(study)[0]!;
}

export function isCompared(study: Study): boolean {
  return objectives(study).some((item) => item.by === "comparison");
}

/** Every metric that can be drawn: of the objectives, of the constraints, and those that were declared. */
export function metrics(study: Study): string[] {
  const constrained = study.outcome_constraints.map((text) => text.split(/\s*(?:<=|>=)/)[0]!.trim());
  const cost = typeof study.cost === "string" ? [study.cost] : [];
  return [
    ...new Set([...objectives(study).map((item) => item.metric), ...(study.metrics ?? []), ...constrained, ...cost]),
  ];
}

export type Resource = { name: string; min: number; max: number; kind: "resumable" | "restart" };

export function resource(study: Study): Resource | null {
  return study.resource as Resource | null;
}

export type Spent = { share: number; text: string };

/** How much of the tightest limit of the budget is used up; null where there is none. */
export function spent(study: Study, now = Date.now()): Spent | null {
  const budget = study.budget as { trials?: number; resource?: number; seconds?: number };
  const seconds = study.started_at ? (now - Date.parse(study.started_at)) / 1000 : 0;
  const unit = resource(study)?.name ?? "step";
  const all: Spent[] = [];
  if (budget.trials)
    all.push(part(study.started, budget.trials, `${count(study.started)} of ${count(budget.trials)} trials`));
  if (budget.resource) {
    all.push(
      part(study.steps_used, budget.resource, `${count(study.steps_used)} of ${count(budget.resource)} ${unit}s`),
    );
  }
  if (budget.seconds) {
    const used = Math.min(seconds, budget.seconds);
    all.push(part(used, budget.seconds, `${duration(used)} of ${duration(budget.seconds)}`));
  }
  return all.reduce<Spent | null>((most, item) => (most && most.share >= item.share ? most : item), null);
}

function part(used: number, limit: number, text: string): Spent {
  return { share: Math.min(1, used / limit), text };
}

/** Finished trials from which the server judges parameters and models. */
export const FEWEST = 10;

export function finished(study: Study): number {
  return ["COMPLETED", "PRUNED", "FAILED", "INFEASIBLE"].reduce((sum, state) => sum + (study.counts[state] ?? 0), 0);
}

/** Trials that say something of parameters: where runs are resumed, half-trained ones do, by where they will end. */
export function telling(study: Study): number {
  const begun = resource(study)?.kind === "resumable" ? (study.counts.PAUSED ?? 0) + (study.counts.RUNNING ?? 0) : 0;
  return finished(study) + (study.best ? begun : 0);
}

/** Whether runs are weighed against each other, step by step: only freeze-thaw does, and `auto` takes it here. */
export function weighs(study: Study): boolean {
  const { name } = study.policy;
  return name === "freeze_thaw" || (name === "auto" && resource(study)?.kind === "resumable");
}
