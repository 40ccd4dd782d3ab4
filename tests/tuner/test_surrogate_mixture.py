"""An ensemble is one belief of as many posteriors as it has members."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from frazil_tuner.surrogates import Evidence, GaussianProcess
from frazil_tuner.surrogates.mixture import Mixture


def uniform(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.rand(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fitted(seed: int) -> object:
    X = uniform(8, 2, seed)
    return GaussianProcess().fit(Evidence(X, torch.sin(4 * X).sum(1), torch.zeros(2, dtype=torch.bool)))


def pair() -> Mixture:
    return Mixture((fitted(0), fitted(1)), {"of": "two"})


def test_it_says_what_its_members_say_one_after_the_other() -> None:
    x, both = uniform(5, 2, seed=7), pair()
    for i, member in enumerate(both.members):
        for ours, theirs in zip(both.posterior(x), member.posterior(x), strict=True):
            assert torch.equal(ours[i], theirs[0])
        for ours, theirs in zip(both.joint(x[None]), member.joint(x[None]), strict=True):
            assert torch.equal(ours[i], theirs[0])
        assert both.incumbent[i] == member.incumbent[0]
    assert both.fit == {"of": "two"}


@pytest.mark.parametrize("paths", [1, 2, 7])
def test_paths_are_dealt_out_among_the_members(paths: int) -> None:
    x = uniform(3, 2, seed=7)
    imagined = pair().imagine(x, paths, torch.Generator().manual_seed(0), noiseless=True)
    mean, sd = imagined.posterior(x)
    assert mean.shape == sd.shape == (paths, 3)
    assert [len(member.incumbent) for member in imagined.members] == [n for n in ((paths + 1) // 2, paths // 2) if n]
    assert sd.max() < 1e-2
    assert imagined.joint(x[None])[1].shape == (paths, 1, 3, 3)
