"""The maps on outputs that make a Gauss-Newton matrix a Fisher matrix."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from hessop import _validation
from hessop.curvature import graph, weights
from hessop.curvature.forms import Supervised
from hessop.curvature.gauss_newton import (
    GaussNewtonLocal,
    Middle,
    OutputLoss,
    loss_of_outputs,
)
from hessop.curvature.layout import Pieces
from hessop.curvature.likelihoods import Likelihood, inner_by_example, likelihood_of
from hessop.curvature.local import Found
from hessop.curvature.objective import Objective


class FisherLocal(GaussNewtonLocal):
    """The middle is a sum over the data of a batch, of a matrix for each datum."""

    @cached_property
    def _likelihood(self) -> Likelihood:
        form = self.objective.form
        assert isinstance(form, Supervised)
        likelihood = likelihood_of(form.loss_fn)
        if likelihood is None:
            raise TypeError(
                _validation.message(
                    "loss_fn",
                    "be CrossEntropyLoss, NLLLoss, BCEWithLogitsLoss or MSELoss, whose "
                    "distribution of targets is known",
                    f"a {type(form.loss_fn).__name__}",
                    'Use kind="empirical", or GGNOperator.',
                )
            )
        return likelihood

    def _single(self) -> torch.Tensor:
        """The one tensor that the model returns."""
        if len(self.outputs) != 1:
            raise TypeError(
                _validation.message(
                    "forward",
                    "give one tensor as output, for a Fisher matrix",
                    f"{len(self.outputs)} tensors",
                    "Pass forward=lambda model, batch: (output, target).",
                )
            )
        return self.outputs[0].detach()


class TypeTwoLocal(FisherLocal):
    """Over the model's own distribution of targets, in closed form."""

    @cached_property
    def middle(self) -> Middle:
        """``E[score score^T]``, datum by datum."""
        z = self._single()
        w = _weights(self, loss_of_outputs(self), self._likelihood)
        return lambda directions: [
            None if t is None else w * self._likelihood.expected(z, t) for t in directions
        ]


class SampledLocal(FisherLocal):
    """
    Over targets drawn from the model's own distribution.

    Draws are taken from one stream of uniform numbers, each datum of the data set from its own
    place in it, so that they do not depend on how the data are cut into batches.
    """

    def __init__(
        self,
        objective: Objective,
        batch: Any,
        leaves: Sequence[torch.Tensor],
        start: int,
        seed: int,
        samples: int,
    ) -> None:
        super().__init__(objective, batch, leaves)
        self._start = start
        self._seed = seed
        self._samples = samples

    @property
    def drawn(self) -> int:
        """How many numbers of its stream one sample of the batch takes."""
        return int(np.prod(self._likelihood.draws(self._single())))

    @cached_property
    def middle(self) -> Middle:
        """``sum_s score_s score_s^T / samples``, datum by datum."""
        likelihood, z = self._likelihood, self._single()
        w = _weights(self, loss_of_outputs(self), likelihood) / self._samples
        shape = likelihood.draws(z)
        # A stream of its own for each sample, in which each datum has its place.
        streams = np.random.SeedSequence(self._seed).generate_state(self._samples, np.uint64)
        scores = []
        for stream in streams:
            bits = np.random.PCG64(int(stream)).advance(self._start)
            uniform = torch.from_numpy(np.random.Generator(bits).random(self.drawn))
            scores.append(likelihood.sampled_score(z, uniform.reshape(shape).to(z.device)))

        stack = torch.stack(scores)

        def apply(directions: Pieces) -> Found:
            (t,) = directions
            if t is None:
                return [None]
            return [(w * stack * likelihood.inner(stack, t)).sum(0)]

        return apply


class EmpiricalLocal(FisherLocal):
    """Over the targets of the data: gradients of the loss itself."""

    @cached_property
    def middle(self) -> Middle:
        """``g g^T`` of each datum, g its gradient by the output."""
        self._single()
        loss = loss_of_outputs(self)
        (g,) = graph.gradients([loss.total], loss.outputs, [torch.ones_like(loss.total)])
        if g is None:
            return lambda directions: [None for _ in directions]
        form = self.objective.form
        assert isinstance(form, Supervised)
        likelihood = likelihood_of(form.loss_fn)
        inner = inner_by_example if likelihood is None else likelihood.inner
        w = _weights(self, loss, likelihood)
        # g is the gradient of the weighted loss: its outer product has the weight squared.
        scores = torch.where(w > 0, g / w, torch.zeros_like(g))

        def apply(directions: Pieces) -> Found:
            (t,) = directions
            return [None if t is None else w * scores * inner(scores, t)]

        return apply


def _weights(local: FisherLocal, loss: OutputLoss, likelihood: Likelihood | None) -> torch.Tensor:
    """The weights of the data of a batch; examples count alike where nothing is known."""
    z, form = loss.outputs[0].detach(), local.objective.form
    assert isinstance(form, Supervised)
    if likelihood is None:
        own, natural = torch.ones((), dtype=z.dtype, device=z.device), float(z.shape[0])
    else:
        own = likelihood.weights(z, local.target)
        natural = weights.batch_count(form.loss_fn, z, local.target)
    if weights.is_sum(form.loss_fn):
        natural = 1.0
    # `weight=` gives a batch another share in the objective than torch's mean does.
    return own * (loss.scale / natural if natural else 0.0)
