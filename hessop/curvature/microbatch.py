"""Batches cut into pieces that fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import torch

from hessop import _validation
from hessop._memory import out_of_memory
from hessop.curvature.data import example_count, pieces_of

T = TypeVar("T")

MOST = 64
"""The most pieces a batch is cut into."""


def _mixes_examples(model: torch.nn.Module) -> str | None:
    """The name of a layer whose output for one example depends on the others."""
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and (
            module.training or module.running_mean is None
        ):
            return f"{name or 'the model'} ({type(module).__name__})"
    return None


def count_for(model: torch.nn.Module, batch: Any, nbytes: int, budget: int) -> int:
    """Into how many pieces a batch is cut so that each fits; 1 where it may not be cut."""
    size = example_count(batch)
    if size is None or _mixes_examples(model):
        return 1
    return min(-(-nbytes // budget), size, MOST)


def check_cuttable(model: torch.nn.Module) -> None:
    """
    The examples of a batch have nothing to do with each other.

    Raises
    ------
    MemoryError
        If batch normalisation uses the statistics of the batch.
    """
    mixing = _mixes_examples(model)
    if mixing:
        raise _uncuttable(f"batch normalisation over the whole batch in {mixing}")


def on_what_fits(model: torch.nn.Module, work: Callable[[Callable[[Any], Any]], T]) -> T:
    """
    Do `work`, which is given a function that makes a batch smaller, as memory allows.

    The function is the identity at first. Whenever memory runs out, it leaves half as much.
    """
    count = 1
    while True:
        try:
            return work(partial(_first_piece, model, count))
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error) or count >= MOST:
                raise
        check_cuttable(model)
        count *= 2


def _first_piece(model: torch.nn.Module, count: int, batch: Any) -> Any:
    return batch if count == 1 else cut(model, batch, count)[0]


def cut(model: torch.nn.Module, batch: Any, count: int) -> list[Any]:
    """
    The pieces of a batch, at most one for each example.

    Raises
    ------
    MemoryError
        If the batch cannot be cut.
    """
    check_cuttable(model)
    size = example_count(batch)
    if size is None:
        raise _uncuttable("tensors that share no first dimension")
    return pieces_of(batch, min(count, size))


def _uncuttable(got: str) -> MemoryError:
    return MemoryError(
        _validation.message(
            "data",
            "have batches that fit into memory, or can be cut into pieces",
            got,
            "Call model.eval(), or pass smaller batches.",
        )
    )


def check_sum(whole: torch.Tensor, parts: Sequence[torch.Tensor | None]) -> None:
    """
    The losses of the pieces of a batch add up to that of the batch.

    Raises
    ------
    ValueError
        If they do not: the loss is not a mean over examples, or not with the weights given.
    """
    total = float(sum(part.double() for part in parts if part is not None))
    if abs(total - float(whole)) > 1e-3 * abs(float(whole)) + 1e-6:
        raise ValueError(
            _validation.message(
                "loss_fn",
                "be a mean over the examples of a batch where batches are cut into pieces",
                f"{float(whole):.6g} for a batch and {total:.6g} for its pieces together",
                "Raise memory=, or pass weight=lambda batch: <how many examples count>.",
            )
        )
