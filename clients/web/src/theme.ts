/** What Mantine is told of our looks; the rest is in styles.css. */
import { createTheme, type MantineColorsTuple } from "@mantine/core";

const ice: MantineColorsTuple = [
  "#e6fafd",
  "#d2f1f6",
  "#a5e3ed",
  "#75d4e4",
  "#4fc7dc",
  "#38bfd7",
  "#1098ad",
  "#0b7285",
  "#095c6b",
  "#064653",
];

const dark: MantineColorsTuple = [
  "#e6edf1",
  "#c2ced6",
  "#9db0bb",
  "#72878f",
  "#3b4b55",
  "#2c3a44",
  "#1b262d",
  "#131c22",
  "#0f171c",
  "#0c1317",
];

export const theme = createTheme({
  primaryColor: "ice",
  primaryShade: { light: 7, dark: 7 },
  colors: { ice, dark },
  fontFamily: '"Inter Variable", system-ui, sans-serif',
  headings: { fontFamily: '"Inter Variable", system-ui, sans-serif', fontWeight: "650" },
  defaultRadius: "md",
  cursorType: "pointer",
});
