/** What the server says of itself. */

export interface NetworkState {
  name: string;
  /** What is wrong with its files, in a sentence; undefined where nothing is. */
  damage: string | undefined;
}

/** Every network that the engine looked at; the list of them itself counts as one where it is damaged. */
export function networksOf(system: Record<string, unknown>): NetworkState[] {
  const device = record(record(system.engine).device);
  const damaged = record(device.damaged_networks);
  const names = Array.isArray(device.networks) ? device.networks.map(String) : [];
  return [...new Set([...names, ...Object.keys(damaged)])].map((name) => ({
    name,
    damage: name in damaged ? String(damaged[name]) : undefined,
  }));
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
