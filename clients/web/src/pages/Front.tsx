/** What several objectives trade against each other. */
import { Group, Select, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { number } from "../api/client";
import { paretoQuery, sampleQuery } from "../api/queries";
import { Chart, lines, tooltip, valueAxis } from "../components/Chart";
import { Instead, Panel, TextLink } from "../components/parts";
import { useTokens } from "../components/tokens";
import { csv, plural, shown, shownValue } from "../lib/format";
import { hypervolumes, satisfied } from "../lib/pareto";
import { objectives } from "../lib/study";
import { useStudy, useView } from "./Study";

export function FrontTab() {
  return (
    <div className="grid">
      <div className="two-thirds">
        <FrontChart />
      </div>
      <div className="third">
        <Hypervolume />
      </div>
      <div>
        <FrontTable />
      </div>
    </div>
  );
}

function useValues() {
  const study = useStudy();
  const { filter } = useView();
  const sample = useQuery(sampleQuery(study.id, filter, 2_000));
  const metrics = objectives(study).map((item) => item.metric);
  const column = (metric: string): (number | null)[] => {
    if (!sample.data) return [];
    return (metric === metrics[0] ? sample.data.objective : (sample.data.values[metric] ?? [])).map(number);
  };
  return { study, sample, metrics, column };
}

function FrontChart() {
  const { study, sample, metrics, column } = useValues();
  const { tokens } = useTokens();
  const front = useQuery(paretoQuery(study.id));
  const [pair, setPair] = useState<[string, string]>([metrics[0]!, metrics[1] ?? metrics[0]!]);
  const points = useMemo(() => {
    if (!sample.data) return [];
    const [xs, ys] = [column(pair[0]), column(pair[1])];
    const constrained = study.outcome_constraints.map((text) => ({
      text,
      values: column(text.split(/\s*(?:<=|>=)/)[0]!.trim()),
    }));
    return sample.data.number.map((trial, i) => ({
      trial,
      x: xs[i] ?? null,
      y: ys[i] ?? null,
      feasible: constrained.every(({ text, values }) => satisfied(text, values[i] ?? null)),
    }));
  }, [sample.data, pair, study, column]);
  const best = useMemo(
    () =>
      (front.data?.items ?? [])
        .map((item) => [item.values[pair[0]]!, item.values[pair[1]]!, item.trial.number])
        .sort((a, b) => a[0]! - b[0]!),
    [front.data, pair],
  );
  const option = useMemo(
    () => ({
      grid: { left: 62, right: 18, top: 12, bottom: 44 },
      tooltip: tooltip(tokens, {
        formatter: (item: { value: number[] }) =>
          lines(`trial ${item.value[2]}`, `${pair[0]} ${shown(item.value[0])}`, `${pair[1]} ${shown(item.value[1])}`),
      }),
      xAxis: valueAxis(tokens, { name: pair[0], nameGap: 26 }),
      yAxis: valueAxis(tokens, { name: pair[1], nameGap: 46 }),
      series: [
        dots(
          "within",
          points.filter((p) => p.feasible),
          tokens.states.RUNNING,
          "circle",
        ),
        dots(
          "outside",
          points.filter((p) => !p.feasible),
          tokens.states.FAILED,
          "path://M0,0L10,10M10,0L0,10",
        ),
        {
          type: "line",
          id: "front",
          step: metrics.length === 2 ? "end" : false,
          data: best,
          symbolSize: 8,
          lineStyle: { color: tokens.best, width: 2 },
          itemStyle: { color: tokens.best },
          z: 5,
        },
      ],
    }),
    [points, best, pair, tokens, metrics.length],
  );
  if (!sample.data) return <Panel title="Trade-offs">{<Instead query={sample} what="trials" />}</Panel>;
  const choice = (which: 0 | 1) => (
    <Select
      size="xs"
      w={140}
      aria-label={which === 0 ? "Across" : "Up"}
      data={metrics}
      value={pair[which]}
      allowDeselect={false}
      onChange={(metric) => metric && setPair(which === 0 ? [metric, pair[1]] : [pair[0], metric])}
    />
  );
  return (
    <Chart
      name="trade-offs"
      title="Trade-offs"
      label={`${plural(best.length, "trial")} that no other dominates, of ${points.length}`}
      height={400}
      option={option}
      csv={() =>
        csv(
          ["trial", pair[0], pair[1], "feasible"],
          points.map((p) => [p.trial, p.x, p.y, p.feasible ? 1 : 0]),
        )
      }
      controls={
        <Group gap={6}>
          {choice(0)}
          {choice(1)}
        </Group>
      }
    >
      <div className="legend">
        <span>
          <i className="dot" style={{ background: tokens.best }} /> not dominated
        </span>
        <span>
          <i className="dot" style={{ background: tokens.states.RUNNING }} /> other trials
        </span>
        {study.outcome_constraints.length > 0 && (
          <span style={{ color: tokens.states.FAILED }}>× outside {study.outcome_constraints.join(", ")}</span>
        )}
      </div>
    </Chart>
  );
}

type Dot = { trial: number; x: number | null; y: number | null };

function dots(id: string, points: Dot[], color: string, symbol: string) {
  return {
    type: "scatter",
    id,
    symbol,
    symbolSize: 7,
    data: points.flatMap((p) =>
      p.x !== null && p.y !== null && Number.isFinite(p.x) && Number.isFinite(p.y) ? [[p.x, p.y, p.trial]] : [],
    ),
    itemStyle: { color, borderColor: color, borderWidth: symbol === "circle" ? 0 : 1.5, opacity: 0.6 },
  };
}

function Hypervolume() {
  const { study, sample, metrics, column } = useValues();
  const { tokens } = useTokens();
  const front = useQuery(paretoQuery(study.id));
  const reference = front.data?.reference;
  const line = useMemo(() => {
    if (!sample.data || !reference || metrics.length !== 2) return [];
    const columns = metrics.map(column);
    const signs = objectives(study).map((item) => (item.direction === "maximize" ? -1 : 1));
    const limits = study.outcome_constraints.map((text) => ({
      text,
      values: column(text.split(/\s*(?:<=|>=)/)[0]!.trim()),
    }));
    const rows = sample.data.number.map((_, i) => {
      const row = columns.map((values, j) =>
        values[i] === null || values[i] === undefined ? Number.NaN : signs[j]! * values[i]!,
      );
      return limits.every(({ text, values }) => satisfied(text, values[i] ?? null)) ? row : [Number.NaN, Number.NaN];
    });
    const point = metrics.map((metric, j) => signs[j]! * reference[metric]!);
    return hypervolumes(rows as [number, number][], point as [number, number]).map((volume, i) => [
      sample.data!.number[i]! + 1,
      volume,
    ]);
  }, [sample.data, reference, metrics, column, study]);
  const option = useMemo(
    () => ({
      grid: { left: 62, right: 14, top: 12, bottom: 44 },
      tooltip: tooltip(tokens, {
        trigger: "axis",
        formatter: (items: { value: number[] }[]) =>
          lines(`after ${shown(items[0]?.value[0])} trials`, shown(items[0]?.value[1])),
      }),
      xAxis: valueAxis(tokens, { name: "trials", nameGap: 26, scale: false }),
      yAxis: valueAxis(tokens, { scale: false }),
      series: [
        {
          type: "line",
          id: "volume",
          step: "end",
          showSymbol: false,
          data: line,
          lineStyle: { color: tokens.accent, width: 2 },
          areaStyle: { color: tokens.accent, opacity: 0.12 },
        },
      ],
    }),
    [line, tokens],
  );
  if (!front.data)
    return (
      <Panel title="Hypervolume">{<Instead query={front} what="the front" early="Nothing to compare yet" />}</Panel>
    );
  const words = `${shown(front.data.hypervolume)} now, R2 ${shown(front.data.r2)}, measured from ${Object.entries(
    reference ?? {},
  )
    .map(([name, value]) => `${name} ${shown(value)}`)
    .join(", ")}.`;
  if (line.length === 0) {
    return (
      <Panel title="Hypervolume">
        <Text size="sm">{words}</Text>
      </Panel>
    );
  }
  return (
    <Chart
      name="hypervolume"
      title="Hypervolume over trials"
      label={`Hypervolume: ${words}`}
      height={340}
      option={option}
      csv={() => csv(["trials", "hypervolume"], line)}
    >
      <Text size="sm">{words}</Text>
    </Chart>
  );
}

function FrontTable() {
  const study = useStudy();
  const query = useQuery(paretoQuery(study.id));
  if (!query.data)
    return (
      <Panel title="Trials that no other dominates">
        {<Instead query={query} what="the front" early="Nothing to compare yet" />}
      </Panel>
    );
  const metrics = objectives(study).map((item) => item.metric);
  const names = study.space.map((item) => String(item.name)).slice(0, 8);
  return (
    <Panel title={`${plural(query.data.total, "trial")} that no other dominates`}>
      <div className="scroll">
        <table className="plain">
          <thead>
            <tr>
              <th className="num">Trial</th>
              {metrics.map((metric) => (
                <th key={metric} className="num">
                  {metric}
                </th>
              ))}
              {names.map((name) => (
                <th key={name}>{name}</th>
              ))}
            </tr>
          </thead>
          <tbody>
            {query.data.items.slice(0, 100).map((item) => (
              <tr key={item.trial.id}>
                <td className="num">
                  <TextLink
                    to="/studies/$study/trials/$number"
                    params={{ study: study.id, number: String(item.trial.number) }}
                  >
                    {item.trial.number}
                  </TextLink>
                </td>
                {metrics.map((metric) => (
                  <td key={metric} className="num">
                    {shown(item.values[metric])}
                  </td>
                ))}
                {names.map((name) => (
                  <td key={name}>{shownValue(item.trial.params[name])}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}
