"""What a batch shows of the spectrum of all data."""

from __future__ import annotations

from typing import Any

import numpy as np

from hessop import _validation
from hessop._norms import NormEstimate, SpectralNormEstimate
from hessop._results import EigenResult
from hessop._space import children
from hessop.krylov.lanczos import lanczos
from hessop.krylov.wanted import wanted
from hessop.operators import face_of
from hessop.perturbation.angles import subspace_angles
from hessop.perturbation.comparison import Comparison
from hessop.perturbation.coordinates import leading
from hessop.perturbation.gaps import LEADING, gap
from hessop.perturbation.searches import refuse
from hessop.quadrature.norm import norm


def compare(
    A: Any,
    B: Any,
    k: int = 6,
    *,
    which: str = "LM",
    n_matvec: int = 50,
    full: EigenResult | None = None,
    tol: float = 1e-4,
    rng: Any = None,
    **options: Any,
) -> Comparison:
    r"""
    The curvature of a batch against that of all data: eigenvalues, subspaces and the difference.

    Parameters
    ----------
    A : operator or matrix, shape (n, n)
        Of all data. Anything that `hessop.aslinearoperator` takes.
    B : operator or matrix, shape (n, n)
        Of a batch, or any other operator on the same space and device.
    k : int, optional
        How many leading pairs to compare. Default 6.
    which : {"LM", "LA", "SA", "SM"}, optional
        By what they lead. Default "LM".
    n_matvec : int, optional
        Products with the difference for each of its two norms. Default 50.
    full : EigenResult, optional
        Leading pairs of `A` that are known already, k of them or better ``k + 1``, found with the
        same `which`: the ``full`` of an earlier comparison. Then `A` is needed for its difference
        from `B` only.
    tol : float, optional
        As in `hessop.lanczos`. Default 1e-4.
    rng : None, int or numpy.random.Generator, optional
        For the searches and the norms.
    **options : object
        What else `hessop.lanczos` takes, for both searches; ``v0`` is for that of `A`.

    Returns
    -------
    Comparison
        What was found.

    Raises
    ------
    ValueError, TypeError, FloatingPointError
        As `hessop.lanczos`; also with ``checkpoint`` or ``callback``.

    See Also
    --------
    bootstrap : Many resamples of the same size.
    hessop.plot.spectrum : Draws several spectra, with their distances.

    Notes
    -----
    Of sorted eigenvalues none is farther from its partner than the spectral norm of the difference
    (Weyl), and their distance ``l2`` is at most its Frobenius norm (Hoffman and Wielandt), if the
    pairs are those that have the same place in the whole spectrum, as with "LA" and "SA". Spectra
    of batches of several sizes are compared in this way in [1]_. The search for those of `B` begins
    with those of `A`.

    References
    ----------
    .. [1] N. Ilieva, "Spectral Properties of Neural Network Architectures and Optimization",
       EPFL, 2025, Section 4.2.

    Examples
    --------
    >>> import numpy as np
    >>> from hessop import perturbation
    >>> A = np.diag([9.0, 5.0, 1.0, 0.0])
    >>> c = perturbation.compare(A, A + 0.1, k=2, rng=0)
    >>> round(c.norm.estimate, 9)
    0.4
    >>> bool(np.sin(c.angles[0]) <= c.sine_bound())
    True
    """
    A, B = face_of(A), face_of(B)
    n = A.shape[0]
    if B.shape != A.shape:
        raise ValueError(_validation.message("B", f"have shape {A.shape}, as A", B.shape))
    k = _validation.eigenvalue_count(k, n)
    _validation.choice("which", which, tuple(LEADING))
    n_matvec = _validation.integer("n_matvec", n_matvec, 1)
    refuse(options)
    v0 = options.pop("v0", None)
    options |= {"which": which, "tol": tol}
    first, second, *others = children(_validation.rng(rng), 4)
    spent = 0
    if full is None:
        # one more, to know how far the others are
        full = lanczos(A, min(k + 1, n), v0=v0, rng=first, **options)
        spent = full.n_matvec
    else:
        _check_full(full, k, n)
    batch = lanczos(B, k, v0=full, rng=second, **options)
    difference = B - A
    spectral = norm(difference, 2, n_matvec=n_matvec, rng=others[0])
    frobenius = norm(difference, "fro", n_matvec=n_matvec, rng=others[1])
    assert isinstance(spectral, SpectralNormEstimate)
    assert isinstance(frobenius, NormEstimate)
    count = len(full.eigenvalues)
    chosen = np.sort(np.argsort(-LEADING[which](full.eigenvalues), kind="stable")[:k])
    return Comparison(
        full,
        batch,
        np.stack([full.eigenvalues[chosen], batch.eigenvalues]),
        subspace_angles(leading(full, k, wanted(which)), batch),
        gap(full, k, which) if count > k else (np.inf if k == n else 0.0),
        spectral,
        frobenius,
        spent + batch.n_matvec + 2 * (spectral.n_matvec + frobenius.n_matvec),
    )


def _check_full(full: Any, k: int, n: int) -> None:
    """The gate of `full`."""
    rule = f"be an EigenResult of k={k} pairs or more, of {n} entries each"
    if not isinstance(full, EigenResult):
        raise TypeError(_validation.message("full", rule, type(full).__name__))
    shape = tuple(full.eigenvectors.shape)
    if shape[0] != n or shape[1] < k:
        raise ValueError(_validation.message("full", rule, f"eigenvectors of shape {shape}"))
