/** Numbers, times and words as people read them. */

const DIGITS = 4;

/** A number with four significant digits: 0.08123, 1234, 1.2e-7, NaN, ∞. */
export function shown(value: number | null | undefined, digits = DIGITS): string {
  if (value === null || value === undefined) return "–";
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (value === 0) return "0";
  if (Number.isInteger(value) && size < 1e6) return signed(String(value));
  if (size < 1e-3 || size >= 1e6) return signed(exponential(value, digits));
  return signed(String(Number(value.toPrecision(digits))));
}

function exponential(value: number, digits: number): string {
  return value
    .toExponential(Math.max(0, digits - 2))
    .replace(/\.?0+e/, "e")
    .replace("e+", "e");
}

function signed(text: string): string {
  return text.replace(/^-/, "−").replace("e-", "e−");
}

/** Any parameter's value: numbers as above, a schedule by its kind, other objects as JSON. */
export function shownValue(value: unknown): string {
  if (typeof value === "number") return shown(value);
  if (value === null || value === undefined) return "–";
  if (typeof value === "string") return value;
  if (typeof value === "object" && "kind" in value) {
    const { kind, peak } = value as { kind: unknown; peak?: unknown };
    return typeof peak === "number" ? `${kind} · ${shown(peak, 3)}` : String(kind);
  }
  return JSON.stringify(value);
}

/** With thousands apart. The browser's own way costs tens of milliseconds at its first use. */
export function count(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

export function plural(number: number, one: string, many = `${one}s`): string {
  return `${count(number)} ${number === 1 ? one : many}`;
}

const UNITS: [number, string][] = [
  [86_400, "d"],
  [3_600, "h"],
  [60, "min"],
  [1, "s"],
];

/** Seconds in the two largest units that matter: 45 s, 3 min 20 s, 2 d 4 h. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  const first = UNITS.findIndex(([size]) => seconds >= size);
  const [size, unit] = UNITS[first]!;
  const whole = Math.floor(seconds / size);
  const next = UNITS[first + 1];
  if (!next || whole >= 10) return `${Math.round(seconds / size)} ${unit}`;
  const rest = Math.round((seconds - whole * size) / next[0]);
  return rest ? `${whole} ${unit} ${rest} ${next[1]}` : `${whole} ${unit}`;
}

export function ago(time: string, now = Date.now()): string {
  const seconds = (now - Date.parse(time)) / 1000;
  return seconds < 5 ? "just now" : `${duration(seconds)} ago`;
}

export function clock(time: string): string {
  return new Date(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

/** Rows as comma-separated values (RFC 4180); cells that a spreadsheet would take for a formula are disarmed. */
export function csv(header: readonly string[], rows: readonly (readonly unknown[])[]): string {
  return `${[header, ...rows].map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;
}

function cell(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const text = typeof value === "string" ? value : JSON.stringify(value);
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
