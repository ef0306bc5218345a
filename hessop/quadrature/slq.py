"""Stochastic Lanczos quadrature: the gate in front of the sweeps."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from hessop import _validation
from hessop._results import ConvergenceWarning
from hessop._space import LocalSpace
from hessop.krylov import reorthogonalization
from hessop.operators import enter
from hessop.quadrature import gauss, probes, sweeps
from hessop.quadrature.density import SpectralDensity
from hessop.quadrature.lock import Lock

# How many probes come before a first look at the band, and where it is looked at.
_FIRST = 5
_LOOKS = 200


def slq(
    A: Any,
    *,
    n_probes: int = 10,
    ncv: int = 80,
    distribution: str = "rademacher",
    lock: Any = None,
    reorth: str = "double",
    rtol: float | None = None,
    rng: Any = None,
) -> SpectralDensity:
    r"""
    The spectral density of a symmetric operator, by stochastic Lanczos quadrature.

    For a random probe z of norm 1, `ncv` Lanczos steps give a Gauss rule for the measure
    :math:`\sum_i (u_i \cdot z)^2 \delta(\lambda - \lambda_i)`; its mean over probes is the
    density of eigenvalues :math:`\frac{1}{n} \sum_i \delta(\lambda - \lambda_i)`.

    Parameters
    ----------
    A : operator or matrix, shape (n, n)
        Anything that `hessop.aslinearoperator` takes, or a product; real symmetric.
    n_probes : int, optional
        How many probes, at least 1: the error falls with its root. With `rtol`, the most.
        Default 10.
    ncv : int, optional
        Lanczos steps for each, at least 1; more than n is taken for n. The resolution in the
        bulk is about the range of the spectrum over `ncv`; outliers are resolved far better.
        Default 80.
    distribution : {"rademacher", "gaussian", "sphere"}, optional
        Of the probes' entries. Probes are normalised, so that "gaussian" is "sphere". Default
        "rademacher".
    lock : tuple (w, v) or EigenResult, optional
        Eigenvalues of shape (l,) and eigenvectors of shape (n, l), as of `hessop.lanczos`. They
        become exact points of the density, and the probes see the rest of the spectrum alone: no
        step and no variance is spent on outliers.
    reorth : {"none", "full", "double", "selective"}, optional
        As in `hessop.tridiagonalize`; "double" by default. Under "none" no basis is kept: two
        vectors per probe, and converged eigenvalues come back as ghosts that share their
        weight, which the density does not see.
    rtol : float, optional
        Positive. Probes are added, twice as many each time, until half the 95 percent band of the
        smoothed ``cdf`` is nowhere more than this. Default: all `n_probes`.
    rng : None, int or numpy.random.Generator, optional
        For the probes. The same seed gives the same probes on every device.

    Returns
    -------
    SpectralDensity
        With ``pdf``, ``cdf``, ``quantile``, ``expectation``, ``trace``, ``count``, ``interval``,
        ``extend``.

    Raises
    ------
    ValueError, TypeError, FloatingPointError
        As `hessop.lanczos`.

    Warns
    -----
    ConvergenceWarning
        If `n_probes` did not reach `rtol`.

    See Also
    --------
    hessop.trace : The trace alone, for one product per probe.
    hessop.lanczos : Single eigenvalues, to any accuracy.

    Notes
    -----
    All probes advance together, one block product per step, as far as memory allows: ``n_probes *
    ncv`` products of one vector, fewer where a probe's Krylov space is exhausted.

    References
    ----------
    .. [1] S. Ubaru, J. Chen and Y. Saad, "Fast estimation of tr(f(A)) via stochastic Lanczos
       quadrature", SIAM J. Matrix Anal. Appl. 38(4), 2017.
    .. [2] B. Ghorbani, S. Krishnan and Y. Xiao, "An investigation into neural net optimization
       via Hessian eigenvalue density", ICML 2019.

    Examples
    --------
    >>> import numpy as np
    >>> import hessop
    >>> density = hessop.slq(np.diag([1.0, 1.0, 1.0, 4.0]), n_probes=5, ncv=2, rng=0)
    >>> round(float(density.trace()), 10)
    7.0
    """
    product, _ = enter(A)
    space = LocalSpace(product.n, product.dtype, product.device)
    n_probes = _validation.integer("n_probes", n_probes, 1)
    ncv = _validation.integer("ncv", ncv, 1)
    _validation.choice("distribution", distribution, probes.DISTRIBUTIONS)
    _validation.choice("reorth", reorth, reorthogonalization.METHODS)
    if rtol is not None:
        rtol = _validation.number("rtol", rtol, 0.0, strict=True)
    held = Lock.of(space, lock)
    steps = min(ncv, product.n - len(held.basis))
    product.expect(n_probes * steps)
    source = probes.Source.of(rng, n_probes)
    found = None
    for rules, spent in sweeps.rules(
        product,
        space,
        source.generators(0, n_probes),
        sweeps.Method(distribution, reorth),
        steps=steps,
        lock=held.basis,
        first=0 if rtol is None else _FIRST,
    ):
        if found is None:
            nodes, weights = gauss.padded(rules)
            found = SpectralDensity(
                nodes,
                weights,
                product.n,
                ncv,
                spent,
                points=held.values,
                source=source,
                method=sweeps.Method(distribution, reorth),
            )
        else:
            found = found.with_rules(rules, spent)
        if rtol is not None and _band(found) <= rtol:
            return found
    assert found is not None
    if rtol is not None:
        warnings.warn(
            f"`rtol` of {rtol:g} was not reached with {len(found.nodes)} probes; the band is "
            f"{_band(found):.1e} wide to either side. Raise `n_probes` or `rtol`.",
            ConvergenceWarning,
            stacklevel=2,
        )
    return found


def _band(density: SpectralDensity) -> float:
    """Half the widest 95 percent band of the smoothed share of eigenvalues."""
    x = np.linspace(density.nodes.min(), density.nodes.max(), _LOOKS)
    low, high = density.interval(x, of="smooth")
    return float(np.max(high - low)) / 2
