/** News of a study by server-sent events: what changed is asked for again, at most once in a while. */
import { type QueryClient, useQueryClient } from "@tanstack/react-query";
import { useEffect, useSyncExternalStore } from "react";
import { url } from "./client";
import { studyKey } from "./queries";

const KINDS = [
  "study.created", "study.changed", "study.completed", "study.compared", "study.imported",
  "trial.added", "trial.rescheduled", "trial.started", "trial.resumed", "trial.reported", "trial.paused", "trial.released", "trial.lost",
  "trial.completed", "trial.pruned", "trial.failed", "trial.infeasible", "trial.corrected",
]; // biome-ignore format: the kinds of events, by whom they happen to

/** Milliseconds between two looks at the same thing, by what it costs the server to answer. */
export const PACE: Record<string, number> = {
  definition: 1_000,
  progress: 1_000,
  curves: 1_500,
  sample: 1_500,
  trials: 1_500,
  trial: 1_000,
  "trial-curves": 1_000,
  events: 1_500,
  timeline: 2_000,
  best: 10_000,
  foretold: 8_000,
  ranking: 10_000,
  pareto: 5_000,
  importances: 60_000,
  slice: 60_000,
  calibration: 60_000,
  comparisons: 2_000,
};

/** After news, asks again for what is on the screen, each thing no more often than its pace. */
export class Refresher {
  private timer: ReturnType<typeof setTimeout> | null = null;
  private readonly asked = new Map<string, number>();
  private readonly old = new Set<string>();

  constructor(
    private readonly client: Pick<QueryClient, "invalidateQueries">,
    private readonly studies: readonly string[],
    private readonly now: () => number = Date.now,
  ) {}

  /** Something happened. */
  news(): void {
    for (const kind of Object.keys(PACE)) this.old.add(kind);
    this.wait(300);
  }

  private wait(milliseconds: number): void {
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.refresh();
    }, milliseconds);
  }

  private refresh(): void {
    let soonest = Number.POSITIVE_INFINITY;
    for (const kind of [...this.old]) {
      const wait = (this.asked.get(kind) ?? 0) + PACE[kind]! - this.now();
      if (wait > 0) {
        soonest = Math.min(soonest, wait);
        continue;
      }
      this.old.delete(kind);
      this.asked.set(kind, this.now());
      for (const study of this.studies) {
        void this.client.invalidateQueries({ queryKey: [...studyKey(study), kind] }, { cancelRefetch: false });
      }
    }
    if (Number.isFinite(soonest)) this.wait(Math.max(soonest, 50));
  }

  end(): void {
    if (this.timer) clearTimeout(this.timer);
  }
}

let connected = true;
const listeners = new Set<() => void>();

function setConnected(value: boolean): void {
  if (connected === value) return;
  connected = value;
  for (const listener of listeners) listener();
}

/** Whether the stream of events, if there is one, has a connection. */
export function useConnection(): boolean {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => connected,
  );
}

const RETRY = 3_000;

/**
 * Follows a study for as long as a page shows it, under its id and under what the address calls it. The browser resumes
 * the stream where it broke off.
 */
export function useLive(reference: string, id: string | undefined): void {
  const client = useQueryClient();
  useEffect(() => {
    if (id === undefined) return;
    const refresher = new Refresher(client, [...new Set([reference, id])]);
    let source: EventSource | null = null;
    let last: string | null = null;
    let timer: ReturnType<typeof setTimeout> | null = null;

    const open = () => {
      source = new EventSource(url(`/studies/${id}/events`, { last_event_id: last }));
      source.onopen = () => {
        if (!connected) refresher.news();
        setConnected(true);
      };
      source.onerror = () => {
        setConnected(false);
        if (source?.readyState === EventSource.CLOSED) timer = setTimeout(open, RETRY);
      };
      const heard = (event: MessageEvent) => {
        last = event.lastEventId || last;
        refresher.news();
      };
      for (const kind of KINDS) source.addEventListener(kind, heard);
      source.addEventListener("hello", (event) => {
        last = event.lastEventId || last;
      });
    };
    open();
    return () => {
      source?.close();
      if (timer) clearTimeout(timer);
      refresher.end();
      setConnected(true);
    };
  }, [client, reference, id]);
}

/** Follows all studies while their list is shown: which have changed is told, and they are asked for again. */
export function useStudiesLive(): void {
  const client = useQueryClient();
  useEffect(() => {
    const source = new EventSource(url("/studies:events"));
    const refresh = (studies: string[]) => {
      void client.invalidateQueries({ queryKey: ["studies"] }, { cancelRefetch: false });
      for (const id of studies) void client.invalidateQueries({ queryKey: [...studyKey(id), "progress"] });
    };
    source.onopen = () => {
      if (!connected) refresh([]);
      setConnected(true);
    };
    source.onerror = () => setConnected(false);
    source.addEventListener("changed", (event) => refresh(JSON.parse(event.data).studies));
    return () => {
      source.close();
      setConnected(true);
    };
  }, [client]);
}
