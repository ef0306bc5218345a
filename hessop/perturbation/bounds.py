"""How far eigenvalues and invariant subspaces move when an operator does."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hessop import _exchange, _validation
from hessop._results import EigenResult
from hessop.perturbation.norms import nonnegative, norm_of


def weyl(
    w: Any, norm: Any, *, confidence_level: float = 0.95, rng: Any = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""
    Intervals for the eigenvalues of a perturbed operator, by Weyl's inequality.

    For symmetric `A` and `E`, :math:`|\lambda_k(A + E) - \lambda_k(A)| \le \|E\|_2`, where
    :math:`\lambda_k` is the k-th eigenvalue in the order of the whole spectrum.

    Parameters
    ----------
    w : array_like, shape (k,), or EigenResult
        Eigenvalues of `A`. Those of a result are known to within its ``error_bounds``, which are
        added.
    norm : float, array_like of shape (m,), Estimate, or operator or matrix of shape (n, n)
        The spectral norm of `E`, or an upper bound of it (such as the Frobenius norm); several, of
        perturbations that were sampled; an estimate, whose upper end is taken; or `E` itself,
        whose norm is estimated by ``hessop.norm(E, 2)``.
    confidence_level : float, optional
        Of the upper end of an estimate. Default 0.95.
    rng : None, int or numpy.random.Generator, optional
        For the estimate of the norm of `E`.

    Returns
    -------
    low : ndarray of float64, shape (k,) or (m, k)
        Lower ends; a row for each norm, where there are several.
    high : ndarray of float64, shape (k,) or (m, k)
        Upper ends.

    Raises
    ------
    ValueError, TypeError
        If `w` or `norm` is of the wrong kind, negative or NaN.

    See Also
    --------
    davis_kahan : How far eigenvectors move.

    Examples
    --------
    >>> from hessop import perturbation
    >>> low, high = perturbation.weyl([1.0, 5.0], 0.5)
    >>> low, high
    (array([0.5, 4.5]), array([1.5, 5.5]))
    """
    values, errors = known(w)
    radius = norm_of(norm, confidence_level, rng)[..., None] + errors
    return values - radius, values + radius


def davis_kahan(gap: Any, norm: Any, *, confidence_level: float = 0.95, rng: Any = None) -> Any:
    r"""
    A bound on the rotation of an invariant subspace of a perturbed operator.

    It bounds the sine of the largest principal angle between the span of chosen eigenvectors of
    `A`, and that of as many of `A + E`.

    Parameters
    ----------
    gap : float or array_like, shape (m,)
        The distance, in the spectrum of `A`, between the chosen eigenvalues and all others. One of
        the two sets lies in an interval that the other has no part in, as for the k largest.
        `hessop.perturbation.gap` finds it.
    norm : float, array_like of shape (m,), Estimate, or operator or matrix of shape (n, n)
        As in `weyl`.
    confidence_level : float, optional
        Of the upper end of an estimate. Default 0.95.
    rng : None, int or numpy.random.Generator, optional
        For the estimate of the norm of `E`.

    Returns
    -------
    float or ndarray, shape (m,)
        At most 1, which says nothing.

    Raises
    ------
    ValueError, TypeError
        If `gap` or `norm` is of the wrong kind, negative or NaN.

    See Also
    --------
    subspace_angles : The angles themselves, where both spaces are known.
    gap : How far leading eigenvalues are from the rest.
    eigenvector_bounds : What residuals say of computed eigenvectors.

    Notes
    -----
    While :math:`\|E\|_2` is less than half the gap, the chosen eigenvalues of
    :math:`A + t E` stay apart from the others for t from 0 to 1, and their space turns
    continuously. The :math:`\sin 2\Theta` theorem [1]_ bounds
    :math:`\sin 2\theta \le 2 \|E\|_2 / \mathrm{gap} < 1` on the way, so that no angle passes 45
    degrees, and :math:`\theta \le \tfrac12 \arcsin(2 \|E\|_2 / \mathrm{gap})`. There are
    perturbations that reach it. From half the gap on, two eigenvalues may cross, and the spaces
    may have a right angle.

    The better known :math:`\sin\theta \le \|E\|_2 / \mathrm{gap}` is for a gap between chosen
    eigenvalues of `A` and others of `A + E`. With the gap of `A` alone it is not true, and the
    usual remedy is a factor of 2 [2]_; here it is between 1 and :math:`\sqrt 2`.

    References
    ----------
    .. [1] C. Davis and W. M. Kahan, "The rotation of eigenvectors by a perturbation. III", SIAM J.
       Numer. Anal. 7(1), 1970.
    .. [2] Y. Yu, T. Wang and R. J. Samworth, "A useful variant of the Davis-Kahan theorem for
       statisticians", Biometrika 102(2), 2015.

    Examples
    --------
    >>> from hessop import perturbation
    >>> round(perturbation.davis_kahan(gap=1.0, norm=0.1), 4)
    0.1005
    >>> perturbation.davis_kahan(gap=1.0, norm=[0.5, 0.6])
    array([1., 1.])
    """
    gaps, norms = nonnegative("gap", gap), norm_of(norm, confidence_level, rng)
    if gaps.ndim and norms.ndim and gaps.shape != norms.shape:
        raise ValueError(
            _validation.message("gap", f"have shape {norms.shape}, as norm", f"shape {gaps.shape}")
        )
    gaps, norms = np.broadcast_arrays(gaps, norms)
    small = 2 * norms < gaps
    # infinity over infinity does not come up, nor does zero over zero
    ratio = np.divide(2 * norms, gaps, out=np.ones(gaps.shape), where=small)
    sines = np.where(small, np.sin(np.arcsin(ratio) / 2), 1.0)
    return sines if sines.ndim else float(sines)


def known(w: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eigenvalues, shape (k,), and how far each may be off."""
    if isinstance(w, EigenResult):
        return w.eigenvalues, w.error_bounds
    rule = "be finite real numbers, shape (k,), or an EigenResult"
    try:
        values = np.asarray(_exchange.on_host(w), dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(_validation.message("w", rule, repr(w))) from None
    if values.ndim != 1:
        raise ValueError(_validation.message("w", rule, f"shape {values.shape}"))
    if not np.isfinite(values).all():
        raise ValueError(_validation.message("w", rule, "NaN or Inf"))
    return values, np.zeros(len(values))
