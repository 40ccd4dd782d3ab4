/** What the parameters do: all trials along parallel axes, which parameter matters, and the model along one or two. */
import { Group, Select, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useCallback, useMemo, useRef, useState } from "react";
import { number, type Schemas } from "../api/client";
import { importancesQuery, sampleQuery, sliceQuery } from "../api/queries";
import { Chart, type Instance, lines, type Option, tooltip, valueAxis } from "../components/Chart";
import { ColourBy } from "../components/CurvesChart";
import { Legend } from "../components/Legend";
import { Empty, Instead, Panel } from "../components/parts";
import { useTokens } from "../components/tokens";
import { bounded, type Filter } from "../lib/filter";
import { csv, plural, shown } from "../lib/format";
import { continuous, gradient, type Tokens } from "../lib/palette";
import { type Axis, axesOf, colouring, rowsOf, valueOn } from "../lib/scale";
import { FEWEST, isCompared, objective, telling } from "../lib/study";
import { useStudy, useView } from "./Study";

export function ParametersTab() {
  const study = useStudy();
  if (study.trials === 0)
    return <Empty title="No trials yet">Their parameters are drawn here as soon as there are some.</Empty>;
  return (
    <div className="grid">
      <div>
        <Parallel />
      </div>
      <div className="half">
        <Importances />
      </div>
      <div className="half">{isCompared(study) ? null : <Slice />}</div>
    </div>
  );
}

/** As many axes as can be told apart; a study may have hundreds of parameters. */
const MOST_AXES = 14;

function Parallel() {
  const study = useStudy();
  const { filter, search, setFilter } = useView();
  const { tokens, scheme } = useTokens();
  const query = useQuery(sampleQuery(study.id, filter, 1_000));
  const axes = useMemo(() => axesOf(study.space), [study.space]);
  const shownAxes = axes.slice(0, MOST_AXES);
  const metric = objective(study).metric;
  const by = search.colour ?? "objective";
  const data = query.data;
  const { option, legend } = useMemo(() => {
    if (!data) return { option: null, legend: null };
    const rows = rowsOf(data);
    const values = data.objective.map(number);
    const colours = colouring(by, axes, { state: data.state, objective: values, params: rows }, scheme);
    return {
      option: parallelOption(shownAxes, metric, rows, values, colours.of, tokens, data.number),
      legend: colours.legend,
    };
  }, [data, by, axes, shownAxes, scheme, tokens, metric]);
  const onReady = useBrushing(shownAxes, filter, setFilter);
  if (!option || !data) {
    return (
      <Panel title="Parallel coordinates">
        <Instead query={query} what="trials" />
      </Panel>
    );
  }
  return (
    <Chart
      name="parallel-coordinates"
      title="Parallel coordinates"
      label={`${plural(data.number.length, "trial")} of ${data.matched} along ${plural(shownAxes.length, "parameter")} and ${metric}`}
      height={360}
      option={option}
      onReady={onReady}
      csv={() =>
        csv(
          ["trial", ...axes.map((axis) => axis.name), metric],
          rowsOf(data).map((row, i) => [data.number[i], ...axes.map((axis) => row[axis.name]), data.objective[i]]),
        )
      }
      controls={<ColourBy otherwise="objective" />}
    >
      {legend && <Legend legend={legend} name={by} />}
      <Text size="xs" c="dimmed" mt={4}>
        {`${data.matched > data.number.length ? `${data.number.length} of ${data.matched} trials, the best among them. ` : ""}Drag along an axis to choose a range; it goes into the filter.`}
        {axes.length > MOST_AXES && ` The first ${MOST_AXES} of ${axes.length} parameters.`}
      </Text>
    </Chart>
  );
}

function parallelOption(
  axes: Axis[],
  metric: string,
  rows: Record<string, unknown>[],
  values: (number | null)[],
  colour: (i: number) => string,
  tokens: Tokens,
  numbers: number[],
): Option {
  const finite = values.filter((value): value is number => value !== null && Number.isFinite(value));
  const text = { color: tokens.text, fontSize: 11 };
  const style = {
    nameTextStyle: text,
    nameTruncate: { maxWidth: 110 },
    axisLabel: {
      color: tokens.dimmed,
      fontSize: 10,
      formatter: (value: unknown) => (typeof value === "number" ? shown(value, 3) : String(value).slice(0, 14)),
    },
    axisLine: { lineStyle: { color: tokens.dimmed } },
    axisTick: { show: false },
    areaSelectStyle: { width: 18, borderColor: tokens.accent, color: tokens.accent, opacity: 0.25 },
  };
  return {
    parallel: { left: 50, right: 60, top: 34, bottom: 22, axisExpandable: false },
    parallelAxis: [
      ...axes.map((axis, dim) =>
        axis.kind === "number"
          ? {
              id: axisId(dim),
              dim,
              name: axis.name,
              type: axis.log ? "log" : "value",
              min: axis.low,
              max: axis.high,
              realtime: false,
              ...style,
            }
          : {
              id: axisId(dim),
              dim,
              name: axis.name,
              type: "category",
              data: [...axis.names],
              realtime: false,
              ...style,
            },
      ),
      {
        id: axisId(axes.length),
        dim: axes.length,
        name: metric,
        type: "value",
        scale: true,
        realtime: false,
        ...style,
        min: Math.min(...finite),
        max: Math.max(...finite),
      },
    ],
    series: [
      {
        type: "parallel",
        id: "trials",
        smooth: false,
        progressive: 400,
        inactiveOpacity: 0.03,
        activeOpacity: 0.8,
        data: rows.flatMap((row, i) => {
          const value = values[i];
          if (value === null || value === undefined || !Number.isFinite(value)) return [];
          const places = axes.map((axis) => valueOn(axis, row) ?? "-");
          return [
            {
              value: [...places, value],
              name: String(numbers[i]),
              lineStyle: { color: colour(i), opacity: 0.5, width: 1.2 },
            },
          ];
        }),
      },
    ],
  };
}

/** A range dragged along an axis becomes a condition of the filter. */
function useBrushing(
  axes: Axis[],
  filter: Filter,
  setFilter: (filter: Filter) => void,
): (instance: Instance) => () => void {
  const now = useRef({ axes, filter, setFilter });
  now.current = { axes, filter, setFilter };
  return useCallback((instance: Instance) => {
    const selected = (event: unknown) => {
      const { axes, filter, setFilter } = now.current;
      const { dim, interval } = readAreas(event);
      const axis = axes[dim];
      if (!axis) {
        const { at_least: _a, at_most: _b, ...rest } = filter;
        setFilter(interval ? { ...rest, at_least: interval[0], at_most: interval[1] } : rest);
      } else if (axis.kind === "number") {
        setFilter(bounded(filter, axis.name, interval ? { low: interval[0], high: interval[1] } : null));
      } else {
        const names = interval ? axis.names.filter((_, i) => i >= interval[0] - 0.5 && i <= interval[1] + 0.5) : [];
        setFilter(
          bounded(filter, axis.name, names.length && names.length < axis.names.length ? { in: [...names] } : null),
        );
      }
    };
    instance.on("axisareaselected", selected);
    return () => void instance.off("axisareaselected", selected);
  }, []);
}

function readAreas(event: unknown): { dim: number; interval: [number, number] | null } {
  const { parallelAxisId, intervals } = event as { parallelAxisId: string; intervals: [number, number][] };
  return { dim: Number(parallelAxisId.split("-")[1]), interval: intervals[0] ?? null };
}

function axisId(dim: number): string {
  return `axis-${dim}`;
}

// ── importances ─────────────────────────────────────────────────────────────────────────────────────────────────────

function Importances() {
  const study = useStudy();
  const { tokens } = useTokens();
  const [method, setMethod] = useState("auto");
  const early = telling(study) < FEWEST;
  const query = useQuery({ ...importancesQuery(study.id, method), enabled: !early });
  const data = query.data;
  const option = useMemo(() => {
    const items = Object.entries(data?.importances ?? {})
      .sort((a, b) => a[1] - b[1])
      .slice(-20);
    return {
      grid: { left: 8, right: 40, top: 6, bottom: 24, containLabel: true },
      tooltip: tooltip(tokens, {
        formatter: (item: { name: string; value: number }) => lines(item.name, shown(item.value, 3)),
      }),
      xAxis: valueAxis(tokens, { scale: false, min: 0 }),
      yAxis: {
        type: "category",
        data: items.map(([name]) => name),
        axisLabel: { color: tokens.text, width: 130, overflow: "truncate" },
        axisTick: { show: false },
        axisLine: { show: false },
      },
      series: [
        {
          type: "bar",
          id: "importances",
          data: items.map(([, value]) => value),
          barMaxWidth: 18,
          itemStyle: { color: tokens.accent, borderRadius: [0, 4, 4, 0] },
          label: {
            show: true,
            position: "right",
            color: tokens.dimmed,
            formatter: (item: { value: number }) => shown(item.value, 2),
          },
        },
      ],
    };
  }, [data, tokens]);
  const choice = (
    <Select
      size="xs"
      w={130}
      aria-label="Method"
      data={["auto", "ped_anova", "fanova", "sobol"]}
      value={method}
      onChange={(value) => setMethod(value ?? "auto")}
      allowDeselect={false}
    />
  );
  if (!data) {
    return (
      <Panel title="Which parameter matters" controls={choice}>
        {early ? (
          <Empty title="Too early to say">{`It takes ${FEWEST} trials with a value.`}</Empty>
        ) : (
          <Instead query={query} what="importances" early="Too early to say" />
        )}
      </Panel>
    );
  }
  return (
    <Chart
      name="importances"
      title="Which parameter matters"
      label={`Importances by ${data.method}: ${Object.entries(data.importances)
        .map(([name, value]) => `${name} ${shown(value, 2)}`)
        .join(", ")}`}
      height={340}
      option={option}
      csv={() => csv(["parameter", "importance"], Object.entries(data.importances))}
      controls={choice}
    >
      <Text size="xs" c="dimmed">
        {`${data.method}, from ${plural(data.observations, "observation")}${data.foretold ? `, ${data.foretold} of them foretold ends of frozen runs` : ""}: ${data.because}`}
      </Text>
    </Chart>
  );
}

// ── the model along one or two parameters ───────────────────────────────────────────────────────────────────────────

function Slice() {
  const study = useStudy();
  const { filter } = useView();
  const { tokens, scheme } = useTokens();
  const axes = useMemo(() => axesOf(study.space).filter((axis) => !axis.name.includes("/")), [study.space]);
  const names = axes.map((axis) => axis.name);
  const [first, setFirst] = useState<string | null>(names[0] ?? null);
  const [second, setSecond] = useState<string | null>(null);
  const [what, setWhat] = useState<string>("mean");
  const query = useQuery({
    ...sliceQuery(study.id, first ?? "", second),
    enabled: first !== null && telling(study) >= 2,
  });
  const sample = useQuery(sampleQuery(study.id, filter, 1_000));
  const metric = objective(study).metric;
  const data = query.data;
  const axis = axes.find((item) => item.name === first);
  const other = axes.find((item) => item.name === second);
  const option = useMemo(() => {
    const predicted = data?.metrics?.[metric];
    if (!data || !predicted || !axis) return null;
    const trials = sample.data
      ? { rows: rowsOf(sample.data), values: sample.data.objective.map(number), numbers: sample.data.number }
      : null;
    return other && data.axes?.length === 2
      ? mapOption(data, what === "sd" ? predicted.sd : predicted.mean, [axis, other], trials, tokens, scheme)
      : sliceOption(data, predicted, axis, metric, trials, tokens);
  }, [data, sample.data, axis, other, metric, what, tokens, scheme]);
  const controls = (
    <Group gap={6}>
      <Select
        size="xs"
        w={120}
        aria-label="Along"
        data={names}
        value={first}
        onChange={setFirst}
        allowDeselect={false}
        searchable
      />
      <Select
        size="xs"
        w={120}
        aria-label="And along"
        placeholder="and …"
        data={names.filter((name) => name !== first)}
        value={second}
        onChange={setSecond}
        clearable
        searchable
      />
      {second && (
        <Select
          size="xs"
          w={100}
          aria-label="What is shown"
          data={[
            { value: "mean", label: "mean" },
            { value: "sd", label: "deviation" },
          ]}
          value={what}
          onChange={(value) => setWhat(value ?? "mean")}
          allowDeselect={false}
        />
      )}
    </Group>
  );
  if (!option || !data) {
    return (
      <Panel title="What the model expects" controls={controls}>
        {telling(study) < 2 ? (
          <Empty title="Too early to say">It takes two trials with a value.</Empty>
        ) : (
          <Instead query={query} what="what the model expects" early="Too early to say" />
        )}
      </Panel>
    );
  }
  return (
    <Chart
      key={second ? "map" : "slice"}
      name="slice"
      title="What the model expects"
      label={`The model's mean and deviation of ${metric} along ${[first, second].filter(Boolean).join(" and ")}, through the best trial`}
      height={340}
      option={option}
      csv={() => {
        const predicted = data.metrics?.[metric];
        const along = [first, second].filter((name): name is string => name !== null);
        return csv(
          [...along, "mean", "sd"],
          (data.points ?? []).map((point, i) => [
            ...along.map((name) => point[name]),
            predicted?.mean[i],
            predicted?.sd[i],
          ]),
        );
      }}
      controls={controls}
    >
      <Text size="xs" c="dimmed">
        {`Through the best trial; other parameters stay as they are there. ${data.foretold ? `${plural(data.foretold, "frozen run")} count with where they will end. ` : ""}${second ? "Points are trials." : "The band is ± 2 deviations, points are trials."}`}
      </Text>
    </Chart>
  );
}

type Trials = { rows: Record<string, unknown>[]; values: (number | null)[]; numbers: number[] } | null;

function sliceOption(
  data: Schemas["PredictionsOut"],
  predicted: Schemas["Predicted"],
  axis: Axis,
  metric: string,
  trials: Trials,
  tokens: Tokens,
): Option {
  const at = (data.axes?.[0]?.values ?? []).map((value, i) => (axis.kind === "number" ? Number(value) : i));
  const means = predicted.mean.map(number);
  const sds = predicted.sd.map(number);
  const band = [
    ...at.map((x, i) => [x, means[i]! + 2 * sds[i]!]),
    ...at.map((x, i) => [x, means[i]! - 2 * sds[i]!]).reverse(),
  ];
  const dots = (trials?.rows ?? []).flatMap((row, i) => {
    const [x, y] = [valueOn(axis, row), trials!.values[i]];
    return x !== null && typeof y === "number" && Number.isFinite(y) ? [[x, y, trials!.numbers[i]!]] : [];
  });
  const ys = [...means.filter((y): y is number => y !== null), ...band.map((point) => point[1]!)].sort((a, b) => a - b);
  const seen = dots.map((dot) => dot[1]!).sort((a, b) => a - b);
  const low = Math.min(ys[0]!, seen[0] ?? ys[0]!);
  const high = Math.max(
    means.reduce<number>((m, x) => Math.max(m, x ?? m), low),
    seen[Math.floor(0.85 * seen.length)] ?? low,
  );
  return {
    grid: { left: 62, right: 18, top: 12, bottom: 44 },
    tooltip: tooltip(tokens, {
      formatter: (item: { value: number[] }) =>
        lines(
          ...(item.value[2] === undefined ? [] : [`trial ${item.value[2]}`]),
          `${axis.name} ${axis.kind === "number" ? shown(item.value[0]) : axis.names[item.value[0]!]}`,
          `${metric} ${shown(item.value[1])}`,
        ),
    }),
    xAxis:
      axis.kind === "number"
        ? valueAxis(tokens, {
            type: axis.log ? "log" : "value",
            name: axis.name,
            nameGap: 26,
            min: axis.low,
            max: axis.high,
          })
        : { ...valueAxis(tokens, { name: axis.name, nameGap: 26 }), type: "category", data: [...axis.names] },
    yAxis: valueAxis(tokens, { name: metric, nameGap: 46, min: low, max: high }),
    series: [
      {
        type: "custom",
        id: "band",
        silent: true,
        clip: true,
        data: band,
        encode: { x: 0, y: 1 },
        renderItem: (params: { context: { done?: boolean } }, api: { coord: (p: unknown[]) => number[] }) => {
          if (params.context.done) return undefined;
          params.context.done = true;
          return {
            type: "polygon",
            shape: { points: band.map((point) => api.coord(point)) },
            style: { fill: tokens.accent, opacity: 0.16 },
          };
        },
      },
      {
        type: "line",
        id: "mean",
        showSymbol: axis.kind === "names",
        data: at.map((x, i) => [x, means[i]!]),
        clip: true,
        lineStyle: { color: tokens.accent, width: 2 },
        itemStyle: { color: tokens.accent },
      },
      {
        type: "scatter",
        id: "trials",
        data: dots,
        symbolSize: 5,
        clip: true,
        itemStyle: { color: tokens.text, opacity: 0.5 },
      },
    ],
  };
}

function mapOption(
  data: Schemas["PredictionsOut"],
  values: unknown[],
  [x, y]: [Axis, Axis],
  trials: Trials,
  tokens: Tokens,
  scheme: "light" | "dark",
): Option {
  const [across, up] = [data.axes![0]!.values, data.axes![1]!.values];
  const cells = values.map((value, i) => [Math.floor(i / up.length), i % up.length, number(value)!]);
  const found = cells
    .map((cell) => cell[2]!)
    .filter(Number.isFinite)
    .sort((a, b) => a - b);
  const [low, high] = [found[0] ?? 0, found[Math.floor(0.9 * (found.length - 1))] ?? 1];
  const place = (values: unknown[], axis: Axis, value: number) => {
    if (axis.kind === "names") return value;
    const numbers = values.map(Number);
    let nearest = 0;
    const f = axis.log ? Math.log : (z: number) => z;
    numbers.forEach((candidate, i) => {
      if (Math.abs(f(candidate) - f(value)) < Math.abs(f(numbers[nearest]!) - f(value))) nearest = i;
    });
    return nearest;
  };
  const dots = (trials?.rows ?? []).flatMap((row, i) => {
    const [a, b] = [valueOn(x, row), valueOn(y, row)];
    return a !== null && b !== null
      ? [[place(across, x, a), place(up, y, b), trials!.numbers[i]!, trials!.values[i] ?? Number.NaN]]
      : [];
  });
  const names = (values: unknown[]) =>
    values.map((value) => (typeof value === "number" ? shown(value, 2) : String(value)));
  const axisOf = (axis: Axis, values: unknown[], gap: number) => ({
    ...valueAxis(tokens, { name: axis.name, nameGap: gap }),
    type: "category",
    data: names(values),
    splitLine: { show: false },
  });
  return {
    grid: { left: 70, right: 86, top: 12, bottom: 44 },
    tooltip: tooltip(tokens, {
      formatter: (item: { seriesId: string; value: number[] }) =>
        item.seriesId === "trials"
          ? lines(`trial ${item.value[2]}`, shown(item.value[3]))
          : lines(
              `${x.name} ${names(across)[item.value[0]!]}, ${y.name} ${names(up)[item.value[1]!]}`,
              shown(item.value[2]),
            ),
    }),
    xAxis: axisOf(x, across, 26),
    yAxis: axisOf(y, up, 54),
    visualMap: {
      type: "continuous",
      seriesIndex: 0,
      min: low,
      max: high,
      calculable: false,
      right: 4,
      top: "middle",
      itemHeight: 180,
      itemWidth: 12,
      inRange: { color: gradient(scheme) },
      textStyle: { color: tokens.dimmed, fontSize: 10 },
      formatter: (value: unknown) => shown(Number(value), 3),
    },
    series: [
      { type: "heatmap", id: "map", data: cells, progressive: 0 },
      {
        type: "scatter",
        id: "trials",
        data: dots,
        symbolSize: 6,
        itemStyle: { color: scheme === "light" ? "#fff" : "#000", borderColor: continuous(1, scheme), borderWidth: 1 },
      },
    ],
  };
}
