"""What models are computed on, for people to see."""

from __future__ import annotations

from typing import Any


def report() -> dict[str, Any]:
    """{"device": "cpu" or the GPU's name, "crossover": from how many points × trials × dimensions the GPU is used, or
    None, "torch": its version}.

    Measures it if this process has not done so yet. Needs torch. Raises RuntimeError where the setting asks for a GPU
    and there is none.
    """
    import torch

    from .surrogates.accelerated import chosen

    device = chosen()
    name = torch.cuda.get_device_name(device.name) if device.name != "cpu" else "cpu"
    return {"device": name, "crossover": device.crossover, "torch": torch.__version__}
