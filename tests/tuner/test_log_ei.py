"""Log expected improvement against many digits, value and gradient."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch
from botorch.acquisition.analytic import LogExpectedImprovement
from botorch.models import SingleTaskGP

from frazil_tuner.acquisition import Outlook
from frazil_tuner.acquisition.log_ei import log_ei, log_expected_improvement
from frazil_tuner.acquisition.normal import FAR, NEAR, log_h, log_ndtr
from frazil_tuner.space import Space

SPACE = Space.from_json([{"name": "x", "type": "float", "low": 0, "high": 1}])
EPS = 1e-9
POINTS = [
    *(8.0, 3.0, 0.5, 0.0, -0.5, -3.0, -8.0, -20.0, -300.0, -1e4, -1e8, -1e20, -1e150),
    *(switch + side for switch in (NEAR, FAR) for side in (-EPS, 0.0, EPS)),
]


def exact(z: float) -> tuple[float, float]:
    """log h and its derivative Φ / h at z, from as many digits as the cancellation needs."""
    with mpmath.workdps(60 + int(6 * math.log10(1 + abs(z)))):
        big = mpmath.mpf(z)
        if z < -1e3:  # h = φ / z² (1 - 3/z² …), whose later terms are below 1e-12
            log_h = -(big**2) / 2 - mpmath.log(2 * mpmath.pi) / 2 - 2 * mpmath.log(-big) + mpmath.log1p(-3 / big**2)
            return float(log_h), float(-big - 2 / big)
        h = mpmath.npdf(big) + big * mpmath.ncdf(big)
        return float(mpmath.log(h)), float(mpmath.ncdf(big) / h)


@pytest.mark.parametrize("z", POINTS)
def test_value_and_gradient_of_log_h_agree_with_many_digits(z: float) -> None:
    at = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    value = log_h(at)
    value.backward()
    expected, slope = exact(z)
    assert value.item() == pytest.approx(expected, rel=1e-10, abs=1e-12)
    assert at.grad is not None
    assert at.grad.item() == pytest.approx(slope, rel=1e-9)


@pytest.mark.parametrize("z", [*POINTS, 40.0, 1e3])
def test_value_and_gradient_of_log_ndtr_agree_with_many_digits(z: float) -> None:
    at = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    value = log_ndtr(at)
    value.backward()
    with mpmath.workdps(40):
        big = mpmath.mpf(z)
        log_density = -(big**2) / 2 - mpmath.log(2 * mpmath.pi) / 2
        if z < -1e3:
            expected = log_density - mpmath.log(-big) + mpmath.log1p(-1 / big**2)
        else:
            expected = mpmath.log1p(-mpmath.ncdf(-big)) if z > 0 else mpmath.log(mpmath.ncdf(big))
        slope = mpmath.exp(log_density - expected) if z > -1e3 else -big - 1 / big
    assert value.item() == pytest.approx(float(expected), rel=1e-12, abs=1e-300)
    assert at.grad is not None
    assert at.grad.item() == pytest.approx(float(slope), rel=1e-9, abs=1e-300)


def test_scale_and_incumbent_enter_as_the_formula_says() -> None:
    mean, sd, best = (torch.tensor(v, dtype=torch.float64) for v in (1.5, 2.0, 3.0))
    assert log_expected_improvement(mean, sd, best).item() == pytest.approx(math.log(2) + exact(-0.75)[0])


class Known:
    """A belief that says the same everywhere: two imagined outcomes, different means and incumbents."""

    incumbent = torch.tensor([0.0, 1.0], dtype=torch.float64)

    def posterior(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor([[0.5], [2.0]], dtype=torch.float64).expand(2, len(x)), torch.full(
            (1, len(x)), 0.5
        ).double()


def test_the_improvement_is_averaged_over_imagined_outcomes() -> None:
    each = [0.5 * math.exp(exact(z)[0]) for z in (1.0, 2.0)]
    outlook = Outlook((Known(),), SPACE, torch.Generator(), 1)
    assert log_ei(outlook)(torch.zeros(3, 1)).tolist() == pytest.approx([math.log(sum(each) / 2)] * 3)


def test_ours_is_botorchs_log_ei() -> None:
    X = torch.rand(8, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = X.sum(1, keepdim=True)
    model = SingleTaskGP(X, (y - y.mean()) / y.std(), outcome_transform=None).eval()
    x = torch.rand(20, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        theirs = LogExpectedImprovement(model, best_f=1.2)(x[:, None])
        posterior = model.posterior(x)
        ours = log_expected_improvement(posterior.mean[:, 0], posterior.variance[:, 0].sqrt(), torch.tensor(1.2))
    assert ours.tolist() == pytest.approx(theirs.tolist(), rel=1e-9)
