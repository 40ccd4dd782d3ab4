/** Over what the best is drawn, and on which scale: the same two controls wherever studies show their progress. */
import { Group, SegmentedControl, Switch } from "@mantine/core";
import { useState } from "react";

export type Along = "trials" | "steps" | "seconds";

export type Over = { along: Along; log: boolean; choose: (along: Along) => void; setLog: (log: boolean) => void };

/** What is chosen, `first` as long as nothing is; a linear scale at first. */
export function useOver(first: Along): Over {
  const [along, choose] = useState<Along | null>(null);
  const [log, setLog] = useState(false);
  return { along: along ?? first, log, choose, setLog };
}

/** A scale can be logarithmic only where all values are positive. */
export function OverWhat({ over, steps, positive }: { over: Over; steps: boolean; positive: boolean }) {
  return (
    <Group gap={8}>
      <SegmentedControl
        size="xs"
        aria-label="Over what"
        value={over.along}
        onChange={(value) => over.choose(value as Along)}
        data={steps ? ["trials", "steps", "seconds"] : ["trials", "seconds"]}
      />
      <Switch
        size="xs"
        label="log"
        checked={over.log}
        disabled={!positive}
        onChange={(event) => over.setLog(event.currentTarget.checked)}
      />
    </Group>
  );
}
