"""Stochastic Lanczos quadrature."""

from __future__ import annotations

from typing import Any

import torch

from hessop import _validation
from hessop._product import Product
from hessop._space import LocalSpace
from hessop.krylov import reorthogonalization
from hessop.krylov.sweep import Sweep
from hessop.operators import enter
from hessop.quadrature import gauss, probes
from hessop.quadrature.density import SpectralDensity


def slq(
    A: Any,
    *,
    n_probes: int = 10,
    ncv: int = 80,
    distribution: str = "rademacher",
    reorth: str = "double",
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
        How many probes, at least 1: the error falls with its root. Default 10.
    ncv : int, optional
        Lanczos steps for each, at least 1; more than n is taken for n. The resolution in the
        bulk is about the range of the spectrum over `ncv`; outliers are resolved far better.
        Default 80.
    distribution : {"rademacher", "gaussian"}, optional
        Of the probes' entries. Probes are normalised, so that "gaussian" is uniform on the
        sphere. Default "rademacher".
    reorth : {"none", "full", "double", "selective"}, optional
        As in `hessop.tridiagonalize`; "double" by default. Under "none" no basis is kept: two
        vectors per probe, and converged eigenvalues come back as ghosts that share their
        weight, which the density does not see.
    rng : None, int or numpy.random.Generator, optional
        For the probes. The same seed gives the same probes on every device.

    Returns
    -------
    SpectralDensity
        With ``pdf``, ``cdf``, ``expectation`` and ``trace``.

    Raises
    ------
    ValueError, TypeError, FloatingPointError
        As `hessop.lanczos`.

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
    steps = min(ncv, product.n)
    product.expect(n_probes * steps)
    rows_each = 4 if reorth == "none" else steps + 4
    sweeps: list[Sweep] = []
    for block in probes.blocks(space, n_probes, distribution, rng, rows_each):
        sweeps += _advance(product, space, block, steps, reorth)
    nodes, weights = gauss.padded([gauss.rule(*sweep.tridiagonal()) for sweep in sweeps])
    n_matvec = sum(len(sweep.multiplied) for sweep in sweeps)
    return SpectralDensity(nodes, weights, n=product.n, ncv=ncv, n_matvec=n_matvec)


def _advance(
    product: Product, space: LocalSpace, starts: torch.Tensor, steps: int, reorth: str
) -> list[Sweep]:
    """Sweeps from all starts, one block product per step; exhausted ones drop out."""
    sweeps = [
        Sweep(space, start / float(space.norm(start)), reorth=reorth, keep=reorth != "none")
        for start in starts
    ]
    for _ in range(steps):
        active = [sweep for sweep in sweeps if sweep.waiting]
        if not active:
            break
        results = product.matmat(torch.stack([sweep.vector() for sweep in active]))
        for sweep, w in zip(active, results, strict=True):
            sweep.absorb(w)
    for sweep in sweeps:
        sweep.release()
    return sweeps
