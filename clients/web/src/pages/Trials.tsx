/** Every trial, in any order. */
import { Panel } from "../components/parts";
import { TrialsTable } from "../components/TrialsTable";
import { useView } from "./Study";

export function TrialsTab() {
  const { search, set } = useView();
  return (
    <Panel title="Trials">
      <TrialsTable
        orderBy={search.order ?? "-number"}
        onOrder={(order) => set({ order: order === "-number" ? undefined : order })}
      />
    </Panel>
  );
}
