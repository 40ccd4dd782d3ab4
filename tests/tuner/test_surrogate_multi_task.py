"""Earlier studies help where they are alike, are forgotten where they mislead, and never stand for the present one."""

from __future__ import annotations

import warnings
from dataclasses import replace

import gpytorch
import pytest
import torch
from botorch.models import MultiTaskGP
from gpytorch.kernels import MaternKernel
from torch import Tensor

from frazil_tuner.surrogates import SURROGATES, Evidence, GaussianProcess, Unsuited
from frazil_tuner.surrogates.general import ExactBelief, Seen
from frazil_tuner.surrogates.multi_task import MOST_ROWS, _at_most, _model

D = 3


def uniform(n: int, seed: int) -> Tensor:
    return torch.rand(n, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def bowl(X: Tensor, task: int, *, upside_down: bool = False) -> Tensor:
    """A bowl whose place, scale and level differ a little from study to study."""
    rng = torch.Generator().manual_seed(1000 + task)
    place = 0.4 + 0.05 * torch.randn(D, generator=rng, dtype=torch.float64)
    scale, level = 0.5 + torch.rand(2, generator=rng, dtype=torch.float64)
    weights = torch.tensor([3.0, 1.0, 0.3], dtype=torch.float64)
    y = -((X - place).square() * weights).sum(1) + 0.1 * torch.sin(6 * X).sum(1)
    return scale * (-y if upside_down else y) + 10 * level


def standard(y: Tensor) -> Tensor:
    return (y - y.mean()) / y.std()


def told(
    own: int, seed: int, earlier: int = 5, rows: int = 25, *, misleads: bool = False
) -> tuple[Evidence, Tensor, Tensor]:
    """The evidence, and what the present study would say in 200 places, in its own outcomes."""
    X0 = uniform(own, seed)
    y0, x = bowl(X0, 0), uniform(200, seed + 50)
    studies = [uniform(rows, 100 * seed + task) for task in range(1, earlier + 1)]
    outcomes = [standard(bowl(X, task, upside_down=misleads)) for task, X in enumerate(studies, 1)]
    tasks = torch.repeat_interleave(torch.arange(earlier + 1), torch.tensor([own] + [rows] * earlier))
    X, y = torch.cat([X0, *studies]), torch.cat([standard(y0) if own > 1 else y0 * 0, *outcomes])
    truth = (bowl(x, 0) - y0.mean()) / y0.std() if own > 1 else standard(bowl(x, 0))
    return Evidence(X, y, torch.zeros(D, dtype=torch.bool), tasks=tasks), x, truth


def cold(evidence: Evidence) -> Evidence:
    assert evidence.tasks is not None
    own = evidence.tasks == 0
    return Evidence(evidence.X[own], evidence.y[own], evidence.unordered)


def error(mean: Tensor, truth: Tensor) -> float:
    return float((mean[0] - truth).square().mean().sqrt())


@pytest.mark.parametrize("own", [3, 5])
def test_five_related_studies_make_few_observations_tell_much(own: int) -> None:
    warm_errors, cold_errors = 0.0, 0.0
    for seed in (1, 2, 3):
        evidence, x, truth = told(own, seed)
        warm_errors += error(SURROGATES["multi_task"].fit(evidence).posterior(x)[0], truth)
        cold_errors += error(GaussianProcess().fit(cold(evidence)).posterior(x)[0], truth)
    assert warm_errors < 0.5 * cold_errors


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_study_that_misleads_is_seen_through(seed: int) -> None:
    evidence, _, _ = told(8, seed, earlier=1, misleads=True)
    with pytest.raises(Unsuited, match="mislead"):
        SURROGATES["multi_task"].fit(evidence)


def test_points_and_incumbent_are_those_of_the_present_study() -> None:
    evidence, _, _ = told(4, 1)
    belief = SURROGATES["multi_task"].fit(evidence)
    assert torch.equal(belief.points, evidence.X[:4])
    assert belief.incumbent.item() == pytest.approx(belief.posterior(evidence.X[:4])[0].max().item())
    x = uniform(2, 9)
    imagined = belief.imagine(x, 3, torch.Generator().manual_seed(0))
    assert torch.equal(imagined.points, torch.cat([evidence.X[:4], x]))


@pytest.mark.parametrize("own", [0, 1])
def test_before_it_has_begun_a_study_is_believed_to_be_like_the_others(own: int) -> None:
    evidence, x, truth = told(own, 1)
    belief = SURROGATES["multi_task"].fit(evidence)
    mean, sd = belief.posterior(x)
    assert torch.corrcoef(torch.stack([mean[0], truth]))[0, 1] > 0.8
    assert sd.min() > 0.01
    assert len(belief.points) == (own or len(evidence.X))


def test_rows_are_limited_fairly_and_the_present_study_s_are_all_kept() -> None:
    evidence, _, _ = told(30, 1, earlier=3, rows=400)
    part = _at_most(evidence, MOST_ROWS)
    assert part.tasks is not None
    counts = torch.bincount(part.tasks).tolist()
    assert counts[0] == 30
    assert counts[1] == counts[2] == counts[3] == (MOST_ROWS - 30) // 3
    assert part.tasks[-30:].tolist() == [0] * 30
    best = evidence.y[evidence.tasks == 2].max()
    assert best in part.y[part.tasks == 2]


def test_numbers_of_studies_are_names() -> None:
    evidence, x, _ = told(4, 1, earlier=2)
    assert evidence.tasks is not None
    renamed = replace(evidence, tasks=torch.where(evidence.tasks > 0, evidence.tasks * 7, 0))
    one, other = (SURROGATES["multi_task"].fit(e).posterior(x)[0] for e in (evidence, renamed))
    assert torch.allclose(one, other, atol=1e-6)


def test_the_posterior_is_botorch_s_where_levels_and_stretch_play_no_part() -> None:
    w, own = torch.tensor([0.9, 1.2]).double(), torch.tensor([0.3, 0.1]).double()
    lengths, noise = torch.tensor([0.5, 0.8, 1.1]).double(), torch.tensor([0.05, 0.05]).double()
    one, none = torch.ones(1).double(), torch.full((1,), 1e-300).double()
    values = {
        "lengths": lengths,
        "joint": one,
        "additive": none,
        "weights": w,
        "own": own,
        "level": none,
        "stretch": one,
        "noise": noise,
    }
    evidence, x, _ = told(5, 1, earlier=1)
    assert evidence.tasks is not None
    features = torch.cat([evidence.X, evidence.tasks[:, None]], dim=1)
    ours = ExactBelief.given(_model(evidence.unordered, 2), values, Seen.of(evidence, features), evidence.X[:5])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matern = MaternKernel(nu=2.5, ard_num_dims=D)
        theirs = MultiTaskGP(
            features,
            evidence.y[:, None],
            task_feature=-1,
            train_Yvar=torch.full_like(evidence.y[:, None], 0.05),
            covar_module=matern,
            rank=1,
            outcome_transform=None,
            output_tasks=[0],
        )
        theirs = theirs.double().eval()
    B = torch.outer(w, w) + own.diag()
    K = lambda a, b, t, u: B[t][:, u] * gpytorch.kernels.ScaleKernel(matern).base_kernel(a, b).to_dense()  # noqa: E731
    matern.lengthscale = lengths
    KXX = K(evidence.X, evidence.X, evidence.tasks, evidence.tasks) + 0.05 * torch.eye(len(evidence.y)).double()
    Kx = K(evidence.X, x, evidence.tasks, torch.zeros(len(x), dtype=torch.long))
    mean = ours.mean + Kx.T @ torch.linalg.solve(KXX, evidence.y - ours.mean)
    assert torch.allclose(ours.posterior(x)[0][0], mean, atol=1e-6)
