/** Studies beside each other: the best of each over trials, steps or seconds. */
import { MultiSelect } from "@mantine/core";
import { useDocumentTitle } from "@mantine/hooks";
import { useInfiniteQuery, useQueries } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useMemo } from "react";
import { progressQuery, studiesQuery, studyQuery } from "../api/queries";
import { Chart, lines, tooltip, valueAxis } from "../components/Chart";
import { OverWhat, useOver } from "../components/OverWhat";
import { Empty, Panel, StateBadge, TextLink } from "../components/parts";
import { useTokens } from "../components/tokens";
import { count, csv, shown } from "../lib/format";
import { objective, resource } from "../lib/study";
import { compareRoute } from "../router";

const MOST = 8;

export function ComparePage() {
  useDocumentTitle("Compare · Frazil");
  const { studies: chosen } = compareRoute.useSearch();
  const navigate = useNavigate();
  const list = useInfiniteQuery(studiesQuery);
  const known = (list.data?.pages ?? []).flatMap((page) => page.items);
  const names = new Map(known.map((study) => [study.id, study.name]));
  return (
    <>
      <div className="head">
        <h1>Compare</h1>
      </div>
      <MultiSelect
        label="Studies"
        placeholder={chosen.length ? "" : "choose two or more"}
        searchable
        maxValues={MOST}
        data={[...new Set([...known.map((study) => study.id), ...chosen])].map((id) => ({
          value: id,
          label: names.get(id) ?? id,
        }))}
        value={chosen}
        onChange={(studies) => void navigate({ to: "/compare", search: { studies }, replace: true })}
        mb="md"
        maw={720}
      />
      {chosen.length === 0 ? (
        <Empty title="No study chosen">Their best values are drawn over each other here.</Empty>
      ) : (
        <Comparison ids={chosen.slice(0, MOST)} />
      )}
    </>
  );
}

function Comparison({ ids }: { ids: string[] }) {
  const { tokens } = useTokens();
  const over = useOver("trials");
  const { along, log } = over;
  const studies = useQueries({ queries: ids.map((id) => ({ ...studyQuery(id), refetchInterval: 3_000 })) });
  const progress = useQueries({ queries: ids.map((id) => ({ ...progressQuery(id), refetchInterval: 3_000 })) });
  const found = ids.flatMap((_, i) => {
    const [study, line] = [studies[i]?.data, progress[i]?.data];
    return study && line ? [{ study, line, colour: tokens.series[i % tokens.series.length]! }] : [];
  });
  const positive = found.every(({ line }) => line.items.every((item) => item.value > 0));
  const option = useMemo(
    () => ({
      grid: { left: 62, right: 18, top: 14, bottom: 44 },
      tooltip: tooltip(tokens, {
        formatter: (item: { seriesName: string; value: number[] }) =>
          lines(item.seriesName, shown(item.value[1]), `after ${shown(item.value[0])} ${along}`),
      }),
      xAxis: valueAxis(tokens, { type: "log", name: along, nameGap: 26, min: "dataMin", splitLine: { show: false } }),
      yAxis: valueAxis(tokens, { type: log && positive ? "log" : "value" }),
      series: found.map(({ study, line, colour }) => {
        const data = line.items.map((item) => [Math.max(item[along], along === "seconds" ? 0.1 : 1), item.value]);
        if (data.length) data.push([Math.max(line[along], data.at(-1)![0]!), data.at(-1)![1]!]);
        return {
          type: "line",
          id: study.id,
          name: study.name,
          step: "end",
          data,
          symbolSize: 5,
          showSymbol: data.length < 40,
          lineStyle: { color: colour, width: 2.2 },
          itemStyle: { color: colour },
        };
      }),
    }),
    [found, tokens, along, log, positive],
  );
  return (
    <div className="grid">
      <div>
        <Chart
          name="comparison"
          title="Best so far"
          label={`The best so far of ${found.map(({ study }) => study.name).join(", ")}`}
          height={420}
          option={option}
          csv={() =>
            csv(
              ["study", "trials", "steps", "seconds", "value"],
              found.flatMap(({ study, line }) =>
                line.items.map((i) => [study.name, i.trials, i.steps, i.seconds, i.value]),
              ),
            )
          }
          controls={<OverWhat over={over} steps positive={positive} />}
        />
      </div>
      <div>
        <Panel title="Side by side">
          <div className="scroll">
            <table className="plain">
              <thead>
                <tr>
                  <th>Study</th>
                  <th>State</th>
                  <th>Policy</th>
                  <th>Metric</th>
                  <th className="num">Best</th>
                  <th className="num">Trials</th>
                  <th className="num">Steps</th>
                </tr>
              </thead>
              <tbody>
                {found.map(({ study, colour }) => (
                  <tr key={study.id}>
                    <td>
                      <i className="dot" style={{ background: colour, marginRight: 8 }} />
                      <TextLink to="/studies/$study" params={{ study: study.id }}>
                        {study.name}
                      </TextLink>
                    </td>
                    <td>
                      <StateBadge state={study.state} />
                    </td>
                    <td>{String(study.policy.name)}</td>
                    <td>{`${objective(study).metric}, ${objective(study).direction}d`}</td>
                    <td className="num">{study.best ? shown(study.best.value) : "–"}</td>
                    <td className="num">{count(study.trials)}</td>
                    <td className="num">{resource(study) ? count(study.steps_used) : "–"}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </Panel>
      </div>
    </div>
  );
}
