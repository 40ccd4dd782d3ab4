"""An ensemble is one belief of as many posteriors as it has members; the sparse one finds what matters."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from frazil_tuner.surrogates import SURROGATES, Evidence, GaussianProcess
from frazil_tuner.surrogates.mixture import Mixture
from frazil_tuner.surrogates.sparse import MEMBERS


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


class TestSparse:
    """Fifty columns, of which three matter."""

    AXES = (7, 23, 41)

    def told(self, n: int) -> Evidence:
        X = uniform(n, 50)
        return Evidence(X, self.function(X), torch.zeros(50, dtype=torch.bool))

    def function(self, X: Tensor) -> Tensor:
        return 2 * torch.sin(3 * X[:, self.AXES]).sum(1) - 4

    def test_the_columns_that_matter_have_the_shortest_scales(self) -> None:
        members = SURROGATES["sparse"].fit(self.told(60)).fit["members"]
        assert len(members) == len(MEMBERS)
        for member in members[1:]:
            assert set(torch.tensor(member["theta"][:50]).argsort()[:3].tolist()) == set(self.AXES)

    def test_it_foretells_better_than_the_plain_process(self) -> None:
        x = uniform(300, 50, seed=9)
        errors = {
            name: (SURROGATES[name].fit(self.told(60)).posterior(x)[0].mean(0) - self.function(x)).square().mean()
            for name in ("sparse", "gp")
        }
        assert errors["sparse"] < 0.7 * errors["gp"]
