"""Errors named by what the caller should do next.

`Refused`: wrong, and wrong again if repeated. `Conflict`: too early or too late; look again. `TryLater`: repeat after
a while. Each carries a `code` for programs and a sentence for people.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in an input: a JSON pointer (RFC 6901) to the field, and a sentence with the remedy."""

    pointer: str
    detail: str


class FrazilError(Exception):
    """Root of every error Frazil raises on purpose."""

    code = "error"

    def __init__(self, detail: str, *, code: str | None = None, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or type(self).code
        self.problems = problems

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.detail, self.code, self.problems, self.__dict__)


def _rebuild(
    kind: type[FrazilError], detail: str, code: str, problems: tuple[Problem, ...], state: dict[str, object]
) -> FrazilError:
    """An error that crosses a process boundary arrives as it left."""
    error = FrazilError.__new__(kind)
    Exception.__init__(error, detail)
    error.__dict__.update(state)
    return error


class Refused(FrazilError):
    """The request is wrong and will be wrong again."""

    code = "refused"


class Conflict(FrazilError):
    """The request came too early or too late; look again before repeating it."""

    code = "conflict"


class TryLater(FrazilError):
    """Nothing is wrong; repeat the request after `retry_after` seconds."""

    code = "overloaded"

    def __init__(self, detail: str, *, retry_after: float, code: str | None = None) -> None:
        super().__init__(detail, code=code)
        self.retry_after = retry_after


class SpaceInvalid(Refused):
    """A search space, or a point of one, that contradicts itself; `problems` names each field."""

    code = "space_invalid"


class SpaceUnsupported(Refused):
    """A sound definition that this version cannot honour; refused at creation, never later."""

    code = "space_unsupported"
