/** One trial: what it was given, how it went, where it is heading, what happened to it, and what can be done with it. */
import { Button, Group, MultiSelect, Stack, Switch, TagsInput, Text, Textarea } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useMemo, useState } from "react";
import { number, type Schemas, type Study, type Trial } from "../api/client";
import { eventsQuery, trialCurvesQuery, trialQuery } from "../api/queries";
import { Chart, lines, type Option, tooltip, valueAxis } from "../components/Chart";
import { Empty, Fact, Instead, LinkButton, Panel, StateBadge, TextLink } from "../components/parts";
import { useTokens } from "../components/tokens";
import { alike } from "../lib/alike";
import { useEnqueue, useTrialChange } from "../lib/changes";
import { clock, csv, duration, shown, shownValue } from "../lib/format";
import type { Tokens } from "../lib/palette";
import { type Schedule, valueAt } from "../lib/schedule";
import { isCompared, objective, resource } from "../lib/study";
import { trialRoute } from "../router";
import { FanChart, WhyPanel } from "./Belief";
import { useStudy } from "./Study";

const Markdown = lazy(() => import("react-markdown"));

export function TrialTab() {
  const study = useStudy();
  const { number: text } = trialRoute.useParams();
  const wanted = Number(text);
  const query = useQuery({ ...trialQuery(study.id, wanted), enabled: Number.isInteger(wanted) && wanted >= 0 });
  if (!Number.isInteger(wanted) || wanted < 0 || query.data === null) {
    return (
      <Empty title={`There is no trial ${text}`}>{`The study has ${study.trials} trials, numbered from 0.`}</Empty>
    );
  }
  if (!query.data) return <Instead query={query} what="trial" />;
  return <TrialView key={query.data.id} trial={query.data} study={study} />;
}

function TrialView({ trial, study }: { trial: Trial; study: Study }) {
  const foretellable = resource(study) !== null && !isCompared(study) && trial.last_step > 0;
  return (
    <Stack gap="md">
      <TrialHead trial={trial} study={study} />
      <div className="grid">
        {foretellable && (
          <div className="half">
            <FanChart trial={trial.number} />
          </div>
        )}
        {trial.last_step > 0 && (
          <div className={foretellable ? "half" : ""}>
            <TrialCurves trial={trial} study={study} />
          </div>
        )}
        <div className="third">
          <Parameters trial={trial} study={study} />
        </div>
        <div className="third">
          <WhyPanel trial={trial.number} />
        </div>
        <div className="third">
          <NotesPanel trial={trial} study={study} />
        </div>
        <div>
          <Events trial={trial} study={study} />
        </div>
      </div>
    </Stack>
  );
}

function TrialHead({ trial, study }: { trial: Trial; study: Study }) {
  const change = useTrialChange(study.id);
  const enqueue = useEnqueue(study.id);
  const others = (by: number) => ({
    to: "/studies/$study/trials/$number" as const,
    params: { study: study.id, number: String(trial.number + by) },
  });
  const seconds =
    trial.started_at && trial.finished_at
      ? (Date.parse(trial.finished_at) - Date.parse(trial.started_at)) / 1000
      : null;
  const finished = ["COMPLETED", "PRUNED", "FAILED", "INFEASIBLE"].includes(trial.state);
  return (
    <div>
      <Group gap="sm" mb="sm">
        <Text component="h2" fw={650} size="lg" m={0}>
          Trial {trial.number}
        </Text>
        <StateBadge state={trial.state} />
        {trial.excluded && (
          <Text c="dimmed" size="sm">
            excluded: the tuner does not know it
          </Text>
        )}
        <div className="spring" />
        <LinkButton
          {...others(-1)}
          size="xs"
          variant="default"
          disabled={trial.number === 0}
          aria-label="Previous trial"
        >
          ←
        </LinkButton>
        <LinkButton
          {...others(1)}
          size="xs"
          variant="default"
          disabled={trial.number + 1 >= study.trials}
          aria-label="Next trial"
        >
          →
        </LinkButton>
        <Button
          size="xs"
          variant="default"
          onClick={() => change.mutate({ trial: trial.id, patch: { excluded: !trial.excluded } })}
          loading={change.isPending}
        >
          {trial.excluded ? "Include" : "Exclude"}
        </Button>
        {finished && (
          <Button
            size="xs"
            variant="default"
            onClick={() => enqueue.mutate({ params: trial.params })}
            loading={enqueue.isPending}
          >
            Retry
          </Button>
        )}
        <Variation trial={trial} study={study} />
      </Group>
      <dl className="facts">
        <Fact name={objective(study).metric}>{shown(number(trial.objective))}</Fact>
        {resource(study) && (
          <Fact
            name={`${resource(study)!.name}s`}
            hint={trial.until_step ? `granted up to ${trial.until_step}` : undefined}
          >
            {trial.last_step} of {resource(study)!.max}
          </Fact>
        )}
        {Object.entries(trial.values)
          .filter(([name]) => name !== objective(study).metric)
          .slice(0, 6)
          .map(([name, value]) => (
            <Fact key={name} name={name}>
              {shownValue(value)}
            </Fact>
          ))}
        {trial.cost !== null && <Fact name="cost">{shown(trial.cost)}</Fact>}
        {seconds !== null && <Fact name="took">{duration(seconds)}</Fact>}
        {trial.worker && (
          <Fact
            name="worker"
            hint={trial.lease_expires_at ? `lease until ${clock(trial.lease_expires_at)}` : `attempt ${trial.attempt}`}
          >
            {trial.worker}
          </Fact>
        )}
        {typeof trial.why.parent === "number" && (
          <Fact name="branched from" hint={`at step ${shownValue(trial.why.from_step)}`}>
            <TextLink
              to="/studies/$study/trials/$number"
              params={{ study: study.id, number: String(trial.why.parent) }}
              search={(old) => old}
            >
              {`trial ${trial.why.parent}`}
            </TextLink>
          </Fact>
        )}
        {trial.checkpoint && (
          <Fact name="checkpoint" hint={`step ${trial.checkpoint.step}`}>
            <code style={{ fontSize: 13 }}>{trial.checkpoint.uri.slice(0, 80)}</code>
          </Fact>
        )}
      </dl>
    </div>
  );
}

/** The step from which another run can go on in place of this one; null where none can. */
function fork(trial: Trial, study: Study): number | null {
  const resumed = resource(study);
  const step = trial.checkpoint?.step ?? null;
  return resumed?.kind === "resumable" && step !== null && step < resumed.max ? step : null;
}

/** The same parameters, edited, as a trial of its own; where there is a checkpoint, it may go on from there. */
function Variation({ trial, study }: { trial: Trial; study: Study }) {
  const enqueue = useEnqueue(study.id);
  const from = fork(trial, study);
  const [branch, setBranch] = useState(false);
  const [text, setText] = useState<string | null>(null);
  const [fault, setFault] = useState<string | null>(null);
  const submit = () => {
    try {
      const params = JSON.parse(text ?? "") as Record<string, unknown>;
      enqueue.mutate(branch && from !== null ? { params, parent: trial.number } : { params }, {
        onSuccess: () => setText(null),
        onError: (error) => setFault(error.message),
      });
    } catch (error) {
      setFault(`No JSON: ${(error as Error).message}`);
    }
  };
  if (text === null) {
    return (
      <Button size="xs" variant="default" onClick={() => setText(JSON.stringify(trial.params, null, 2))}>
        Vary …
      </Button>
    );
  }
  return (
    <Stack gap={6} w="100%">
      <Textarea
        label="Parameters of the new trial, as JSON"
        autosize
        minRows={4}
        maxRows={16}
        value={text}
        error={fault}
        onChange={(event) => {
          setText(event.currentTarget.value);
          setFault(null);
        }}
        styles={{ input: { fontFamily: "ui-monospace, monospace", fontSize: 13 } }}
      />
      {from !== null && (
        <Switch
          size="xs"
          label={`Go on from the checkpoint at step ${from}`}
          checked={branch}
          onChange={(event) => setBranch(event.currentTarget.checked)}
        />
      )}
      <Group gap="xs">
        <Button size="xs" onClick={submit} loading={enqueue.isPending}>
          Enqueue
        </Button>
        <Button size="xs" variant="default" onClick={() => setText(null)}>
          Leave it
        </Button>
      </Group>
    </Stack>
  );
}

function Parameters({ trial, study }: { trial: Trial; study: Study }) {
  const given = study.space.map((item) => String(item.name)).filter((name) => name in trial.params);
  const rest = Object.keys(trial.params).filter((name) => !given.includes(name));
  return (
    <Panel title="Parameters">
      <div
        className="scroll"
        style={{ maxHeight: 420, overflowY: "auto" }}
        tabIndex={given.length > 10 ? 0 : undefined}
      >
        <table className="plain">
          <tbody>
            {[...given, ...rest].map((name) => (
              <tr key={name}>
                <td className="clip" style={{ maxWidth: 180 }} title={name}>
                  {name}
                </td>
                <td className="num" title={JSON.stringify(trial.params[name])}>
                  {typeof trial.params[name] === "number"
                    ? shown(trial.params[name] as number, 6)
                    : shownValue(trial.params[name])}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

function NotesPanel({ trial, study }: { trial: Trial; study: Study }) {
  const change = useTrialChange(study.id);
  const [draft, setDraft] = useState<string | null>(null);
  const save = () =>
    change.mutate({ trial: trial.id, patch: { notes: draft ?? "" } }, { onSuccess: () => setDraft(null) });
  return (
    <Panel
      title="Notes"
      controls={
        draft === null && (
          <Button size="compact-xs" variant="subtle" onClick={() => setDraft(trial.notes)}>
            {trial.notes ? "Edit" : "Write"}
          </Button>
        )
      }
    >
      <Stack gap="xs">
        {draft === null ? (
          trial.notes ? (
            <div className="markdown">
              <Suspense fallback={<Text size="sm">{trial.notes}</Text>}>
                <Markdown disallowedElements={["img"]} unwrapDisallowed>
                  {trial.notes}
                </Markdown>
              </Suspense>
            </div>
          ) : (
            <Text size="sm" c="dimmed">
              Nothing written yet. Markdown is understood.
            </Text>
          )
        ) : (
          <>
            <Textarea
              aria-label="Notes"
              autosize
              minRows={4}
              value={draft}
              onChange={(event) => setDraft(event.currentTarget.value)}
            />
            <Group gap="xs">
              <Button size="xs" onClick={save} loading={change.isPending}>
                Save
              </Button>
              <Button size="xs" variant="default" onClick={() => setDraft(null)}>
                Leave it
              </Button>
            </Group>
          </>
        )}
        <TagsInput
          label="Tags"
          value={trial.tags}
          onChange={(tags) => change.mutate({ trial: trial.id, patch: { tags } })}
          placeholder="add one"
        />
      </Stack>
    </Panel>
  );
}

// ── curves, with the schedules that produced them ───────────────────────────────────────────────────────────────────

const PLACES = 160;
const NONE: Schemas["CurveOut"][] = [];

function schedulesOf(study: Study, trial: Trial): [string, Schedule][] {
  return study.space
    .filter((item) => item.type === "schedule")
    .map((item): [string, unknown] => [String(item.name), trial.params[String(item.name)]])
    .filter((pair): pair is [string, Schedule] => typeof pair[1] === "object" && pair[1] !== null);
}

/** The values of a schedule along the run; null where it has none. */
function planned(schedule: Schedule, total: number): [number, number][] | null {
  const points = Array.from({ length: PLACES + 1 }, (_, i): [number, number | null] => {
    const step = (i * total) / PLACES;
    return [step, valueAt(schedule, step)];
  }).filter((point): point is [number, number] => point[1] !== null);
  return points.length ? points : null;
}

function TrialCurves({ trial, study }: { trial: Trial; study: Study }) {
  const { tokens } = useTokens();
  const query = useQuery(trialCurvesQuery(study.id, trial.id));
  const [name, schedule] = schedulesOf(study, trial)[0] ?? [null, null];
  const total = Number(schedule?.total_steps ?? resource(study)?.max ?? 1);
  const plan = useMemo(() => schedule && planned(schedule, total), [schedule, total]);
  const all = query.data?.curves ?? NONE;
  const [chosen, setChosen] = useState<string[] | null>(null);
  const metrics = chosen ?? alike(all, objective(study).metric);
  const drawn = metrics.join("\n");
  const curves = useMemo(() => all.filter((curve) => drawn.split("\n").includes(curve.metric)), [all, drawn]);
  const option = useMemo(
    () => query.data && curvesOption(curves, plan, name, resource(study), total, tokens),
    [query.data, curves, plan, name, study, total, tokens],
  );
  if (!query.data || !option) {
    return (
      <Panel title="Curves">
        <Instead query={query} what="curves" />
      </Panel>
    );
  }
  return (
    <Chart
      name={`curves-${trial.number}`}
      title={name ? `Curves, and ${name}` : "Curves"}
      label={`Curves of ${metrics.join(", ")}${name ? `, over the schedule ${name}` : ""}`}
      height={360}
      option={option}
      csv={() =>
        csv(
          ["metric", "step", "value", "seconds"],
          all.flatMap((curve) => curve.points.map((p) => [curve.metric, p.step, number(p.value), p.elapsed])),
        )
      }
      controls={
        all.length > 1 && (
          <MultiSelect
            size="xs"
            maw={320}
            aria-label="Metrics"
            data={all.map((curve) => curve.metric)}
            value={metrics}
            onChange={setChosen}
            maxValues={8}
            searchable
          />
        )
      }
    >
      <div className="legend">
        {curves.map((curve, i) => (
          <span key={curve.metric}>
            <i className="dot" style={{ background: tokens.series[i % tokens.series.length] }} />
            {curve.metric}
          </span>
        ))}
        {name && (
          <span>
            <i className="dot" style={{ background: tokens.dimmed, opacity: 0.4 }} />
            {name}
          </span>
        )}
      </div>
    </Chart>
  );
}

function curvesOption(
  curves: Schemas["CurveOut"][],
  plan: [number, number][] | null,
  name: string | null,
  unit: { name: string; max: number } | null,
  total: number,
  tokens: Tokens,
): Option {
  const perStep = (unit?.max ?? total) / total; // a schedule counts optimizer steps, a curve the study's own
  return {
    grid: { left: 62, right: plan ? 58 : 18, top: 12, bottom: 44 },
    tooltip: tooltip(tokens, {
      trigger: "axis",
      formatter: (items: { seriesName: string; value: number[] }[]) =>
        lines(
          `${unit?.name ?? "step"} ${shown(items[0]?.value[0])}`,
          ...items.map((item) => `${item.seriesName} ${shown(item.value[1])}`),
        ),
    }),
    xAxis: valueAxis(tokens, {
      name: unit?.name ?? "step",
      nameGap: 26,
      min: 0,
      max: unit?.max,
      splitLine: { show: false },
    }),
    yAxis: [
      valueAxis(tokens, { nameGap: 46 }),
      ...(plan
        ? [
            valueAxis(tokens, {
              position: "right",
              name: name ?? "",
              nameGap: 42,
              splitLine: { show: false },
              scale: false,
              min: 0,
            }),
          ]
        : []),
    ],
    dataZoom: [{ type: "inside", xAxisIndex: 0, filterMode: "none" }],
    series: [
      ...curves.map((curve, i) => ({
        type: "line",
        id: `m-${i}`,
        name: curve.metric,
        data: curve.points.flatMap((point) => {
          const value = number(point.value);
          return value !== null && Number.isFinite(value) ? [[point.step, value]] : [];
        }),
        showSymbol: curve.points.length < 60,
        symbolSize: 4,
        lineStyle: { width: 2, color: tokens.series[i % tokens.series.length] },
        itemStyle: { color: tokens.series[i % tokens.series.length] },
      })),
      ...(plan
        ? [
            {
              type: "line",
              id: "schedule",
              name: name ?? "schedule",
              yAxisIndex: 1,
              data: plan.map(([step, value]) => [step * perStep, value]),
              showSymbol: false,
              z: 1,
              lineStyle: { width: 1.5, color: tokens.dimmed, opacity: 0.7 },
              itemStyle: { color: tokens.dimmed },
              areaStyle: { color: tokens.dimmed, opacity: 0.1 },
            },
          ]
        : []),
    ],
  };
}

function Events({ trial, study }: { trial: Trial; study: Study }) {
  const query = useQuery(eventsQuery(study.id, trial.number));
  if (!query.data) return <Panel title="What happened">{<Instead query={query} what="events" />}</Panel>;
  const items = query.data.items.filter((event) => event.kind !== "trial.reported").reverse();
  const reports = query.data.items.length - items.length;
  return (
    <Panel title="What happened">
      <div className="scroll">
        <table className="plain">
          <tbody>
            {items.map((event) => (
              <tr key={event.id}>
                <td style={{ whiteSpace: "nowrap", color: "var(--dimmed)" }}>{clock(event.at)}</td>
                <td style={{ whiteSpace: "nowrap" }}>{event.kind.replace("trial.", "")}</td>
                <td style={{ color: "var(--dimmed)" }}>{words(event.data)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {reports > 0 && (
        <Text size="xs" c="dimmed" mt={6}>
          and {reports} reports
        </Text>
      )}
    </Panel>
  );
}

function words(data: Record<string, unknown>): string {
  return Object.entries(data)
    .filter(([, value]) => value !== null && !(typeof value === "object" && Object.keys(value as object).length === 0))
    .map(([name, value]) => `${name.replaceAll("_", " ")} ${typeof value === "object" ? JSON.stringify(value) : value}`)
    .join(" · ")
    .slice(0, 400);
}
