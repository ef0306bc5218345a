"""Norms of a symmetric operator, from its products."""

from __future__ import annotations

from typing import Any

import numpy as np

from hessop import _validation
from hessop._estimates import Estimate
from hessop._norms import NormEstimate, SpectralNormEstimate
from hessop._product import Product
from hessop._results import Tridiagonal
from hessop._space import LocalSpace, children
from hessop.krylov.basis import Basis
from hessop.krylov.entrance import start_vector
from hessop.krylov.sweep import Sweep
from hessop.operators import enter
from hessop.quadrature import probes


def norm(A: Any, ord: str | int = "fro", *, n_matvec: int = 50, rng: Any = None) -> Estimate:
    r"""
    The Frobenius or the spectral norm of a symmetric operator.

    Parameters
    ----------
    A : operator or matrix, shape (n, n)
        Anything that `hessop.aslinearoperator` takes, or a product; real symmetric.
    ord : {"fro", 2}, optional
        As `numpy.linalg.norm` has it. "fro" (default): the root of the mean of
        :math:`\|A z\|^2` over probes z of random signs, one product each. 2: the largest
        eigenvalue in magnitude, by one Lanczos sweep from a random direction.
    n_matvec : int, optional
        Products to spend, at least 1. A sweep ends after n, or where its Krylov space does.
        Default 50.
    rng : None, int or numpy.random.Generator, optional
        For the probes, or the direction. The same seed gives the same on every device.

    Returns
    -------
    NormEstimate or SpectralNormEstimate
        ``float(e)``, ``e.estimate``, ``e.confidence_interval()``. The Frobenius norm has a
        ``standard_error`` too; the estimate of the spectral norm is a lower bound.

    Raises
    ------
    ValueError, TypeError, FloatingPointError
        As `hessop.lanczos`.

    See Also
    --------
    hessop.slq : ``slq(A).schatten_norm(p)`` is any other Schatten norm.
    hessop.lanczos : The spectral norm to a tolerance, ``k=1``.

    Examples
    --------
    >>> import numpy as np
    >>> import hessop
    >>> A = np.diag([3.0, 0.0, -4.0])
    >>> e = hessop.norm(A, rng=0)
    >>> e.estimate, e.standard_error
    (5.0, 0.0)
    >>> round(hessop.norm(A, 2, rng=0).estimate, 12)
    4.0
    """
    product, _ = enter(A)
    space = product.space()
    spectral = not isinstance(ord, str) and np.ndim(ord) == 0 and ord == 2
    if not spectral and not (isinstance(ord, str) and ord == "fro"):
        raise ValueError(
            _validation.message(
                "ord",
                "be 'fro' or 2",
                repr(ord),
                "Other Schatten norms are those of slq(A).schatten_norm(p).",
            )
        )
    n_matvec = _validation.integer("n_matvec", n_matvec, 1)
    generator = _validation.rng(rng)
    if spectral:
        return _spectral(product, space, min(n_matvec, space.n), generator)
    return _frobenius(product, space, n_matvec, generator)


def _frobenius(
    product: Product, space: LocalSpace, count: int, rng: np.random.Generator
) -> NormEstimate:
    """From squared norms of products with random signs."""
    product.expect(count)
    samples: list[float] = []
    for Z in probes.blocks(space, children(rng, count), "rademacher", rows_each=2):
        samples += [float(space.norm(w)) ** 2 for w in product.matmat(Z)]
    if not np.isfinite(samples).all():
        raise _validation.finite_product("A")
    return NormEstimate(np.array(samples), count, 2.0)


def _spectral(
    product: Product, space: LocalSpace, most: int, rng: np.random.Generator
) -> SpectralNormEstimate:
    """From one sweep, which ends where the Krylov space of its start does."""
    product.expect(most)
    start = start_vector(space, None, Basis(space), rng)
    sweep = Sweep(space, start, reorth="double", floor=product.floor())
    count = 0
    while sweep.waiting and count < most:
        sweep.absorb(product.matmat(sweep.vector()[None])[0])
        count += 1
    alpha, beta = sweep.tridiagonal()
    # What was taken for nothing may be as large as rounding.
    beta[-1] = max(beta[-1], sweep.rounding.nothing)
    theta, _ = Tridiagonal(alpha, beta, None).eigh()
    noise = sweep.rounding.noise * sweep.rounding.scale
    largest = np.array([np.abs(theta).max()])
    return SpectralNormEstimate(largest, count, theta, beta, space.n, noise)
