/** All studies, the newest first, as they go. */
import { Button, Group, Menu, Modal, Stack, Text, TextInput, VisuallyHidden } from "@mantine/core";
import { useDebouncedValue, useDocumentTitle } from "@mantine/hooks";
import { notifications } from "@mantine/notifications";
import { useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { type Study, send } from "../api/client";
import { useStudiesLive } from "../api/live";
import { progressQuery, studiesQuery } from "../api/queries";
import { MoreIcon, PlusIcon } from "../components/icons";
import { Empty, Fault, LinkButton, StateBadge, TextLink, Waiting } from "../components/parts";
import { useTokens } from "../components/tokens";
import { useStudyChange } from "../lib/changes";
import { STATES } from "../lib/filter";
import { ago, count, shown } from "../lib/format";
import { spent } from "../lib/study";

export function StudiesPage() {
  useDocumentTitle("Studies · Frazil");
  const query = useInfiniteQuery(studiesQuery);
  useStudiesLive();
  const [text, setText] = useState("");
  const [wanted] = useDebouncedValue(text, 150);
  if (!query.data)
    return query.error ? <Fault error={query.error} retry={() => void query.refetch()} /> : <Waiting what="studies" />;
  const all = query.data.pages.flatMap((page) => page.items);
  const shownStudies = all.filter((study) => study.name.toLowerCase().includes(wanted.toLowerCase()));
  return (
    <>
      <div className="head">
        <h1>Studies</h1>
        <Text c="dimmed" size="sm">
          {count(query.data.pages[0]!.total)}
        </Text>
        <div className="spring" />
        {all.length > 0 && (
          <TextInput
            aria-label="Find a study by name"
            placeholder="Find by name"
            value={text}
            onChange={(event) => setText(event.currentTarget.value)}
            w={200}
          />
        )}
        <LinkButton to="/new" leftSection={<PlusIcon />}>
          New study
        </LinkButton>
      </div>
      {all.length === 0 ? (
        <Empty title="No studies yet">
          A study is a search space, a metric, a budget and a policy. Create one here, or from a training script:
          <pre className="json" style={{ textAlign: "left", marginTop: 12 }}>
            {`import frazil\n\nstudy = frazil.Client().create_study(\n    "first", space={"lr": frazil.Float(1e-4, 1, log=True)}, minimize="loss")\nfor trial in study.trials():\n    trial.tell(loss=train(**trial.params))`}
          </pre>
        </Empty>
      ) : (
        <div className="panel scroll">
          <table className="plain">
            <thead>
              <tr>
                <th>Name</th>
                <th>State</th>
                <th className="num">Best</th>
                <th className="hide-narrow">So far</th>
                <th>Trials</th>
                <th className="hide-narrow">Spent</th>
                <th className="hide-narrow">Policy</th>
                <th className="hide-narrow">Changed</th>
                <th>
                  <VisuallyHidden>Actions</VisuallyHidden>
                </th>
              </tr>
            </thead>
            <tbody>
              {shownStudies.map((study) => (
                <StudyRow key={study.id} study={study} />
              ))}
            </tbody>
          </table>
          {shownStudies.length === 0 && <Empty title={`No study is called “${wanted}”`} />}
          {query.hasNextPage && (
            <Button
              variant="subtle"
              mt="sm"
              loading={query.isFetchingNextPage}
              onClick={() => void query.fetchNextPage()}
            >
              Show more
            </Button>
          )}
        </div>
      )}
    </>
  );
}

function StudyRow({ study }: { study: Study }) {
  const used = spent(study);
  const objective = study.objectives[0] as { metric: string };
  return (
    <tr>
      <td className="clip">
        <TextLink to="/studies/$study" params={{ study: study.id }} fw={560}>
          {study.name}
        </TextLink>
        {study.project !== "default" && (
          <Text span c="dimmed" size="xs" ml={6}>
            {study.project}
          </Text>
        )}
      </td>
      <td>
        <StateBadge state={study.state} />
      </td>
      <td className="num" title={objective.metric}>
        {study.best ? shown(study.best.value) : "–"}
      </td>
      <td className="hide-narrow">
        <Sparkline study={study} />
      </td>
      <td>
        <Counts study={study} />
      </td>
      <td className="hide-narrow">
        {used ? (
          <div title={used.text}>
            <div className="bar">
              <i style={{ width: `${100 * used.share}%`, background: "var(--accent)" }} />
            </div>
            <Text size="xs" c="dimmed" mt={2}>
              {used.text}
            </Text>
          </div>
        ) : (
          <Text size="xs" c="dimmed">
            no limit
          </Text>
        )}
      </td>
      <td className="hide-narrow">{String(study.policy.name)}</td>
      <td className="hide-narrow">
        <Text size="xs" c="dimmed" style={{ whiteSpace: "nowrap" }}>
          {ago(study.updated_at)}
        </Text>
      </td>
      <td className="num">
        <StudyMenu study={study} />
      </td>
    </tr>
  );
}

/** Trials by state: a bar, and, unless it is to be bare, the number of all. */
export function Counts({ study, bare = false }: { study: Study; bare?: boolean }) {
  const { tokens } = useTokens();
  const parts = STATES.filter((state) => study.counts[state]).map((state) => ({ state, number: study.counts[state]! }));
  const words = parts.map(({ state, number }) => `${count(number)} ${state.toLowerCase()}`).join(", ");
  return (
    <div title={words || "no trials"}>
      <div className="bar" role="img" aria-label={words || "no trials"}>
        {parts.map(({ state, number }) => (
          <i key={state} style={{ width: `${(100 * number) / study.trials}%`, background: tokens.states[state] }} />
        ))}
      </div>
      {!bare && (
        <Text size="xs" c="dimmed" mt={2}>
          {count(study.trials)}
        </Text>
      )}
    </div>
  );
}

const WIDTH = 120;
const HEIGHT = 28;

/** The best value so far over trials, as a line without axes. */
function Sparkline({ study }: { study: Study }) {
  const { tokens } = useTokens();
  const { data } = useQuery({ ...progressQuery(study.id, 60), enabled: study.best !== null, staleTime: 30_000 });
  if (!data || data.items.length === 0) return <Text c="dimmed">–</Text>;
  const values = data.items.map((item) => item.value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const last = Math.max(study.trials, 1);
  const x = (trials: number) => (WIDTH * Math.log1p(trials)) / Math.log1p(last);
  const y = (value: number) => 2 + (HEIGHT - 4) * (high > low ? (high - value) / (high - low) : 0.5);
  let path = `M${x(data.items[0]!.trials).toFixed(1)},${y(values[0]!).toFixed(1)}`;
  for (const item of data.items.slice(1)) path += `H${x(item.trials).toFixed(1)}V${y(item.value).toFixed(1)}`;
  return (
    <svg
      className="spark"
      width={WIDTH}
      height={HEIGHT}
      role="img"
      aria-label={`From ${shown(values[0])} to ${shown(values.at(-1))}`}
    >
      <path d={`${path}H${WIDTH}`} fill="none" stroke={tokens.accent} strokeWidth="1.6" />
    </svg>
  );
}

/** What can be done to a study. Deleting waits until it can no longer be undone. */
export function StudyMenu({ study, onDeleted }: { study: Study; onDeleted?: () => void }) {
  const change = useStudyChange(study.id);
  const navigate = useNavigate();
  const [asking, setAsking] = useState(false);
  const remove = useDelayedDeletion(study, onDeleted);
  const running = study.counts.RUNNING ?? 0;
  return (
    <>
      <Menu position="bottom-end" withinPortal>
        <Menu.Target>
          <Button variant="subtle" color="gray" size="compact-sm" aria-label={`Actions for ${study.name}`}>
            <MoreIcon />
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          {study.state === "active" ? (
            <Menu.Item onClick={() => change.mutate({ state: "paused" })}>Pause</Menu.Item>
          ) : (
            <Menu.Item onClick={() => change.mutate({ state: "active" })}>Resume</Menu.Item>
          )}
          {study.state !== "stopped" && <Menu.Item onClick={() => change.mutate({ state: "stopped" })}>Stop</Menu.Item>}
          <Menu.Item onClick={() => void navigate({ to: "/new", search: { like: study.id } })}>Clone …</Menu.Item>
          <Menu.Item component="a" href={`/api/v1/studies/${study.id}/export?format=jsonl`} download>
            Export as JSON lines
          </Menu.Item>
          <Menu.Item component="a" href={`/api/v1/studies/${study.id}/export?format=csv`} download>
            Export as CSV
          </Menu.Item>
          <Menu.Divider />
          <Menu.Item color="red" onClick={() => setAsking(true)}>
            Delete …
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
      <Modal opened={asking} onClose={() => setAsking(false)} title={`Delete “${study.name}”?`}>
        <Stack>
          <Text size="sm">
            {`${count(study.trials)} trials with their curves go with it.`}
            {running > 0 &&
              ` ${count(running)} of them are training: their workers will be told that the study is gone.`}
          </Text>
          <Group justify="flex-end">
            <Button variant="default" onClick={() => setAsking(false)}>
              Keep it
            </Button>
            <Button
              color="red"
              onClick={() => {
                setAsking(false);
                remove();
              }}
            >
              Delete
            </Button>
          </Group>
        </Stack>
      </Modal>
    </>
  );
}

const SECONDS_TO_UNDO = 8;

/** Deletes after a while in which it can be undone; the page may be left meanwhile, but not closed. */
function useDelayedDeletion(study: Study, onDeleted?: () => void): () => void {
  const client = useQueryClient();
  return () => {
    const id = `delete-${study.id}`;
    const now = async () => {
      notifications.hide(id);
      try {
        await send("DELETE", `/studies/${study.id}`);
      } catch (error) {
        notifications.show({
          color: "red",
          title: `“${study.name}” is still there`,
          message: (error as Error).message,
        });
      }
      void client.invalidateQueries({ queryKey: ["studies"] });
    };
    const timer = setTimeout(() => void now(), SECONDS_TO_UNDO * 1000);
    notifications.show({
      id,
      autoClose: false,
      withCloseButton: false,
      title: `“${study.name}” will be deleted`,
      message: (
        <Button
          size="xs"
          variant="light"
          mt={6}
          onClick={() => {
            clearTimeout(timer);
            notifications.hide(id);
          }}
        >
          Undo
        </Button>
      ),
    });
    onDeleted?.();
  };
}
