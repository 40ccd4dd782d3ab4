/**
 * Schedules: at every step what the server and the training client mean, by the golden vectors of tests/contracts.
 *
 * The server has read what is evaluated here; a schedule that it would refuse has no multipliers.
 */

export type Schedule = Record<string, unknown>;

type Shape = (schedule: Schedule, t: number, warmup: number, total: number) => number;

const DEFAULTS: Record<string, number> = {
  final: 0,
  power: 1,
  gamma: 0.1,
  growth: 1,
  start: 0.04,
  decay_steps: 0.2,
  cycle_steps: 0.25,
  every: 1,
};
const SHARES: Record<string, string> = { warmup_steps: "warmup", decay_steps: "decay", cycle_steps: "cycle" };
const ENDLESS = ["constant", "inverse_sqrt"];

/** What the peak is multiplied by at the step with so many done before it; null for what is no schedule known here. */
export function multiplier(schedule: Schedule, step: number): number | null {
  const kind = String(schedule.kind ?? "linear");
  const shape = SHAPES[kind];
  const total = Number(schedule.total_steps);
  if (!shape || !(total > 0)) return null;
  const warmup = stepsOf(schedule, "warmup_steps");
  const m =
    step < warmup
      ? rising(schedule, step, warmup)
      : shape(schedule, ENDLESS.includes(kind) ? step : Math.min(step, total), warmup, total);
  return Number.isFinite(m) ? m : null;
}

/** The peak times the multiplier, rounded where the schedule says so; without a peak the multiplier. */
export function valueAt(schedule: Schedule, step: number): number | null {
  const m = multiplier(schedule, step);
  if (m === null) return null;
  const exact = (schedule.peak === undefined ? 1 : Number(schedule.peak)) * m;
  const whole = Number(schedule.round);
  return whole > 0 ? Math.max(Math.floor(exact / whole + 0.5), 1) * whole : exact;
}

/** Steps, or the share of the run that stands for them. */
function stepsOf(schedule: Schedule, field: string): number {
  if (schedule[field] !== undefined) return Number(schedule[field]);
  const share = schedule[SHARES[field]!];
  const untold = schedule.kind === "one_cycle" && field === "warmup_steps" ? 0.3 : (DEFAULTS[field] ?? 0);
  const steps = (share === undefined ? untold : Number(share)) * Number(schedule.total_steps);
  return Math.round(steps * 1e6) / 1e6;
}

function option(schedule: Schedule, name: string): number {
  return Number(schedule[name] ?? DEFAULTS[name]);
}

function numbers(value: unknown): number[] {
  return Array.isArray(value) ? value.map(Number) : [];
}

function rising(schedule: Schedule, step: number, warmup: number): number {
  if (schedule.kind !== "one_cycle") return Math.min((step + 1) / warmup, 1);
  const start = option(schedule, "start");
  return start + (1 - start) * (1 - halfCosine(step / warmup));
}

function down(schedule: Schedule, s: number): number {
  const final = option(schedule, "final");
  return final + (1 - final) * s;
}

const halfCosine = (u: number) => (1 + Math.cos(Math.PI * u)) / 2;
const way = (t: number, warmup: number, total: number) => (t - warmup) / (total - warmup);

const DECAYS: Record<string, (v: number) => number> = {
  linear: (v) => 1 - v,
  cosine: halfCosine,
  sqrt: (v) => 1 - Math.sqrt(v),
};

const cosine: Shape = (schedule, t, warmup, total) => down(schedule, halfCosine(way(t, warmup, total)));

const SHAPES: Record<string, Shape> = {
  constant: () => 1,
  linear: (schedule, t, warmup, total) => down(schedule, 1 - way(t, warmup, total)),
  cosine,
  one_cycle: cosine,
  polynomial: (schedule, t, warmup, total) => down(schedule, (1 - way(t, warmup, total)) ** option(schedule, "power")),
  inverse_sqrt: (schedule, t, warmup) => {
    const scale = Number(schedule.timescale_steps) || Math.max(warmup, 1);
    return Math.sqrt(scale / (scale + t - warmup));
  },
  exponential: (schedule, t, warmup, total) => Number(schedule.final ?? 0.01) ** way(t, warmup, total),
  step: (schedule, t, _, total) => {
    const given = numbers(schedule.milestones);
    const milestones = given.length ? given : [0.5 * total, 0.75 * total];
    const passed = milestones.filter((milestone) => milestone <= t).length;
    return Math.max(option(schedule, "gamma") ** passed, option(schedule, "final"));
  },
  wsd: (schedule, t, _, total) => {
    const decay = stepsOf(schedule, "decay_steps");
    const v = Math.min(Math.max((t - (total - decay)) / decay, 0), 1);
    return down(schedule, DECAYS[String(schedule.decay_shape ?? "linear")]?.(v) ?? Number.NaN);
  },
  sgdr: (schedule, t, warmup, total) => {
    let [start, long] = [warmup, stepsOf(schedule, "cycle_steps")];
    if (!(long > 0)) return Number.NaN;
    while (t >= start + long && start + long < total) {
      start += long;
      long *= option(schedule, "growth");
    }
    return down(schedule, halfCosine((t - start) / long));
  },
  piecewise: (schedule, t) => {
    const points = Array.isArray(schedule.points) ? schedule.points.map(numbers) : [];
    const next = points.findIndex((point) => point[0]! > t);
    if (next < 1) return (next === 0 ? points[0] : points.at(-1))?.[1] ?? Number.NaN;
    const [[s0, m0], [s1, m1]] = [points[next - 1]!, points[next]!] as [[number, number], [number, number]];
    return m0 + ((m1 - m0) * (t - s0)) / (s1 - s0);
  },
  table: (schedule, t) => {
    const entries = numbers(schedule.multipliers);
    const place = Math.min(t / option(schedule, "every"), entries.length - 1);
    const i = Math.floor(place);
    const [from, to] = [entries[i] ?? Number.NaN, entries[Math.min(i + 1, entries.length - 1)] ?? Number.NaN];
    return from + (to - from) * (place - i);
  },
};
