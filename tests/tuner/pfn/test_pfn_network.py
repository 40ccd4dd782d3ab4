"""The network is a function of what was observed: not of its order, its padding, its company or its way of asking."""

from dataclasses import replace

import pytest
import torch

from frazil_tuner.pfn.configs import CONFIGS, OUTCOMES, SCORES, Config, Shape
from frazil_tuner.pfn.network import Network
from frazil_tuner.pfn.priors.draws import Draws
from frazil_tuner.pfn.priors.prior import prior_of
from frazil_tuner.pfn.studies import UNSEEN, Context, Queries

SHAPES = {
    "curve": Shape("curve", 32, 64, 2, 2, SCORES),
    "static": Shape("static", 32, 64, 2, 2, OUTCOMES),
}


@pytest.fixture(params=["curve", "static"])
def case(request):
    """A network with weights large enough to matter, and three tasks of 40 observations and 20 questions."""
    torch.manual_seed(0)
    network = Network(SHAPES[request.param]).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape))
    config = replace(CONFIGS[f"{request.param}-small"])
    tasks = prior_of(config, None)(Draws(torch.Generator().manual_seed(1)), 3, 40, 20, False)
    return network, tasks


def selected(batch, rows):
    """Observations or questions at `rows`."""
    whole = {"active", "steps"}
    fields = {name: getattr(batch, name) for name in batch.__dataclass_fields__}
    return type(batch)(**{k: v if v is None or k in whole else v[:, rows] for k, v in fields.items()})


def task(batch, index):
    fields = {name: getattr(batch, name) for name in batch.__dataclass_fields__}
    return type(batch)(**{k: None if v is None else v[index : index + 1] for k, v in fields.items()})


def answers(network, context, queries):
    return torch.log_softmax(network(context, queries), -1)


def test_the_order_of_observations_means_nothing(case):
    network, tasks = case
    order = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    permuted = selected(tasks.context, order)
    assert torch.allclose(
        answers(network, permuted, tasks.queries), answers(network, tasks.context, tasks.queries), atol=1e-5
    )


def test_questions_do_not_hear_one_another(case):
    network, tasks = case
    some = torch.tensor([4, 11])
    alone = answers(network, tasks.context, selected(tasks.queries, some))
    assert torch.allclose(alone, answers(network, tasks.context, tasks.queries)[:, some], atol=1e-5)


def test_padding_changes_nothing(case):
    network, tasks = case
    padded = selected(tasks.context, torch.cat([torch.arange(40), torch.full((13,), 5)]))
    present = (torch.arange(53) < 40).expand(3, -1)
    changed = replace(padded, present=present, y=torch.where(present, padded.y, 0.9))
    assert torch.allclose(
        answers(network, changed, tasks.queries), answers(network, tasks.context, tasks.queries), atol=1e-5
    )


def test_studies_of_one_batch_do_not_hear_one_another(case):
    network, tasks = case
    together = answers(network, tasks.context, tasks.queries)
    for index in range(3):
        alone = answers(network, task(tasks.context, index), task(tasks.queries, index))
        assert torch.allclose(alone[0], together[index], atol=1e-5)


def test_a_cache_answers_as_one_pass_does(case):
    network, tasks = case
    cache = network.encode(tasks.context)
    first, second = (selected(tasks.queries, rows) for rows in (torch.arange(8), torch.arange(8, 20)))
    cached = torch.cat([network.reply(cache, first), network.reply(cache, second)], 1)
    assert torch.allclose(cached, network(tasks.context, tasks.queries), atol=1e-5)
    assert network.predict(cache, first).p.shape == (3, 8, network.shape.grid.bins)


def test_columns_that_are_not_in_use_mean_nothing(case):
    network, tasks = case
    noise = torch.rand(tasks.context.x.shape) * ~tasks.context.active[:, None]
    other = replace(tasks.context, x=tasks.context.x + noise)
    assert torch.allclose(answers(network, other, tasks.queries), answers(network, tasks.context, tasks.queries))


def test_the_identity_of_a_curve_tells_it_from_a_replicate():
    torch.manual_seed(0)
    network = Network(SHAPES["curve"]).requires_grad_(False)
    x = torch.full((1, 4, 16), 0.5)
    context = Context(
        x=x, y=torch.tensor([[0.2, 0.3, 0.7, 0.8]]), active=torch.ones(1, 16, dtype=torch.bool),
        t=torch.tensor([[0.1, 0.2, 0.1, 0.2]]), curve=torch.tensor([[0, 0, 1, 1]]), steps=torch.tensor([50]),
    )  # fmt: skip
    queries = Queries(x[:, :3], torch.ones(1, 3), torch.tensor([[0, 1, UNSEEN]]))
    one, two, none = answers(network, context, queries)[0]
    assert not torch.allclose(one, two, atol=1e-3)
    assert not torch.allclose(one, none, atol=1e-3)


def test_the_shipped_shapes_have_the_sizes_they_promise():
    def count(config: Config) -> float:
        return sum(p.numel() for p in Network(config.shape).parameters()) / 1e6

    assert count(CONFIGS["curve-small"]) < 1.5
    assert count(CONFIGS["static-small"]) < 1.5
    assert count(CONFIGS["curve-large"]) * 2 + 8 * count(CONFIGS["curve-small"]) < 40
