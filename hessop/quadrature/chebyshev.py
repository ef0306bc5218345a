"""The kernel polynomial method: the gate in front of the moments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hessop import _validation
from hessop.krylov.entrance import start_vector
from hessop.operators import enter
from hessop.quadrature import doubling, jackson, probes
from hessop.quadrature.expansion import ChebyshevDensity
from hessop.quadrature.lock import Lock

# Lanczos steps for the bounds, at first.
_STEPS = 30


def kpm(
    A: Any,
    *,
    n_probes: int = 10,
    degree: int = 160,
    bounds: tuple[float, float] | None = None,
    distribution: str = "rademacher",
    lock: Any = None,
    rng: Any = None,
) -> ChebyshevDensity:
    r"""
    The spectral density of a symmetric operator, by the kernel polynomial method.

    A second method to compare `hessop.slq` with: it shares the probes, and little else. The
    moments :math:`z^T T_j(\tilde A) z` of random probes are the coefficients of the density's
    Chebyshev expansion, which Jackson's kernel keeps from turning negative [1]_ [2]_.

    Parameters
    ----------
    A : operator or matrix, shape (n, n)
        Anything that `hessop.aslinearoperator` takes, or a product; real symmetric.
    n_probes : int, optional
        How many probes, at least 1: the error falls with its root. Default 10.
    degree : int, optional
        How many moments beyond the first, at least 1. The resolution is pi times half the length
        of `bounds` over `degree`, everywhere: outliers are not resolved better. Default 160.
    bounds : tuple (a, b), optional
        An interval that holds all eigenvalues that are not locked. Default: 30 Lanczos steps from
        a random vector, the outermost Ritz values, beyond them their residuals, and one percent
        of that range at either end. Where the moments show that something lies outside all the
        same, they are computed again, after twice as many steps.
    distribution : {"rademacher", "gaussian", "sphere"}, optional
        Of the probes' entries, as in `hessop.slq`: probes are normalised. Default "rademacher".
    lock : tuple (w, v) or EigenResult, optional
        As in `hessop.slq`: exact points of the density, which probes do not see. Outliers that
        are locked do not stretch `bounds`.
    rng : None, int or numpy.random.Generator, optional
        For the probes. The same seed gives the probes that it gives `hessop.slq`.

    Returns
    -------
    ChebyshevDensity
        With ``pdf``, ``cdf``, ``expectation``, ``trace``.

    Raises
    ------
    ValueError
        If an argument is out of range, `A` turns out not to be symmetric, or the moments show
        that `bounds` does not hold the spectrum. (What lies so little outside that it changes the
        curve by less than two percent of its peak is not seen.)
    TypeError
        If something is complex or of the wrong kind.
    FloatingPointError
        If a product is NaN or Inf.

    See Also
    --------
    hessop.slq : The same by Lanczos, which needs no bounds and resolves outliers.

    Notes
    -----
    By :math:`T_{2j} = 2 T_j^2 - 1` and :math:`T_{2j+1} = 2 T_j T_{j+1} - T_1` a probe needs
    ``degree / 2`` products, rounded up, and three vectors. All probes advance together, one block
    product per step, as far as memory allows. Nothing is orthogonalised: a probe costs what a
    sweep of `hessop.slq` with ``ncv=degree / 2`` and ``reorth="none"`` costs.

    References
    ----------
    .. [1] A. Weisse, G. Wellein, A. Alvermann and H. Fehske, "The kernel polynomial method",
       Reviews of Modern Physics 78, 2006.
    .. [2] L. Lin, Y. Saad and C. Yang, "Approximating spectral densities of large matrices", SIAM
       Review 58(1), 2016.

    Examples
    --------
    >>> import numpy as np
    >>> import hessop
    >>> density = hessop.kpm(np.diag([1.0, 1.0, 1.0, 4.0]), n_probes=5, rng=0)
    >>> round(float(density.trace()), 10)
    7.0
    >>> density.cdf(2.5).round(3)
    np.float64(0.75)
    """
    product, _ = enter(A)
    space = product.space()
    n_probes = _validation.integer("n_probes", n_probes, 1)
    degree = _validation.integer("degree", degree, 1)
    given = None if bounds is None else _interval(bounds)
    _validation.choice("distribution", distribution, probes.DISTRIBUTIONS)
    held = Lock.of(space, lock)
    source = probes.Source.of(rng, n_probes)
    product.expect(n_probes * ((degree + 1) // 2))
    before, steps, ends = product.n_matvec, _STEPS, given
    while True:
        if given is None:
            start = start_vector(space, None, held.basis, source.generators(0, 1)[0])
            ends = doubling.interval(product, space, start, held.basis, steps, degree)
        assert ends is not None
        moments = doubling.moments(
            product,
            space,
            probes.blocks(space, source.generators(0, n_probes), distribution, rows_each=4),
            held.basis,
            ends,
            degree,
        )
        if moments is not None and jackson.is_measure(moments.mean(axis=0)):
            spent = product.n_matvec - before
            return ChebyshevDensity(moments, ends, product.n, held.values, spent)
        # Lanczos sees what is in the moments once it takes half as many steps.
        if given is not None or steps > degree:
            raise ValueError(
                _validation.message(
                    "bounds",
                    "hold all eigenvalues that are not locked",
                    f"({ends[0]:g}, {ends[1]:g}), from which the moments run away",
                    "Pass wider ones, or none." if given else "Pass some that do.",
                )
            )
        steps *= 2


def _interval(bounds: Any) -> tuple[float, float]:
    """The gate of `bounds`."""
    rule = "be None or (a, b) with a < b"
    if not (isinstance(bounds, Sequence | np.ndarray) and np.shape(bounds) == (2,)):
        raise TypeError(_validation.message("bounds", rule, repr(bounds)))
    low, high = (_validation.number("bounds", end, -np.inf) for end in bounds)
    if not low < high:
        raise ValueError(_validation.message("bounds", rule, (low, high)))
    return low, high
