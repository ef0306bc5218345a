"""The objective of one batch as a function of stand-ins for the parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch.func import functional_call

from hessop import _validation
from hessop.curvature.data import mapped, tensors, to_device
from hessop.curvature.forms import Form, Supervised, Term
from hessop.curvature.guards import twice_differentiable
from hessop.curvature.parameters import ParameterSpace

T = TypeVar("T")


class Objective(torch.nn.Module):
    """
    ``sum_b scale_b loss_b / sum_b count_b``: the mean loss over all examples.

    The model is called with stand-ins for its parameters, which share their memory: the user's
    tensors, their ``requires_grad``, ``.grad`` and hooks play no part. The loss is evaluated
    while the stand-ins are in place, so that a penalty on ``model.parameters()`` is seen too.

    Attributes
    ----------
    n_forward : int
        Forward passes over single batches so far.
    """

    def __init__(self, model: torch.nn.Module, space: ParameterSpace, form: Form) -> None:
        super().__init__()
        self.model = model
        self.space = space
        self.form = form
        # A module is seen as such: its weights are watched for changes.
        self.loss_fn = form.loss_fn if isinstance(form, Supervised) else None
        self.n_forward = 0
        self._writes_input: bool | None = None  # not known before the first pass

    def leaves(self) -> list[torch.Tensor]:
        """Stand-ins for the chosen parameters, to differentiate by."""
        parameters = dict(self.model.named_parameters())
        return [parameters[name].detach().requires_grad_() for name in self.space.names]

    def term(self, batch: Any, leaves: Sequence[torch.Tensor]) -> Term:
        """The loss of one batch as a function of `leaves`, with its weight."""
        return self._evaluated(
            batch, leaves, lambda b: self._counted(self.form.term(self.model, b, batch))
        )

    def output(self, batch: Any, leaves: Sequence[torch.Tensor]) -> tuple[Any, Any]:
        """What the model makes of one batch as a function of `leaves`, and the target."""
        form = self.form
        assert isinstance(form, Supervised)
        return self._evaluated(batch, leaves, lambda b: form.predict(self.model, b))

    def within(self, leaves: Sequence[torch.Tensor], work: Callable[[], T]) -> T:
        """
        Do `work` while `leaves` stand in for the parameters, under the guards.

        Backward passes belong inside too: activation checkpointing runs parts of the model again.
        """
        state = {n: p.detach() for n, p in self.model.named_parameters()}
        state |= dict(zip(self.space.names, leaves, strict=True))
        # Batch normalisation in train mode writes its statistics, and so may any module: to copies.
        state |= {n: b.clone() for n, b in self.model.named_buffers()}
        state = {f"model.{name}": t for name, t in state.items()}
        with twice_differentiable(self.model, self.space.device):
            found: T = functional_call(self, state, (work,))
        return found

    def forward(self, work: Callable[[], Any]) -> Any:
        """Do `work`; called with the stand-ins in place."""
        return work()

    def _evaluated(self, batch: Any, leaves: Sequence[torch.Tensor], work: Callable[[Any], T]) -> T:
        """One forward pass over a batch on the model's device, which is not written to."""
        self.n_forward += 1
        moved = to_device(batch, self.space.device)
        if self._writes_input is not False:
            # Seen at the first pass: a layer that works in place may begin with its input.
            moved = mapped(moved, torch.Tensor.clone)
        found = self.within(leaves, lambda: work(moved))
        if self._writes_input is None:
            self._writes_input = any(t._version for t in tensors(moved) if not t.is_inference())
        return found

    def _counted(self, term: Term) -> Term:
        """The term, but zero where nothing counts: a mean over nothing is NaN."""
        if term.count:
            return term
        parameters = dict(self.model.named_parameters())
        zeros = [(0 * parameters[name]).sum() for name in self.space.names]
        return replace(term, loss=torch.stack(zeros).sum())


def check_finite(loss: torch.Tensor) -> None:
    """A loss that is NaN or infinite has no curvature."""
    if not torch.isfinite(loss):
        raise FloatingPointError(
            _validation.message(
                "loss_fn", "return a finite loss", loss.item(), "Check the model and the data."
            )
        )
