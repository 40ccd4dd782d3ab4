/** What the model believes: where each curve is heading, what the next steps are worth, and how far it can be trusted. */
import { Badge, Group, NumberInput, SegmentedControl, Switch, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { number, type Schemas } from "../api/client";
import { bestQuery, foretoldQuery, rankingQuery, trialCurvesQuery, trialQuery } from "../api/queries";
import { CalibrationChart } from "../components/CalibrationChart";
import { Chart, lines, type Option, tooltip, valueAxis } from "../components/Chart";
import { Empty, Instead, Panel, TextLink } from "../components/parts";
import { useTokens } from "../components/tokens";
import { BANDS, type Fan, fanOf } from "../lib/belief";
import { csv, shown, shownValue } from "../lib/format";
import type { Tokens } from "../lib/palette";
import { objective, resource, weighs } from "../lib/study";
import { useStudy, useView } from "./Study";

export function BeliefTab() {
  const study = useStudy();
  const { search, set } = useView();
  const ranking = useQuery({ ...rankingQuery(study.id), enabled: weighs(study) && study.best !== null });
  const best = useQuery({ ...bestQuery(study.id), enabled: study.best !== null });
  const recommended = best.data?.recommended?.trial;
  const open = recommended?.state === "COMPLETED" ? undefined : recommended?.number;
  const foremost = ranking.data?.items.find((item) => item.trial !== null)?.trial;
  const chosen = search.trial ?? open ?? foremost ?? recommended?.number ?? study.best?.number;
  if (study.trials === 0)
    return <Empty title="Nothing to believe yet">The model learns from the first report on.</Empty>;
  return (
    <div className="grid">
      <div className="two-thirds">
        {chosen === undefined ? (
          <Panel title="Where a curve is heading">
            <Empty title="No curve yet" />
          </Panel>
        ) : (
          <FanChart
            trial={chosen}
            controls={
              <NumberInput
                size="xs"
                w={110}
                prefix="trial "
                aria-label="Trial"
                min={0}
                max={Math.max(0, study.trials - 1)}
                value={chosen}
                onChange={(value) => typeof value === "number" && set({ trial: value })}
              />
            }
          />
        )}
      </div>
      <div className="third">
        <WhyPanel trial={chosen} />
      </div>
      <div>
        <Ranking query={ranking} chosen={chosen} choose={(trial) => set({ trial })} />
      </div>
      <div>
        <CalibrationChart />
      </div>
    </div>
  );
}

/** The posterior of one curve to its last step, with what was observed. */
export function FanChart({ trial, controls }: { trial: number; controls?: React.ReactNode }) {
  const study = useStudy();
  const { tokens } = useTokens();
  const [log, setLog] = useState(false);
  const foretold = useQuery({ ...foretoldQuery(study.id, trial), enabled: study.best !== null });
  const record = useQuery(trialQuery(study.id, trial));
  const curves = useQuery({ ...trialCurvesQuery(study.id, record.data?.id ?? ""), enabled: !!record.data });
  const metric = objective(study).metric;
  const fan = useMemo(() => {
    const points = curves.data?.curves.find((curve) => curve.metric === metric)?.points ?? [];
    const seen = points.map((point) => [point.step, number(point.value)] as [number, number | null]);
    return fanOf(seen, foretold.data);
  }, [foretold.data, curves.data, metric]);
  const positive = fan.lowest > 0;
  const option = useMemo(
    () =>
      fanOption(fan, tokens, {
        log: log && positive,
        metric,
        unit: resource(study)?.name ?? "step",
        end: resource(study)?.max,
      }),
    [fan, tokens, log, positive, metric, study],
  );
  if (!foretold.data && !fan.seen.length) {
    return (
      <Panel title="Where the curve is heading" controls={controls}>
        <Instead query={foretold} what="the belief" early="Not enough to go by yet" />
      </Panel>
    );
  }
  const final = fan.final;
  const observed = fan.seen.at(-1);
  return (
    <Chart
      name={`belief-${trial}`}
      title={`Where trial ${trial} is heading`}
      label={
        final
          ? `Trial ${trial} is expected to end at ${metric} ${shown(final.median)}, with nine chances in ten between ${shown(final.low)} and ${shown(final.high)}`
          : `The curve of trial ${trial}`
      }
      height={360}
      option={option}
      csv={() => csv(["step", "observed", "q05", "q25", "median", "q75", "q95"], fan.rows)}
      controls={
        <Group gap={8}>
          {controls}
          <Switch
            size="xs"
            label="log"
            disabled={!positive}
            checked={log}
            onChange={(event) => setLog(event.currentTarget.checked)}
          />
        </Group>
      }
    >
      <Text size="sm" data-testid="foretold">
        {!foretold.data && study.best && !foretold.error && "The model is being asked … "}
        {observed && `Seen: ${shown(observed[1])} at step ${observed[0]}. `}
        {final && (
          <>
            Foretold for the end: <b>{shown(final.median)}</b>, nine chances in ten between {shown(final.low)} and{" "}
            {shown(final.high)}.
          </>
        )}
      </Text>
    </Chart>
  );
}

function fanOption(
  fan: Fan,
  tokens: Tokens,
  axes: { log: boolean; metric: string; unit: string; end?: number },
): Option {
  const bands = BANDS.map(({ name, opacity }, i) => ({
    type: "custom",
    id: name,
    name,
    silent: true,
    clip: true,
    z: 1,
    renderItem: (params: { context: { done?: boolean } }, api: { coord: (p: number[]) => number[] }) => {
      if (params.context.done) return undefined;
      params.context.done = true;
      return {
        type: "polygon",
        shape: { points: fan.bands[i]!.map((point) => api.coord(point)) },
        style: { fill: tokens.accent, opacity },
      };
    },
    data: fan.bands[i],
    encode: { x: 0, y: 1 },
  }));
  return {
    grid: { left: 62, right: 20, top: 12, bottom: 44 },
    tooltip: tooltip(tokens, {
      trigger: "axis",
      formatter: (items: { seriesId: string; value: number[] }[]) => {
        const at = items[0]?.value[0];
        if (at === undefined) return "";
        const of = (id: string) => items.find((item) => item.seriesId === id)?.value[1];
        const [seen, median] = [of("seen"), of("median")];
        const row = fan.rows.find(([step]) => step === at);
        return lines(
          `${axes.unit} ${shown(at)}`,
          ...(seen !== undefined ? [`seen ${shown(seen)}`] : []),
          ...(median !== undefined
            ? [`expected ${shown(median)}`, `90 %: ${shown(row?.[2])} to ${shown(row?.[6])}`]
            : []),
        );
      },
    }),
    xAxis: valueAxis(tokens, { name: axes.unit, nameGap: 26, min: 0, max: axes.end, splitLine: { show: false } }),
    yAxis: valueAxis(tokens, {
      type: axes.log ? "log" : "value",
      name: axes.metric,
      nameGap: 46,
      ...(axes.log ? {} : fan.frame),
    }),
    dataZoom: [{ type: "inside", xAxisIndex: 0, filterMode: "none" }],
    series: [
      ...bands,
      {
        type: "line",
        id: "median",
        data: fan.median,
        showSymbol: false,
        clip: true,
        lineStyle: { color: tokens.accent, width: 2, type: [5, 4] },
        itemStyle: { color: tokens.accent },
        z: 3,
      },
      {
        type: "line",
        id: "seen",
        data: fan.seen,
        clip: true,
        symbolSize: 5,
        showSymbol: fan.seen.length < 80,
        lineStyle: { color: tokens.text, width: 2 },
        itemStyle: { color: tokens.text },
        z: 4,
      },
    ],
  };
}

const DONE: Record<string, string> = { continue: "continue", thaw: "thaw", start: "start" };
const COLOURS: Record<string, string> = { continue: "blue", thaw: "ice", start: "grape" };

type Ranked = Schemas["RankedOut"];

function Ranking({
  query,
  chosen,
  choose,
}: {
  query: { data?: Schemas["RankingOut"]; error: unknown; refetch: () => unknown };
  chosen: number | undefined;
  choose: (trial: number) => void;
}) {
  const study = useStudy();
  const [action, setAction] = useState("all");
  const data = query.data;
  if (!data) {
    return (
      <Panel title="What the next steps are worth">
        {weighs(study) && study.best !== null ? (
          <Instead query={query} what="what the next steps are worth" early="Too early to say" />
        ) : (
          <Empty
            title={weighs(study) ? "Too early to say" : `${study.policy.name} does not weigh runs against each other`}
          >
            Freeze-thaw does, from the first report on.
          </Empty>
        )}
      </Panel>
    );
  }
  const items = data.items.filter((item) => action === "all" || item.action === action);
  const most = Math.max(...data.items.map((item) => item.worth), Number.MIN_VALUE);
  return (
    <Panel
      title="What the next steps are worth"
      controls={
        <SegmentedControl
          size="xs"
          aria-label="Which of them"
          value={action}
          onChange={setAction}
          data={["all", "continue", "thaw", "start"]}
        />
      }
    >
      <Text size="xs" c="dimmed" mb={6}>
        {`By ${data.acquisition}, from ${data.observations} observations of ${data.runs} runs, as if each were the next and only one. Worth is per unit of cost.${trust(data.network)}`}
      </Text>
      {items.length === 0 ? (
        <Empty title={`Nothing to ${action} at present`} />
      ) : (
        <div className="scroll">
          <table className="plain" data-testid="ranking">
            <thead>
              <tr>
                <th>Do</th>
                <th className="num">Trial</th>
                <th className="num">Steps</th>
                <th>Worth</th>
                <th className="num">Expected end</th>
                <th>Parameters</th>
              </tr>
            </thead>
            <tbody>
              {items.map((item, i) => (
                <Row
                  key={`${item.action}-${item.trial ?? i}`}
                  item={item}
                  most={most}
                  chosen={item.trial === chosen}
                  choose={choose}
                  study={study.id}
                />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}

function Row({
  item,
  most,
  chosen,
  choose,
  study,
}: {
  item: Ranked;
  most: number;
  chosen: boolean;
  choose: (trial: number) => void;
  study: string;
}) {
  return (
    <tr style={chosen ? { background: "color-mix(in srgb, var(--accent) 9%, transparent)" } : undefined}>
      <td>
        <Badge variant="light" color={COLOURS[item.action]} tt="none" fw={550}>
          {DONE[item.action]}
        </Badge>
      </td>
      <td className="num">
        {item.trial === null ? (
          "new"
        ) : (
          <TextLink
            to="/studies/$study/belief"
            params={{ study }}
            search={(old) => ({ ...old, trial: item.trial! })}
            onClick={() => choose(item.trial!)}
          >
            {item.trial}
          </TextLink>
        )}
      </td>
      <td className="num">
        {item.from_step} → {item.until_step}
      </td>
      <td>
        <Group gap={8} wrap="nowrap">
          <div className="bar" style={{ width: 90 }}>
            <i style={{ width: `${(100 * item.worth) / most}%`, background: "var(--accent)" }} />
          </div>
          <span style={{ fontVariantNumeric: "tabular-nums" }}>{shown(item.worth, 3)}</span>
        </Group>
      </td>
      <td className="num">{item.mean === null ? "–" : `${shown(item.mean)} ± ${shown(item.sd, 2)}`}</td>
      <td className="clip" style={{ color: "var(--dimmed)" }}>
        {item.params &&
          Object.entries(item.params)
            .map(([name, value]) => `${name} ${shownValue(value)}`)
            .join(" · ")}
      </td>
    </tr>
  );
}

/** What the guard of the model says: whom of its two parts to believe how far, by how well they foretold this study. */
function trust(network: number | null): string {
  if (network === null) return "";
  const share = Math.round(100 * network);
  return ` By how well they foretold this study, the network counts ${share} % and the Gaussian process ${100 - share} %.`;
}

/** How far the guarded model of curves trusts its network rather than its Gaussian process; null where it does not say. */
function shareOfNetwork(fit: unknown): number | null {
  const parts = typeof fit === "object" && fit !== null ? Object.values(fit) : [];
  const shares = parts
    .map((part) => (part as { network?: unknown } | null)?.network)
    .filter((x) => typeof x === "number");
  return shares[0] ?? null;
}

/** Why a trial got its last grant: the provenance that the decision left. */
export function WhyPanel({ trial }: { trial: number | undefined }) {
  const study = useStudy();
  const { data } = useQuery({ ...trialQuery(study.id, trial ?? 0), enabled: trial !== undefined });
  if (!data) return <Panel title="Why">{<Empty title="Choose a trial" />}</Panel>;
  const { fit, ...why } = data.why as Record<string, unknown>;
  const network = shareOfNetwork(fit);
  if (network !== null) why["share of the network in the model"] = network;
  return (
    <Panel title={`Why trial ${data.number} got steps ${data.from_step} to ${data.until_step ?? "the end"}`}>
      <table className="plain">
        <tbody>
          {Object.entries(why).map(([name, value]) => (
            <tr key={name}>
              <td style={{ color: "var(--dimmed)" }}>{name.replaceAll("_", " ")}</td>
              <td className="num">{shownValue(value)}</td>
            </tr>
          ))}
          <tr>
            <td style={{ color: "var(--dimmed)" }}>state</td>
            <td className="num">{`${data.state.toLowerCase()} at step ${data.last_step}`}</td>
          </tr>
          {data.reason && (
            <tr>
              <td style={{ color: "var(--dimmed)" }}>reason</td>
              <td>{data.reason}</td>
            </tr>
          )}
        </tbody>
      </table>
    </Panel>
  );
}
