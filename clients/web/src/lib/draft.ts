/** What a form holds of a study before it is one: texts and numbers as they were typed. */

export const TYPES = ["float", "int", "categorical", "ordinal"] as const;

export type ParameterDraft = {
  id: number;
  name: string;
  type: (typeof TYPES)[number];
  low: string;
  high: string;
  log: boolean;
  choices: string[];
};

export type Draft = {
  name: string;
  metric: string;
  direction: "minimize" | "maximize";
  hasResource: boolean;
  unit: string;
  maxSteps: number | string;
  kind: "resumable" | "restart";
  policy: string;
  trials: number | string;
  steps: number | string;
  constraints: string[];
  outcomeConstraints: string[];
  parameters: ParameterDraft[];
};

let made = 0;

export function newParameter(): ParameterDraft {
  made += 1;
  return { id: made, name: "", type: "float", low: "0", high: "1", log: false, choices: [] };
}

export const EMPTY: Draft = {
  name: "",
  metric: "val_loss",
  direction: "minimize",
  hasResource: true,
  unit: "epoch",
  maxSteps: 50,
  kind: "resumable",
  policy: "auto",
  trials: "",
  steps: "",
  constraints: [],
  outcomeConstraints: [],
  parameters: [{ ...newParameter(), name: "lr", low: "1e-5", high: "0.1", log: true }],
};

/** What POST /studies takes. What is no number stays a text, for the server to say so at its field. */
export function definitionFromDraft(draft: Draft): Record<string, unknown> {
  const budget = {
    ...(draft.trials === "" ? {} : { trials: draft.trials }),
    ...(draft.steps === "" || !draft.hasResource ? {} : { resource: draft.steps }),
  };
  return {
    name: draft.name,
    space: draft.parameters.map(parameterFromDraft),
    objectives: [{ metric: draft.metric, direction: draft.direction }],
    policy: { name: draft.policy },
    budget,
    ...(draft.hasResource ? { resource: { name: draft.unit, max: draft.maxSteps, kind: draft.kind } } : {}),
    ...(draft.constraints.length ? { constraints: draft.constraints } : {}),
    ...(draft.outcomeConstraints.length ? { outcome_constraints: draft.outcomeConstraints } : {}),
  };
}

function parameterFromDraft({ name, type, low, high, log, choices }: ParameterDraft): Record<string, unknown> {
  if (type === "categorical") return { name, type, choices: choices.map(numberOr) };
  if (type === "ordinal") return { name, type, values: choices.map(numberOr) };
  return { name, type, low: numberOr(low), high: numberOr(high), ...(log ? { log: true } : {}) };
}

function numberOr(text: string): number | string {
  const value = Number(text);
  return text.trim() !== "" && Number.isFinite(value) ? value : text;
}
