/**
 * The few icons there are, drawn here: a library of thousands would weigh more than the page. Each stands in a button
 * with a label, or beside a word.
 */
import type { SVGProps } from "react";

function Icon({ children, ...props }: SVGProps<SVGSVGElement>) {
  return (
    <svg
      width="18"
      height="18"
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.8"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      focusable="false"
      {...props}
    >
      {children}
    </svg>
  );
}

export const DownloadIcon = () => (
  <Icon>
    <path d="M12 4v11M7 11l5 5 5-5M5 20h14" />
  </Icon>
);
export const SunIcon = () => (
  <Icon>
    <circle cx="12" cy="12" r="4" />
    <path d="M12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.400 1.400M17.600 17.600 19 19M19 5l-1.400 1.400M6.400 17.600 5 19" />
  </Icon>
);
export const MoonIcon = () => (
  <Icon>
    <path d="M20 14A8 8 0 0 1 10 4a8 8 0 1 0 10 10Z" />
  </Icon>
);
export const FilterIcon = () => (
  <Icon>
    <path d="M4 5h16l-6 8v6l-4-2v-4Z" />
  </Icon>
);
export const BoxIcon = () => (
  <Icon>
    <path d="M4 8V4h4M12 4h2M18 4h2v2M20 10v4M20 18v2h-2M14 20h-4M6 20H4v-2M4 14v-2" />
  </Icon>
);
export const PlusIcon = () => (
  <Icon>
    <path d="M12 5v14M5 12h14" />
  </Icon>
);
export const MoreIcon = () => (
  <Icon>
    <path d="M5 12h.01M12 12h.01M19 12h.01" strokeWidth="3" />
  </Icon>
);
export const ColumnsIcon = () => (
  <Icon>
    <path d="M4 5h16v14H4ZM10 5v14M15 5v14" />
  </Icon>
);
/** The mark: a curve that falls, one that was frozen, and a crystal. */
export const Mark = () => (
  <Icon width="26" height="26" viewBox="0 0 32 32" strokeWidth="2.600">
    <path d="M5 6c1 13 7 18 22 19" />
    <path d="M5 12c2 7 6 9.500 12 11" strokeDasharray=".1 4.400" />
    <path d="M22 4v11M17.200 6.700l9.600 5.600M17.200 12.300l9.600-5.600" />
  </Icon>
);
