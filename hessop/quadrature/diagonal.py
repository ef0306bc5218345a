"""The diagonal of a symmetric operator, by random probes."""

from __future__ import annotations

from typing import Any

import torch

from hessop import _validation
from hessop._estimates import DiagonalEstimate
from hessop._space import children
from hessop.operators import enter
from hessop.quadrature import probes
from hessop.quadrature.exchangeable import XTrace
from hessop.quadrature.moments import Moments

# The fewest products a method can do with.
METHODS = {"hutchinson": 1, "xdiag": 4}
# An entry of XDiag depends on probes in pairs, one left out and one in the sketch. Their spread
# shows half the variance of such terms, less of those that need more (measured: 0.5 to 0.65).
_PAIRS = 2**0.5


def diagonal(
    A: Any, *, method: str = "hutchinson", n_matvec: int = 100, rng: Any = None
) -> DiagonalEstimate:
    r"""
    The diagonal of a symmetric operator, by random signs.

    Parameters
    ----------
    A : operator or matrix, shape (n, n)
        Anything that `hessop.aslinearoperator` takes, or a product; real symmetric.
    method : {"hutchinson", "xdiag"}, optional
        "hutchinson" (default): the mean of :math:`z \circ A z` over probes z of random signs
        [1]_, a product each; the variance of entry i is the sum of squares of the other entries of
        its row. "xdiag" [2]_: two products per probe, each of which sees the range of all others;
        holds two vectors per product.
    n_matvec : int, optional
        Products to spend, at least 1, 4 for "xdiag". Default 100.
    rng : None, int or numpy.random.Generator, optional
        For the probes. The same seed gives the same probes on every device.

    Returns
    -------
    DiagonalEstimate
        ``estimate`` and ``standard_error``, an entry for each of the diagonal's.

    Raises
    ------
    ValueError, TypeError, FloatingPointError
        As `hessop.lanczos`.

    See Also
    --------
    hessop.trace : Their sum, for less.
    hessop.layer_traces : Sums over the parameters of each layer.

    References
    ----------
    .. [1] C. Bekas, E. Kokiopoulou and Y. Saad, "An estimator for the diagonal of a matrix",
       Applied Numerical Mathematics 57, 2007.
    .. [2] E. N. Epperly, J. A. Tropp and R. J. Webber, "XTrace: Making the most of every sample in
       stochastic trace estimation", SIAM J. Matrix Anal. Appl. 45(1), 2024, Section 2.4.

    Examples
    --------
    >>> import numpy as np
    >>> import hessop
    >>> e = hessop.diagonal(np.diag([1.0, 2.0, 4.0]), n_matvec=5, rng=0)
    >>> e.estimate
    array([1., 2., 4.])
    """
    product, give = enter(A)
    space = product.space()
    _validation.choice("method", method, tuple(METHODS))
    n_matvec = _validation.integer("n_matvec", n_matvec, METHODS[method])
    product.expect(n_matvec)
    count = n_matvec if method == "hutchinson" else n_matvec // XTrace.cost
    generators = children(_validation.rng(rng), count)
    drawn = probes.blocks(space, generators, "rademacher", rows_each=2)
    if method == "hutchinson":
        found, spent, factor = Moments(space.n, space.device), n_matvec, 1.0
        for Z in drawn:
            for z, w in zip(Z, product.matmat(Z), strict=True):
                found.add(z * w)
    else:
        sketch = XTrace(product, space, isotropic=False)
        sketch.add(torch.cat(list(drawn)))
        found, spent, factor = sketch.diagonals(), sketch.n_matvec, _PAIRS
    if not torch.isfinite(found.mean).all():
        raise _validation.finite_product("A")
    estimate, error = (
        give(v.to(product.dtype)[None])[0] for v in (found.mean, factor * found.standard_error)
    )
    return DiagonalEstimate(estimate, error, found.count, spent)
