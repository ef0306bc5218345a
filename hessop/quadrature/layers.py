"""Traces of the diagonal blocks of a curvature matrix, all from the same products."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hessop import _validation
from hessop._estimates import Estimate
from hessop._space import children
from hessop.operators import enter
from hessop.quadrature import probes


def layer_traces(
    H: Any,
    *,
    by: str = "layer",
    n_matvec: int = 100,
    distribution: str = "rademacher",
    rng: Any = None,
) -> dict[str, Estimate]:
    r"""
    The trace of each layer's block of a curvature matrix, in one pass over shared probes.

    For a probe z of the whole vector, :math:`z_b^T (H z)_b` is an unbiased estimate of the trace
    of block b; the other blocks add to its variance, not to its mean. It costs `n_matvec`
    products for all layers together, as layer-wise sensitivities are used for quantisation [1]_.

    Parameters
    ----------
    H : HessianOperator, GGNOperator or FisherOperator
        What has ``blocks`` and ``unflatten``.
    by : {"layer", "parameter"}, optional
        As `HessianOperator.blocks`: together what one module owns (default), or each alone.
    n_matvec : int, optional
        Products to spend, one per probe, at least 1. Default 100.
    distribution : {"rademacher", "gaussian", "sphere"}, optional
        As in `hessop.trace`. Default "rademacher".
    rng : None, int or numpy.random.Generator, optional
        For the probes: those of `hessop.trace`, so that the sum is its estimate.

    Returns
    -------
    dict of str to Estimate
        By name of module or parameter, in the order of the flat vector.

    Raises
    ------
    TypeError
        If `H` has no layers.
    ValueError, FloatingPointError
        As `hessop.trace`.

    See Also
    --------
    hessop.trace : Of the whole, or of ``H.block(name)`` with all products for one layer.

    References
    ----------
    .. [1] Z. Dong, Z. Yao, A. Gholami, M. Mahoney and K. Keutzer, "HAWQ-V2: Hessian aware
       trace-weighted quantization of neural networks", NeurIPS 2020.

    Examples
    --------
    >>> import torch
    >>> import hessop
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    >>> data = torch.randn(8, 3), torch.randint(2, (8,))
    >>> H = hessop.HessianOperator(model, torch.nn.CrossEntropyLoss(), data)
    >>> list(hessop.layer_traces(H, n_matvec=5, rng=0))
    ['0', '2']
    """
    if not (hasattr(H, "blocks") and hasattr(H, "unflatten")):
        raise TypeError(
            _validation.message(
                "H",
                "be a curvature operator, which has layers",
                type(H).__name__,
                "Use hessop.trace for the whole.",
            )
        )
    groups = {name: block.names for name, block in H.blocks(by).items()}
    product, _ = enter(H)
    space = product.space()
    n_matvec = _validation.integer("n_matvec", n_matvec, 1)
    _validation.choice("distribution", distribution, probes.DISTRIBUTIONS)
    product.expect(n_matvec)
    samples: list[list[float]] = []
    generators = children(_validation.rng(rng), n_matvec)
    for Z in probes.blocks(space, generators, distribution, rows_each=2):
        for z, w in zip(Z, product.matmat(Z), strict=True):
            if not torch.isfinite(w).all():
                raise _validation.finite_product("H")
            pieces = H.unflatten((z * w).double())
            sums = {name: float(piece.sum()) for name, piece in pieces.items()}
            samples.append([sum(sums[n] for n in names) for names in groups.values()])
    columns = np.array(samples).T
    return {name: Estimate(s, n_matvec) for name, s in zip(groups, columns, strict=True)}
