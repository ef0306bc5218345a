"""What a batch adds to the objective: a loss of an output and a target, or any scalar."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from hessop import _validation
from hessop.curvature import weights
from hessop.curvature.data import example_count

Forward = Callable[[torch.nn.Module, Any], tuple[Any, Any]]
Weight = Callable[[Any], float]


@dataclass(frozen=True)
class Term:
    """One batch of the objective: ``scale * loss`` is its sum over `count` examples."""

    loss: torch.Tensor
    scale: float
    count: float

    @property
    def total(self) -> torch.Tensor:
        """``scale * loss``, a 0-d tensor."""
        return self.loss.reshape(()) * self.scale


class Form(ABC):
    """How the model and a batch give a `Term`."""

    def __init__(self, weight: Weight | None) -> None:
        self._weight = weight

    @abstractmethod
    def term(self, model: torch.nn.Module, batch: Any, original: Any) -> Term:
        """The loss of a batch; `original` is the batch as the user gave it."""

    def _given_count(self, original: Any) -> float | None:
        if self._weight is None:
            return None
        return _validation.number("weight(batch)", self._weight(original), 0.0)


class Supervised(Form):
    """``loss_fn(output, target)`` for a model that makes an output of a batch."""

    def __init__(
        self,
        loss_fn: Callable[[Any, Any], torch.Tensor],
        forward: Forward | None,
        weight: Weight | None,
    ) -> None:
        super().__init__(weight)
        self.loss_fn = loss_fn
        self._forward = forward or _pair

    def predict(self, model: torch.nn.Module, batch: Any) -> tuple[Any, Any]:
        """Output and target of a batch."""
        return self._forward(model, batch)

    def term(self, model: torch.nn.Module, batch: Any, original: Any) -> Term:
        """The loss of a batch, by way of output and target."""
        return self.term_of_output(*self.predict(model, batch), original)

    def term_of_output(self, output: Any, target: Any, original: Any) -> Term:
        """The loss of an output."""
        loss = self.loss_fn(output, target)
        check_loss("loss_fn", loss)
        count = self._given_count(original)
        if count is None:
            count = weights.batch_count(self.loss_fn, output, target)
        return Term(loss, 1.0 if weights.is_sum(self.loss_fn) else count, count)


class Scalar(Form):
    """``objective(model, batch)``, with no output and target to tell apart."""

    def __init__(
        self, objective: Callable[[torch.nn.Module, Any], torch.Tensor], weight: Weight | None
    ) -> None:
        super().__init__(weight)
        self._objective = objective

    def term(self, model: torch.nn.Module, batch: Any, original: Any) -> Term:
        """The loss of a batch."""
        loss = self._objective(model, batch)
        check_loss("objective", loss)
        count = self._given_count(original)
        if count is None:
            count = example_count(original)
        if count is None:
            raise TypeError(
                _validation.message(
                    "weight",
                    "be given where the tensors of a batch share no first dimension",
                    "none",
                    "Pass weight=lambda batch: <how many examples the batch holds>.",
                )
            )
        return Term(loss, count, count)


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


def check_loss(name: str, loss: Any) -> None:
    """A loss is a real scalar."""
    rule = "return a real scalar tensor, the mean over the batch"
    if not isinstance(loss, torch.Tensor):
        raise TypeError(_validation.message(name, rule, f"a {type(loss).__name__}"))
    if loss.numel() != 1 or loss.dtype.is_complex:
        raise ValueError(
            _validation.message(
                name,
                rule,
                f"{loss.dtype} of shape {tuple(loss.shape)}",
                'Use reduction="mean" in the loss.',
            )
        )
