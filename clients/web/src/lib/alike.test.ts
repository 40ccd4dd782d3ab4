import { expect, it } from "vitest";
import { alike } from "./alike";

const curve = (metric: string, ...values: unknown[]) => ({ metric, points: values.map((value) => ({ value })) });

it("metrics of the objective's size share its axis", () => {
  const curves = [curve("loss", 2, 1, 0.5), curve("train", 1.5, 0.9, "nan"), curve("seconds", 10, 20, 30)];
  expect(alike(curves, "loss")).toEqual(["loss", "train"]);
  expect(alike(curves, "seconds")).toEqual(["seconds"]);
  expect(alike(curves, "accuracy")).toEqual(["loss", "train", "seconds"]);
});
