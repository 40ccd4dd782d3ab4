/** The first look at a study: where it stands, the best over time, and every curve. */
import { Text } from "@mantine/core";
import { useIsFetching, useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import type { Schemas, Study } from "../api/client";
import { AT_FIRST, bestQuery, progressQuery, sampleQuery } from "../api/queries";
import { Chart, lines, type Option, tooltip, valueAxis } from "../components/Chart";
import { CurvesChart } from "../components/CurvesChart";
import { type Along, OverWhat, useOver } from "../components/OverWhat";
import { Empty, Fact, Instead, Panel, TextLink, Waiting } from "../components/parts";
import { TrialsTable } from "../components/TrialsTable";
import { useTokens } from "../components/tokens";
import { count, csv, duration, plural, shown } from "../lib/format";
import type { Tokens } from "../lib/palette";
import { isCompared, objective, objectives, resource, spent } from "../lib/study";
import { Counts } from "./Studies";
import { useStudy, useView } from "./Study";

export function OverviewTab() {
  const study = useStudy();
  const single = objectives(study).length === 1 && !isCompared(study);
  const drawn = useDrawn();
  return (
    <>
      <Facts study={study} />
      <div className="grid">
        {single && (
          <div className="half">
            <BestSoFar />
          </div>
        )}
        {resource(study) && (
          <div className={single ? "half" : ""}>
            <CurvesChart height={340} />
          </div>
        )}
        <div>
          <Panel title={single ? "Best trials" : "Latest trials"}>
            {drawn ? (
              <TrialsTable orderBy={single ? bestOrder(study) : "-number"} height={300} />
            ) : (
              <Waiting what="trials" />
            )}
          </Panel>
        </div>
      </div>
    </>
  );
}

export function bestOrder(study: Study): string {
  return objective(study).direction === "maximize" ? "-objective" : "objective";
}

function Facts({ study }: { study: Study }) {
  const drawn = useDrawn();
  const { data: best } = useQuery({
    ...bestQuery(study.id),
    enabled: study.best !== null && drawn && study.trials <= MOST_TO_READ,
  });
  const used = spent(study);
  const unit = resource(study)?.name ?? "step";
  const recommended = best?.recommended;
  const metric = objective(study).metric;
  const foretold = recommended?.mean[metric] as number | undefined;
  const deviation = recommended?.sd[metric] as number | undefined;
  return (
    <dl className="facts">
      <Fact
        name={`Best ${metric}`}
        hint={
          study.best && (
            <TextLink
              to="/studies/$study/trials/$number"
              params={{ study: study.id, number: String(study.best.number) }}
              size="xs"
            >
              trial {study.best.number}
            </TextLink>
          )
        }
      >
        <span data-testid="best-value">{study.best ? shown(study.best.value) : "–"}</span>
      </Fact>
      {recommended && (
        <Fact
          name="Recommended"
          hint={
            foretold !== undefined && deviation !== undefined
              ? `foretold ${shown(foretold)} ± ${shown(deviation, 2)}`
              : "by value"
          }
        >
          <TextLink
            to="/studies/$study/trials/$number"
            params={{ study: study.id, number: String(recommended.trial.number) }}
          >
            trial {recommended.trial.number}
          </TextLink>
        </Fact>
      )}
      <Fact name="Trials" hint={<Counts study={study} bare />}>
        {count(study.trials)}
      </Fact>
      {resource(study) && (
        <Fact name={`${unit}s spent`} hint={used?.text}>
          {count(study.steps_used)}
        </Fact>
      )}
      {study.started_at && (
        <Fact
          name={study.state === "active" ? "Running for" : "Ran for"}
          hint={used && !resource(study) ? used.text : undefined}
        >
          {duration((Date.parse(study.updated_at) - Date.parse(study.started_at)) / 1000)}
        </Fact>
      )}
      <Fact name="Policy">{String(study.policy.name)}</Fact>
      {best?.advice && (
        <Fact name="Advice" hint={best.advice.reason}>
          {best.advice.stop ? "stop" : "go on"}
        </Fact>
      )}
    </dl>
  );
}

/** For the recommendation the server reads all trials, which takes seconds where they are a hundred thousand. */
const MOST_TO_READ = 20_000;

/** False until the browser has nothing more urgent to do: the plots come first. */
function useDrawn(): boolean {
  const [drawn, setDrawn] = useState(false);
  const busy = useIsFetching({ predicate: (query) => FIRST.includes(query.queryKey[2] as string) }) > 0;
  useEffect(() => {
    if (busy || drawn) return;
    const timer = setTimeout(() => setDrawn(true), 50);
    return () => clearTimeout(timer);
  }, [busy, drawn]);
  return drawn;
}

const FIRST = ["progress", "curves", "sample"];

function BestSoFar() {
  const study = useStudy();
  const { filter } = useView();
  const { tokens } = useTokens();
  const progress = useQuery(progressQuery(study.id));
  const sample = useQuery(sampleQuery(study.id, filter, AT_FIRST));
  const over = useOver(resource(study) && study.steps_used > 0 ? "steps" : "trials");
  const { along, log } = over;
  const data = progress.data;
  const dots = along === "trials" ? sample.data : undefined;
  const positive = !!data && data.items.every((item) => item.value > 0);
  const option = useMemo(
    () =>
      data &&
      bestOption(data, along, tokens, {
        log: log && positive,
        dots,
        unit: unitOf(study, along),
      }),
    [data, dots, along, tokens, log, positive, study],
  );
  if (!data || !option) {
    return (
      <Panel title="Best so far">
        <Instead query={progress} what="the best so far" />
      </Panel>
    );
  }
  if (data.items.length === 0) {
    return (
      <Panel title="Best so far">
        <Empty title="Nothing has been measured yet">
          A worker gets its first trial by asking: <code>POST /api/v1/studies/{study.name}/trials:ask</code>, or{" "}
          <code>study.trials()</code> in Python.
        </Empty>
      </Panel>
    );
  }
  const last = data.items.at(-1)!;
  return (
    <Chart
      name="best-so-far"
      title="Best so far"
      label={`The best ${data.metric} came to ${shown(last.value)} at trial ${last.number}, in ${plural(data.items.length, "improvement")}`}
      height={340}
      option={option}
      csv={() =>
        csv(
          ["trial", data.metric, "trials", "steps", "seconds"],
          data.items.map((i) => [i.number, i.value, i.trials, i.steps, i.seconds]),
        )
      }
      controls={<OverWhat over={over} steps={resource(study) !== null} positive={positive} />}
    >
      <Text size="xs" c="dimmed">
        {study.state === "completed" ? "The budget is used up." : `As of ${plural(data.trials, "trial")}.`}
      </Text>
    </Chart>
  );
}

function unitOf(study: Study, along: Along): string {
  if (along === "steps") return `${resource(study)?.name ?? "step"}s, over all trials`;
  return along === "seconds" ? "seconds since the first trial" : "trials";
}

function bestOption(
  data: Schemas["Progress"],
  along: Along,
  tokens: Tokens,
  { log, dots, unit }: { log: boolean; dots: Schemas["TrialSample"] | undefined; unit: string },
): Option {
  if (data.items.length === 0) return {};
  const line = data.items.map((item) => [
    Math.max(item[along], along === "seconds" ? 0.1 : 1),
    item.value,
    item.number,
  ]);
  const end = Math.max(data[along], Number(line.at(-1)![0]));
  line.push([end, line.at(-1)![1]!, line.at(-1)![2]!]);
  const values = data.items.map((item) => item.value);
  const scatter = (dots?.number ?? []).flatMap((n, i) => {
    const value = dots?.objective[i];
    return typeof value === "number" ? [[n + 1, value, n]] : [];
  });
  const seen = scatter.map((point) => point[1]!).sort((a, b) => a - b);
  const worst =
    data.direction === "minimize" ? seen[Math.floor(0.9 * seen.length)] : seen[Math.floor(0.1 * seen.length)];
  const span =
    worst === undefined
      ? {}
      : data.direction === "minimize"
        ? { max: Math.max(worst, values[0]!) }
        : { min: Math.min(worst, values[0]!) };
  return {
    grid: { left: 62, right: 18, top: 12, bottom: 44 },
    tooltip: tooltip(tokens, {
      formatter: (item: { value: number[] }) =>
        lines(
          `trial ${item.value[2]}`,
          `${data.metric} ${shown(item.value[1])}`,
          `after ${shown(item.value[0])} ${along}`,
        ),
    }),
    xAxis: valueAxis(tokens, {
      type: "log",
      name: unit,
      nameGap: 26,
      min: "dataMin",
      max: end,
      splitLine: { show: false },
    }),
    yAxis: valueAxis(tokens, { type: log ? "log" : "value", name: data.metric, nameGap: 46, ...(log ? {} : span) }),
    dataZoom: [{ type: "inside", xAxisIndex: 0, filterMode: "none" }],
    series: [
      {
        type: "scatter",
        id: "trials",
        name: "trials",
        large: scatter.length > 2_000,
        symbolSize: 4,
        data: scatter,
        itemStyle: { color: tokens.dimmed, opacity: 0.45 },
        clip: true,
      },
      {
        type: "line",
        id: "best",
        step: "end",
        data: line,
        symbolSize: 6,
        showSymbol: line.length < 60,
        lineStyle: { width: 2.4, color: tokens.accent },
        itemStyle: { color: tokens.accent },
        z: 5,
      },
    ],
  };
}
