/** The page's colours at present. */
import { useComputedColorScheme } from "@mantine/core";
import { type Scheme, TOKENS, type Tokens } from "../lib/palette";

export function useTokens(): { tokens: Tokens; scheme: Scheme } {
  const scheme = useComputedColorScheme("light", { getInitialValueInEffect: false });
  return { tokens: TOKENS[scheme], scheme };
}
