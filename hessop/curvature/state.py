"""Whether a model is still what it was when something was computed from it."""

from __future__ import annotations

import torch


class Snapshot:
    """
    The values of a model's parameters and buffers, the modes of its modules, and some tensors.

    Values are compared with copies: torch's version counters do not see what is written through
    ``p.data``. The copies cost one vector of memory, and the comparison a small part of a product.
    The counters are compared too, for autograd refuses a graph whose tensors were written to, be
    it with the same values. `tensors`, which may be large, are watched by counter and address.
    """

    def __init__(self, model: torch.nn.Module, tensors: list[torch.Tensor]) -> None:
        self._model = model
        self._tensors = tensors
        self._values = [t.detach().clone() for t in _held(model)]
        self._marks = self._present_marks()

    def holds(self) -> bool:
        """Whether everything is as it was."""
        present = _held(self._model)
        return (
            len(present) == len(self._values)
            and self._marks == self._present_marks()
            and all(_same(a, b) for a, b in zip(present, self._values, strict=True))
        )

    def _present_marks(self) -> list[object]:
        watched = [*_held(self._model), *self._tensors]
        # inference tensors keep no version
        counters = [-1 if t.is_inference() else t._version for t in watched]
        addresses = [t.data_ptr() for t in self._tensors]
        return [counters, addresses, [module.training for module in self._model.modules()]]


def _held(model: torch.nn.Module) -> list[torch.Tensor]:
    """Parameters and buffers, but for those without values."""
    return [t for t in (*model.parameters(), *model.buffers()) if not t.is_meta]


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.device != b.device or a.dtype != b.dtype or a.shape != b.shape:
        return False
    return torch.equal(a, b) or torch.allclose(a, b, rtol=0.0, atol=0.0, equal_nan=True)
