/** Colours that also the colour-blind can tell apart (Okabe and Ito 2008), and the ground they stand on. */
import type { State } from "./filter";

export type Scheme = "light" | "dark";

export type Tokens = {
  text: string;
  dimmed: string;
  line: string;
  ground: string;
  accent: string;
  best: string;
  series: readonly string[];
  states: Record<State, string>;
};

const SERIES_LIGHT = ["#0072b2", "#d55e00", "#009e73", "#aa4499", "#b8860b", "#117a8b", "#5f5f5f", "#882255"];
const SERIES_DARK = ["#56b4e9", "#e69f00", "#2ec99a", "#cc79a7", "#f0e442", "#66ccee", "#b0b0b0", "#ee8866"];

export const TOKENS: Record<Scheme, Tokens> = {
  light: {
    text: "#1d2a33",
    dimmed: "#52616c",
    line: "#dbe3e8",
    ground: "#ffffff",
    accent: "#0b7285",
    best: "#c2410c",
    series: SERIES_LIGHT,
    states: {
      QUEUED: "#6b7280",
      RUNNING: "#0072b2",
      PAUSED: "#5b8fb9",
      COMPLETED: "#00795a",
      PRUNED: "#a66300",
      FAILED: "#c2410c",
      INFEASIBLE: "#9d3c84",
    },
  },
  dark: {
    text: "#e6edf1",
    dimmed: "#9db0bb",
    line: "#2c3a44",
    ground: "#131c22",
    accent: "#4dc4d8",
    best: "#ffa94d",
    series: SERIES_DARK,
    states: {
      QUEUED: "#9aa5ae",
      RUNNING: "#56b4e9",
      PAUSED: "#8fb8d8",
      COMPLETED: "#2ec99a",
      PRUNED: "#e69f00",
      FAILED: "#ff7a45",
      INFEASIBLE: "#dd8fc0",
    },
  },
};

/** Viridis at even places (van der Walt and Smith 2015): as bright as it is large, also in grey. */
const VIRIDIS = ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725"];

/** Its darkest part cannot be seen on a dark ground, its brightest not on a light one. */
const USABLE: Record<Scheme, readonly [number, number]> = { light: [0, 0.86], dark: [0.22, 1] };

/** The colour of a share in [0, 1]. */
export function continuous(share: number, scheme: Scheme): string {
  const [low, high] = USABLE[scheme];
  const place = (low + (high - low) * Math.min(1, Math.max(0, share))) * (VIRIDIS.length - 1);
  const index = Math.min(Math.floor(place), VIRIDIS.length - 2);
  return mixed(VIRIDIS[index]!, VIRIDIS[index + 1]!, place - index);
}

export function gradient(scheme: Scheme, stops = 8): string[] {
  return Array.from({ length: stops }, (_, i) => continuous(i / (stops - 1), scheme));
}

function mixed(a: string, b: string, share: number): string {
  const channel = (at: number) => {
    const [from, to] = [a, b].map((colour) => Number.parseInt(colour.slice(at, at + 2), 16)) as [number, number];
    return Math.round(from + (to - from) * share)
      .toString(16)
      .padStart(2, "0");
  };
  return `#${channel(1)}${channel(3)}${channel(5)}`;
}
