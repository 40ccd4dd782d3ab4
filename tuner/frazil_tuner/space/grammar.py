"""From the text of an expression or a constraint to formulas and truths. Python's syntax, read by `ast`, never run."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from keyword import kwlist
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .expressions import Formula, Variable, plainly
from .fields import LARGEST, shown, text
from .kinds.computed import Computed
from .kinds.derived import Derived
from .kinds.scheduled import Scheduled
from .truths import All, Comparison, Labels, Match, OneOf, Truth

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .kinds import Kind

LONGEST = 1_000
"""Characters of an expression."""

DEEPEST = 32
"""Levels of brackets, functions and signs; a sum of many terms has one."""

STEEPEST = 100.0
"""Constant exponents beyond ±STEEPEST are refused."""

Scope = Mapping[str, "Kind | Computed | None"]
"""The parameters an expression may name; None for one whose own description is at fault."""

BINARY: Mapping[type[ast.operator], str] = MappingProxyType(
    {
        ast.Add: "+",
        ast.Sub: "-",
        ast.Mult: "*",
        ast.Div: "/",
        ast.FloorDiv: "//",
        ast.Mod: "%",
        ast.Pow: "**",
    }
)
FUNCTIONS = ("min", "max", "abs", "log", "exp", "sqrt")
ORDERINGS: Mapping[type[ast.cmpop], tuple[str, bool]] = MappingProxyType(
    {
        ast.LtE: ("<=", False),
        ast.Lt: ("<", False),
        ast.GtE: ("<=", True),
        ast.Gt: ("<", True),
        ast.Eq: ("==", False),
        ast.NotEq: ("!=", False),
    }
)
"""A comparison of Python to a relation, and whether its sides change places."""

OPPOSITES: Mapping[str, tuple[str, bool]] = MappingProxyType(
    {"<=": ("<", True), "<": ("<=", True), "==": ("!=", False), "!=": ("==", False)}
)
"""A relation to the one that holds where it does not, and whether its sides change places."""

_OURS = {"and", "or", "not", "True", "False", "None", "in", "is", "if", "else"}
_RESERVED = "|".join(sorted(set(kwlist) - _OURS))
_TOKENS = re.compile(rf"'[^']*'|\"[^\"]*\"|\b(?:{_RESERVED})\b")
_MARK = "ǀ"
"""Put behind names such as `lambda`, which Python keeps to itself, while its parser looks at them."""


class Unsupported(ValueError):
    """A sound text that asks for what no version of ours can do."""


def read_formula(written: object, scope: Scope) -> Formula:
    """The arithmetic that `written` describes; ValueError with the remedy if it is none over `scope`."""
    reader = _Reader(scope)
    formula = Formula(tuple(reader.arithmetic(_parsed(written), 0)))
    if not formula.variables:
        raise ValueError("names no parameter; use at least one")
    return formula


def read_truth(written: object, scope: Scope) -> tuple[Truth, tuple[str, ...]]:
    """The condition that `written` describes, and the parameters it names; ValueError with the remedy if it is none."""
    reader = _Reader(scope)
    truth = reader.truth(_parsed(written), 0, wanted=True)
    if not reader.named:
        raise ValueError("names no parameter; use at least one")
    return truth, tuple(reader.named)


def _parsed(written: object) -> ast.expr:
    source = text(written).strip()
    if len(source) > LONGEST:
        raise ValueError(f"has {len(source)} characters; at most {LONGEST} are allowed")
    marked = _TOKENS.sub(lambda found: found[0] if found[0][0] in "'\"" else found[0] + _MARK, source)
    try:
        return ast.parse(marked, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"is not an expression: {shown(source)}; write it like 'layers * width <= 2048'") from None


@dataclass
class _Reader:
    """One reading; `named` collects the parameters on the way, in order."""

    scope: Scope

    def __post_init__(self) -> None:
        self.named: dict[str, None] = {}

    # ── arithmetic ───────────────────────────────────────────────────────────────────────────────────────────────────

    def arithmetic(self, node: ast.expr, depth: int) -> list[float | Variable | str]:
        """The steps of an expression whose value is a number."""
        self._limit(depth)
        match node:
            case ast.BinOp():
                return self._chain(node, depth)
            case ast.UnaryOp(op=ast.USub()):
                return [*self.arithmetic(node.operand, depth + 1), "neg"]
            case ast.UnaryOp(op=ast.UAdd()):
                return self.arithmetic(node.operand, depth + 1)
            case ast.Call():
                return self._call(node, depth)
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return [_number(value)]
            case ast.Name() | ast.Attribute():
                return self._variable(node)
        raise ValueError(f"{_quoted(node)} is not a number")

    def _chain(self, node: ast.expr, depth: int) -> list[float | Variable | str]:
        """A run of operations from left to right, however long."""
        links: list[ast.BinOp] = []
        while isinstance(node, ast.BinOp):
            links.append(node)
            node = node.left
        steps = self.arithmetic(node, depth + 1)
        for link in reversed(links):
            operation = BINARY.get(type(link.op))
            if operation is None:
                raise ValueError(
                    f"{_quoted(link)}: the operations are {' '.join(BINARY.values())}, powers are written **"
                )
            right = self.arithmetic(link.right, depth + 1)
            if operation == "**":
                _examine_exponent(Formula(tuple(right)))
            steps += [*right, operation]
        return steps

    def _call(self, node: ast.Call, depth: int) -> list[float | Variable | str]:
        name = node.func.id if isinstance(node.func, ast.Name) else _written(node.func)
        if name not in FUNCTIONS:
            raise ValueError(f"there is no function {name}; known are {', '.join(FUNCTIONS)}")
        several = name in ("min", "max")
        if node.keywords or (len(node.args) < 2 if several else len(node.args) != 1):
            raise ValueError(f"{name} takes {'two or more numbers' if several else 'one number'}")
        steps = self.arithmetic(node.args[0], depth + 1)
        for argument in node.args[1:]:
            steps += [*self.arithmetic(argument, depth + 1), name]
        return steps if several else [*steps, name]

    def _variable(self, node: ast.Name | ast.Attribute) -> list[float | Variable | str]:
        """The steps of a parameter or a component; those of its expression for a derived parameter."""
        name, component = self._split(node)
        kind = self._named(name)
        if isinstance(kind, Derived) and component is None:
            return list(kind.formula.steps)
        if component is not None:
            if len(kind.parts) < 2 or component not in kind.parts:
                known = f"it has {', '.join(kind.parts)}" if len(kind.parts) > 1 else "only a simplex has components"
                raise ValueError(f"{shown(name)} has no component {shown(component)}; {known}")
            return [Variable(name, kind.parts.index(component))]
        if len(kind.parts) > 1:
            raise ValueError(f"{shown(name)} is a simplex; name a component such as {name}.{kind.parts[0]}")
        if not kind.parts:
            raise ValueError(f"{shown(name)} is not a number; its values can only be compared, with == or !=")
        return [Variable(name)]

    # ── truths ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def truth(self, node: ast.expr, depth: int, *, wanted: bool) -> Truth:
        """The truth of `node`, or of its opposite if that is `wanted`: negations end at the comparisons."""
        self._limit(depth)
        match node:
            case ast.BoolOp():
                parts = tuple(self.truth(part, depth + 1, wanted=wanted) for part in node.values)
                return All(parts) if isinstance(node.op, ast.And) is wanted else OneOf(parts)
            case ast.UnaryOp(op=ast.Not()):
                return self.truth(node.operand, depth + 1, wanted=not wanted)
            case ast.Compare():
                return self._comparisons(node, depth, wanted)
            case ast.Name() if self._is_boolean(node):
                return self._match(wanted, node, ast.Constant(True))
        raise ValueError(f"{_quoted(node)} is neither true nor false; compare it with something, as in 'a + b <= 1'")

    def _comparisons(self, node: ast.Compare, depth: int, wanted: bool) -> Truth:
        """a ≤ b ≤ c is a ≤ b and b ≤ c."""
        sides = [node.left, *node.comparators]
        parts = [
            self._comparison(left, operator, right, depth, wanted)
            for left, operator, right in zip(sides, node.ops, sides[1:], strict=False)
        ]
        return parts[0] if len(parts) == 1 else All(tuple(parts)) if wanted else OneOf(tuple(parts))

    def _comparison(self, left: ast.expr, operator: ast.cmpop, right: ast.expr, depth: int, wanted: bool) -> Truth:
        if type(operator) not in ORDERINGS:
            raise ValueError("the comparisons are <= < >= > == !=; join several with and, or")
        relation, turned = ORDERINGS[type(operator)]
        if self._is_label(left) or self._is_label(right):
            if relation not in ("==", "!="):
                raise ValueError(f"{_quoted(left)} and {_quoted(right)} have no order; compare them with == or !=")
            return self._match((relation == "==") is wanted, left, right)
        sides = [Formula(tuple(self.arithmetic(side, depth + 1))) for side in (left, right)]
        if not wanted:
            relation, back = OPPOSITES[relation]
            turned ^= back
        comparison = Comparison(relation, *(reversed(sides) if turned else sides))
        self._examine_equality(comparison)
        return comparison

    def _match(self, same: bool, left: ast.expr, right: ast.expr) -> Truth:
        """A comparison of values by name: equal values get equal codes."""
        values = [self._values(side) for side in (left, right)]
        if self._is_literal(left) and self._is_literal(right):
            raise ValueError("compares two constants; name a parameter")
        for side, (name, options) in zip((right, left), values, strict=True):
            if name is not None and self._is_literal(side):
                _examine_option(name, _literal(side), options)
        codes: dict[Any, int] = {}
        labels = [
            Labels(name, tuple(codes.setdefault((isinstance(v, bool), v), len(codes)) for v in options))
            for name, options in values
        ]
        return Match(same, *labels)

    def _values(self, node: ast.expr) -> tuple[str | None, Sequence[Any]]:
        if self._is_literal(node):
            return None, [_literal(node)]
        if not isinstance(node, ast.Name):
            raise ValueError(f"{_quoted(node)} cannot be compared with a name")
        name = _unmarked(node.id)
        kind = self._named(name)
        if isinstance(kind, Computed) or kind.size is None or kind.size > LONGEST:
            raise ValueError(f"{shown(name)} is a number and cannot equal a name")
        return name, list(kind.values(None))

    def _examine_equality(self, comparison: Comparison) -> None:
        if comparison.relation == "==":
            for name in sorted({variable.name for variable in comparison.variables}):
                kind = self.scope.get(name)
                if kind is not None and not isinstance(kind, Computed) and kind.size is None:
                    raise Unsupported(
                        f"asks for equality with the continuous {shown(name)}, which no search can meet; leave the "
                        'parameter out and compute it as one of type "derived", or use a simplex for shares of a whole'
                    )

    # ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _split(self, node: ast.Name | ast.Attribute) -> tuple[str, str | None]:
        if isinstance(node, ast.Name):
            return _unmarked(node.id), None
        if isinstance(node.value, ast.Name):
            return _unmarked(node.value.id), _unmarked(node.attr)
        raise ValueError(f"{_quoted(node)} is no component; write simplex.component")

    def _named(self, name: str) -> Kind | Computed:
        if name not in self.scope:
            raise ValueError(f"there is no parameter {shown(name)} here; known are {_listed(self.scope)}")
        kind = self.scope[name]
        if kind is None:
            raise ValueError(f"uses {shown(name)}, which is itself at fault")
        if isinstance(kind, Scheduled):
            raise ValueError(f"{shown(name)} is a schedule, and no constraint can name it; narrow its ranges instead")
        self.named[name] = None
        return kind

    def _is_label(self, node: ast.expr) -> bool:
        """Whether `node` is compared by name: a literal that is no number, or a parameter whose values are none."""
        if self._is_literal(node):
            return not isinstance(_literal(node), int | float) or isinstance(_literal(node), bool)
        return isinstance(node, ast.Name) and not self._named(_unmarked(node.id)).parts

    def _is_boolean(self, node: ast.Name) -> bool:
        return self._named(_unmarked(node.id)).type == "bool"

    def _is_literal(self, node: ast.expr) -> bool:
        match node:
            case ast.Constant(value=str() | bool() | int() | float() | None):
                return True
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float())):
                return True
        return False

    def _limit(self, depth: int) -> None:
        if depth > DEEPEST:
            raise ValueError(f"is nested deeper than {DEEPEST} levels; split it")


def _examine_exponent(exponent: Formula) -> None:
    if not exponent.variables and not abs(plainly(exponent, {})) <= STEEPEST:
        raise ValueError(f"has an exponent beyond ±{STEEPEST:g}")


def _examine_option(name: str, literal: Any, options: Sequence[Any]) -> None:
    if not any(option == literal and isinstance(option, bool) is isinstance(literal, bool) for option in options):
        raise ValueError(f"{shown(name)} is never {shown(literal)}")


def _literal(node: ast.expr) -> Any:
    return node.value if isinstance(node, ast.Constant) else -node.operand.value  # type: ignore[attr-defined]


def _number(value: float) -> float:
    if not abs(value) <= LARGEST:
        raise ValueError("has a number beyond ±1e150")
    return float(value)


def _unmarked(name: str) -> str:
    return name.removesuffix(_MARK)


def _quoted(node: ast.expr) -> str:
    return shown(_written(node))


def _written(node: ast.expr) -> str:
    return ast.unparse(node).replace(_MARK, "")


def _listed(scope: Iterable[str]) -> str:
    """The names that may be written; those Python cannot read need another name first."""
    names = list(scope)
    readable = [name for name in names if name.isidentifier()]
    unreadable = [name for name in names if not name.isidentifier()]
    hint = f" (rename {shown(unreadable[0])}: only letters, digits and _ can be read here)" if unreadable else ""
    return (", ".join(readable[:20]) or "none") + hint
