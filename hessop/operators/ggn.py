"""The generalised Gauss-Newton matrix of a loss over a data set, as an operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from hessop.curvature.forms import Forward, Weight
from hessop.curvature.gauss_newton import GGNLocal
from hessop.curvature.parameters import Choice
from hessop.operators._documents import documented
from hessop.operators._gates import supervised
from hessop.operators.curvature import CurvatureOperator


@documented
class GGNOperator(CurvatureOperator):
    r"""
    The generalised Gauss-Newton matrix as a `scipy.sparse.linalg.LinearOperator`.

    With the outputs :math:`z_i(\theta)` of the model for example i and their Jacobians
    :math:`J_i = \partial z_i / \partial \theta`,

    .. math:: G = \frac{1}{N} \sum_{i=1}^N J_i^T \, \nabla^2_{z_i} \ell_i \, J_i,

    positive semidefinite for a convex loss. It is the Hessian without the curvature of the model.

    Parameters
    ----------
    <<model>>
    <<loss_fn>>
    <<data>>
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
    hessop.HessianOperator : With the curvature of the model.
    hessop.FisherOperator : Expectations over targets; the same for some losses.

    Notes
    -----
    The Hessian of the loss is had by differentiating the loss alone, so that any differentiable
    loss will do; a penalty on the parameters within `loss_fn` does not enter, and a loss that is
    linear in the output (`torch.nn.NLLLoss` of log-probabilities) has none: leave the softmax to
    the loss. The model may return several tensors, in tuples, lists, mappings; all that are
    floating are outputs.

    References
    ----------
    .. [1] N. N. Schraudolph, "Fast curvature matrix-vector products for second-order gradient
       descent", Neural Computation 14(7), 2002, section 3.

    Examples
    --------
    >>> import torch
    >>> import hessop
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    >>> x, y = torch.randn(50, 4), torch.randint(0, 3, (50,))
    >>> G = hessop.GGNOperator(model, torch.nn.CrossEntropyLoss(), (x, y))
    >>> w, v = hessop.lanczos(G, k=1, which="SA", rng=0)
    >>> bool(w[0] > -1e-6)
    True
    """

    def __init__(
        self,
        model: torch.nn.Module,
        loss_fn: Callable[[Any, Any], torch.Tensor],
        data: Any,
        *,
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
            _make,
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


def _make(objective: Any, batch: Any, leaves: Any, start: int) -> GGNLocal:
    return GGNLocal(objective, batch, leaves)
