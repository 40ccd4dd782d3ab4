"""docs/optimizers.md is the catalogue in words; `python` with this file writes it anew."""

from __future__ import annotations

from pathlib import Path

from frazil_tuner.optimizers import Entry, catalogue

PAGE = Path(__file__).parents[3] / "docs" / "optimizers.md"
HEAD = """# Optimizers

What `GET /optimizers` lists and `frazil.optimizers.space([...])` makes spaces of. Of each the hyperparameters with
their defaults, those of an essential space in bold; memory in multiples of the parameters, AdamW having 2. Ranges,
couplings and the rest are in [catalogue.toml](../tuner/frazil_tuner/optimizers/catalogue.toml).

| name | what it is | source | hyperparameters | memory | class |
| --- | --- | --- | --- | --- | --- |
"""


def row(entry: Entry) -> str:
    tuned = ", ".join(
        f"**{t.name}** {t.default:g}" if t.essential else f"{t.name} {t.default:g}" for t in entry.parameters
    )
    memory = "" if entry.memory is None else f"{entry.memory:g}"
    built = f"`{entry.class_}`" if entry.class_ else f"none: {entry.why}"
    asked = f"; on request only: {entry.restricted}" if entry.class_ and entry.restricted else ""
    return f"| `{entry.name}` | {entry.title} | {entry.source} | {tuned} | {memory} | {built}{asked} |"


def page() -> str:
    return HEAD + "\n".join(map(row, catalogue().values())) + "\n"


def test_the_page_shows_the_catalogue() -> None:
    assert PAGE.read_text("utf-8") == page()


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
