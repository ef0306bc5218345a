"""Hutchinson's trace estimator."""

from __future__ import annotations

from typing import Any

import numpy as np

from hessop import _validation
from hessop._results import Estimate
from hessop._space import LocalSpace
from hessop.operators import enter
from hessop.quadrature import probes


def trace(
    A: Any, *, n_matvec: int = 100, distribution: str = "rademacher", rng: Any = None
) -> Estimate:
    r"""
    The trace of a symmetric operator, by Hutchinson's estimator.

    The mean of :math:`z^T A z` over random probes with :math:`E[z z^T] = I`.

    Parameters
    ----------
    A : operator or matrix, shape (n, n)
        Anything that `hessop.aslinearoperator` takes, or a product; real symmetric.
    n_matvec : int, optional
        Products to spend, one per probe, at least 1. Default 100.
    distribution : {"rademacher", "gaussian"}, optional
        Of the probes' entries. One sample has variance :math:`2 \|A\|_F^2` for "gaussian", and
        that minus :math:`2 \sum_i A_{ii}^2` for "rademacher" (default): exact for a diagonal
        operator.
    rng : None, int or numpy.random.Generator, optional
        For the probes. The same seed gives the same probes on every device.

    Returns
    -------
    Estimate
        ``float(e)``, ``e.estimate``, ``e.standard_error``, ``e.confidence_interval()``.

    Raises
    ------
    ValueError, TypeError, FloatingPointError
        As `hessop.lanczos`.

    See Also
    --------
    hessop.slq : ``slq(A).trace(f)`` is the trace of a function of `A`.

    References
    ----------
    .. [1] M. F. Hutchinson, "A stochastic estimator of the trace of the influence matrix for
       Laplacian smoothing splines", Communications in Statistics 18(3), 1989.

    Examples
    --------
    >>> import numpy as np
    >>> import hessop
    >>> e = hessop.trace(np.diag([1.0, 2.0, 4.0]), n_matvec=10, rng=0)
    >>> e.estimate, e.standard_error
    (7.0, 0.0)
    """
    product, _ = enter(A)
    space = LocalSpace(product.n, product.dtype, product.device)
    n_matvec = _validation.integer("n_matvec", n_matvec, 1)
    _validation.choice("distribution", distribution, probes.DISTRIBUTIONS)
    product.expect(n_matvec)
    samples: list[float] = []
    for Z in probes.blocks(space, n_matvec, distribution, rng, rows_each=2):
        samples += [float(space.dot(z, w)) for z, w in zip(Z, product.matmat(Z), strict=True)]
    if not np.isfinite(samples).all():
        raise _validation.finite_product("A")
    return Estimate(np.array(samples), n_matvec)
