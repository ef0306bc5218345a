"""Stochastic Lanczos quadrature: the gate in front of the sweeps."""

from __future__ import annotations

import warnings
from contextlib import closing
from typing import Any

import numpy as np

from hessop import _progress, _validation
from hessop._results import ConvergenceWarning
from hessop.krylov import reorthogonalization
from hessop.operators import enter
from hessop.quadrature import probes
from hessop.quadrature.checkpoint import Checkpoint
from hessop.quadrature.density import SpectralDensity
from hessop.quadrature.growth import Growth
from hessop.quadrature.lock import Lock
from hessop.quadrature.settling import Settled
from hessop.quadrature.sweeps import Method

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
    block_size: int | None = None,
    keep: bool = False,
    checkpoint: Any = None,
    progress: bool = False,
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
        Lanczos steps for each, at least 1; no more than n are taken. With `rtol`, the most. The
        resolution in the bulk is about the range of the spectrum over `ncv`; outliers are resolved
        far better. Default 80.
    distribution : {"rademacher", "gaussian", "sphere"}, optional
        Of the probes' entries. Probes are normalised, so that "gaussian" is "sphere". Default
        "rademacher".
    lock : tuple (w, v) or EigenResult, optional
        Eigenvalues of shape (l,) and eigenvectors of shape (n, l), as of `hessop.lanczos`. They
        become exact points of the density, and the probes see the rest of the spectrum alone: no
        step and no variance is spent on outliers.
    reorth : {"none", "full", "double", "selective"}, optional
        As in `hessop.tridiagonalize`; "double" by default. Under "none" no basis is kept: three
        vectors per probe. Converged eigenvalues come back as ghosts that share their weight; what
        agrees to rounding is merged into one node.
    rtol : float, optional
        Positive. Probes are added, twice as many each time, until half the 95 percent band of the
        smoothed ``cdf`` is nowhere more than this; and a block of probes takes no more steps once
        these have ceased to move that curve by a tenth of it. Default: all `n_probes`, all `ncv`.
    block_size : int, optional
        How many probes advance together, at most. Default: as many as half the free memory holds;
        one with `checkpoint`. The probes are the same whatever it is, and products agree to
        rounding.
    keep : bool, optional
        Whether the density holds on to the Lanczos vectors, so that its ``extend`` can take further
        steps without beginning anew. Default False.
    checkpoint : path_like, optional
        A file to which the probes that are done are written after each block of `block_size`. The
        same call goes on from there after a kill, with one product to see that the operator is the
        same. Removed at the end. Not with `keep`.
    progress : bool, optional
        Whether to show a bar that counts products. Default False.
    rng : None, int or numpy.random.Generator, optional
        For the probes. The same seed gives the same probes, whatever their grouping and on every
        device; different seeds share none. Of a generator they are the next children: a further
        run with it has those that ``extend`` would draw.

    Returns
    -------
    SpectralDensity
        With ``pdf``, ``cdf``, ``quantile``, ``expectation``, ``trace``, ``count``, ``interval``,
        ``extend``.

    Raises
    ------
    ValueError, TypeError, FloatingPointError
        As `hessop.lanczos`; ValueError if a checkpoint is of another call.

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

    Probes are normalised, so that weights sum to 1. Without `lock` signs have all the same length,
    and nothing is biased. What is left of them on the complement of l vectors has not, which
    biases means by some ``1 / (n - l)`` of their size; "gaussian" has no such bias.

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
    space = product.space()
    n_probes = _validation.integer("n_probes", n_probes, 1)
    ncv = _validation.integer("ncv", ncv, 1)
    _validation.choice("distribution", distribution, probes.DISTRIBUTIONS)
    _validation.choice("reorth", reorth, reorthogonalization.METHODS)
    if rtol is not None:
        rtol = _validation.number("rtol", rtol, 0.0, strict=True)
    if block_size is not None:
        block_size = _validation.integer("block_size", block_size, 1)
    held = Lock.of(space, lock)
    method = Method(distribution, reorth, space.eps)
    source = probes.Source.of(rng, n_probes)
    found = SpectralDensity.empty(product.n, ncv, held.values, source, method)
    file = None
    if checkpoint is not None:
        if keep:
            raise ValueError(
                _validation.message(
                    "keep", "be False with a checkpoint, which has no vectors", keep
                )
            )
        file, block_size = Checkpoint(checkpoint, n_probes=n_probes, rtol=rtol), block_size or 1
    if file is not None:
        found = file.restored(found, seeded=rng is not None)
        assert found.source is not None
        source = found.source
    growth = Growth(product, space, held, source, method, ncv)
    if file is not None and len(found.nodes):
        file.check(found, growth)
    # what a file holds may be all that was asked for
    parts, width = [], _band(found)
    last = len(found.nodes) if rtol is not None and width <= rtol else n_probes
    with closing(_progress.counter("products", progress)) as bar:
        for part in growth.probes(
            len(found.nodes),
            last,
            keep=keep,
            look=0 if rtol is None else _FIRST,
            most=block_size,
            enough=lambda: None if rtol is None else Settled(rtol, ncv),
            tick=bar.update,
        ):
            parts.append(part)
            if rtol is None and file is None:
                continue  # nobody looks before the end
            found, parts = found.joined(*parts), []
            if file is not None:
                file.save(found)
            width = _band(found)
            if rtol is not None and width <= rtol:
                break
    found = found.joined(*parts) if parts else found
    if rtol is not None and width > rtol:
        warnings.warn(
            f"`rtol` of {rtol:g} was not reached with {len(found.nodes)} probes; the band is "
            f"{width:.1e} wide to either side. Raise `n_probes` or `rtol`.",
            ConvergenceWarning,
            stacklevel=2,
        )
    if file is not None:
        file.remove()
    return found


def _band(density: SpectralDensity) -> float:
    """Half the widest 95 percent band of the smoothed share of eigenvalues."""
    if len(density.nodes) < 2:
        return np.inf
    x = np.linspace(density.nodes.min(), density.nodes.max(), _LOOKS)
    low, high = density.interval(x, of="smooth")
    return float(np.max(high - low)) / 2
