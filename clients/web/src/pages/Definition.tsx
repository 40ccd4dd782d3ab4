/** How the study was defined, and what may still be changed about it. */
import { Button, Group, NumberInput, Stack, Text, Textarea } from "@mantine/core";
import { useState } from "react";
import type { Study } from "../api/client";
import { Fault, Panel } from "../components/parts";
import { useStudyChange } from "../lib/changes";
import { definitionOf } from "../lib/definition";
import { clock } from "../lib/format";
import { resource } from "../lib/study";
import { useStudy } from "./Study";

export function DefinitionTab() {
  const study = useStudy();
  return (
    <div className="grid">
      <div className="half">
        <Panel title="Definition">
          <pre className="json">{JSON.stringify(definitionOf(study), null, 2)}</pre>
        </Panel>
      </div>
      <div className="half">
        <Stack>
          <BudgetPanel key={study.version} study={study} />
          <StudyNotes key={`notes-${study.version}`} study={study} />
          <Panel title="Identity">
            <table className="plain">
              <tbody>
                {[
                  ["id", study.id],
                  ["project", study.project],
                  ["created", clock(study.created_at)],
                  ["seed", String(study.seed)],
                  ["version", `${study.version}, of the data ${study.data_version}`],
                  ...(study.related
                    ? [["learns from", study.related.studies.map((item) => item.name).join(", ") || "none"]]
                    : []),
                ].map(([name, value]) => (
                  <tr key={name}>
                    <td style={{ color: "var(--dimmed)" }}>{name}</td>
                    <td style={{ overflowWrap: "anywhere" }}>{value}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </Panel>
        </Stack>
      </div>
    </div>
  );
}

function BudgetPanel({ study }: { study: Study }) {
  const change = useStudyChange(study.id);
  const [budget, setBudget] = useState(study.budget as { trials?: number; resource?: number; seconds?: number });
  const set = (name: "trials" | "resource" | "seconds") => (value: string | number) => {
    const { [name]: _, ...rest } = budget;
    setBudget(typeof value === "number" ? { ...rest, [name]: value } : rest);
  };
  return (
    <Panel title="Budget">
      <Group grow align="end">
        <NumberInput
          label="Trials"
          placeholder="no limit"
          min={1}
          value={budget.trials ?? ""}
          onChange={set("trials")}
        />
        {resource(study) && (
          <NumberInput
            label={`${resource(study)!.name}s`}
            placeholder="no limit"
            min={1}
            value={budget.resource ?? ""}
            onChange={set("resource")}
          />
        )}
        <NumberInput
          label="Seconds"
          placeholder="no limit"
          min={1}
          value={budget.seconds ?? ""}
          onChange={set("seconds")}
        />
        <Button variant="default" loading={change.isPending} onClick={() => change.mutate({ budget })}>
          Change
        </Button>
      </Group>
      {change.error && <Fault error={change.error} />}
      <Text size="xs" c="dimmed" mt={6}>
        The first limit that is reached ends the study; a completed one goes on when it gets more.
      </Text>
    </Panel>
  );
}

function StudyNotes({ study }: { study: Study }) {
  const change = useStudyChange(study.id);
  const [notes, setNotes] = useState(study.notes);
  return (
    <Panel title="Notes">
      <Stack gap="xs">
        <Textarea
          aria-label="Notes"
          autosize
          minRows={3}
          value={notes}
          onChange={(event) => setNotes(event.currentTarget.value)}
        />
        <Group>
          <Button
            size="xs"
            variant="default"
            disabled={notes === study.notes}
            loading={change.isPending}
            onClick={() => change.mutate({ notes })}
          >
            Save
          </Button>
        </Group>
      </Stack>
    </Panel>
  );
}
