"""Fisher information matrices of a model over a data set, as operators."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from hessop import _validation
from hessop.curvature.fisher import EmpiricalLocal, SampledLocal, TypeTwoLocal
from hessop.curvature.forms import Forward, Weight
from hessop.curvature.local import Local
from hessop.curvature.parameters import Choice
from hessop.curvature.store import Make
from hessop.operators._documents import documented
from hessop.operators._gates import supervised
from hessop.operators.curvature import CurvatureOperator

KINDS = ("type2", "mc", "empirical")


@documented
class FisherOperator(CurvatureOperator):
    r"""
    A Fisher information matrix as a `scipy.sparse.linalg.LinearOperator`.

    With the outputs :math:`z_i(\theta)` of the model, their Jacobians :math:`J_i` and the
    distribution :math:`p(y | z)` whose negative logarithm the loss is,

    .. math:: F = \frac{1}{N} \sum_{i=1}^N J_i^T \, E_y[\nabla_{z_i} \log p(y | z_i) \,
              \nabla_{z_i} \log p(y | z_i)^T] \, J_i,

    the expectation over the model's own distribution in closed form (``"type2"``) or by samples
    (``"mc"``), or at the targets of the data (``"empirical"``).

    Parameters
    ----------
    <<model>>
    <<loss_fn>>
    <<data>>
    kind : {"type2", "mc", "empirical"}, optional
        What the expectation is over. The first two need `CrossEntropyLoss`, `NLLLoss`,
        `BCEWithLogitsLoss` or `MSELoss` of torch, or their functions.
    n_samples : int, optional
        Targets drawn for each datum under ``"mc"``. Default 1.
    rng : None, int, SeedSequence or numpy.random.Generator, optional
        Where the seed of ``"mc"`` comes from. The operator is one matrix: the targets are the same
        in every product, however the data are cut into batches.
    <<params>>
    <<mean>>
    <<how>>

    Attributes
    ----------
    <<attributes>>

    Raises
    ------
    <<raises>>

    See Also
    --------
    hessop.GGNOperator : The same matrix as ``"type2"`` for cross entropy and squared errors.

    Notes
    -----
    A *datum* is what has a distribution of its own: each position of a sequence for cross
    entropy, each element for binary cross entropy, each example for the mean squared error (with
    variance D / 2 in each of its D elements, which makes the loss its negative logarithm) and for
    all other losses. It has the weight that its target has in the loss: ignored ones count
    nothing, class weights are those of the target in the data. Gradients of single examples by the
    parameters are never formed.

    The empirical matrix is no approximation of the others far from an optimum [2]_.

    References
    ----------
    .. [1] J. Martens, "New insights and perspectives on the natural gradient method", JMLR 21,
       2020, sections 5 and 9.
    .. [2] F. Kunstner, L. Balles and P. Hennig, "Limitations of the empirical Fisher
       approximation for natural gradient descent", NeurIPS 2019.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> import hessop
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    >>> data = torch.randn(50, 4), torch.randint(0, 3, (50,))
    >>> F = hessop.FisherOperator(model, torch.nn.CrossEntropyLoss(), data)
    >>> G = hessop.GGNOperator(model, torch.nn.CrossEntropyLoss(), data)
    >>> v = np.ones(F.shape[0])
    >>> bool(np.allclose(F @ v, G @ v, atol=1e-6))
    True
    """

    def __init__(
        self,
        model: torch.nn.Module,
        loss_fn: Callable[[Any, Any], torch.Tensor],
        data: Any,
        *,
        kind: str = "type2",
        n_samples: int = 1,
        rng: Any = None,
        params: Choice = None,
        reduction: str = "mean",
        forward: Forward | None = None,
        weight: Weight | None = None,
        mode: str = "auto",
        block_size: int | str = "auto",
        compile: bool = False,
        memory: int | str = "auto",
        check: bool = True,
        progress: bool = False,
        precision: str = "highest",
        cuda_graphs: bool | str = "auto",
    ) -> None:
        super().__init__(
            model,
            supervised(loss_fn, forward, weight),
            data,
            _make(kind, n_samples, rng),
            params=params,
            reduction=reduction,
            mode=mode,
            block_size=block_size,
            compile=compile,
            memory=memory,
            check=check,
            progress=progress,
            precision=precision,
            cuda_graphs=cuda_graphs,
        )


def _make(kind: str, n_samples: int, rng: Any) -> Make:
    """The gate of these arguments: how the map of a batch is made."""
    _validation.choice("kind", kind, KINDS)
    samples = _validation.integer("n_samples", n_samples, 1)
    seed = int(_validation.rng(rng).integers(1 << 63))

    if kind == "mc":
        return partial(SampledLocal, seed=seed, samples=samples)
    return partial(_without_draws, TypeTwoLocal if kind == "type2" else EmpiricalLocal)


def _without_draws(
    local: type[Local], objective: Any, batch: Any, leaves: Any, start: int
) -> Local:
    return local(objective, batch, leaves)
