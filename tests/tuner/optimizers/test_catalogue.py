"""The catalogue is complete, consistent, and makes spaces that are spaces."""

from __future__ import annotations

import re

import pytest

from frazil_tuner.errors import Refused
from frazil_tuner.optimizers import Entry, catalogue, entry_of, portfolio, space
from frazil_tuner.optimizers.catalogue import GROUPS, NEEDS
from frazil_tuner.space import Space

ENTRIES = list(catalogue().values())
BUILT = [entry for entry in ENTRIES if entry.class_]
OFFERED = [entry.name for entry in BUILT if not entry.restricted]
each = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)


def test_there_are_as_many_as_promised(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f" {len(ENTRIES)} optimizers listed, {len(BUILT)} constructible ", end="")
    assert len(ENTRIES) >= 54
    assert len(BUILT) >= 35


@each
def test_an_entry_says_what_it_must(entry: Entry) -> None:
    assert re.fullmatch("[a-z][a-z0-9_]*", entry.name)
    assert entry.title
    assert entry.family
    assert entry.source
    assert bool(entry.class_) != bool(entry.why), "either a class, or why there is none"
    assert bool(entry.class_) == bool(entry.licence)
    assert entry.groups in GROUPS
    assert set(entry.needs) <= set(NEEDS)
    assert len({tuned.name for tuned in entry.parameters}) == len(entry.parameters) > 0


@each
def test_ranges_hold_their_defaults_on_their_scales(entry: Entry) -> None:
    for tuned in entry.parameters:
        assert tuned.low < tuned.high
        assert tuned.low <= tuned.default <= tuned.high
        assert tuned.log is not True or tuned.low > 0
        assert tuned.log != "complement" or tuned.high < 1
    tuned_names = {tuned.name: tuned for tuned in entry.parameters}
    for point in entry.points:
        assert set(point) <= set(tuned_names)


@pytest.mark.parametrize("tune", ["essential", "full"])
@pytest.mark.parametrize("entry", BUILT, ids=lambda entry: entry.name)
def test_every_optimizer_makes_a_space_whose_portfolio_lies_in_it(entry: Entry, tune: str) -> None:
    items = space([entry.name], tune, restricted=True)
    alone = Space.from_json(items)
    points = portfolio([entry.name], tune)
    assert [alone.check(point) for point in points] == points
    assert {item["name"] for item in items} >= {tuned.name for tuned in entry.parameters if tuned.essential}


def test_several_make_a_conditional_space_with_priors_at_the_defaults() -> None:
    items = space(["adamw", "lion", "sophia"])
    together = Space.from_json(items)
    assert together.is_conditional
    assert together.prior is not None
    assert items[0] == {"name": "optimizer", "type": "categorical", "choices": ["adamw", "lion", "sophia"]}
    lion = next(item for item in items if item["name"] == "lion_lr")
    assert lion["prior"] == 1e-4
    assert lion["when"] == {"optimizer": ["lion"]}
    assert [point["optimizer"] for point in portfolio(["adamw", "lion", "sophia"])] == [
        "adamw",
        "lion",
        "sophia",
        "adamw",
    ]
    assert len(space(["adamw"], "full")) > len(space(["adamw"]))
    assert Space.from_json(space(OFFERED, "full")).dimension > 150


def test_betas_are_searched_by_the_logarithm_of_what_is_missing_to_one() -> None:
    beta = next(item for item in space(["adamw"], "full") if item["name"] == "beta2")
    assert beta["log"] == "complement"


def test_lion_keeps_the_product_of_rate_and_decay_that_adamw_has() -> None:
    products = []
    for name in ("adamw", "lion"):
        values = {tuned.name: tuned.default for tuned in entry_of(name).parameters}
        products.append(values["lr"] * values["weight_decay"])
    assert products[1] == pytest.approx(products[0], rel=2.5)


@pytest.mark.parametrize("name", ["psgd", "apollo"])
def test_what_cannot_be_resumed_or_sold_is_offered_on_request_only(name: str) -> None:
    with pytest.raises(Refused, match="on request only"):
        space(["adamw", name])
    assert len(space(["adamw", name], restricted=True)) > 3


@pytest.mark.parametrize(
    ("names", "tune", "words"),
    [
        ([], "essential", "at least one"),
        (["adamw", "adamw"], "essential", "once"),
        (["adamv"], "essential", "did you mean adam"),
        (["adamw"], "all", '"essential" or "full"'),
    ],
)
def test_what_makes_no_space_is_refused_with_the_remedy(names: list[str], tune: str, words: str) -> None:
    with pytest.raises(Refused, match=words):
        space(names, tune)
