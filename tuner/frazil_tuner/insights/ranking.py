"""What there is to do next, and what each of it is worth: the table behind a freeze-thaw decision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import Conflict, Problem, Refused

if TYPE_CHECKING:
    from ..history import Study


def ranking(study: Study, policy: Mapping[str, Any], most: int = 20) -> dict[str, Any]:
    """Runs that train, frozen ones and new configurations by what their next grant is worth, `most` of each kind.

    {"policy", "acquisition", "model", "network", "runs", "observations", "items": [{"action", "trial", "params",
    "from_step", "until_step", "worth", "mean", "sd"}, ...]}, the worthiest first. `network` is the share, in 0 … 1,
    that the network has in a guarded model, None where another model decides; `action` is continue, thaw or start;
    `worth` is for each unit of cost, in what the acquisition counts; `mean` and `sd` say where the run is expected to
    end, in the objective's units, where there is one objective.

    Raises Refused (code policy_unsuited) for policies that do not compare runs so, Conflict (too_few_trials) before
    anything was measured.
    """
    from ..policies import build
    from ..policies.freeze_thaw import FreezeThaw
    from ..policies.ranking import ranked

    built = build(policy, study.definition)
    if not isinstance(built, FreezeThaw):
        detail = f"only freeze_thaw compares runs so; this study's policy is {built.name}"
        raise Refused(detail, code="policy_unsuited", problems=(Problem("/policy", detail),))
    found = ranked(built, study, most)
    if found is None:
        raise Conflict("nothing has been measured yet", code="too_few_trials")
    return found
