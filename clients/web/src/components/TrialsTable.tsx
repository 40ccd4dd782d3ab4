/**
 * Trials as rows: as many as there are, of which only those in sight exist. A <table> cannot say so, roles can. A click on
 * a row does what the link in it does.
 */
import { ActionIcon, Checkbox, Popover, ScrollArea, Stack } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useVirtualizer } from "@tanstack/react-virtual";
import { type ReactNode, useEffect, useMemo, useRef, useState } from "react";
import { number, type Study, type Trial } from "../api/client";
import { trialsQuery } from "../api/queries";
import { ago, shown, shownValue } from "../lib/format";
import { rawOn } from "../lib/scale";
import { objective, resource } from "../lib/study";
import { useStudy, useView } from "../pages/Study";
import { studyRoute } from "../router";
import { ColumnsIcon } from "./icons";
import { Empty, Instead, StateBadge, TextLink } from "./parts";

type Column = {
  key: string;
  name: string;
  width: number;
  order?: string;
  right?: boolean;
  cell: (trial: Trial) => ReactNode;
};

const ROW = 34;
/** A study may have hundreds of parameters: more columns than this are there for the asking. */
const COLUMNS_AT_FIRST = 12;

export function columnsOf(study: Study): Column[] {
  const unit = resource(study)?.name;
  return [
    {
      key: "number",
      name: "#",
      width: 76,
      order: "number",
      right: true,
      cell: (trial) => <TrialNumber trial={trial} />,
    },
    { key: "state", name: "State", width: 118, order: "state", cell: (trial) => <StateBadge state={trial.state} /> },
    {
      key: "objective",
      name: objective(study).metric,
      width: 120,
      order: "objective",
      right: true,
      cell: (trial) => shown(number(trial.objective)),
    },
    ...(unit
      ? [
          {
            key: "last_step",
            name: `${unit}s`,
            width: 80,
            order: "last_step",
            right: true,
            cell: (trial: Trial) => trial.last_step,
          },
        ]
      : []),
    ...study.space.map((item) => {
      const name = String(item.name);
      const right = item.type === "float" || item.type === "int";
      return {
        key: `params.${name}`,
        name,
        width: item.type === "schedule" ? 150 : 116,
        order: `params.${name}`,
        right,
        cell: (trial: Trial) => shownValue(rawOn(name, trial.params)),
      };
    }),
    { key: "worker", name: "Worker", width: 150, order: "worker", cell: (trial) => trial.worker ?? "–" },
    {
      key: "started_at",
      name: "Started",
      width: 120,
      order: "started_at",
      cell: (trial) => (trial.started_at ? ago(trial.started_at) : "–"),
    },
    { key: "tags", name: "Tags", width: 120, cell: (trial) => trial.tags.join(", ") || "–" },
  ];
}

function TrialNumber({ trial }: { trial: Trial }) {
  const { study } = studyRoute.useParams();
  return (
    <TextLink
      to="/studies/$study/trials/$number"
      params={{ study, number: String(trial.number) }}
      search={(old) => old}
      size="sm"
    >
      {trial.number}
    </TextLink>
  );
}

export function TrialsTable({
  orderBy,
  onOrder,
  height,
}: {
  orderBy: string;
  onOrder?: (order: string) => void;
  height?: number;
}) {
  const study = useStudy();
  const { filter } = useView();
  const query = useInfiniteQuery(trialsQuery(study.id, filter, orderBy));
  const all = useMemo(() => columnsOf(study), [study]);
  const [hidden, setHidden] = useState<Set<string>>(
    () => new Set(all.slice(COLUMNS_AT_FIRST).map((column) => column.key)),
  );
  const columns = all.filter((column) => !hidden.has(column.key));
  const trials = useMemo(
    () => (query.data?.pages ?? []).flatMap((page) => page.items as unknown as Trial[]),
    [query.data],
  );
  if (!query.data) return <Instead query={query} what="trials" />;
  if (trials.length === 0) {
    return study.trials === 0 ? (
      <Empty title="No trials yet">The first one is made when a worker asks for it.</Empty>
    ) : (
      <Empty title="No trial fits">
        Take a condition away, or sort by another column: only trials with a value can be sorted by it.
      </Empty>
    );
  }
  return (
    <div style={{ position: "relative" }}>
      <Rows
        trials={trials}
        columns={columns}
        total={query.data.pages[0]?.total ?? null}
        orderBy={orderBy}
        onOrder={onOrder}
        height={height}
        more={query.hasNextPage && !query.isFetchingNextPage ? () => void query.fetchNextPage() : undefined}
      />
      <ColumnChoice columns={all} hidden={hidden} setHidden={setHidden} />
    </div>
  );
}

function Rows({
  trials,
  columns,
  total,
  orderBy,
  onOrder,
  height,
  more,
}: {
  trials: Trial[];
  columns: Column[];
  total: number | null;
  orderBy: string;
  onOrder?: (order: string) => void;
  height?: number;
  more?: () => void;
}) {
  const box = useRef<HTMLDivElement>(null);
  const navigate = useNavigate();
  const { study } = studyRoute.useParams();
  const rows = useVirtualizer({
    count: trials.length,
    getScrollElement: () => box.current,
    estimateSize: () => ROW,
    overscan: 12,
  });
  const items = rows.getVirtualItems();
  const last = items.at(-1)?.index ?? 0;
  useEffect(() => {
    if (last >= trials.length - 40) more?.();
  }, [last, trials.length, more]);
  return (
    <div
      ref={box}
      className="vtable"
      role="table"
      aria-label="Trials"
      aria-rowcount={(total ?? -1) < 0 ? -1 : total! + 1}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
      tabIndex={0}
      style={height ? { height } : undefined}
    >
      <div role="rowgroup" className="vhead">
        <div role="row" aria-rowindex={1}>
          {columns.map((column) => (
            <Heading key={column.key} column={column} orderBy={orderBy} onOrder={onOrder} />
          ))}
        </div>
      </div>
      <div role="rowgroup" style={{ height: rows.getTotalSize(), position: "relative", minWidth: "max-content" }}>
        {items.map((item) => {
          const trial = trials[item.index]!;
          return (
            <div
              key={trial.id}
              role="row"
              tabIndex={-1}
              aria-rowindex={item.index + 2}
              className={trial.excluded ? "body excluded" : "body"}
              style={{ transform: `translateY(${item.start}px)`, cursor: "pointer" }}
              onClick={() =>
                void navigate({
                  to: "/studies/$study/trials/$number",
                  params: { study, number: String(trial.number) },
                  search: (old) => old,
                })
              }
            >
              {columns.map((column) => (
                <div
                  key={column.key}
                  role="cell"
                  className={column.right ? "num" : undefined}
                  style={{ width: column.width }}
                >
                  {column.cell(trial)}
                </div>
              ))}
            </div>
          );
        })}
      </div>
    </div>
  );
}

function Heading({ column, orderBy, onOrder }: { column: Column; orderBy: string; onOrder?: (order: string) => void }) {
  const descending = orderBy === `-${column.order}`;
  const sorted = descending || orderBy === column.order;
  const sort =
    column.order && onOrder ? () => onOrder(sorted && !descending ? `-${column.order}` : column.order!) : undefined;
  return (
    <div
      role="columnheader"
      aria-sort={sorted ? (descending ? "descending" : "ascending") : "none"}
      className={column.right ? "num" : undefined}
      style={{ width: column.width }}
      title={column.name}
    >
      {sort ? (
        <button type="button" onClick={sort}>
          {column.name}
          {sorted ? (descending ? " ↓" : " ↑") : ""}
        </button>
      ) : (
        <span style={{ fontSize: 12, lineHeight: "34px", color: "var(--dimmed)", fontWeight: 560 }}>{column.name}</span>
      )}
    </div>
  );
}

function ColumnChoice({
  columns,
  hidden,
  setHidden,
}: {
  columns: Column[];
  hidden: Set<string>;
  setHidden: (hidden: Set<string>) => void;
}) {
  const toggle = (key: string) => {
    const next = new Set(hidden);
    if (!next.delete(key)) next.add(key);
    setHidden(next);
  };
  return (
    <Popover position="bottom-end" withinPortal trapFocus>
      <Popover.Target>
        <ActionIcon
          variant="default"
          aria-label="Choose columns"
          style={{ position: "absolute", right: 4, top: 3, zIndex: 4 }}
        >
          <ColumnsIcon />
        </ActionIcon>
      </Popover.Target>
      <Popover.Dropdown>
        <ScrollArea.Autosize mah={320}>
          <Stack gap={6}>
            {columns.slice(1).map((column) => (
              <Checkbox
                key={column.key}
                size="xs"
                label={column.name}
                checked={!hidden.has(column.key)}
                onChange={() => toggle(column.key)}
              />
            ))}
          </Stack>
        </ScrollArea.Autosize>
      </Popover.Dropdown>
    </Popover>
  );
}
