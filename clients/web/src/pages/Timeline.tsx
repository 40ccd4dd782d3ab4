/** Who trained what, when: runs, pauses, thaws and lost leases. */
import { Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useCallback, useMemo } from "react";
import type { Schemas } from "../api/client";
import { timelineQuery } from "../api/queries";
import { Chart, type Instance, lines, tooltip, valueAxis } from "../components/Chart";
import { Empty, Instead } from "../components/parts";
import { useTokens } from "../components/tokens";
import { csv, duration, plural } from "../lib/format";
import type { Tokens } from "../lib/palette";
import { studyRoute } from "../router";
import { useStudy } from "./Study";

type Span = Schemas["Span"];
const MOST_WORKERS = 40;

/** What the end of a span is coloured by. */
function colourOf(span: Span, tokens: Tokens): string {
  const { states } = tokens;
  if (span.ending === null) return states.RUNNING;
  const known: Record<string, string> = {
    paused: states.PAUSED,
    completed: states.COMPLETED,
    pruned: states.PRUNED,
    failed: states.FAILED,
    infeasible: states.INFEASIBLE,
    lost: states.FAILED,
  };
  return known[span.ending] ?? tokens.dimmed;
}

export function TimelineTab() {
  const study = useStudy();
  const { tokens } = useTokens();
  const query = useQuery(timelineQuery(study.id));
  const spans = useMemo(() => query.data?.spans ?? [], [query.data]);
  const workers = useMemo(() => [...new Set(spans.map((span) => span.worker))].slice(-MOST_WORKERS), [spans]);
  const height = Math.max(220, 90 + 26 * workers.length);
  const option = useMemo(() => {
    const now = Date.now();
    const kept = spans.filter((span) => workers.includes(span.worker));
    return {
      grid: { left: 8, right: 18, top: 10, bottom: 52, containLabel: true },
      tooltip: tooltip(tokens, { formatter: (item: { dataIndex: number }) => lines(...told(kept[item.dataIndex]!)) }),
      xAxis: valueAxis(tokens, { type: "time", min: "dataMin", splitLine: { show: false } }),
      yAxis: {
        type: "category",
        data: workers,
        axisLabel: { color: tokens.text, width: 150, overflow: "truncate", fontSize: 11 },
        axisTick: { show: false },
        axisLine: { show: false },
      },
      dataZoom: [
        { type: "inside", xAxisIndex: 0, filterMode: "weakFilter" },
        {
          type: "slider",
          xAxisIndex: 0,
          height: 16,
          bottom: 8,
          filterMode: "weakFilter",
          showDetail: false,
          brushSelect: false,
        },
      ],
      series: [
        {
          type: "custom",
          id: "spans",
          clip: true,
          encode: { x: [0, 1], y: 2 },
          data: kept.map((span) => ({
            value: [
              Date.parse(span.begin),
              span.end ? Date.parse(span.end) : now,
              workers.indexOf(span.worker),
              span.trial,
            ],
            itemStyle: { color: colourOf(span, tokens) },
          })),
          renderItem: (params: { dataIndex: number; coordSys: { x: number; width: number } }, api: Drawing) =>
            drawn(kept[params.dataIndex]!, api, tokens),
        },
      ],
    };
  }, [spans, workers, tokens]);
  const onReady = useOpening();
  if (!query.data) return <Instead query={query} what="the timeline" />;
  if (spans.length === 0)
    return <Empty title="Nobody has trained yet">Every lease that a worker takes becomes a bar here.</Empty>;
  return (
    <Chart
      name="timeline"
      title="Timeline of workers"
      label={`${plural(spans.length, "lease")} of ${plural(workers.length, "worker")}, the latest`}
      height={height}
      option={option}
      onReady={onReady}
      csv={() =>
        csv(
          ["worker", "trial", "begin", "end", "how", "ending", "from_step", "until_step"],
          spans.map((s) => [s.worker, s.trial, s.begin, s.end, s.how, s.ending, s.from_step, s.until_step]),
        )
      }
    >
      <Legend tokens={tokens} />
      <Text size="xs" c="dimmed" mt={4}>
        {`The latest ${plural(spans.length, "lease")}. A bar with an edge at its left was thawed. Wheel and drag to look closer; click a bar for its trial.`}
      </Text>
    </Chart>
  );
}

type Drawing = {
  value: (i: number) => number;
  coord: (p: number[]) => [number, number];
  size: (p: number[]) => number[];
  visual: (name: string) => string;
};

function drawn(span: Span, api: Drawing, tokens: Tokens): unknown {
  const [from, y] = api.coord([api.value(0), api.value(2)]);
  const [to] = api.coord([api.value(1), api.value(2)]);
  const height = Math.min(18, api.size([0, 1])[1]! * 0.7);
  const width = Math.max(2, to - from);
  const bar = {
    type: "rect",
    shape: { x: from, y: y - height / 2, width, height, r: 3 },
    style: { fill: colourOf(span, tokens), opacity: 0.88 },
  };
  const thawed = {
    type: "rect",
    shape: { x: from, y: y - height / 2, width: Math.min(3, width), height },
    style: { fill: tokens.text, opacity: 0.9 },
  };
  const lost = {
    type: "text",
    style: { text: "×", x: from + width + 2, y: y - 8, fill: tokens.states.FAILED, font: "bold 16px sans-serif" },
  };
  const number = {
    type: "text",
    style: { text: String(span.trial), x: from + 5, y: y - 5, fill: tokens.ground, font: "10px sans-serif" },
  };
  const children = [
    bar,
    ...(span.how === "resumed" ? [thawed] : []),
    ...(span.ending === "lost" ? [lost] : []),
    ...(width > 26 ? [number] : []),
  ];
  return { type: "group", children };
}

function told(span: Span): string[] {
  const seconds = ((span.end ? Date.parse(span.end) : Date.now()) - Date.parse(span.begin)) / 1000;
  return [
    `trial ${span.trial} · ${span.worker}`,
    `${span.how} at step ${span.from_step}${span.until_step ? `, granted up to ${span.until_step}` : ""}`,
    span.ending ? `${span.ending} after ${duration(seconds)}` : `training for ${duration(seconds)}`,
  ];
}

function Legend({ tokens }: { tokens: Tokens }) {
  const items: [string, string][] = [
    ["training", tokens.states.RUNNING],
    ["paused", tokens.states.PAUSED],
    ["completed", tokens.states.COMPLETED],
    ["pruned", tokens.states.PRUNED],
    ["failed or lost ×", tokens.states.FAILED],
  ];
  return (
    <div className="legend">
      {items.map(([name, colour]) => (
        <span key={name}>
          <i className="dot" style={{ background: colour }} />
          {name}
        </span>
      ))}
    </div>
  );
}

function useOpening(): (instance: Instance) => () => void {
  const navigate = useNavigate();
  const { study } = studyRoute.useParams();
  return useCallback(
    (instance: Instance) => {
      const open = (event: { value?: unknown }) => {
        const trial = Array.isArray(event.value) ? event.value[3] : undefined;
        if (typeof trial === "number") {
          void navigate({
            to: "/studies/$study/trials/$number",
            params: { study, number: String(trial) },
            search: (old) => old,
          });
        }
      };
      instance.on("click", open as never);
      return () => void instance.off("click", open as never);
    },
    [navigate, study],
  );
}
