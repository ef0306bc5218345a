"""Whether a model is still what it was when something was computed from it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import torch

# An integer type of each size: values are compared bit by bit, so that a NaN equals itself.
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.int64}


class Snapshot:
    """
    The values of a model's parameters and buffers, the modes of its modules, and some tensors.

    Values are compared with copies: torch's version counters do not see what is written through
    ``p.data``. The copies cost one vector of memory (two on a GPU), and the comparison a small
    part of a product. The counters are compared too, for autograd refuses a graph whose tensors
    were written to, be it with the same values. `tensors`, which may be large, are watched by
    counter and address.
    """

    def __init__(self, model: torch.nn.Module, tensors: list[torch.Tensor]) -> None:
        self._model = model
        self._tensors = tensors
        held = _held(model)
        self._places = [(t.device, t.dtype, t.shape) for t in held]
        self._values = [t.detach().clone() for t in held if not _is_far(t)]
        self._on_gpu = [_Copies(group) for group in _groups(held)]
        self._marks = self._present_marks()

    def holds(self) -> bool:
        """Whether everything is as it was; of what lies on a GPU, as far as marks tell."""
        present = _held(self._model)
        return (
            self._places == [(t.device, t.dtype, t.shape) for t in present]
            and self._marks == self._present_marks()
            and all(
                _same(a, b)
                for a, b in zip([t for t in present if not _is_far(t)], self._values, strict=True)
            )
        )

    def asked(self) -> Callable[[], bool]:
        """
        Have the values on GPUs compared; a function that waits for the answer and gives it.

        What is launched in between need not wait for it.
        """
        groups = _groups(_held(self._model)) if self._on_gpu else []
        answers = [mine.compare(now) for mine, now in zip(self._on_gpu, groups, strict=True)]
        return lambda: all(answer() for answer in answers)

    def _present_marks(self) -> list[object]:
        watched = [*_held(self._model), *self._tensors]
        # inference tensors keep no version
        counters = [-1 if t.is_inference() else t._version for t in watched]
        addresses = [t.data_ptr() for t in self._tensors]
        return [counters, addresses, [module.training for module in self._model.modules()]]


class _Copies:
    """
    Tensors of one device and dtype, copied one after the other.

    Gathered and compared in a handful of launches, however many there are.
    """

    def __init__(self, tensors: list[torch.Tensor]) -> None:
        first, sizes = tensors[0], [t.numel() for t in tensors]
        self._then = torch.empty(sum(sizes), dtype=first.dtype, device=first.device)
        self._now = torch.empty_like(self._then)
        self._parts = _parts(self._now, tensors)
        torch._foreach_copy_(_parts(self._then, tensors), tensors)
        self._answer = torch.empty((), dtype=torch.bool, pin_memory=first.is_cuda)

    def compare(self, tensors: list[torch.Tensor]) -> Callable[[], bool]:
        """Whether they hold the same bits as then: what waits for the answer."""
        torch._foreach_copy_(self._parts, tensors)
        bits = _BITS[self._now.element_size()]
        same = (self._now.view(bits) == self._then.view(bits)).all()
        self._answer.copy_(same, non_blocking=True)
        come = torch.cuda.Event() if same.is_cuda else None
        if come is not None:
            come.record(torch.cuda.current_stream(same.device))

        def answer() -> bool:
            if come is not None:
                come.synchronize()
            return bool(self._answer)

        return answer


def _parts(flat: torch.Tensor, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """Views of a flat tensor in the shapes of some."""
    pieces = flat.split([t.numel() for t in tensors])
    return [piece.view(t.shape) for piece, t in zip(pieces, tensors, strict=True)]


def _groups(tensors: list[torch.Tensor]) -> list[list[torch.Tensor]]:
    """Those on GPUs, by device and dtype."""
    found: dict[object, list[torch.Tensor]] = defaultdict(list)
    for t in tensors:
        if _is_far(t):
            found[t.device, t.dtype].append(t.detach())
    return list(found.values())


def _is_far(t: torch.Tensor) -> bool:
    """Whether the host would have to wait for a look at its values."""
    return t.is_cuda


def _held(model: torch.nn.Module) -> list[torch.Tensor]:
    """Parameters and buffers, but for those without values."""
    return [t for t in (*model.parameters(), *model.buffers()) if not t.is_meta]


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(a, b) or torch.allclose(a, b, rtol=0.0, atol=0.0, equal_nan=True)
