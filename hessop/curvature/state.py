"""Whether a model is still what it was when something was computed from it."""

from __future__ import annotations

from typing import Any

import torch


def fingerprint(model: torch.nn.Module, tensors: list[torch.Tensor]) -> tuple[Any, ...]:
    """
    A value that changes when a parameter, a buffer, one of `tensors` or a mode changes.

    Versions and addresses see what goes through autograd's books; the sums of the parameters see
    writes through ``p.data``, which those books miss.
    """
    parameters = list(model.parameters())
    watched = [*parameters, *model.buffers(), *tensors]
    modes = tuple(module.training for module in model.modules())
    with torch.no_grad():
        sums = torch.stack([p.sum().double() for p in parameters]).tolist()
    # inference tensors keep no version
    versions = tuple(-1 if t.is_inference() else t._version for t in watched)
    return versions, tuple(t.data_ptr() for t in watched), modes, tuple(map(str, sums))
