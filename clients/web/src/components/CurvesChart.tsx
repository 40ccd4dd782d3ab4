/** All learning curves at once: up to a thousand, drawn in few strokes, with the one under the pointer in front. */
import { ActionIcon, Group, SegmentedControl, Select, Switch, Text, Tooltip } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { type Curve, number } from "../api/client";
import { AT_FIRST, curvesQuery, sampleQuery } from "../api/queries";
import { conditions } from "../lib/filter";
import { count, csv, plural, shown } from "../lib/format";
import { type Box, enters, near, type Point } from "../lib/near";
import { axesOf, colouring, rowsOf } from "../lib/scale";
import { metrics, objective, resource } from "../lib/study";
import { useStudy, useView } from "../pages/Study";
import { studyRoute } from "../router";
import { Chart, type Instance, type Option, valueAxis } from "./Chart";
import { BoxIcon } from "./icons";
import { Legend } from "./Legend";
import { Empty, Instead, Panel } from "./parts";
import { useTokens } from "./tokens";

/** More curves than these are drawn one pixel wide: browsers do that many times faster than any other width. */
const FEW = 100;

/** Where one curve ends and the next of its colour begins. */
const GAP: Point = [Number.NaN, Number.NaN];

type Drawn = { number: number; state: string; points: Point[]; colour: string };

export function CurvesChart({ height = 380 }: { height?: number }) {
  const study = useStudy();
  const { filter, setFilter, search, set } = useView();
  const { tokens, scheme } = useTokens();
  const known = metrics(study);
  const metric = search.metric ?? objective(study).metric;
  const [most, setMost] = useState(AT_FIRST);
  const curves = useQuery(curvesQuery(study.id, filter, search.metric, most));
  const sample = useQuery(sampleQuery(study.id, filter, most));
  const [logX, setLogX] = useState(false);
  const [scale, setScale] = useState<string>("linear");
  const by = search.colour ?? "state";

  const axes = useMemo(() => axesOf(study.space), [study.space]);
  const { drawn, legend } = useMemo(() => {
    const data = sample.data;
    if (!data || !curves.data) return { drawn: [] as Drawn[], legend: null };
    const columns = { state: data.state, objective: data.objective.map(number), params: rowsOf(data) };
    const colours = colouring(by, axes, columns, scheme);
    const index = new Map(data.number.map((n, i) => [n, i]));
    const found = curves.data.items
      .filter((curve) => curve.steps.length > 0)
      .map((curve) => ({
        number: curve.number,
        state: curve.state,
        points: points(curve),
        colour: index.has(curve.number) ? colours.of(index.get(curve.number)!) : tokens.dimmed,
      }));
    return { drawn: found, legend: colours.legend };
  }, [curves.data, sample.data, by, axes, scheme, tokens]);

  const positive = drawn.every((curve) => curve.points.every(([, y]) => y > 0));
  const log = scale === "log" && positive;
  const option = useMemo(() => curvesOption(drawn, tokens, { log, logX, unit: resource(study)?.name ?? "step", metric }), [
    drawn, tokens, log, logX, study, metric,
  ]); // biome-ignore format: one line of what it hangs on
  const [brushing, setBrushing] = useState(false);
  const chosen = (trials: number[]) => {
    setBrushing(false);
    if (trials.length) setFilter({ ...filter, number: trials });
  };
  const onReady = useHands({ drawn, log, logX, brushing, chosen });
  if (!curves.data) {
    return (
      <Panel title="Learning curves">
        <Instead query={curves} what="curves" />
      </Panel>
    );
  }
  if (drawn.length === 0) {
    return (
      <Panel title="Learning curves">
        {conditions(filter) ? (
          <Empty title="No curve passes the filter">Take a condition away to see more.</Empty>
        ) : (
          <Empty title="No curves yet">They appear as soon as a training script reports {metric}.</Empty>
        )}
      </Panel>
    );
  }
  return (
    <Chart
      name="curves"
      title="Learning curves"
      label={`${plural(drawn.length, "learning curve")} of ${metric}`}
      height={height}
      option={option}
      onReady={onReady}
      csv={() =>
        csv(
          ["trial", "state", "step", metric],
          drawn.flatMap((c) => c.points.map(([x, y]) => [c.number, c.state, x, y])),
        )
      }
      controls={
        <Group gap={8}>
          {known.length > 1 && (
            <Select
              size="xs"
              w={140}
              aria-label="Metric"
              data={known}
              value={metric}
              onChange={(value) => set({ metric: value ?? undefined })}
              allowDeselect={false}
            />
          )}
          <ColourBy />
          <SegmentedControl
            size="xs"
            aria-label="Scale of the values"
            data={[
              { value: "linear", label: "linear" },
              { value: "log", label: "log", disabled: !positive },
            ]}
            value={log ? "log" : "linear"}
            onChange={setScale}
          />
          <Switch
            size="xs"
            label="log steps"
            checked={logX}
            onChange={(event) => setLogX(event.currentTarget.checked)}
          />
          <Tooltip label="Drag a box: the curves that enter it are kept" withinPortal>
            <ActionIcon
              variant={brushing ? "filled" : "subtle"}
              color={brushing ? undefined : "gray"}
              aria-label="Choose curves by a box"
              aria-pressed={brushing}
              onClick={() => setBrushing(!brushing)}
            >
              <BoxIcon />
            </ActionIcon>
          </Tooltip>
        </Group>
      }
    >
      {legend && <Legend legend={legend} name={by} />}
      {(sample.data?.matched ?? 0) > AT_FIRST && (
        <Group gap={6} mt={4}>
          <Text size="xs" c="dimmed">
            {`${count(drawn.length)} of ${count(sample.data?.matched ?? 0)}, the best among them. At most`}
          </Text>
          <SegmentedControl
            size="xs"
            aria-label="Curves at most"
            data={["300", "1000", "3000"]}
            value={String(most)}
            onChange={(value) => setMost(Number(value))}
          />
        </Group>
      )}
    </Chart>
  );
}

/** By what trials are coloured, in every plot; `otherwise` says by what this one is as long as nobody chooses. */
export function ColourBy({ otherwise = "state" }: { otherwise?: "state" | "objective" }) {
  const study = useStudy();
  const { search, set } = useView();
  const names = ["state", "objective", ...axesOf(study.space).map((axis) => axis.name)];
  return (
    <Select
      size="xs"
      w={150}
      aria-label="Colour by"
      data={[...new Set(names)].map((name) => ({ value: name, label: `by ${name}` }))}
      value={search.colour ?? otherwise}
      onChange={(colour) => set({ colour: colour === otherwise ? undefined : (colour ?? undefined) })}
      searchable
      allowDeselect={false}
    />
  );
}

/** The finite points of a curve. */
function points(curve: Curve): Point[] {
  const found: Point[] = [];
  curve.steps.forEach((step, i) => {
    const value = number(curve.values[i]);
    if (value !== null && Number.isFinite(value)) found.push([step, value]);
  });
  return found;
}

/** Curves of one colour are one series, and that one stroke: a thousand curves are a dozen strokes. */
function curvesOption(
  drawn: Drawn[],
  tokens: ReturnType<typeof useTokens>["tokens"],
  axes: { log: boolean; logX: boolean; unit: string; metric: string },
): Option {
  const groups = new Map<string, Drawn[]>();
  for (const curve of drawn) {
    const group = groups.get(curve.colour);
    if (group) group.push(curve);
    else groups.set(curve.colour, [curve]);
  }
  const width = drawn.length > FEW ? 1 / window.devicePixelRatio : 1.2;
  const faint = Math.max(0.25, Math.min(0.9, 12 / Math.sqrt(drawn.length)));
  const series = [...groups].map(([colour, curves]) => ({
    type: "line",
    id: `curves-${colour}`,
    data: curves.flatMap((curve) => [...curve.points, GAP]),
    showSymbol: false,
    connectNulls: false,
    silent: true,
    emphasis: { disabled: true },
    lineStyle: { width, color: colour, opacity: faint },
    itemStyle: { color: colour },
    z: 2,
  }));
  const singles = drawn.filter((curve) => curve.points.length === 1);
  return {
    grid: { left: 58, right: 16, top: 12, bottom: 44 },
    xAxis: valueAxis(tokens, {
      type: axes.logX ? "log" : "value",
      name: axes.unit,
      nameGap: 26,
      min: axes.logX ? "dataMin" : undefined,
      splitLine: { show: false },
    }),
    yAxis: valueAxis(tokens, {
      type: axes.log ? "log" : "value",
      name: axes.metric,
      nameGap: 44,
      ...frame(drawn, axes.log),
    }),
    brush: {
      toolbox: [],
      xAxisIndex: 0,
      yAxisIndex: 0,
      brushStyle: { color: tokens.accent, opacity: 0.15, borderColor: tokens.accent, borderWidth: 1 },
    },
    dataZoom: [
      { type: "inside", xAxisIndex: 0, filterMode: "none", zoomOnMouseWheel: true, moveOnMouseMove: true },
      { type: "inside", yAxisIndex: 0, filterMode: "none", zoomOnMouseWheel: "shift", moveOnMouseMove: true },
    ],
    series: [
      ...series,
      {
        type: "scatter",
        id: "single",
        silent: true,
        symbolSize: 4,
        data: singles.map((curve) => ({ value: curve.points[0], itemStyle: { color: curve.colour, opacity: faint } })),
      },
      {
        type: "line",
        id: "hover",
        data: [],
        showSymbol: false,
        silent: true,
        lineStyle: { width: 3, color: tokens.best },
        z: 10,
      },
    ],
  };
}

/** From the best to the 97th percentile of what was seen, so that one diverged run does not flatten all others. */
function frame(drawn: Drawn[], log: boolean): Record<string, unknown> {
  const values = drawn.flatMap((curve) => curve.points.map(([, y]) => y)).sort((a, b) => a - b);
  const low = values[0];
  const high = values[Math.floor(0.97 * (values.length - 1))];
  const most = values.at(-1);
  const bottom = values[Math.floor(0.03 * (values.length - 1))];
  if (low === undefined || high === undefined || most === undefined || bottom === undefined) return {};
  const room = high - bottom;
  if (log || room <= 0) return {};
  return {
    min: low < bottom - 3 * room ? bottom : undefined,
    max: most > high + 3 * room ? high + 0.1 * room : undefined,
  };
}

type Shown = {
  drawn: Drawn[];
  log: boolean;
  logX: boolean;
  brushing: boolean;
  chosen: (trials: number[]) => void;
};

/** From data to pixels: linear along each axis, or in its logarithm, so that two points say all. */
function projection(instance: Instance, { log, logX }: Pick<Shown, "log" | "logX">): (point: Point) => Point {
  const [x0, y0] = instance.convertToPixel("grid", [1, 1]) as Point;
  const [x1, y1] = instance.convertToPixel("grid", [10, 10]) as Point;
  const along = (from: number, to: number, logarithmic: boolean) => (value: number) =>
    from + (to - from) * (logarithmic ? Math.log10(value) : (value - 1) / 9);
  const [x, y] = [along(x0, x1, logX), along(y0, y1, log)];
  return (point) => [x(point[0]), y(point[1])];
}

/**
 * Shows the curve nearest to the pointer in front of the others, names it, and opens its trial when clicked; while
 * brushing, a box is drawn instead, and the trials whose curves enter it are chosen.
 */
function useHands(shownNow: Shown): (instance: Instance) => () => void {
  const curves = useRef(shownNow);
  const held = useRef<Instance | null>(null);
  useEffect(() => {
    curves.current = shownNow;
  });
  useEffect(() => {
    const brushOption = { brushType: shownNow.brushing ? "rect" : false, brushMode: "single" };
    held.current?.dispatchAction({ type: "takeGlobalCursor", key: "brush", brushOption });
  }, [shownNow.brushing]);
  const navigate = useNavigate();
  const { study } = studyRoute.useParams();
  return useCallback(
    (instance: Instance) => {
      held.current = instance;
      const canvas = instance.getZr();
      let shownCurve: Drawn | null = null;
      const show = (found: { curve: Drawn; point: Point } | null) => {
        if (found?.curve === shownCurve) return;
        shownCurve = found?.curve ?? null;
        const label = found && {
          show: true,
          position: "top",
          formatter: () => `trial ${found.curve.number} · ${shown(found.point[1])}`,
        };
        const at = found?.curve.points.indexOf(found.point);
        instance.setOption({
          series: [
            {
              id: "hover",
              type: "line",
              data:
                found?.curve.points.map((point, i) =>
                  i === at ? { value: point, label, symbol: "circle", symbolSize: 8 } : point,
                ) ?? [],
              showSymbol: true,
              symbol: "none",
              labelLayout: { hideOverlap: false, moveOverlap: "shiftY" },
              label: { fontWeight: 600 },
            },
          ],
        });
      };
      const move = (event: { offsetX: number; offsetY: number }) => {
        if (curves.current.brushing) return show(null);
        const place = [event.offsetX, event.offsetY];
        if (!instance.containPixel("grid", place)) return show(null);
        show(near(curves.current.drawn, place as Point, projection(instance, curves.current)));
      };
      const click = () => {
        if (shownCurve) {
          void navigate({
            to: "/studies/$study/trials/$number",
            params: { study, number: String(shownCurve.number) },
            search: (old) => old,
          });
        }
      };
      const leave = () => show(null);
      const brushed = (event: unknown) => {
        const box = (event as { areas: { range: Box }[] }).areas[0]?.range;
        if (!box) return;
        const { drawn, chosen, ...axes } = curves.current;
        const toPixel = projection(instance, axes);
        chosen(drawn.filter((curve) => enters(curve.points.map(toPixel), box)).map((curve) => curve.number));
        instance.dispatchAction({ type: "brush", areas: [] });
      };
      instance.on("brushEnd", brushed);
      canvas.on("mousemove", move);
      canvas.on("click", click);
      canvas.on("globalout", leave);
      return () => {
        canvas.off("mousemove", move);
        canvas.off("click", click);
        canvas.off("globalout", leave);
        held.current = null;
      };
    },
    [navigate, study],
  );
}
