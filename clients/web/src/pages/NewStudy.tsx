/** Creating a study: by a form, or from pasted JSON or YAML; every fault stands at its field, in the server's words. */
import {
  ActionIcon,
  Button,
  Group,
  NumberInput,
  SegmentedControl,
  Select,
  Stack,
  Switch,
  TagsInput,
  Text,
  Textarea,
  TextInput,
} from "@mantine/core";
import { useDocumentTitle } from "@mantine/hooks";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { ApiError, get, type Problem, type Schemas, type Study, send } from "../api/client";
import { policiesQuery, studyQuery } from "../api/queries";
import { Fault, Panel } from "../components/parts";
import { definitionOf, freeName, parseDefinition, problemsAt } from "../lib/definition";
import { type Draft, definitionFromDraft, EMPTY, newParameter, type ParameterDraft, TYPES } from "../lib/draft";

export function NewStudyPage() {
  useDocumentTitle("New study · Frazil");
  const { like } = useSearch({ from: "/new" });
  const [way, setWay] = useState(like ? "text" : "form");
  return (
    <>
      <div className="head">
        <h1>{like ? "Clone a study" : "New study"}</h1>
        <div className="spring" />
        <SegmentedControl
          aria-label="How to define it"
          value={way}
          onChange={setWay}
          data={[
            { value: "form", label: "Form" },
            { value: "text", label: "JSON or YAML" },
          ]}
        />
      </div>
      {way === "form" ? <FormWay /> : <TextWay like={like} />}
    </>
  );
}

function useCreation() {
  const client = useQueryClient();
  const navigate = useNavigate();
  return useMutation({
    mutationFn: (definition: Record<string, unknown>) => send<Study>("POST", "/studies", definition),
    onSuccess: (study) => {
      void client.invalidateQueries({ queryKey: ["studies"] });
      void navigate({ to: "/studies/$study", params: { study: study.id } });
    },
  });
}

function TextWay({ like }: { like?: string }) {
  const creation = useCreation();
  const original = useQuery({ ...studyQuery(like ?? ""), enabled: like !== undefined });
  const [text, setText] = useState("");
  const [fault, setFault] = useState<string | null>(null);
  useEffect(() => {
    if (!original.data) return;
    const study = original.data;
    void get<Schemas["StudyList"]>("/studies", { page_size: 1000, project: study.project }).then((list) => {
      const name = freeName(
        study.name,
        list.items.map((item) => item.name),
      );
      setText(JSON.stringify({ ...definitionOf(study), name }, null, 2));
    });
  }, [original.data]);
  const submit = async () => {
    setFault(null);
    try {
      creation.mutate(await parseDefinition(text));
    } catch (error) {
      setFault((error as Error).message);
    }
  };
  return (
    <Panel title="Definition">
      <Stack>
        <Textarea
          aria-label="Definition as JSON or YAML"
          autosize
          minRows={14}
          maxRows={40}
          value={text}
          error={fault}
          placeholder={
            "name: first\nspace:\n  - {name: lr, type: float, low: 1.0e-5, high: 0.1, log: true}\nobjectives:\n  - {metric: val_loss}\nresource: {name: epoch, max: 50}\nbudget: {resource: 2000}"
          }
          onChange={(event) => setText(event.currentTarget.value)}
          styles={{ input: { fontFamily: "ui-monospace, monospace", fontSize: 13 } }}
        />
        {creation.error && <Fault error={creation.error} />}
        <Group>
          <Button onClick={() => void submit()} loading={creation.isPending}>
            Create
          </Button>
          <Text size="sm" c="dimmed">
            As in <a href="/docs#/studies/create_study">POST /studies</a>.
          </Text>
        </Group>
      </Stack>
    </Panel>
  );
}

function FormWay() {
  const creation = useCreation();
  const policies = useQuery(policiesQuery);
  const [draft, setDraft] = useState<Draft>(EMPTY);
  const problems: readonly Problem[] = creation.error instanceof ApiError ? creation.error.problems : [];
  const at = (pointer: string) => problemsAt(problems, pointer);
  const set = <Key extends keyof Draft>(name: Key, value: Draft[Key]) => setDraft({ ...draft, [name]: value });
  const policy = policies.data?.items.find((item) => item.name === draft.policy);
  const change = (i: number, parameter: ParameterDraft) =>
    set(
      "parameters",
      draft.parameters.map((old, j) => (i === j ? parameter : old)),
    );
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        creation.mutate(definitionFromDraft(draft));
      }}
    >
      <div className="grid">
        <div className="half">
          <Panel title="What is wanted">
            <Stack gap="sm">
              <TextInput
                label="Name"
                required
                value={draft.name}
                error={at("/name")}
                onChange={(event) => set("name", event.currentTarget.value)}
              />
              <Group grow align="start">
                <TextInput
                  label="Metric"
                  required
                  value={draft.metric}
                  error={at("/objectives")}
                  onChange={(event) => set("metric", event.currentTarget.value)}
                />
                <Select
                  label="Direction"
                  data={["minimize", "maximize"]}
                  value={draft.direction}
                  onChange={(value) => set("direction", (value ?? "minimize") as Draft["direction"])}
                  allowDeselect={false}
                />
              </Group>
              <Switch
                label="Training reports a curve, step by step"
                checked={draft.hasResource}
                onChange={(event) => set("hasResource", event.currentTarget.checked)}
              />
              {draft.hasResource && (
                <Group grow align="start">
                  <TextInput
                    label="A step is called"
                    value={draft.unit}
                    error={at("/resource/name")}
                    onChange={(event) => set("unit", event.currentTarget.value)}
                  />
                  <NumberInput
                    label="Steps of a whole run"
                    min={1}
                    value={draft.maxSteps}
                    error={at("/resource/max")}
                    onChange={(value) => set("maxSteps", value)}
                  />
                  <Select
                    label="More of it means"
                    data={[
                      { value: "resumable", label: "going on from a checkpoint" },
                      { value: "restart", label: "training again" },
                    ]}
                    value={draft.kind}
                    onChange={(value) => set("kind", (value ?? "resumable") as Draft["kind"])}
                    allowDeselect={false}
                  />
                </Group>
              )}
            </Stack>
          </Panel>
        </div>
        <div className="half">
          <Panel title="How to search">
            <Stack gap="sm">
              <Select
                label="Policy"
                searchable
                data={(policies.data?.items ?? [{ name: "auto" }]).map((item) => item.name)}
                value={draft.policy}
                error={at("/policy")}
                description={policy?.summary}
                onChange={(value) => set("policy", value ?? "auto")}
                allowDeselect={false}
              />
              <Group grow align="start">
                <NumberInput
                  label="Budget: trials"
                  placeholder="no limit"
                  min={1}
                  value={draft.trials}
                  error={at("/budget/trials")}
                  onChange={(value) => set("trials", value)}
                />
                {draft.hasResource && (
                  <NumberInput
                    label={`Budget: ${draft.unit || "step"}s`}
                    placeholder="no limit"
                    min={1}
                    value={draft.steps}
                    error={at("/budget/resource")}
                    onChange={(value) => set("steps", value)}
                  />
                )}
              </Group>
              <TagsInput
                label="Constraints on parameters"
                placeholder="layers * width <= 2048"
                value={draft.constraints}
                error={at("/constraints")}
                onChange={(value) => set("constraints", value)}
              />
              <TagsInput
                label="Constraints on outcomes"
                placeholder="latency_ms <= 50"
                value={draft.outcomeConstraints}
                error={at("/outcome_constraints")}
                onChange={(value) => set("outcomeConstraints", value)}
              />
            </Stack>
          </Panel>
        </div>
        <div>
          <Panel
            title="Space"
            controls={
              <Button
                size="xs"
                variant="light"
                onClick={() => set("parameters", [...draft.parameters, newParameter()])}
              >
                Add a parameter
              </Button>
            }
          >
            <Stack gap="xs">
              {draft.parameters.map((parameter, i) => (
                <ParameterRow
                  key={parameter.id}
                  parameter={parameter}
                  error={at(`/space/${i}`)}
                  change={(next) => change(i, next)}
                  remove={
                    draft.parameters.length > 1
                      ? () =>
                          set(
                            "parameters",
                            draft.parameters.filter((_, j) => j !== i),
                          )
                      : undefined
                  }
                />
              ))}
              {problems.some((problem) => problem.pointer === "/space") && (
                <Text c="red" size="sm">
                  {at("/space")}
                </Text>
              )}
            </Stack>
          </Panel>
        </div>
        <div>
          {creation.error && <Fault error={creation.error} />}
          <Group mt="sm">
            <Button type="submit" loading={creation.isPending}>
              Create
            </Button>
            <Text size="sm" c="dimmed">
              Several objectives, schedules, conditional parameters and priors: write them as JSON or YAML.
            </Text>
          </Group>
        </div>
      </div>
    </form>
  );
}

function ParameterRow({
  parameter,
  error,
  change,
  remove,
}: {
  parameter: ParameterDraft;
  error?: string;
  change: (parameter: ParameterDraft) => void;
  remove?: () => void;
}) {
  const numeric = parameter.type === "float" || parameter.type === "int";
  return (
    <div>
      <Group gap="xs" align="end" wrap="wrap">
        <TextInput
          label="Name"
          w={150}
          required
          value={parameter.name}
          onChange={(event) => change({ ...parameter, name: event.currentTarget.value })}
        />
        <Select
          label="Type"
          w={130}
          data={[...TYPES]}
          value={parameter.type}
          onChange={(type) => change({ ...parameter, type: (type ?? "float") as ParameterDraft["type"] })}
          allowDeselect={false}
        />
        {numeric ? (
          <>
            <TextInput
              label="From"
              w={110}
              value={parameter.low}
              onChange={(event) => change({ ...parameter, low: event.currentTarget.value })}
            />
            <TextInput
              label="To"
              w={110}
              value={parameter.high}
              onChange={(event) => change({ ...parameter, high: event.currentTarget.value })}
            />
            <Switch
              label="logarithmic"
              mb={8}
              checked={parameter.log}
              onChange={(event) => change({ ...parameter, log: event.currentTarget.checked })}
            />
          </>
        ) : (
          <TagsInput
            label={parameter.type === "ordinal" ? "Values, in order" : "Choices"}
            style={{ flex: 1, minWidth: 220 }}
            value={parameter.choices}
            onChange={(choices) => change({ ...parameter, choices })}
          />
        )}
        {remove && (
          <ActionIcon
            variant="subtle"
            color="gray"
            mb={6}
            aria-label={`Take away ${parameter.name || "the parameter"}`}
            onClick={remove}
          >
            ×
          </ActionIcon>
        )}
      </Group>
      {error && (
        <Text c="red" size="xs" mt={4} role="alert">
          {error}
        </Text>
      )}
    </div>
  );
}
