import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { PACE, Refresher } from "./live";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function refresher() {
  const asked: string[] = [];
  const client = {
    invalidateQueries: async ({ queryKey }: { queryKey: readonly unknown[] }) => void asked.push(queryKey[2] as string),
  };
  return { asked, refresher: new Refresher(client as never, ["s"]) };
}

const times = (asked: string[], kind: string) => asked.filter((item) => item === kind).length;

it("a storm of events asks for each thing at its own pace, and once more at the end", () => {
  const { asked, refresher: it_ } = refresher();
  for (let i = 0; i < 100; i++) {
    it_.news();
    vi.advanceTimersByTime(100);
  }
  const seconds = 10;
  expect(times(asked, "progress")).toBeLessThanOrEqual(seconds + 1);
  expect(times(asked, "progress")).toBeGreaterThanOrEqual(seconds - 2);
  expect(times(asked, "ranking")).toBeLessThanOrEqual(1 + (seconds * 1000) / PACE.ranking!);
  vi.advanceTimersByTime(120_000);
  const settled = asked.length;
  vi.advanceTimersByTime(120_000);
  expect(asked.length).toBe(settled);
});

it("nothing is asked for without news, nor after the end", () => {
  const { asked, refresher: it_ } = refresher();
  vi.advanceTimersByTime(60_000);
  it_.news();
  it_.end();
  vi.advanceTimersByTime(60_000);
  expect(asked).toEqual([]);
});
