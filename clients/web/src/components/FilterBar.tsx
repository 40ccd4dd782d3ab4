/** The filter, laid open: what is chosen stands as words that can be taken away, and more can be added. */
import {
  Badge,
  Button,
  CloseButton,
  Group,
  MultiSelect,
  NumberInput,
  Popover,
  Select,
  Stack,
  TagsInput,
  Text,
} from "@mantine/core";
import { useState } from "react";
import { type Bounds, bounded, conditions, type Filter, STATES, type State } from "../lib/filter";
import { plural, shown } from "../lib/format";
import { type Axis, axesOf, label } from "../lib/scale";
import { objective } from "../lib/study";
import { useStudy, useView } from "../pages/Study";
import { FilterIcon } from "./icons";

export function FilterBar() {
  const study = useStudy();
  const { filter, setFilter } = useView();
  const number = conditions(filter);
  return (
    <Group gap={8} mb="md" role="region" aria-label="Filter">
      <Popover position="bottom-start" width={330} trapFocus withinPortal shadow="md">
        <Popover.Target>
          <Button size="xs" variant="default" leftSection={<FilterIcon />} data-testid="filter">
            Filter
          </Button>
        </Popover.Target>
        <Popover.Dropdown>
          <FilterForm filter={filter} setFilter={setFilter} axes={axesOf(study.space)} />
        </Popover.Dropdown>
      </Popover>
      {words(filter, objective(study).metric).map(({ key, text, without }) => (
        <Badge
          key={key}
          variant="light"
          size="lg"
          tt="none"
          fw={500}
          rightSection={<CloseButton size="xs" aria-label={`Take away ${text}`} onClick={() => setFilter(without)} />}
        >
          {text}
        </Badge>
      ))}
      {number > 1 && (
        <Button size="compact-xs" variant="subtle" onClick={() => setFilter({})}>
          {`Clear ${plural(number, "condition")}`}
        </Button>
      )}
    </Group>
  );
}

type Word = { key: string; text: string; without: Filter };

function words(filter: Filter, metric: string): Word[] {
  const found: Word[] = [];
  const { state, number, tag, where, at_least, at_most, top } = filter;
  if (number) {
    const text = number.length === 1 ? `trial ${number[0]}` : `${number.length} trials chosen`;
    found.push({ key: "number", text, without: without(filter, "number") });
  }
  if (state) found.push({ key: "state", text: state.join(", ").toLowerCase(), without: without(filter, "state") });
  if (tag) found.push({ key: "tag", text: `tagged ${tag.join(", ")}`, without: without(filter, "tag") });
  for (const [name, bounds] of Object.entries(where ?? {})) {
    found.push({ key: `p-${name}`, text: `${name} ${boundsText(bounds)}`, without: bounded(filter, name, null) });
  }
  if (at_least !== undefined || at_most !== undefined) {
    const text = `${metric} ${boundsText({ low: at_least, high: at_most })}`;
    found.push({ key: "objective", text, without: without(without(filter, "at_least"), "at_most") });
  }
  if (top) found.push({ key: "top", text: `best ${top}`, without: without(filter, "top") });
  return found;
}

function without(filter: Filter, name: keyof Filter): Filter {
  const { [name]: _, ...rest } = filter;
  return rest;
}

function boundsText(bounds: Bounds): string {
  if ("in" in bounds) return `is ${bounds.in.map(label).join(" or ")}`;
  const { low, high } = bounds;
  if (low !== undefined && high !== undefined) return `from ${shown(low, 3)} to ${shown(high, 3)}`;
  return low !== undefined ? `≥ ${shown(low, 3)}` : `≤ ${shown(high, 3)}`;
}

function FilterForm({
  filter,
  setFilter,
  axes,
}: {
  filter: Filter;
  setFilter: (filter: Filter) => void;
  axes: Axis[];
}) {
  const [name, setName] = useState<string | null>(null);
  const axis = axes.find((candidate) => candidate.name === name);
  return (
    <Stack gap="xs">
      <MultiSelect
        label="State"
        data={STATES.map((state) => ({ value: state, label: state.toLowerCase() }))}
        value={filter.state ?? []}
        onChange={(state) =>
          setFilter(state.length ? { ...filter, state: state as State[] } : without(filter, "state"))
        }
        comboboxProps={{ withinPortal: false }}
        clearable
      />
      <NumberInput
        label="Only the best"
        placeholder="all"
        min={1}
        allowDecimal={false}
        value={filter.top ?? ""}
        onChange={(top) => setFilter(typeof top === "number" && top >= 1 ? { ...filter, top } : without(filter, "top"))}
      />
      <TagsInput
        label="Tags"
        value={filter.tag ?? []}
        onChange={(tag) => setFilter(tag.length ? { ...filter, tag } : without(filter, "tag"))}
        comboboxProps={{ withinPortal: false }}
      />
      <Select
        label="Parameter"
        placeholder="choose one"
        searchable
        data={axes.map((item) => item.name)}
        value={name}
        onChange={setName}
        comboboxProps={{ withinPortal: false }}
        maxDropdownHeight={200}
      />
      {axis && <BoundsForm key={axis.name} axis={axis} filter={filter} setFilter={setFilter} />}
      <Text size="xs" c="dimmed">
        Drag along an axis of the parallel coordinates to choose a range there, or a box over the curves to choose those
        that enter it. The filter is part of the address: send the link.
      </Text>
    </Stack>
  );
}

function BoundsForm({ axis, filter, setFilter }: { axis: Axis; filter: Filter; setFilter: (filter: Filter) => void }) {
  const bounds = filter.where?.[axis.name];
  if (axis.kind === "names") {
    return (
      <MultiSelect
        label={axis.name}
        data={[...axis.names]}
        value={bounds && "in" in bounds ? bounds.in.map(label) : []}
        onChange={(chosen) => setFilter(bounded(filter, axis.name, chosen.length ? { in: chosen.map(parsed) } : null))}
        comboboxProps={{ withinPortal: false }}
      />
    );
  }
  const { low, high } = bounds && !("in" in bounds) ? bounds : {};
  const change = (side: "low" | "high", value: string | number) => {
    const next = { low, high, [side]: typeof value === "number" ? value : undefined };
    const kept = Object.fromEntries(Object.entries(next).filter(([, x]) => x !== undefined));
    setFilter(bounded(filter, axis.name, Object.keys(kept).length ? kept : null));
  };
  return (
    <Group grow gap="xs">
      <NumberInput
        label="at least"
        placeholder={shown(axis.low)}
        value={low ?? ""}
        onChange={(value) => change("low", value)}
      />
      <NumberInput
        label="at most"
        placeholder={shown(axis.high)}
        value={high ?? ""}
        onChange={(value) => change("high", value)}
      />
    </Group>
  );
}

/** The choice behind a label: labels of texts are the texts, of others their JSON. */
function parsed(text: string): string | number | boolean | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? text : (value as number | boolean | null);
  } catch {
    return text;
  }
}
