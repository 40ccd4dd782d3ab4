/** Whether the model can be trusted: each finished trial against what was expected of it without having seen it. */
import { Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { number } from "../api/client";
import { calibrationQuery } from "../api/queries";
import { csv, shown } from "../lib/format";
import { FEWEST, finished } from "../lib/study";
import { useStudy } from "../pages/Study";
import { Chart, lines, tooltip, valueAxis } from "./Chart";
import { Empty, Instead, Panel } from "./parts";
import { useTokens } from "./tokens";

type Row = { number: number; value: number; mean: number; sd: number };

export function CalibrationChart() {
  const study = useStudy();
  const { tokens } = useTokens();
  const early = finished(study) < FEWEST;
  const query = useQuery({ ...calibrationQuery(study.id), enabled: !early });
  const rows = useMemo(() => (query.data?.trials ?? []) as Row[], [query.data]);
  const option = useMemo(() => {
    const values = rows.flatMap((row) => [row.value, row.mean]).filter(Number.isFinite);
    const ends: [number, number] = [Math.min(...values), Math.max(...values)];
    return {
      grid: { left: 62, right: 20, top: 12, bottom: 44 },
      tooltip: tooltip(tokens, {
        formatter: (item: { value: number[] }) =>
          lines(
            `trial ${item.value[2]}`,
            `came to ${shown(item.value[1])}`,
            `expected ${shown(item.value[0])} ± ${shown(item.value[3], 2)}`,
          ),
      }),
      xAxis: valueAxis(tokens, { name: "expected, without having seen it", nameGap: 26 }),
      yAxis: valueAxis(tokens, { name: "came to", nameGap: 46 }),
      series: [
        {
          type: "line",
          id: "equal",
          silent: true,
          showSymbol: false,
          data: ends.map((x) => [x, x]),
          lineStyle: { color: tokens.dimmed, type: "dashed", width: 1 },
        },
        {
          type: "custom",
          id: "deviation",
          silent: true,
          data: rows.map((row) => [row.mean, row.value, row.sd]),
          renderItem: (_: unknown, api: { value: (i: number) => number; coord: (p: number[]) => number[] }) => {
            const [mean, value, sd] = [api.value(0), api.value(1), api.value(2)];
            const [from, to] = [api.coord([mean - 2 * sd, value]), api.coord([mean + 2 * sd, value])];
            return {
              type: "line",
              shape: { x1: from[0], y1: from[1], x2: to[0], y2: to[1] },
              style: { stroke: tokens.accent, opacity: 0.35, lineWidth: 1.5 },
            };
          },
          encode: { x: 0, y: 1 },
          clip: true,
        },
        {
          type: "scatter",
          id: "trials",
          symbolSize: 6,
          data: rows.map((row) => [row.mean, row.value, row.number, row.sd]),
          itemStyle: { color: tokens.accent },
        },
      ],
    };
  }, [rows, tokens]);
  if (!query.data) {
    return (
      <Panel title="Can the model be trusted?">
        {early ? (
          <Empty title="Too early to say">{`It takes ${FEWEST} finished trials.`}</Empty>
        ) : (
          <Instead query={query} what="the calibration" early="Too early to say" />
        )}
      </Panel>
    );
  }
  const coverage = query.data.coverage ?? {};
  return (
    <Chart
      name="calibration"
      title="Can the model be trusted?"
      label={`${rows.length} finished trials against what was expected of each without having seen it`}
      height={320}
      option={option}
      csv={() =>
        csv(
          ["trial", "value", "mean", "sd"],
          rows.map((row) => [row.number, row.value, row.mean, row.sd]),
        )
      }
    >
      <Text size="sm">
        {Object.entries(coverage)
          .map(
            ([level, share]) =>
              `${Math.round(100 * share)} % fell within the ${Math.round(100 * Number(level))} % interval`,
          )
          .join(", ")}
        {`. Log score ${shown(number(query.data.log_score))}, RMSE ${shown(number(query.data.rmse))}. Bars are ± 2 deviations.`}
      </Text>
    </Chart>
  );
}
