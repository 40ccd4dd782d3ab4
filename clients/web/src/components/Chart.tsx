/** A chart: ECharts in a box that follows its size and the colour scheme, and that can be saved. */
import { ActionIcon, Group, Menu, Paper, Text } from "@mantine/core";
import { useElementSize } from "@mantine/hooks";
import {
  BarChart,
  CustomChart,
  HeatmapChart,
  LineChart,
  LinesChart,
  ParallelChart,
  ScatterChart,
} from "echarts/charts";
import {
  AriaComponent,
  BrushComponent,
  DataZoomComponent,
  GridComponent,
  MarkLineComponent,
  ParallelComponent,
  TooltipComponent,
  VisualMapComponent,
} from "echarts/components";
import * as echarts from "echarts/core";
import { CanvasRenderer, SVGRenderer } from "echarts/renderers";
import { type ReactNode, useEffect, useMemo, useRef } from "react";
import { save } from "../lib/download";
import { shown } from "../lib/format";
import type { Tokens } from "../lib/palette";
import { DownloadIcon } from "./icons";
import { useTokens } from "./tokens";

echarts.use([
  AriaComponent,
  BarChart,
  BrushComponent,
  CanvasRenderer,
  CustomChart,
  DataZoomComponent,
  GridComponent,
  HeatmapChart,
  LineChart,
  LinesChart,
  MarkLineComponent,
  ParallelChart,
  ParallelComponent,
  SVGRenderer,
  ScatterChart,
  TooltipComponent,
  VisualMapComponent,
]);

/** What a new option replaces as a whole: series of curves that are gone do not stay. */
const REPLACED = ["series", "xAxis", "yAxis", "visualMap", "parallelAxis"];

export type Option = echarts.EChartsCoreOption;
export type Instance = echarts.EChartsType;

export type ChartProps = {
  /** Names the files that are saved. */
  name: string;
  title: ReactNode;
  /** What a screen reader says in place of the picture. */
  label: string;
  option: Option;
  csv: () => string;
  height?: number;
  /** Stands beside the title. */
  controls?: ReactNode;
  /** Stands below the chart: a legend. */
  children?: ReactNode;
  /** Called with every new instance, to listen to it; what it returns is called at its end. */
  onReady?: (instance: Instance) => (() => void) | undefined;
};

export function Chart({ name, title, label, option, csv, height = 320, controls, children, onReady }: ChartProps) {
  const { tokens } = useTokens();
  const { ref, width } = useElementSize<HTMLDivElement>();
  const box = useRef<HTMLDivElement>(null);
  const chart = useRef<Instance | null>(null);
  const ready = useRef(onReady);
  ready.current = onReady;
  const whole = useMemo(() => ({ ...grounded(tokens), ...option }), [tokens, option]);

  const there = width > 0;

  useEffect(() => {
    if (!there) return;
    const instance = echarts.init(box.current, null, { renderer: "canvas" });
    chart.current = instance;
    const end = ready.current?.(instance);
    return () => {
      end?.();
      instance.dispose();
      chart.current = null;
    };
  }, [there]);

  useEffect(() => {
    if (there) chart.current?.setOption(whole, { replaceMerge: REPLACED });
  }, [whole, there]);

  useEffect(() => {
    const instance = chart.current;
    if (width < 1 || !instance) return;
    const off = Math.abs(instance.getWidth() - width) + Math.abs(instance.getHeight() - height);
    if (off >= 1) instance.resize({ width, height }); // a chart is made in its size: drawing it twice would cost as much
  }, [width, height]);

  const exported = () => chart.current!;
  return (
    <Paper className="panel" component="section" aria-label={typeof title === "string" ? title : label}>
      <Group justify="space-between" wrap="nowrap" gap="xs" className="panel-head">
        <Text component="h2" className="panel-title">
          {title}
        </Text>
        <Group gap="xs" wrap="nowrap">
          {controls}
          <Menu position="bottom-end" withinPortal>
            <Menu.Target>
              <ActionIcon variant="subtle" color="gray" aria-label={`Save ${name}`} data-testid={`save-${name}`}>
                <DownloadIcon />
              </ActionIcon>
            </Menu.Target>
            <Menu.Dropdown>
              <Menu.Item onClick={() => save(`${name}.png`, png(exported(), tokens))}>PNG picture</Menu.Item>
              <Menu.Item onClick={() => save(`${name}.svg`, svg(exported(), tokens), "image/svg+xml")}>
                SVG picture
              </Menu.Item>
              <Menu.Item onClick={() => save(`${name}.csv`, csv(), "text/csv")}>CSV table</Menu.Item>
            </Menu.Dropdown>
          </Menu>
        </Group>
      </Group>
      <div ref={ref} style={{ width: "100%", height }}>
        <div ref={box} role="img" aria-label={label} style={{ width: width || 1, height }} data-chart={name} />
      </div>
      {children}
    </Paper>
  );
}

function png(instance: Instance, tokens: Tokens): string {
  return instance.getDataURL({ type: "png", pixelRatio: 2, backgroundColor: tokens.ground });
}

/** The same chart drawn once more, as vectors. */
function svg(instance: Instance, tokens: Tokens): string {
  const size = { width: instance.getWidth(), height: instance.getHeight() };
  const drawn = echarts.init(null, null, { renderer: "svg", ssr: true, ...size });
  drawn.setOption({ ...instance.getOption(), animation: false, backgroundColor: tokens.ground });
  const text = drawn.renderToSVGString();
  drawn.dispose();
  return text;
}

/** What all charts share: no animation, so that live data do not flicker, and the page's own colours and letters. */
function grounded(tokens: Tokens): Option {
  return {
    animation: false,
    backgroundColor: "transparent",
    textStyle: { fontFamily: "Inter Variable, sans-serif", color: tokens.text },
    aria: { enabled: false },
    color: [...tokens.series],
  };
}

export function valueAxis(tokens: Tokens, more: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    type: "value",
    scale: true,
    nameLocation: "middle",
    nameGap: 28,
    nameTextStyle: { color: tokens.dimmed },
    axisLine: { show: true, lineStyle: { color: tokens.line } },
    axisTick: { show: false },
    axisLabel: { color: tokens.dimmed, hideOverlap: true, ...(more.type === "time" ? {} : { formatter: tick }) },
    splitLine: { lineStyle: { color: tokens.line, opacity: 0.6 } },
    minorSplitLine: { show: false },
    ...more,
  };
}

function tick(value: unknown): string {
  return typeof value === "number" ? shown(value, 3) : String(value);
}

/** A tooltip whose words are text, whatever a trial is called: nothing of it is read as HTML. */
export function tooltip(tokens: Tokens, more: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    trigger: "item",
    confine: true,
    backgroundColor: tokens.ground,
    borderColor: tokens.line,
    textStyle: { color: tokens.text, fontSize: 12 },
    ...more,
  };
}

/** Lines of text as an element. */
export function lines(...texts: string[]): HTMLElement {
  const element = document.createElement("div");
  for (const text of texts) {
    const line = document.createElement("div");
    line.textContent = text;
    element.append(line);
  }
  return element;
}
