"""torch's losses as negative log-likelihoods: what Fisher matrices are expectations over."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from scipy.special import ndtri

from hessop import _validation


class Likelihood(ABC):
    """
    The distribution of targets, given an output, whose negative logarithm a loss is.

    A **datum** is what has a distribution of its own: an example, or each position of a sequence.
    Scores are gradients by the output, per datum and not weighted.
    """

    def __init__(self, loss_fn: Any) -> None:
        self._loss_fn = loss_fn

    @abstractmethod
    def weights(self, z: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """What each datum counts, in a shape that broadcasts with z."""

    @abstractmethod
    def expected(self, z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """``E[score score^T] t`` for each datum."""

    @abstractmethod
    def draws(self, z: torch.Tensor) -> tuple[int, ...]:
        """The shape of the uniform numbers that one sample takes."""

    @abstractmethod
    def sampled_score(self, z: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
        """The score at targets drawn by means of numbers uniform in (0, 1)."""

    def _elements(self, z: torch.Tensor) -> float:
        """How many elements of an example the loss is a mean over."""
        summed = getattr(self._loss_fn, "reduction", "mean") == "sum"
        return 1.0 if summed or not z.ndim else z.numel() / z.shape[0]

    @abstractmethod
    def inner(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """The inner product of each datum, in a shape that broadcasts; `a` may be a stack."""


class Categorical(Likelihood):
    """Cross entropy of logits, or of log-probabilities (`NLLLoss`); classes in dimension 1."""

    def __init__(self, loss_fn: Any) -> None:
        super().__init__(loss_fn)
        self._logits = loss_fn is F.cross_entropy or isinstance(loss_fn, torch.nn.CrossEntropyLoss)

    @staticmethod
    def _axis(z: torch.Tensor) -> int:
        return 1 if z.ndim > 1 else 0

    def weights(self, z: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Class weights of the targets; zero where a target is ignored."""
        axis = self._axis(z)
        classes = getattr(self._loss_fn, "weight", None)
        if target.is_floating_point():
            if classes is not None:
                raise ValueError(
                    _validation.message(
                        "loss_fn",
                        "be a negative log-likelihood",
                        "class weights with targets that are probabilities",
                        "Use GGNOperator, or no class weights.",
                    )
                )
            return torch.ones_like(z.select(axis, 0)).unsqueeze(axis)
        smoothing: float = getattr(self._loss_fn, "label_smoothing", 0.0)
        if classes is not None and smoothing:
            raise ValueError(
                _validation.message(
                    "loss_fn",
                    "be a negative log-likelihood",
                    "class weights with label smoothing",
                    "Use GGNOperator, or one of the two.",
                )
            )
        counted = target != getattr(self._loss_fn, "ignore_index", -100)
        w = counted.to(z.dtype)
        if classes is not None:
            w = w * classes.to(z.dtype)[target.where(counted, 0)]
        return w.unsqueeze(axis)

    def _probabilities(self, z: torch.Tensor) -> torch.Tensor:
        return z.softmax(self._axis(z)) if self._logits else z.exp()

    def expected(self, z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """``(diag(p) - p p^T) t`` for logits, ``diag(p) t`` for log-probabilities."""
        p = self._probabilities(z)
        return p * (t - self.inner(p, t)) if self._logits else p * t

    def draws(self, z: torch.Tensor) -> tuple[int, ...]:
        """One for each datum."""
        return tuple(z.select(self._axis(z), 0).shape)

    def sampled_score(self, z: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
        """``p - e_y``, or ``-e_y`` for log-probabilities."""
        axis = self._axis(z)
        p = self._probabilities(z)
        below = p.double().cumsum(axis) / p.double().sum(axis, keepdim=True)
        y = (below < uniform.unsqueeze(axis)).sum(axis, keepdim=True).clamp_max(z.shape[axis] - 1)
        chosen = torch.zeros_like(z).scatter_(axis, y, 1.0)
        return p - chosen if self._logits else -chosen

    def inner(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Over the classes."""
        return (a * b).sum(self._axis(b) - b.ndim, keepdim=True)


class Bernoulli(Likelihood):
    """Binary cross entropy of logits: each element is a datum."""

    def weights(self, z: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The mean over the elements of an example, as torch takes it, times given weights."""
        given = getattr(self._loss_fn, "weight", None)
        if getattr(self._loss_fn, "pos_weight", None) is not None:
            raise ValueError(
                _validation.message(
                    "loss_fn",
                    "be a negative log-likelihood",
                    "a BCEWithLogitsLoss with pos_weight",
                    "Use GGNOperator, or no pos_weight.",
                )
            )
        w = torch.ones_like(z) / self._elements(z)
        return w if given is None else w * given.to(z.dtype)

    def expected(self, z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """``p (1 - p) t``."""
        p = z.sigmoid()
        return p * (1 - p) * t

    def draws(self, z: torch.Tensor) -> tuple[int, ...]:
        """One for each element."""
        return tuple(z.shape)

    def sampled_score(self, z: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
        """``p - y``."""
        p = z.sigmoid()
        return p - (uniform < p).to(z.dtype)

    def inner(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Element by element."""
        return a * b


class Gaussian(Likelihood):
    """Mean squared error: each example, whose D elements have variance ``D / 2``, is a datum."""

    def weights(self, z: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """All the same."""
        return torch.ones((), dtype=z.dtype, device=z.device)

    def expected(self, z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """``2 t / D``."""
        return 2 * t / self._elements(z)

    def draws(self, z: torch.Tensor) -> tuple[int, ...]:
        """One for each element."""
        return tuple(z.shape)

    def sampled_score(self, z: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
        """``2 (z - y) / D``, whose variance is ``2 / D``."""
        # the inverse distribution function on the host, in float64: the same on every device
        normal: torch.Tensor = torch.from_numpy(ndtri(uniform.cpu().numpy()))
        scale: float = (2 / self._elements(z)) ** 0.5
        return normal.to(z.device, z.dtype) * scale

    def inner(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Over all elements of an example."""
        return inner_by_example(a, b)


def inner_by_example(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The inner product over all dimensions but the first, which are kept with size 1."""
    if b.ndim < 2:
        return a * b
    return (a * b).sum(tuple(range(1 - b.ndim, 0)), keepdim=True)


_KNOWN: list[tuple[type[Likelihood], tuple[type, ...], tuple[Any, ...]]] = [
    (
        Categorical,
        (torch.nn.CrossEntropyLoss, torch.nn.NLLLoss),
        (F.cross_entropy, F.nll_loss),
    ),
    (Bernoulli, (torch.nn.BCEWithLogitsLoss,), (F.binary_cross_entropy_with_logits,)),
    (Gaussian, (torch.nn.MSELoss,), (F.mse_loss,)),
]


def likelihood_of(loss_fn: Any) -> Likelihood | None:
    """The likelihood that a loss of torch's is known to belong to."""
    for kind, modules, functions in _KNOWN:
        if isinstance(loss_fn, modules) or loss_fn in functions:
            return kind(loss_fn)
    return None
