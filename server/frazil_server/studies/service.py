"""Creating, finding, changing and deleting studies."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, delete, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from frazil_tuner.errors import Conflict, FrazilError, Problem, Refused
from frazil_tuner.history import OutcomeConstraint, TrialState
from frazil_tuner.policies import build
from frazil_tuner.space import Space

from .. import wire
from ..database import table
from ..errors import NotFound
from ..events.models import Event
from ..ids import uuid7
from ..names import is_name, storable
from ..pages import read_token, unreadable, write_token
from ..suggestions.models import Fit, Suggestion
from .definitions import complete, contradictions, definition_of, space_of, statement
from .models import Candidates, Project, Study
from .relatives import link
from .schemas import BudgetIn, StudyIn, StudyPatch

DEFAULT_PROJECT = "default"
_SEED_LIMIT = 2**31

_STUDIES = select(table(Study), Project.name.label("project")).join(Project, Project.id == Study.project_id)


async def resolve(connection: AsyncConnection, reference: str, project: str = DEFAULT_PROJECT) -> uuid.UUID:
    """The id of the study that a path names by id or by name. Raises `NotFound`."""
    identifier = _as_uuid(reference)
    query = select(Study.id)
    if identifier is not None:
        query = query.where(Study.id == identifier)
    else:
        query = query.join(Project).where(Study.name == reference, Project.name == project)
    possible = storable(reference) and storable(project)
    found = (await connection.execute(query)).scalar_one_or_none() if possible else None
    if found is None:
        raise NotFound(f"There is no study {reference!r} in project {project!r}.")
    return found


def _as_uuid(reference: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(reference)
    except ValueError:
        return None


# ── creating ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Blueprint:
    """A study to be: checked, and in the form in which it is stored. Raises `Refused` for what contradicts itself."""

    def __init__(self, body: StudyIn) -> None:
        self.name, self.project = body.name, body.project
        self.metadata = body.metadata
        self.seed_given = body.seed is not None
        space = _check_space(body)
        self.candidates = _check_candidates(space, body.candidates)
        self.document: dict[str, Any] = {
            "space": space.to_json(),
            "constraints": space.constraints_json(),
            "objectives": _check_objectives(body),
            "outcome_constraints": _check_outcome_constraints(body.outcome_constraints),
            "metrics": body.metrics,
            "cost": body.cost,
            "resource": _check_resource(body),
            "seed": secrets.randbelow(_SEED_LIMIT) if body.seed is None else body.seed,
            "candidates": None if self.candidates is None else len(self.candidates),
            "related": body.related and {"given": body.related, "studies": []},
        }
        self.budget = _check_budget(body.budget, self.document)
        self.policy = dict(body.policy or {"name": "auto"})
        _prefixed("/policy", build, self.policy, definition_of(self.document, self.candidates))

    def definition(self) -> dict[str, Any]:
        """What two studies must agree on to be the same."""
        same = {k: v for k, v in self.document.items() if k != "seed" or self.seed_given}
        return comparable(same | {"policy": self.policy, "budget": self.budget})


def comparable(document: Mapping[str, Any]) -> dict[str, Any]:
    """A definition without what was found rather than given: the ids of related studies."""
    related = document["related"]
    return {**document, "related": related and related["given"]}


def _check_space(body: StudyIn) -> Space:
    """The space with its constraints. Faults of a constraint point to "/constraints/…", others to "/space/…"."""
    try:
        return Space.from_json(_with_totals(body), body.constraints)
    except FrazilError as error:
        error.problems = tuple(
            p if p.pointer.startswith("/constraints") else Problem("/space" + p.pointer, p.detail)
            for p in error.problems
        )
        raise


def _with_totals(body: StudyIn) -> list[Any]:
    """The space in which schedules are as long as the resource, where they don't say how long they are."""
    if body.resource is None:
        return body.space
    total = {"total": body.resource.max}
    return [
        {**total, **item} if isinstance(item, Mapping) and item.get("type") == "schedule" else item
        for item in body.space
    ]


def _check_objectives(body: StudyIn) -> list[dict[str, Any]]:
    first: dict[str, int] = {}
    for index, objective in enumerate(body.objectives):
        if first.setdefault(objective.metric, index) != index:
            detail = f"objective {first[objective.metric]} has this metric; name each once"
            raise _refused(f"/objectives/{index}/metric", detail)
        if objective.by == "comparison" and len(body.objectives) > 1:
            raise _refused(f"/objectives/{index}/by", "a ranking has one order: make this the study's only objective")
    return [objective.model_dump() for objective in body.objectives]


def _check_outcome_constraints(texts: Sequence[str]) -> list[str]:
    """The constraints as they are stored."""
    constraints = [_outcome_constraint(f"/outcome_constraints/{i}", text) for i, text in enumerate(texts)]
    for index in contradictions(constraints):
        detail = f"no value of {constraints[index].metric!r} satisfies this and an earlier constraint; change one"
        raise _refused(f"/outcome_constraints/{index}", detail)
    return list(map(statement, constraints))


def _outcome_constraint(pointer: str, text: str) -> OutcomeConstraint:
    try:
        constraint = OutcomeConstraint.parse(text)
    except ValueError as fault:
        raise _refused(pointer, str(fault)) from None
    if not is_name(constraint.metric):
        raise _refused(pointer, f"{constraint.metric[:64]!r} cannot be a metric's name: use printable text, no slashes")
    return constraint


def _refused(pointer: str, detail: str) -> Refused:
    return Refused(f"{pointer}: {detail}.", code="invalid", problems=(Problem(pointer, detail),))


def _prefixed(pointer: str, function: Any, *args: Any) -> Any:
    """Calls into the core, whose pointers are relative, and makes them point into the body."""
    try:
        return function(*args)
    except FrazilError as error:
        error.problems = tuple(Problem(pointer + p.pointer, p.detail) for p in error.problems)
        raise


def _check_candidates(space: Space, candidates: Sequence[Any] | None) -> list[dict[str, Any]] | None:
    if candidates is None:
        return None
    checked = [_prefixed(f"/candidates/{index}", space.check, params) for index, params in enumerate(candidates)]
    seen: dict[Any, int] = {}
    for index, params in enumerate(checked):
        first = seen.setdefault(space.key(params), index)
        if first != index:
            problem = Problem(f"/candidates/{index}", f"the same as candidate {first}; each may stand once")
            raise Refused("Candidates must differ from each other.", code="space_invalid", problems=(problem,))
    return checked


def _check_resource(body: StudyIn) -> dict[str, Any] | None:
    if body.resource is None:
        return None
    if body.resource.min > body.resource.max:
        problem = Problem("/resource/min", f"at most `max`, which is {body.resource.max}")
        raise Refused("The resource's min is above its max.", code="invalid", problems=(problem,))
    return body.resource.model_dump()


def _check_budget(budget: BudgetIn, document: Mapping[str, Any]) -> dict[str, Any]:
    if budget.resource is not None and document["resource"] is None:
        problem = Problem("/budget/resource", "give the study a `resource`, or budget `trials` or `seconds`")
        raise Refused("A budget of steps needs a resource.", code="invalid", problems=(problem,))
    return budget.model_dump(exclude_none=True)


async def create(connection: AsyncConnection, blueprint: Blueprint, *, load: bool) -> tuple[dict[str, Any], bool]:
    """Stores a study. Returns it, and whether it is new; raises `Conflict` (study_conflict) if the name is taken.

    With `load`, an equal study of that name is returned instead.
    """
    project_id = await _project(connection, blueprint.project)
    study_id = uuid7()
    values = {
        "id": study_id,
        "project_id": project_id,
        "name": blueprint.name,
        "definition": blueprint.document,
        "policy": blueprint.policy,
        "budget": blueprint.budget,
        "metadata": blueprint.metadata,
    }
    statement = upsert(table(Study)).values(values).on_conflict_do_nothing().returning(Study.id)
    if (await connection.execute(statement)).scalar_one_or_none() is None:
        return await _load_existing(connection, blueprint, load=load), False
    if blueprint.document["related"]:
        await link(connection, study_id, project_id, blueprint.document)
    if blueprint.candidates is not None:
        await connection.execute(insert(Candidates).values(study_id=study_id, candidates=blueprint.candidates))
    await connection.execute(
        update(Project).where(Project.id == project_id).values(study_count=Project.study_count + 1)
    )
    await connection.execute(insert(Event).values(study_id=study_id, kind="study.created", data={}))
    return await get(connection, study_id), True


async def _project(connection: AsyncConnection, name: str) -> uuid.UUID:
    await connection.execute(upsert(table(Project)).values(id=uuid7(), name=name).on_conflict_do_nothing())
    found: uuid.UUID = (await connection.execute(select(Project.id).where(Project.name == name))).scalar_one()
    return found


async def _load_existing(connection: AsyncConnection, blueprint: Blueprint, *, load: bool) -> dict[str, Any]:
    study_id = await resolve(connection, blueprint.name, blueprint.project)
    row = await _row(connection, study_id)
    stored = comparable(complete(row.definition) | {"policy": row.policy, "budget": row.budget})
    wanted = blueprint.definition()
    different = sorted(
        name for name, value in wanted.items() if wire.canonical(stored.get(name)) != wire.canonical(value)
    )
    if not different and blueprint.candidates is not None:
        query = select(Candidates.candidates).where(Candidates.study_id == study_id)
        if (await connection.execute(query)).scalar_one() != blueprint.candidates:
            different = ["candidates"]
    if load and not different:
        return view(row)
    detail = f"A study {blueprint.name!r} exists already"
    if different:
        detail += f" and differs in {', '.join(different)}"
    problems = tuple(Problem(f"/{name}", "differs from the study that has this name") for name in different)
    remedy = "choose another name" if load else "choose another name, or if_exists: load"
    raise Conflict(f"{detail}; {remedy}.", code="study_conflict", problems=problems)


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _row(connection: AsyncConnection, study_id: uuid.UUID) -> Row[Any]:
    row = (await connection.execute(_STUDIES.where(Study.id == study_id))).one_or_none()
    if row is None:
        raise NotFound("This study does not exist, or was deleted.")
    return row


async def get(connection: AsyncConnection, study_id: uuid.UUID) -> dict[str, Any]:
    """A study as it travels. Raises `NotFound`."""
    return view(await _row(connection, study_id))


async def get_all(connection: AsyncConnection, ids: Sequence[uuid.UUID]) -> list[dict[str, Any]]:
    """Studies as they travel, in this order. Raises `NotFound` if one has gone meanwhile."""
    rows = {row.id: row for row in await connection.execute(_STUDIES.where(Study.id.in_(ids)))}
    if len(rows) < len(ids):
        raise NotFound("One of these studies was deleted.")
    return [view(rows[study_id]) for study_id in ids]


def view(row: Row[Any]) -> dict[str, Any]:
    """A study as it travels, from its row."""
    counts = {str(state): getattr(row, state.lower()) for state in TrialState}
    return {
        "id": row.id,
        "name": row.name,
        "project": row.project,
        "state": row.state,
        **complete(row.definition),
        "policy": row.policy,
        "budget": row.budget,
        "metadata": row.metadata,
        "notes": row.notes,
        "counts": counts,
        "trials": sum(counts.values()),
        "started": row.started,
        "steps_used": row.steps_used,
        "best": None if row.best is None else {"number": row.best_trial, "value": row.best},
        "version": row.version,
        "data_version": row.data_version,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "started_at": row.started_at,
    }


async def list_page(
    connection: AsyncConnection, project: str | None, page_size: int, page_token: str | None
) -> dict[str, Any]:
    """Studies, newest first. The total is the kept count of the project, or the sum of all."""
    query = _STUDIES.order_by(Study.id.desc()).limit(page_size + 1)
    total = select(text("coalesce(sum(study_count), 0)")).select_from(Project)
    if project is not None:
        query, total = query.where(Project.name == project), total.where(Project.name == project)
    if page_token is not None:
        query = query.where(Study.id < _place(page_token))
    rows = (await connection.execute(query)).all()
    more = len(rows) > page_size
    return {
        "items": [view(row) for row in rows[:page_size]],
        "next_page_token": write_token([str(rows[page_size - 1].id)]) if more else None,
        "total": int((await connection.execute(total)).scalar_one()),
    }


def _place(page_token: str) -> uuid.UUID:
    after = _as_uuid(read_token(page_token, (str,))[0])
    if after is None:
        raise unreadable()
    return after


# ── changing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def change(
    connection: AsyncConnection, study_id: uuid.UUID, patch: StudyPatch, if_match: str | None
) -> dict[str, Any]:
    """Applies what the patch gives. Raises `NotFound`, `Conflict` (precondition_failed), `Refused`: among others
    (precondition_required) for an edit of the space that does not say which version it edits.
    """
    query = _STUDIES.where(Study.id == study_id).with_for_update(key_share=True, of=table(Study))
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound("This study does not exist, or was deleted.")
    if patch.space is not None and if_match is None:
        raise Refused(
            "An edit of the space must say which version of the study it edits: send its ETag as If-Match.",
            code="precondition_required",
        )
    if if_match is not None and if_match.strip('W/"') not in (str(row.version), "*"):
        raise Conflict(
            f"The study is at version {row.version}; read it again before changing it.", code="precondition_failed"
        )
    values = await _changes(connection, row, patch)
    if values:
        values |= {"version": row.version + 1, "updated_at": text("now()")}
        await connection.execute(update(table(Study)).where(Study.id == study_id).values(values))
        data = patch.model_dump(exclude_none=True)
        await connection.execute(insert(Event).values(study_id=study_id, kind="study.changed", data=data))
    return await get(connection, study_id)


async def _changes(connection: AsyncConnection, row: Row[Any], patch: StudyPatch) -> dict[str, Any]:
    values: dict[str, Any] = patch.model_dump(include={"state", "notes", "metadata"}, exclude_none=True)
    if patch.budget is not None:
        values["budget"] = _check_budget(patch.budget, row.definition)
    if patch.space is not None:
        values["definition"] = _edited(complete(row.definition), patch.space)
    if patch.policy is not None:
        values["policy"] = patch.policy
    if row.state == "completed" and values.keys() & {"budget", "definition"}:
        values.setdefault("state", "active")
    if values.keys() & {"policy", "definition"}:
        await _require_policy(connection, row, values)
        for forgotten in (Suggestion, Fit):
            await connection.execute(delete(forgotten).where(forgotten.study_id == row.id))
        values["data_version"] = row.data_version + 1
    return values


def _edited(document: dict[str, Any], changes: list[Any]) -> dict[str, Any]:
    """The definition with an edited space. Raises `Refused` for what would leave earlier trials outside."""
    if document["candidates"] is not None:
        raise _refused("/space", "this study chooses from its candidates; start a new one with other candidates")
    space: Space = _prefixed("/space", space_of(document).edited, changes)
    return document | {"space": space.to_json(), "constraints": space.constraints_json()}


async def _require_policy(connection: AsyncConnection, row: Row[Any], values: Mapping[str, Any]) -> None:
    """Raises `Refused` unless the policy, old or new, suits the definition, old or new."""
    query = select(Candidates.candidates).where(Candidates.study_id == row.id)
    candidates = (await connection.execute(query)).scalar_one_or_none()
    definition = definition_of(values.get("definition") or complete(row.definition), candidates)
    _prefixed("/policy", build, values.get("policy", row.policy), definition)


async def remove(connection: AsyncConnection, study_id: uuid.UUID) -> None:
    """Deletes a study with everything in it. Raises `NotFound`."""
    query = delete(Study).where(Study.id == study_id).returning(Study.project_id)
    project_id = (await connection.execute(query)).scalar_one_or_none()
    if project_id is None:
        raise NotFound("This study does not exist, or was deleted.")
    await connection.execute(
        update(Project).where(Project.id == project_id).values(study_count=Project.study_count - 1)
    )
