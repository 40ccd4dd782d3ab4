"""What models are computed on, for people to see."""

from __future__ import annotations

from typing import Any

from .pfn import manifest


def report() -> dict[str, Any]:
    """{"device": "cpu" or the GPU's name, "crossover": from how many points × trials × dimensions the GPU is used, or
    None, "torch": its version, "networks": the names of those that are shipped, "damaged_networks": of those among them
    whose files are not what was shipped, a sentence each: others serve in their place}.

    Measures it if this process has not done so yet. Needs torch. Raises RuntimeError where the setting asks for a GPU
    and there is none.
    """
    import torch

    from .surrogates.accelerated import chosen

    device = chosen()
    name = torch.cuda.get_device_name(device.name) if device.name != "cpu" else "cpu"
    return {
        "device": name,
        "crossover": device.crossover,
        "torch": torch.__version__,
        "networks": manifest.shipped(),
        "damaged_networks": manifest.damaged(),
    }
