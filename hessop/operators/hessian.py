"""The Hessian of a loss over a data set, as an operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from hessop.curvature.forms import Forward, Weight
from hessop.curvature.local import HessianLocal
from hessop.curvature.parameters import Choice
from hessop.operators._documents import documented
from hessop.operators._gates import scalar, supervised
from hessop.operators.curvature import CurvatureOperator


@documented
class HessianOperator(CurvatureOperator):
    r"""
    The Hessian of a network's loss as a `scipy.sparse.linalg.LinearOperator`.

    For parameters :math:`\theta \in R^n` and examples :math:`1, \dots, N` it is

    .. math:: H = \nabla^2_\theta \; \frac{1}{N} \sum_{i=1}^N \ell_i(\theta),

    the Hessian of the mean over **all examples**: it does not depend on how `data` is cut into
    batches, be they of unequal size.

    Parameters
    ----------
    <<model>>
    <<loss_fn>>
    <<data>>
    objective : callable, optional
        ``objective(model, batch)`` returns a scalar, the mean over the batch, for objectives that
        have no output and target to tell apart; `loss_fn` is then None. Examples are counted by
        the first dimension that all tensors of a batch share, or by `weight`.
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
    hessop.GGNOperator, hessop.FisherOperator : Positive semidefinite relatives.
    hessop.lanczos, hessop.slq, hessop.trace : Algorithms that take it without leaving torch.
    scipy.sparse.linalg.eigsh : One of the many that take any LinearOperator.

    Notes
    -----
    A product does no forward pass for batches that are kept. `report` says how it is computed and
    why. Fused attention and cuDNN's RNNs are replaced by their twice differentiable forms for the
    length of the forward pass. Half-precision parameters, and autocast within the model, give
    products of that precision in a float32 operator.

    References
    ----------
    .. [1] B. A. Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6(1),
       1994.

    Examples
    --------
    >>> import torch
    >>> from scipy.sparse.linalg import eigsh
    >>> import hessop
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    >>> x, y = torch.randn(50, 4), torch.randint(0, 3, (50,))
    >>> H = hessop.HessianOperator(model, torch.nn.CrossEntropyLoss(), (x, y))
    >>> H.shape, str(H.dtype)
    ((67, 67), 'float32')
    >>> w = eigsh(H, k=3, which="LA", return_eigenvectors=False)
    >>> bool((w > 0).all())
    True
    >>> {name: block.shape for name, block in H.blocks().items()}
    {'0': (40, 40), '2': (27, 27)}
    """

    def __init__(
        self,
        model: torch.nn.Module,
        loss_fn: Callable[[Any, Any], torch.Tensor] | None,
        data: Any,
        *,
        objective: Callable[[torch.nn.Module, Any], torch.Tensor] | None = None,
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
            supervised(loss_fn, forward, weight)
            if objective is None
            else scalar(objective, loss_fn, forward, weight),
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


def _make(objective: Any, batch: Any, leaves: Any, start: int) -> HessianLocal:
    return HessianLocal(objective, batch, leaves)
