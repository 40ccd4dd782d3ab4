/** Putting trials in order by hand. */

/** The items with one of them moved to another place. */
export function moved<Item>(items: readonly Item[], from: number, to: number): Item[] {
  const rest = items.filter((_, i) => i !== from);
  const item = items[from];
  if (item !== undefined) rest.splice(Math.min(Math.max(to, 0), rest.length), 0, item);
  return rest;
}

/** Which trials to put in order next: those that were compared least so far, the newest of them first. */
export function proposed(trials: readonly number[], past: readonly (readonly number[])[], most: number): number[] {
  const times = new Map(trials.map((trial) => [trial, 0]));
  for (const ranking of past) {
    for (const trial of ranking) if (times.has(trial)) times.set(trial, times.get(trial)! + 1);
  }
  return [...trials].sort((a, b) => times.get(a)! - times.get(b)! || b - a).slice(0, most);
}
