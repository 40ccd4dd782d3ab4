"""Arithmetic over the numbers of a space, in whatever algebra: plain arrays, enclosing intervals, sorts of number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..numerics import Floats

T = TypeVar("T")

ARITY: Mapping[str, int] = MappingProxyType(
    {"+": 2, "-": 2, "*": 2, "/": 2, "//": 2, "%": 2, "**": 2, "min": 2, "max": 2}
    | {"neg": 1, "abs": 1, "exp": 1, "log": 1, "sqrt": 1}
)
"""Every operation an algebra must know, and how many operands it takes."""

JUMPING = frozenset({"//", "%"})
"""Operations that are not continuous."""


class Variable(NamedTuple):
    """One number of a parameter: its only one, or that of a component."""

    name: str
    part: int = 0


@dataclass(frozen=True, slots=True)
class Algebra(Generic[T]):
    """What numbers and operations mean."""

    constant: Callable[[float], T]
    operations: Mapping[str, Callable[..., T]]


@dataclass(frozen=True, slots=True)
class Formula:
    """An expression in postfix order: numbers, variables and operations. It is run, not walked, so no depth is too
    deep.
    """

    steps: tuple[float | Variable | str, ...]

    @property
    def variables(self) -> frozenset[Variable]:
        return frozenset(step for step in self.steps if isinstance(step, Variable))

    @property
    def operations(self) -> frozenset[str]:
        return frozenset(step for step in self.steps if isinstance(step, str))

    def run(self, algebra: Algebra[T], values: Mapping[Variable, T]) -> T:
        """The expression's value where the variables have `values`."""
        stack: list[T] = []
        for step in self.steps:
            if isinstance(step, str):
                split = len(stack) - ARITY[step]
                stack[split:] = [algebra.operations[step](*stack[split:])]
            else:
                stack.append(values[step] if isinstance(step, Variable) else algebra.constant(step))
        return stack[0]

    def slopes(self, values: Mapping[Variable, Floats]) -> dict[Variable, Any]:
        """The plain value's derivative (n,) by each variable: the steps are run once forwards and once backwards."""
        stack: list[int] = []
        found: list[Any] = []
        operands: list[list[int]] = []
        for step in self.steps:
            split = len(stack) - ARITY[step] if isinstance(step, str) else len(stack)
            operands.append(stack[split:])
            found.append(_plain_step(step, values, [found[i] for i in stack[split:]]))
            stack[split:] = [len(found) - 1]
        shares: list[Any] = [0.0] * (len(found) - 1) + [1.0]
        totals: dict[Variable, Any] = dict.fromkeys(self.variables, 0.0)
        for i in reversed(range(len(found))):
            step = self.steps[i]
            if isinstance(step, Variable):
                totals[step] = totals[step] + shares[i]
            elif isinstance(step, str):
                partials = PARTIALS[step](found[i], *(found[j] for j in operands[i]))
                for j, partial in zip(operands[i], partials, strict=True):
                    shares[j] = shares[j] + partial * shares[i]
        return totals


def _plain_step(step: float | Variable | str, values: Mapping[Variable, Floats], operands: list[Any]) -> Any:
    if isinstance(step, str):
        return PLAIN.operations[step](*operands)
    return values[step] if isinstance(step, Variable) else np.float64(step)


# ── plain arrays: what is undefined is NaN, what is too large infinite ───────────────────────────────────────────────


def _quotient(divide: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    return lambda a, b: np.where(np.equal(b, 0), np.nan, divide(a, np.where(np.equal(b, 0), 1, b)))


def _power(a: Any, b: Any) -> Any:
    return np.where(np.equal(a, 0) & np.less(b, 0), np.nan, np.power(a, b))


def _log(a: Any) -> Any:
    return np.log(np.where(np.greater(a, 0), a, np.nan))


PLAIN: Algebra[Any] = Algebra(
    np.float64,
    MappingProxyType(
        {
            "+": np.add,
            "-": np.subtract,
            "*": np.multiply,
            "/": _quotient(np.divide),
            "//": _quotient(np.floor_divide),
            "%": _quotient(np.mod),
            "**": _power,
            "min": np.minimum,
            "max": np.maximum,
            "neg": np.negative,
            "abs": np.abs,
            "exp": np.exp,
            "log": _log,
            "sqrt": np.sqrt,
        }
    ),
)
"""Floats (n,), as Python computes them, except that what it refuses is NaN. Call within `np.errstate(all="ignore")`."""


PARTIALS: Mapping[str, Callable[..., tuple[Any, ...]]] = MappingProxyType(
    {
        "+": lambda r, a, b: (1.0, 1.0),
        "-": lambda r, a, b: (1.0, -1.0),
        "*": lambda r, a, b: (b, a),
        "/": lambda r, a, b: (1 / b, -r / b),
        "**": lambda r, a, b: (b * np.power(a, b - 1), r * np.log(np.where(np.greater(a, 0), a, 1))),
        "min": lambda r, a, b: (np.less_equal(a, b) * 1.0, np.greater(a, b) * 1.0),
        "max": lambda r, a, b: (np.greater_equal(a, b) * 1.0, np.less(a, b) * 1.0),
        "neg": lambda r, a: (-1.0,),
        "abs": lambda r, a: (np.sign(a),),
        "exp": lambda r, a: (r,),
        "log": lambda r, a: (1 / a,),
        "sqrt": lambda r, a: (0.5 / r,),
    }
)
"""The derivatives of each continuous operation with the result r by its operands."""


# ── intervals: ends computed like the numbers themselves, so that rounding cannot escape them ────────────────────────


class Hull(NamedTuple):
    """Least and largest values (m,) an expression may take, or a little beyond; and where it surely is defined."""

    low: Any
    high: Any
    defined: Any = True

    @classmethod
    def around(cls, low: Any, high: Any, defined: Any) -> Hull:
        """A hull whose ends may be NaN, for anything."""
        lost = np.isnan(low) | np.isnan(high)
        return cls(np.where(lost, -np.inf, low), np.where(lost, np.inf, high), defined & ~lost)

    @classmethod
    def nothing_known(cls, defined: Any) -> Hull:
        return cls(np.full(np.shape(defined), -np.inf), np.full(np.shape(defined), np.inf), defined)


def _either(where: Any, a: Hull, b: Hull) -> Hull:
    return Hull(*(np.where(where, x, y) for x, y in zip(a, b, strict=True)))


def _corners(function: Callable[..., Any], a: Hull, b: Hull, defined: Any) -> Hull:
    """The hull of a function that is monotone in either argument."""
    values = [function(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
    low, high = (_fold(pick, values) for pick in (np.minimum, np.maximum))
    return Hull.around(low, high, defined)


def _fold(pick: Callable[..., Any], values: list[Any]) -> Any:
    first, second, third, fourth = values
    return pick(pick(first, second), pick(third, fourth))


def _hull_of_quotient(operation: str) -> Callable[[Hull, Hull], Hull]:
    def quotient(a: Hull, b: Hull) -> Hull:
        sound = np.greater(b.low, 0) | np.less(b.high, 0)
        known = _corners(PLAIN.operations[operation], a, b, a.defined & b.defined)
        return _either(sound, known, Hull.nothing_known(sound & False))

    return quotient


def _hull_of_remainder(a: Hull, b: Hull) -> Hull:
    """Within the divisor; exact where it is a single number and the dividend crosses no multiple of it."""
    sound = (np.greater(b.low, 0) | np.less(b.high, 0)) & a.defined & b.defined
    within = Hull(np.minimum(b.low, 0), np.maximum(b.high, 0), sound)
    low, high = (PLAIN.operations["%"](x, b.low) for x in (a.low, a.high))
    turns = [PLAIN.operations["//"](x, b.low) for x in (a.low, a.high)]
    exact = sound & np.equal(b.low, b.high) & np.equal(*turns) & np.less_equal(low, high)
    return _either(exact, Hull.around(low, high, sound), within)


def _hull_of_power(a: Hull, b: Hull) -> Hull:
    """Corners for a base of one sign; for others only whole exponents are known."""
    defined = a.defined & b.defined
    known = _corners(_power, a, b, defined & (np.greater(a.low, 0) | np.greater_equal(b.low, 0)))
    whole = np.equal(b.low, b.high) & np.equal(np.floor(b.low), b.low) & np.greater_equal(b.low, 0)
    around_zero = np.less(a.low, 0) & np.greater(a.high, 0)
    low = np.where(around_zero & np.equal(np.mod(b.low, 2), 0) & np.greater(b.low, 0), 0.0, known.low)
    of_whole = Hull(low, known.high, known.defined)
    lost = Hull.nothing_known(defined & False & np.greater_equal(a.low, 0))
    return _widened(_either(np.greater_equal(a.low, 0), known, _either(whole, of_whole, lost)))


def _monotone(function: Callable[[Any], Any], sound: Callable[[Any], Any]) -> Callable[[Hull], Hull]:
    """The hull of a rising function that is defined where `sound`; empty where it is defined nowhere."""

    def hull(a: Hull) -> Hull:
        low = np.where(sound(a.low), function(a.low), -np.inf)
        high = np.where(sound(a.high), function(a.high), -np.inf)
        low = np.where(sound(a.high), low, np.inf)
        return _widened(Hull.around(low, high, a.defined & sound(a.low)))

    return hull


def _widened(a: Hull) -> Hull:
    """Two floats further out on either side: libraries promise no more of a transcendental function."""
    low, high = a.low, a.high
    for _ in range(2):
        low, high = np.nextafter(low, -np.inf), np.nextafter(high, np.inf)
    return Hull(np.where(np.isinf(a.low), a.low, low), np.where(np.isinf(a.high), a.high, high), a.defined)


def _hull_of_modulus(a: Hull) -> Hull:
    crosses = np.less(a.low, 0) & np.greater(a.high, 0)
    ends = np.abs(a.low), np.abs(a.high)
    return Hull(np.where(crosses, 0.0, np.minimum(*ends)), np.maximum(*ends), a.defined)


HULLS: Algebra[Hull] = Algebra(
    lambda x: Hull(np.float64(x), np.float64(x), np.True_),
    MappingProxyType(
        {
            "+": lambda a, b: Hull.around(a.low + b.low, a.high + b.high, a.defined & b.defined),
            "-": lambda a, b: Hull.around(a.low - b.high, a.high - b.low, a.defined & b.defined),
            "*": lambda a, b: _corners(np.multiply, a, b, a.defined & b.defined),
            "/": _hull_of_quotient("/"),
            "//": _hull_of_quotient("//"),
            "%": _hull_of_remainder,
            "**": _hull_of_power,
            "min": lambda a, b: Hull(np.minimum(a.low, b.low), np.minimum(a.high, b.high), a.defined & b.defined),
            "max": lambda a, b: Hull(np.maximum(a.low, b.low), np.maximum(a.high, b.high), a.defined & b.defined),
            "neg": lambda a: Hull(-a.high, -a.low, a.defined),
            "abs": _hull_of_modulus,
            "exp": _monotone(np.exp, lambda x: np.full(np.shape(x), True)),
            "log": _monotone(_log, lambda x: np.greater(x, 0)),
            "sqrt": _monotone(np.sqrt, lambda x: np.greater_equal(x, 0)),
        }
    ),
)


# ── sorts: 2 for a natural number, 1 for a whole one, 0 for any other ────────────────────────────────────────────────

SORTS: Algebra[int] = Algebra(
    lambda x: 0 if x != int(x) else 2 if x >= 0 else 1,
    MappingProxyType(
        {
            "+": min,
            "-": lambda a, b: min(a, b, 1),
            "*": min,
            "/": lambda a, b: 0,
            "//": min,
            "%": min,
            "**": lambda a, b: a if b == 2 else 0,
            "min": min,
            "max": min,
            "neg": lambda a: min(a, 1),
            "abs": lambda a: 2 * min(a, 1),
            "exp": lambda a: 0,
            "log": lambda a: 0,
            "sqrt": lambda a: 0,
        }
    ),
)


def plainly(formula: Formula, values: Mapping[Variable, Floats | float]) -> Any:
    """The plain value of an expression, and no warnings."""
    with np.errstate(all="ignore"):
        return formula.run(PLAIN, values)
