import { expect, test } from "vitest";
import { networksOf } from "./system";

const engine = (device: unknown) => ({ engine: { executor: "local", device } });

test("networks are as shipped unless the engine says what is wrong with them", () => {
  const device = {
    networks: ["curve-large", "curve-small"],
    damaged_networks: { "curve-small": "The weights are damaged." },
  };
  expect(networksOf(engine(device))).toEqual([
    { name: "curve-large", damage: undefined },
    { name: "curve-small", damage: "The weights are damaged." },
  ]);
});

test("a damaged list of networks is named itself", () => {
  const device = { networks: [], damaged_networks: { "manifest.json": "The list cannot be read." } };
  expect(networksOf(engine(device))).toEqual([{ name: "manifest.json", damage: "The list cannot be read." }]);
});

test("an engine that has not looked yet has none", () => {
  expect(networksOf(engine(null))).toEqual([]);
  expect(networksOf({})).toEqual([]);
});
