/** The small parts that every page is made of. */
import {
  Alert,
  Anchor,
  type AnchorProps,
  Badge,
  Button,
  Center,
  Loader,
  Paper,
  Stack,
  Text,
  Title,
} from "@mantine/core";
import { createLink } from "@tanstack/react-router";
import { type ComponentPropsWithRef, forwardRef, type ReactNode } from "react";
import { ApiError } from "../api/client";
import type { State } from "../lib/filter";
import { useTokens } from "./tokens";

export const TextLink = createLink(
  forwardRef<HTMLAnchorElement, AnchorProps & ComponentPropsWithRef<"a">>((props, ref) => (
    <Anchor {...props} ref={ref} />
  )),
);
export const LinkButton = createLink(
  forwardRef<HTMLAnchorElement, Omit<ComponentPropsWithRef<typeof Button<"a">>, "component">>((props, ref) => (
    <Button component="a" {...props} ref={ref} />
  )),
);

export function StateBadge({ state }: { state: string }) {
  const { tokens } = useTokens();
  const colour = tokens.states[state as State] ?? STUDY_COLOURS[state] ?? tokens.dimmed;
  return (
    <Badge variant="transparent" className="state" leftSection={<i className="dot" style={{ background: colour }} />}>
      {state.toLowerCase()}
    </Badge>
  );
}

const STUDY_COLOURS: Record<string, string> = {
  active: "#0b7285",
  paused: "#5b8fb9",
  stopped: "#6b7280",
  completed: "#00795a",
};

export function Panel({ title, controls, children }: { title: ReactNode; controls?: ReactNode; children: ReactNode }) {
  return (
    <Paper className="panel" component="section" aria-label={typeof title === "string" ? title : undefined}>
      <div className="panel-head">
        <Text component="h2" className="panel-title">
          {title}
        </Text>
        {controls}
      </div>
      {children}
    </Paper>
  );
}

export function Fact({ name, children, hint }: { name: string; children: ReactNode; hint?: ReactNode }) {
  return (
    <div className="fact">
      <dt>{name}</dt>
      <dd>{children}</dd>
      {hint && <dd className="hint">{hint}</dd>}
    </div>
  );
}

export function Waiting({ what }: { what: string }) {
  return (
    <Center mih={180}>
      <Stack align="center" gap="xs">
        <Loader size="sm" aria-label={`Loading ${what}`} />
        <Text size="sm" c="dimmed">
          {what}
        </Text>
      </Stack>
    </Center>
  );
}

export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <Center mih={180} p="md">
      <Stack align="center" gap={6} maw={520}>
        <Title order={3} size="h4">
          {title}
        </Title>
        {children && (
          <Text component="div" size="sm" c="dimmed" ta="center">
            {children}
          </Text>
        )}
      </Stack>
    </Center>
  );
}

export function Fault({ error, retry }: { error: unknown; retry?: () => void }) {
  const known = error instanceof ApiError;
  return (
    <Alert color="red" variant="light" title={known && error.status === 0 ? "No connection" : "That did not work"}>
      <Text size="sm">{error instanceof Error ? error.message : String(error)}</Text>
      {known && error.problems.length > 0 && (
        <ul className="problems">
          {error.problems.map((problem) => (
            <li key={problem.pointer + problem.detail}>
              <code>{problem.pointer}</code> {problem.detail}
            </li>
          ))}
        </ul>
      )}
      {retry && (
        <Button size="xs" mt="xs" variant="light" color="red" onClick={retry}>
          Try again
        </Button>
      )}
    </Alert>
  );
}

/** What stands in place of an answer that is not there: nothing to show yet, still computed, or refused. */
export function Instead({
  query,
  what,
  early,
}: {
  query: { error: unknown; refetch: () => unknown };
  what: string;
  /** What to say as long as there is too little to learn from. */
  early?: string;
}) {
  const { error } = query;
  if (!error) return <Waiting what={what} />;
  if (error instanceof ApiError && (error.status === 409 || error.status === 422)) {
    return <Empty title={early ?? "Nothing to show yet"}>{error.message}</Empty>;
  }
  return <Fault error={error} retry={() => void query.refetch()} />;
}
