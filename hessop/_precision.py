"""How exactly float32 is multiplied: torch's flags, held for the length of a computation."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

LEVELS = ("highest", "high", "medium")

# What a level lets a library round the factors of a product to: nothing, 10 bits, 7 bits.
_ON_GPU = {"highest": "ieee", "high": "tf32", "medium": "tf32"}
_ON_CPU = {"highest": "ieee", "high": "tf32", "medium": "bf16"}
# torch has had a flag for each library and operation since 2.9; matrix products come first.
_FLAGS: list[tuple[Any, dict[str, str]]] = []
_backends: Any = torch.backends
if hasattr(_backends, "fp32_precision"):
    _FLAGS += [
        (_backends.cuda.matmul, _ON_GPU),
        (_backends.mkldnn.matmul, _ON_CPU),
        (_backends.cudnn.conv, _ON_GPU),
        (_backends.cudnn.rnn, _ON_GPU),
        (_backends.mkldnn.conv, _ON_CPU),
        (_backends.mkldnn.rnn, _ON_CPU),
    ]


@contextmanager
def float32_precision(level: str, dtype: torch.dtype) -> Iterator[None]:
    """
    Multiply float32 as one of `LEVELS` says: in matrix products, convolutions and recurrences.

    On a GPU torch rounds the factors of a convolution to ten bits (TF32) unless it is told not to,
    and those of a matrix product where anybody in the process has allowed it; the dtype of the
    result does not show it. The older flags are set too, for torch refuses to say what holds
    where older and newer ones differ. All are as before afterwards.

    Nothing is done for what is computed in float64, by `dtype`.
    """
    if dtype == torch.float64:
        yield
        return
    _said()
    matmul = _known(torch.get_float32_matmul_precision, "highest")
    convolution = _known(lambda: torch.backends.cudnn.allow_tf32, True)
    flags = [_own(place) for place, _ in _FLAGS]
    try:
        _set(level, level != "highest", [by_level[level] for _, by_level in _FLAGS])
        yield
    finally:
        _set(matmul, convolution, flags)


def _set(matmul: str, convolution: bool, flags: list[str]) -> None:
    """The older flags, then the newer ones, which they overwrite."""
    torch.set_float32_matmul_precision(matmul)
    torch.backends.cudnn.allow_tf32 = convolution
    for (place, _), value in zip(_FLAGS, flags, strict=True):
        place.fp32_precision = value


def _known(older: Callable[[], Any], default: Any) -> Any:
    """An older flag; its default where torch says that the newer ones contradict it."""
    try:
        return older()
    except RuntimeError:
        return default


def _own(place: Any) -> str:
    """A newer flag, "none" where it only follows those of its library or of everything."""
    value: str = place.fp32_precision
    place.fp32_precision = "none"
    return "none" if place.fp32_precision == value else value


@cache
def _said() -> None:
    """The older flags warn once that they are older; the user, who sees it, has not set them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _known(lambda: torch.backends.cudnn.allow_tf32, True)
