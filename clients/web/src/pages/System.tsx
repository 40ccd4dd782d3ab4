/** The server: what runs, on what, and what it can do. */
import { Badge, Text } from "@mantine/core";
import { useDocumentTitle } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { policiesQuery, systemQuery } from "../api/queries";
import { Instead, Panel } from "../components/parts";
import { networksOf } from "../lib/system";

export function SystemPage() {
  useDocumentTitle("System · Frazil");
  const system = useQuery(systemQuery);
  const policies = useQuery(policiesQuery);
  return (
    <>
      <div className="head">
        <h1>System</h1>
      </div>
      <div className="grid">
        <div className="half">
          <Panel title="This server">
            {system.data ? <Facts facts={facts(system.data)} /> : <Instead query={system} what="the system" />}
          </Panel>
        </div>
        <div className="half">
          <Panel title="For programs">
            <table className="plain">
              <tbody>
                {[
                  ["/docs", "The REST API, to read and to try"],
                  ["/openapi.json", "The same, for generators"],
                  ["/metrics", "Prometheus metrics"],
                  ["/healthz", "Whether the process answers"],
                  ["/readyz", "Whether the database answers too"],
                ].map(([path, what]) => (
                  <tr key={path}>
                    <td>
                      <a href={path}>{path}</a>
                    </td>
                    <td style={{ color: "var(--dimmed)" }}>{what}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </Panel>
        </div>
        <div>
          <Panel title="Model guard">
            {system.data ? <Guard system={system.data} /> : <Instead query={system} what="the networks" />}
          </Panel>
        </div>
        <div>
          <Panel title="Policies">
            {policies.data ? (
              <div className="scroll">
                <table className="plain">
                  <tbody>
                    {policies.data.items.map((policy) => (
                      <tr key={policy.name}>
                        <td style={{ fontWeight: 560 }}>{policy.name}</td>
                        <td>{policy.summary}</td>
                        <td>
                          <Text size="xs" c="dimmed">
                            {(policy.options ?? []).map((option) => String(option.name)).join(", ")}
                          </Text>
                        </td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
            ) : (
              <Instead query={policies} what="policies" />
            )}
          </Panel>
        </div>
      </div>
    </>
  );
}

function Facts({ facts }: { facts: [string, string][] }) {
  return (
    <table className="plain">
      <tbody>
        {facts.map(([name, value]) => (
          <tr key={name}>
            <td style={{ color: "var(--dimmed)" }}>{name}</td>
            <td>{value}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** Whether the files of the networks are what was shipped, and what else guards against them. */
function Guard({ system }: { system: Record<string, unknown> }) {
  const networks = networksOf(system);
  return (
    <>
      {networks.length === 0 ? (
        <Text size="sm">
          No engine of this server has looked at its networks yet; it does before its first suggestion.
        </Text>
      ) : (
        <table className="plain" data-testid="guard">
          <tbody>
            {networks.map(({ name, damage }) => (
              <tr key={name}>
                <td style={{ fontWeight: 560 }}>{name}</td>
                <td>
                  <Badge variant="light" color={damage ? "red" : "teal"} tt="none" fw={550}>
                    {damage ? "damaged" : "as shipped"}
                  </Badge>
                </td>
                <td>{damage}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      <Text size="xs" c="dimmed" mt={8}>
        Where weights are damaged, a Gaussian process serves in their place. Intact ones are believed no further than
        they foretold the study at hand: its Belief page says how far.
      </Text>
    </>
  );
}

function facts(system: Record<string, unknown>): [string, string][] {
  return flat(system).filter(([name]) => !name.includes("networks"));
}

function flat(value: Record<string, unknown>, prefix = ""): [string, string][] {
  return Object.entries(value).flatMap(([name, item]): [string, string][] => {
    const whole = prefix ? `${prefix}, ${name.replaceAll("_", " ")}` : name.replaceAll("_", " ");
    if (typeof item === "object" && item !== null && !Array.isArray(item))
      return flat(item as Record<string, unknown>, whole);
    return [[whole, Array.isArray(item) ? JSON.stringify(item) : String(item)]];
  });
}
