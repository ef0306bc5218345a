"""How much a batch counts, so that the objective is a mean over examples, not over batches."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from hessop import _validation

_CLASSIFICATION = (torch.nn.CrossEntropyLoss, torch.nn.NLLLoss)
_CLASSIFICATION_FUNCTIONS = (F.cross_entropy, F.nll_loss)


def is_sum(loss_fn: Any) -> bool:
    """Whether a torch loss module sums over the batch instead of taking its mean."""
    return getattr(loss_fn, "reduction", "mean") == "sum"


def batch_count(loss_fn: Any, output: Any, target: Any) -> float:
    """
    What torch divides by when it takes the mean over one batch.

    The number of examples; for `CrossEntropyLoss` and `NLLLoss`, modules or functions, the
    class weights of the targets that are not ignored.
    """
    classification = isinstance(loss_fn, _CLASSIFICATION)
    if classification or loss_fn in _CLASSIFICATION_FUNCTIONS:
        if target.is_floating_point():  # class probabilities: every position counts once
            return float(output.numel() / output.shape[1 if output.ndim > 1 else 0])
        counted = target[target != getattr(loss_fn, "ignore_index", -100)]
        weight = getattr(loss_fn, "weight", None)
        return float(counted.numel() if weight is None else weight[counted].sum())
    if not isinstance(target, torch.Tensor) or target.ndim == 0:
        raise TypeError(
            _validation.message(
                "weight",
                "be given where the target is not a tensor of examples",
                f"a target of type {type(target).__name__}",
                "Pass weight=lambda batch: <how many examples the batch holds>.",
            )
        )
    return float(target.shape[0])
