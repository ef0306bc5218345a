"""The trace of a symmetric operator, by random probes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch

from hessop import _validation
from hessop._estimates import Estimate
from hessop._product import Product
from hessop._results import ConvergenceWarning
from hessop._space import LocalSpace, children
from hessop.operators import enter
from hessop.quadrature import probes
from hessop.quadrature.exchangeable import XTrace
from hessop.quadrature.hutchinson import Hutchinson, HutchPlusPlus

# The fewest products a method can do with.
METHODS = {"hutchinson": 1, "hutch++": 3, "xtrace": 4}
# How many probes come before a first look at the error.
_FIRST = 10


def trace(
    A: Any,
    *,
    method: str = "hutchinson",
    n_matvec: int = 100,
    rtol: float | None = None,
    distribution: str = "rademacher",
    rng: Any = None,
) -> Estimate:
    r"""
    The trace of a symmetric operator, by random probes.

    Hutchinson's estimator is the mean of :math:`z^T A z` over probes with :math:`E[z z^T] = I`
    [1]_. The others take the part of the trace on the range of a sketch exactly, which is much of
    it where few eigenvalues dominate, and estimate the rest.

    Parameters
    ----------
    A : operator or matrix, shape (n, n)
        Anything that `hessop.aslinearoperator` takes, or a product; real symmetric.
    method : {"hutchinson", "hutch++", "xtrace"}, optional
        "hutchinson" (default): one product per probe, a block at a time. "hutch++" [2]_: a third
        of the products for a sketch, a third for its range, a third for probes on the complement.
        "xtrace" [3]_: two products per probe, each of which sees the range of all others; holds
        two vectors per product.
    n_matvec : int, optional
        Products to spend, at least 1, 3 for "hutch++", 4 for "xtrace"; with `rtol`, the most.
        Default 100.
    rtol : float, optional
        Positive. Probes are added, twice as many each time, until half the 95 percent confidence
        interval is at most `rtol` times the estimate. (Not when the mean happens to pause.)
        Default: all `n_matvec` are spent.
    distribution : {"rademacher", "gaussian", "sphere"}, optional
        Of the probes: signs, normal entries, or uniform directions of length ``sqrt(n)``. One
        sample of Hutchinson's has variance :math:`2 \|A\|_F^2` for "gaussian", that minus
        :math:`2 \sum_i A_{ii}^2` for "rademacher" (default): exact for a diagonal operator, and
        :math:`(2 \|A\|_F^2 - 2 (\operatorname{tr} A)^2 / n) n / (n + 2)` for "sphere".
    rng : None, int or numpy.random.Generator, optional
        For the probes. The same seed gives the same probes on every device.

    Returns
    -------
    Estimate
        ``float(e)``, ``e.estimate``, ``e.standard_error``, ``e.confidence_interval()``. The
        samples of "xtrace" are pseudo-values of a jackknife over at most 25 groups of probes.

    Raises
    ------
    ValueError, TypeError, FloatingPointError
        As `hessop.lanczos`.

    Warns
    -----
    ConvergenceWarning
        If `n_matvec` products did not reach `rtol`.

    See Also
    --------
    hessop.slq : ``slq(A).trace(f)`` is the trace of a function of `A`.
    hessop.diagonal : Each entry of the diagonal.

    References
    ----------
    .. [1] M. F. Hutchinson, "A stochastic estimator of the trace of the influence matrix for
       Laplacian smoothing splines", Communications in Statistics 18(3), 1989.
    .. [2] R. A. Meyer, C. Musco, C. Musco and D. P. Woodruff, "Hutch++: Optimal stochastic trace
       estimation", SOSA 2021.
    .. [3] E. N. Epperly, J. A. Tropp and R. J. Webber, "XTrace: Making the most of every sample in
       stochastic trace estimation", SIAM J. Matrix Anal. Appl. 45(1), 2024.

    Examples
    --------
    >>> import numpy as np
    >>> import hessop
    >>> e = hessop.trace(np.diag([1.0, 2.0, 4.0]), n_matvec=10, rng=0)
    >>> e.estimate, e.standard_error
    (7.0, 0.0)
    """
    product, _ = enter(A)
    space = product.space()
    _validation.choice("method", method, tuple(METHODS))
    n_matvec = _validation.integer("n_matvec", n_matvec, METHODS[method])
    if rtol is not None:
        rtol = _validation.number("rtol", rtol, 0.0, strict=True)
    _validation.choice("distribution", distribution, probes.DISTRIBUTIONS)
    generator = _validation.rng(rng)
    product.expect(n_matvec)
    estimator = _estimator(method, product, space, n_matvec, distribution, generator)
    count = (n_matvec - estimator.n_matvec) // estimator.cost
    first = 0 if rtol is None else _FIRST
    for Z in probes.blocks(space, children(generator, count), distribution, 2, first):
        estimator.add(Z)
        found = Estimate(estimator.samples(), estimator.n_matvec)
        if not np.isfinite(found.samples).all():
            raise _validation.finite_product("A")
        if rtol is not None and _is_close(found, rtol):
            return found
    if rtol is not None:
        warnings.warn(
            f"`rtol` of {rtol:g} was not reached in {found.n_matvec} products; the standard error "
            f"is {found.standard_error:.1e}. Raise `n_matvec` or `rtol`.",
            ConvergenceWarning,
            stacklevel=2,
        )
    return found


def _estimator(
    method: str, product: Product, space: LocalSpace, n_matvec: int, distribution: str, rng: Any
) -> Hutchinson:
    """What takes in the probes."""
    if method == "hutchinson":
        return Hutchinson(product, space)
    if method == "xtrace":
        return XTrace(product, space, isotropic=distribution != "rademacher")
    width = min(n_matvec // 3, space.n)
    sketch = list(probes.blocks(space, children(rng, width), distribution, rows_each=2))
    return HutchPlusPlus(product, space, torch.cat(sketch))


def _is_close(found: Estimate, rtol: float) -> bool:
    """Whether half the interval is within the tolerance."""
    low, high = found.confidence_interval()
    return (high - low) / 2 <= rtol * abs(found.estimate)
