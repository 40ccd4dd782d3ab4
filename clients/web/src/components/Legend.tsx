/** What colours mean. */

import { shown } from "../lib/format";
import { gradient } from "../lib/palette";
import type { Legend as Meaning } from "../lib/scale";
import { useTokens } from "./tokens";

export function Legend({ legend, name }: { legend: Meaning; name: string }) {
  const { scheme } = useTokens();
  if (legend.kind === "none") return null;
  if (legend.kind === "range") {
    return (
      <div className="legend">
        <span>{name}</span>
        <span>
          {shown(legend.low, 3)}
          <i className="ramp" style={{ background: `linear-gradient(90deg, ${gradient(scheme).join(", ")})` }} />
          {shown(legend.high, 3)}
          {legend.log ? " (log)" : ""}
        </span>
      </div>
    );
  }
  return (
    <div className="legend">
      {legend.items.slice(0, 12).map((item) => (
        <span key={item.name}>
          <i className="dot" style={{ background: item.colour }} />
          {name === "state" ? item.name.toLowerCase() : item.name}
        </span>
      ))}
    </div>
  );
}
