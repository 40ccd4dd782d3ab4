/** A study's definition as POST /studies takes it, and back from what people paste. */
import type { Problem, Study } from "../api/client";

const DEFINING = [
  "name", "project", "space", "objectives", "metrics", "resource", "policy", "budget", "constraints",
  "outcome_constraints", "cost", "metadata",
] as const; // biome-ignore format: the fields of a definition

/** What would create the same study again; nothing in it that is empty. */
export function definitionOf(study: Study): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const name of DEFINING) {
    const value = study[name];
    const empty = value === null || (typeof value === "object" && Object.keys(value as object).length === 0);
    if (!empty && !(name === "project" && value === "default")) found[name] = value;
  }
  return found;
}

/** A name that no study of these has: "first", "first 2", "first 3" … */
export function freeName(name: string, taken: readonly string[]): string {
  const stem = name.replace(/ \d+$/, "");
  for (let i = 2; ; i++) {
    const candidate = `${stem} ${i}`;
    if (!taken.includes(candidate)) return candidate;
  }
}

/** JSON, or YAML, which is loaded when it is needed. Throws with the place of the fault. */
export async function parseDefinition(text: string): Promise<Record<string, unknown>> {
  const value: unknown = text.trimStart().startsWith("{") ? JSON.parse(text) : (await import("yaml")).parse(text);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Error("A definition is an object with name, space and objectives.");
  }
  return value as Record<string, unknown>;
}

/** The problems at a field, and below it. */
export function problemsAt(problems: readonly Problem[], pointer: string): string | undefined {
  const found = problems.filter((problem) => problem.pointer === pointer || problem.pointer.startsWith(`${pointer}/`));
  if (!found.length) return undefined;
  return found
    .map((problem) => [problem.pointer.slice(pointer.length + 1), problem.detail].filter(Boolean).join(": "))
    .join("; ");
}
