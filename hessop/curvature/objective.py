"""Model, loss and one batch become a scalar that is twice differentiable in the parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.func import functional_call

from hessop import _validation
from hessop.curvature import weights
from hessop.curvature.data import to_device
from hessop.curvature.guards import twice_differentiable
from hessop.curvature.parameters import ParameterSpace

Forward = Callable[[torch.nn.Module, Any], tuple[Any, Any]]


@dataclass(frozen=True)
class Term:
    """One batch of the objective: ``scale * loss`` is its sum over `count` examples."""

    loss: torch.Tensor
    scale: float
    count: float


class Objective(torch.nn.Module):
    """
    ``sum_b scale_b loss_b / sum_b count_b``: the mean loss over all examples.

    The model is called with stand-ins for its parameters, which share their memory: the user's
    tensors, their ``requires_grad``, ``.grad`` and hooks play no part. The loss is evaluated
    while the stand-ins are in place, so that a penalty on ``model.parameters()`` is seen too.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        loss_fn: Callable[[Any, Any], torch.Tensor],
        space: ParameterSpace,
        forward: Forward | None,
        weight: Callable[[Any], float] | None,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss_fn = loss_fn
        self.space = space
        self._forward = forward or _pair
        self._weight = weight

    def leaves(self) -> list[torch.Tensor]:
        """Stand-ins for the chosen parameters, to differentiate by."""
        parameters = dict(self.model.named_parameters())
        return [parameters[name].detach().requires_grad_() for name in self.space.names]

    def term(self, batch: Any, leaves: list[torch.Tensor]) -> Term:
        """The loss of one batch as a function of `leaves`, with its weight."""
        state = {n: p.detach() for n, p in self.model.named_parameters()}
        state |= dict(zip(self.space.names, leaves, strict=True))
        # Batch normalisation in train mode writes its statistics, and so may any module: to copies.
        state |= {n: b.clone() for n, b in self.model.named_buffers()}
        state = {f"model.{name}": t for name, t in state.items()}
        device = self.space.device
        with twice_differentiable(self.model, device):
            term: Term = functional_call(self, state, (to_device(batch, device), batch))
        return term

    def forward(self, batch: Any, original: Any) -> Term:
        """Loss and weight of a batch; called with the stand-ins in place."""
        output, target = self._forward(self.model, batch)
        loss = self.loss_fn(output, target)
        _check_form(loss)
        if self._weight is None:
            count = weights.batch_count(self.loss_fn, output, target)
        else:
            count = _validation.number("weight(batch)", self._weight(original), 0.0)
        if count == 0:
            # Nothing counts, and a mean over nothing is NaN: a zero that depends on all takes its
            # place.
            parameters = dict(self.model.named_parameters())
            zeros = [(0 * parameters[name]).sum() for name in self.space.names]
            loss = torch.stack(zeros).sum()
        _check_finite(loss)
        return Term(loss, 1.0 if weights.is_sum(self.loss_fn) else count, count)


def _pair(model: torch.nn.Module, batch: Any) -> tuple[Any, Any]:
    """Output and target of an (x, y) batch."""
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        held = f" of {len(batch)}" if isinstance(batch, (tuple, list, dict)) else ""
        raise TypeError(
            _validation.message(
                "data",
                "have batches that are (x, y) pairs",
                f"a {type(batch).__name__}{held}",
                "Pass forward=lambda model, batch: (output, target).",
            )
        )
    x, y = batch
    return model(x), y


def _check_form(loss: Any) -> None:
    rule = "return a real scalar tensor, the mean over the batch"
    if not isinstance(loss, torch.Tensor):
        raise TypeError(_validation.message("loss_fn", rule, f"a {type(loss).__name__}"))
    if loss.numel() != 1 or loss.dtype.is_complex:
        raise ValueError(
            _validation.message(
                "loss_fn",
                rule,
                f"{loss.dtype} of shape {tuple(loss.shape)}",
                'Use reduction="mean" in the loss.',
            )
        )


def _check_finite(loss: torch.Tensor) -> None:
    if not torch.isfinite(loss):
        raise FloatingPointError(
            _validation.message(
                "loss_fn", "return a finite loss", loss.item(), "Check the model and the data."
            )
        )
