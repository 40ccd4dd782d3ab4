"""What can go wrong, named by what the caller should do next."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in what was sent: a JSON pointer (RFC 6901) to the field, and a sentence with the remedy."""

    pointer: str
    detail: str


class FrazilError(Exception):
    """Root of every error of this package: the server's problem document (RFC 9457) as an exception.

    `status` and `request_id` are None when no answer came at all.
    """

    def __init__(
        self,
        detail: str,
        *,
        code: str = "error",
        status: int | None = None,
        request_id: str | None = None,
        errors: tuple[Problem, ...] = (),
    ) -> None:
        super().__init__("\n".join([detail, *(f"  {problem.pointer}: {problem.detail}" for problem in errors)]))
        self.detail = detail
        self.code = code
        self.status = status
        self.request_id = request_id
        self.errors = errors


class Invalid(FrazilError):
    """What was sent is wrong and will be wrong again; `errors` names each field."""


class NotFound(FrazilError):
    """There is no such study or trial, or not any more."""


class Denied(FrazilError):
    """The token is missing, unknown, or may not do this."""


class Conflict(FrazilError):
    """Too early or too late: look again before repeating it."""


class StudyConflict(Conflict):
    """A study of this name exists with another definition."""


class StudyNotActive(Conflict):
    """The study is paused, stopped or completed, or its budget is spent."""


class StepConflict(Conflict):
    """A step was reported that contradicts what was reported before, or lies beyond what was granted."""


class LeaseLost(Conflict):
    """The lease ran out and the trial went to another worker."""


class TrialFinished(Conflict):
    """The trial has already ended, with another outcome."""


class TryLater(FrazilError):
    """Nothing is wrong with the request; it was repeated until the client's patience ran out."""

    retry_after: float | None = None
    """Seconds the server asked to wait, if it did."""


class Overloaded(TryLater):
    """The server is up and has too much to do."""


class Unreachable(TryLater):
    """No answer: no server there, a broken connection, or a timeout."""


BY_CODE: dict[str, type[FrazilError]] = {
    "not_found": NotFound,
    "study_conflict": StudyConflict,
    "study_not_active": StudyNotActive,
    "budget_exhausted": StudyNotActive,
    "step_conflict": StepConflict,
    "lease_lost": LeaseLost,
    "trial_finished": TrialFinished,
    "unauthenticated": Denied,
    "forbidden": Denied,
}
BY_STATUS: dict[int, type[FrazilError]] = {
    401: Denied,
    403: Denied,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    413: Invalid,
    422: Invalid,
    428: Invalid,
    429: Overloaded,
    502: Overloaded,
    503: Overloaded,
    504: Overloaded,
}


def kind_of(status: int, code: str) -> type[FrazilError]:
    """The exception for a problem document: by its code where that says more, else by its status."""
    return BY_CODE.get(code) or BY_STATUS.get(status, FrazilError)
