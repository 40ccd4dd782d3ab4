/** A study that is learned from rankings: a few trials, put in order by hand. */
import { ActionIcon, Button, Group, Text } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { send } from "../api/client";
import { comparisonsQuery, sampleQuery, studyKey } from "../api/queries";
import { Empty, Instead, Panel, TextLink } from "../components/parts";
import { clock, shownValue } from "../lib/format";
import { moved, proposed } from "../lib/ranking";
import { rowsOf } from "../lib/scale";
import { useStudy, useView } from "./Study";

const AT_ONCE = 4;

export function PreferencesTab() {
  return (
    <div className="grid">
      <div className="half">
        <Ranker />
      </div>
      <div className="half">
        <Past />
      </div>
    </div>
  );
}

function Ranker() {
  const study = useStudy();
  const { filter } = useView();
  const client = useQueryClient();
  const sample = useQuery(sampleQuery(study.id, filter, 500));
  const past = useQuery(comparisonsQuery(study.id));
  const [order, setOrder] = useState<number[] | null>(null);
  const [dragged, setDragged] = useState<number | null>(null);
  const params = useMemo(() => (sample.data ? rowsOf(sample.data) : []), [sample.data]);
  const asked = useMemo(
    () =>
      sample.data && past.data
        ? proposed(
            sample.data.number,
            past.data.items.map((item) => item.ranking),
            AT_ONCE,
          )
        : [],
    [sample.data, past.data],
  );
  const trials = order ?? asked;
  const tell = useMutation({
    mutationFn: () => send("POST", `/studies/${study.id}/comparisons`, { ranking: trials }),
    onSuccess: () => {
      setOrder(null);
      notifications.show({ title: "Taken down", message: "The next trials are chosen with it." });
      void client.invalidateQueries({ queryKey: studyKey(study.id) });
    },
    onError: (error) => notifications.show({ color: "red", title: "That did not work", message: error.message }),
  });
  if (!sample.data || !past.data)
    return <Panel title="Which is better?">{<Instead query={sample} what="trials" />}</Panel>;
  if (trials.length < 2) {
    return (
      <Panel title="Which is better?">
        <Empty title="Two trials make a comparison">There are not yet as many.</Empty>
      </Panel>
    );
  }
  const put = (from: number, to: number) => setOrder(moved(trials, from, to));
  return (
    <Panel title="Which is better?">
      <Text size="sm" c="dimmed" mb="xs">
        Drag the best to the top, or use the arrows. Then say so.
      </Text>
      <ol className="ranker" aria-label="From the best to the worst">
        {trials.map((trial, place) => (
          <li
            key={trial}
            draggable
            data-trial={trial}
            onDragStart={(event) => {
              event.dataTransfer.effectAllowed = "move";
              setDragged(place);
            }}
            onDragOver={(event) => event.preventDefault()}
            onDrop={(event) => {
              event.preventDefault();
              if (dragged !== null) put(dragged, place);
              setDragged(null);
            }}
            onDragEnd={() => setDragged(null)}
          >
            <Text fw={650} w={24} c="dimmed">
              {place + 1}
            </Text>
            <TextLink
              to="/studies/$study/trials/$number"
              params={{ study: study.id, number: String(trial) }}
              fw={560}
              style={{ whiteSpace: "nowrap" }}
            >
              trial {trial}
            </TextLink>
            <Text size="sm" c="dimmed" lineClamp={2} style={{ flex: 1 }}>
              {Object.entries(params[sample.data.number.indexOf(trial)] ?? {})
                .map(([name, value]) => `${name} ${shownValue(value)}`)
                .join(" · ")}
            </Text>
            <ActionIcon
              variant="subtle"
              color="gray"
              aria-label={`Trial ${trial} up`}
              disabled={place === 0}
              onClick={() => put(place, place - 1)}
            >
              ↑
            </ActionIcon>
            <ActionIcon
              variant="subtle"
              color="gray"
              aria-label={`Trial ${trial} down`}
              disabled={place === trials.length - 1}
              onClick={() => put(place, place + 1)}
            >
              ↓
            </ActionIcon>
          </li>
        ))}
      </ol>
      <Group mt="sm">
        <Button onClick={() => tell.mutate()} loading={tell.isPending}>
          This is the order
        </Button>
      </Group>
    </Panel>
  );
}

function Past() {
  const study = useStudy();
  const query = useQuery(comparisonsQuery(study.id));
  if (!query.data) return <Panel title="What was said">{<Instead query={query} what="comparisons" />}</Panel>;
  if (query.data.items.length === 0) return <Panel title="What was said">{<Empty title="Nothing yet" />}</Panel>;
  return (
    <Panel title="What was said">
      <table className="plain">
        <tbody>
          {[...query.data.items].reverse().map((item) => (
            <tr key={item.id}>
              <td style={{ color: "var(--dimmed)", whiteSpace: "nowrap" }}>{clock(item.created_at)}</td>
              <td>{item.ranking.join(" › ")}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
  );
}
