"""What is to be minimised: a table of problems, each moved anew for every seed, each with its least value known.

A space is written as in the contract's JSON; every outcome is minimised; a constraint holds where its metric is ≤ 0.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

Params = Mapping[str, Any]
Values = Mapping[str, float]
Function = Callable[[np.ndarray], Any]
"""(d,) → the outcomes: a number, or the numbers of all objectives and then of all constraints."""


@dataclass(frozen=True)
class Instance:
    """A problem at one seed: its space, its outcomes without noise, and the least value with a point that has it.

    `least` is None where nobody knows it, `at` where nobody knows the point. With two objectives `least` is minus the
    hypervolume of the Pareto front, `at` a point of the front. `worst` counts as long as nothing feasible was found.
    """

    space: tuple[Mapping[str, Any], ...]
    outcomes: Callable[[Params], Values]
    least: float | None
    at: Params | None
    worst: float = np.inf


@dataclass(frozen=True)
class Problem:
    """A family of instances. `noise` is the deviation of what is told; `batch` how many points are asked for at once.

    Regrets below `resolution` count as so much: a function cannot tell them apart, or nobody would care to.
    """

    name: str
    instance: Callable[[int], Instance]
    objectives: tuple[str, ...] = ("value",)
    constraints: tuple[str, ...] = ()
    noise: float = 0.0
    batch: int = 1
    resolution: float = 1e-6


@dataclass(frozen=True)
class Box:
    """A function over a box, with its least value and a point where that is taken; metrics name its outcomes."""

    function: Function
    low: np.ndarray
    high: np.ndarray
    least: float
    at: np.ndarray
    shift: float = 0.1
    metrics: tuple[str, ...] = ("value",)
    worst: float = np.inf

    def moved(self, seed: int) -> Instance:
        """The box moved by up to `shift` of each edge, so that no favourite point (the centre, a corner) is best."""
        edge = self.high - self.low
        move = np.random.default_rng([seed, len(edge)]).uniform(-self.shift, self.shift, len(edge)) * edge
        low, high = self.low + move, self.high + move
        names = [f"x{i}" for i in range(len(edge))]
        space = tuple(number(name, float(a), float(b)) for name, a, b in zip(names, low, high, strict=True))

        def outcomes(params: Params) -> Values:
            found = np.atleast_1d(self.function(np.array([params[name] for name in names])))
            return dict(zip(self.metrics, map(float, found), strict=True))

        return Instance(space, outcomes, self.least, dict(zip(names, map(float, self.at), strict=True)), self.worst)


def number(
    name: str, low: float, high: float, *, log: bool = False, type: str = "float", **rest: Any
) -> dict[str, Any]:
    return {"name": name, "type": type, "low": low, "high": high, "log": log, **rest}


# ── functions ────────────────────────────────────────────────────────────────────────────────────────────────────────


def branin(x: np.ndarray) -> float:
    valley = x[1] - 5.1 / (4 * np.pi**2) * x[0] ** 2 + 5 / np.pi * x[0] - 6
    return float(valley**2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(x[0]) + 10)


HEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])
STEEPNESS = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
CENTRES = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann6(x: np.ndarray) -> float:
    return float(-HEIGHTS @ np.exp(-(STEEPNESS * (x - CENTRES) ** 2).sum(1)))


def hartmann6_in_a_ball(x: np.ndarray) -> tuple[float, float]:
    """Hartmann6, and a constraint that cuts its minimum off: |x - 1/2|² ≤ 1/4 (8 % of the unit cube)."""
    return hartmann6(x), float(((x - 0.5) ** 2).sum() - 0.25)


def ackley(x: np.ndarray) -> float:
    bowl = 20 * np.exp(-0.2 * np.sqrt((x**2).mean()))
    return float(20 + np.e - bowl - np.exp(np.cos(2 * np.pi * x).mean()))


def levy(x: np.ndarray) -> float:
    w = 1 + (x - 1) / 4
    middle = (w[:-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1) ** 2)
    end = (w[-1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[-1]) ** 2)
    return float(np.sin(np.pi * w[0]) ** 2 + middle.sum() + end)


def rosenbrock(x: np.ndarray) -> float:
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


def vlmop2(x: np.ndarray) -> tuple[float, float]:
    """Van Veldhuizen and Lamont 1999: the front is where all x are the same number, from -1/√d to 1/√d."""
    centre = 1 / np.sqrt(len(x))
    return float(1 - np.exp(-((x - centre) ** 2).sum())), float(1 - np.exp(-((x + centre) ** 2).sum()))


VLMOP2_REFERENCE = (1.0, 1.0)


@cache
def vlmop2_hypervolume() -> float:
    """Of the whole front: a hundred thousand points leave out less than 1e-5."""
    s = np.linspace(-1, 1, 100_001)
    front = np.stack([1 - np.exp(-((s - 1) ** 2)), 1 - np.exp(-((s + 1) ** 2))], axis=1)
    return hypervolume(front, VLMOP2_REFERENCE)


def hypervolume(points: np.ndarray, reference: tuple[float, float]) -> float:
    """The area that points (n, 2) dominate below the reference, smaller is better."""
    inside = points[(points < reference).all(axis=1)]
    order = inside[np.lexsort((inside[:, 1], inside[:, 0]))]
    heights = np.minimum.accumulate(np.append(reference[1], order[:, 1]))
    return float(((reference[0] - order[:, 0]) * (heights[:-1] - heights[1:])).sum())


# ── problems that are no box ─────────────────────────────────────────────────────────────────────────────────────────

HARTMANN6 = Box(
    hartmann6,
    np.zeros(6),
    np.ones(6),
    -3.32236801141551,
    np.array([0.20168952, 0.15001069, 0.47687398, 0.27533243, 0.31165162, 0.65730054]),
)


def embedded(seed: int, dimension: int = 50) -> Instance:
    """Hartmann6 of six coordinates; the others change nothing. Which six, the seed says."""
    axes = np.random.default_rng([seed, 1]).permutation(dimension)[:6]
    at = np.full(dimension, 0.5)
    at[axes] = HARTMANN6.at
    box = Box(lambda x: hartmann6(x[axes]), np.zeros(dimension), np.ones(dimension), HARTMANN6.least, at)
    return box.moved(seed)


def training(seed: int) -> Instance:
    """As the loss of a network over its optimizer, each with parameters of its own: smooth, least 0 in one branch.

        loss = handicap[optimizer] + q / (1 + q),    q = Σ ((x - best) / width)²

    over the active parameters; the learning rate's best value moves with the number of layers.
    """
    rng = np.random.default_rng([seed, 2])
    handicap = dict(zip(("sgd", "adam", "lion"), map(float, rng.permutation([0.0, 0.05, 0.1])), strict=True))
    rate = {"sgd": rng.uniform(-1.5, -0.5), "adam": rng.uniform(-3.5, -2.5), "lion": rng.uniform(-4.4, -3.6)}
    momentum, epsilon, decay = rng.uniform(0.5, 0.95), rng.uniform(-8, -4), rng.uniform(-5, -2)
    layers, width = int(rng.integers(2, 8)), int(rng.integers(32, 257))

    def outcomes(params: Params) -> Values:
        optimizer = params["optimizer"]
        q = (np.log10(params["lr"]) - rate[optimizer] + 0.1 * (params["layers"] - layers)) ** 2
        q += ((params["layers"] - layers) / 3) ** 2 + (np.log2(params["width"] / width) / 2) ** 2
        if optimizer == "sgd":
            q += ((params["momentum"] - momentum) / 0.3) ** 2
        if optimizer == "adam":
            q += ((np.log10(params["epsilon"]) - epsilon) / 4) ** 2
        if optimizer != "sgd":
            q += ((np.log10(params["decay"]) - decay) / 1.5) ** 2
        return {"value": float(handicap[optimizer] + q / (1 + q))}

    best = min(handicap, key=handicap.__getitem__)
    every = {"momentum": momentum, "epsilon": 10**epsilon, "decay": 10**decay}
    own = {"sgd": ("momentum",), "adam": ("epsilon", "decay"), "lion": ("decay",)}[best]
    at = {"optimizer": best, "lr": 10 ** rate[best], **{name: every[name] for name in own}}
    return Instance(TRAINING, outcomes, 0.0, {**at, "layers": layers, "width": width})


TRAINING = (
    {"name": "optimizer", "type": "categorical", "choices": ["sgd", "adam", "lion"]},
    number("lr", 1e-5, 1.0, log=True),
    number("momentum", 0.0, 0.99, when={"optimizer": ["sgd"]}),
    number("epsilon", 1e-10, 1e-2, log=True, when={"optimizer": ["adam"]}),
    number("decay", 1e-6, 1e-1, log=True, when={"optimizer": ["adam", "lion"]}),
    number("layers", 1, 8, type="int"),
    number("width", 16, 512, type="int", log=True),
)

DIGITS = (
    number("units", 4, 128, type="int", log=True),
    {"name": "activation", "type": "categorical", "choices": ["relu", "tanh", "logistic"]},
    number("lr", 3e-5, 0.3, log=True),
    number("momentum_gap", 0.005, 0.9, log=True),
    number("alpha", 1e-6, 10.0, log=True),
    number("batch", 8, 256, type="int", log=True),
)
DIGITS_TRAINED = 900


def digits(seed: int) -> Instance:
    """The validation error of a one-layer network after 8 epochs on half of scikit-learn's digits, split by the seed.

    The seed also moves the range of the learning rate, by up to half a decade. Nobody knows the least error.
    """
    factor = 10 ** np.random.default_rng([seed, 3]).uniform(-0.5, 0.5)
    space = tuple(
        {**item, "low": item["low"] * factor, "high": item["high"] * factor} if item["name"] == "lr" else item
        for item in DIGITS
    )
    return Instance(space, partial(digits_error, seed), None, None)


def digits_error(seed: int, params: Params) -> Values:
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng([seed, 4]).permutation(len(y))
    train, rest = order[:DIGITS_TRAINED], order[DIGITS_TRAINED:]
    network = MLPClassifier(
        (params["units"],),
        activation=params["activation"],
        learning_rate_init=params["lr"],
        beta_1=1 - params["momentum_gap"],
        alpha=params["alpha"],
        batch_size=params["batch"],
        max_iter=8,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 8 epochs are no convergence, and a wild learning rate overflows
        network.fit(X[train] / 16, y[train])
    return {"value": float((network.predict(X[rest] / 16) != y[rest]).mean())}


# ── the table ────────────────────────────────────────────────────────────────────────────────────────────────────────

BRANIN = Box(branin, np.array([-5.0, 0.0]), np.array([10.0, 15.0]), 10 / (8 * np.pi), np.array([np.pi, 2.275]))
ACKLEY5 = Box(ackley, np.full(5, -32.768), np.full(5, 32.768), 0.0, np.zeros(5), shift=0.3)
LEVY10 = Box(levy, np.full(10, -10.0), np.full(10, 10.0), 0.0, np.ones(10), shift=0.3)
ROSENBROCK4 = Box(rosenbrock, np.full(4, -5.0), np.full(4, 10.0), 0.0, np.ones(4), shift=0.3)
BALL = Box(
    hartmann6_in_a_ball,
    np.zeros(6),
    np.ones(6),
    -3.2512702487688463,  # by sequential quadratic programming from sixty starts
    np.array([0.24624043, 0.20494359, 0.47828106, 0.29079578, 0.31873351, 0.64646548]),
    metrics=("value", "outside"),
    worst=0.0,
)
VLMOP2 = Box(
    vlmop2,
    np.full(4, -2.0),
    np.full(4, 2.0),
    -vlmop2_hypervolume(),
    np.full(4, 0.25),
    shift=0.2,
    metrics=("first", "second"),
)

PROBLEMS: Mapping[str, Problem] = {
    problem.name: problem
    for problem in (
        Problem("branin", BRANIN.moved),
        Problem("hartmann6", HARTMANN6.moved),
        Problem("ackley5", ACKLEY5.moved),
        Problem("levy10", LEVY10.moved),
        Problem("rosenbrock4", ROSENBROCK4.moved),
        Problem("training", training),
        Problem("hartmann6-noisy", HARTMANN6.moved, noise=0.1),
        Problem("hartmann6-batches", HARTMANN6.moved, batch=4),
        Problem("hartmann6-ball", BALL.moved, constraints=("outside",)),
        Problem("vlmop2", VLMOP2.moved, objectives=("first", "second"), resolution=1e-5),
        Problem("hartmann6-in-50", embedded),
        Problem("digits", digits, resolution=0.5 / (1797 - DIGITS_TRAINED)),
    )
}


def regrets(problem: Problem, instance: Instance, least: float, outcomes: Sequence[Values]) -> np.ndarray:
    """The regret (n,) after each of the outcomes (n,), noise left out, as if the best one so far were taken."""
    if len(problem.objectives) == 1:
        return np.minimum.accumulate([regret(problem, instance, least, values) for values in outcomes])
    points = np.array([[values[metric] for metric in problem.objectives] for values in outcomes])
    volumes = [hypervolume(points[: n + 1], VLMOP2_REFERENCE) for n in range(len(points))]
    return np.maximum(-least - np.array(volumes), problem.resolution)


def regret(problem: Problem, instance: Instance, least: float, values: Values) -> float:
    """Of one outcome of a problem with one objective."""
    feasible = all(values[metric] <= 0 for metric in problem.constraints)
    value = values[problem.objectives[0]] if feasible else instance.worst
    return max(value - least, problem.resolution)
