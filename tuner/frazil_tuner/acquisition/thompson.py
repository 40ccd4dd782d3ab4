"""Thompson sampling: the function itself, as it may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .draws import anchors, draw

if TYPE_CHECKING:
    from torch import Tensor

    from .outlook import Outlook, Worth


def thompson(outlook: Outlook) -> Worth:
    """A function drawn from the belief, in outcomes: exactly at anchors, by its conditional mean between them.

    Of several imagined outcomes one is picked.                                                          Thompson 1933
    """
    drawn = draw(outlook, anchors(outlook), 1)
    picked = int(torch.randint(len(drawn.incumbent), (), generator=outlook.rng))

    def worth(x: Tensor) -> Tensor:
        return drawn.posterior(x)[0][picked]

    return worth
