"""How far eigenvalues are apart, and what that says of eigenvectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hessop import _validation
from hessop._results import EigenResult
from hessop.perturbation.bounds import known

# By what the k leading eigenvalues lead, highest first.
LEADING: dict[str, Callable[[Any], Any]] = {
    "LM": np.abs,
    "LA": np.positive,
    "SA": np.negative,
    "SM": lambda w: -np.abs(w),
}


def gap(w: Any, k: int, which: str = "LM") -> float:
    """
    The distance between the k leading eigenvalues and all others.

    Parameters
    ----------
    w : array_like, shape (m,), or EigenResult
        Eigenvalues in any order: all of them, or the leading ones, at least ``k + 1``. Those of a
        result are known to within its ``error_bounds``, which are subtracted.
    k : int
        How many lead, ``0 < k < m``.
    which : {"LM", "LA", "SA", "SM"}, optional
        By what, as in `hessop.lanczos`. Default "LM".

    Returns
    -------
    float
        For "LM" and "SM" it is the distance of magnitudes, for the other sign may be among those
        that are not given.

    Raises
    ------
    ValueError, TypeError
        If an argument is of the wrong kind or out of range.

    See Also
    --------
    davis_kahan : What a gap is good for.

    Examples
    --------
    >>> from hessop import perturbation
    >>> perturbation.gap([9.0, -7.0, 4.0, 0.5], 2)
    3.0
    """
    values, errors = known(w)
    _validation.choice("which", which, tuple(LEADING))
    if len(values) < 2:
        raise ValueError(_validation.message("w", "have k + 1 values or more", len(values)))
    k = _validation.integer("k", k, 1, len(values) - 1)
    scores = LEADING[which](values)
    order = np.argsort(-scores, kind="stable")
    last = np.min((scores - errors)[order[:k]])
    return max(float(last - np.max((scores + errors)[order[k:]])), 0.0)


def eigenvector_bounds(result: EigenResult, rest: Any, *, together: bool = False) -> Any:
    r"""
    Bounds on the angle between computed eigenvectors and true ones, from their residuals.

    Parameters
    ----------
    result : EigenResult
        A complete set of k pairs.
    rest : tuple of float
        Between which, ``(low, high)``, all eigenvalues lie that are not those of the result, such
        as ``(-np.inf, w)`` with the next one for the leading ones of ``which="LA"``, or ``(-w,
        w)`` for "LM". Either may be infinite; ``(np.inf, np.inf)`` where there are no others.
    together : bool, optional
        Whether the span of all k vectors is asked about, which may be known where vectors of a
        cluster are not. Default: each vector by itself.

    Returns
    -------
    float or ndarray of float64, shape (k,)
        The sine of the angle between each vector and the eigenvector, or with `together` that of
        the largest principal angle between the two spaces, is at most this. 1, which says
        nothing, where an eigenvalue has others as near as its residual.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, or `rest` is no interval.

    See Also
    --------
    davis_kahan : How far the space moves if the operator does.

    Notes
    -----
    A unit vector whose residual is r with the value :math:`\theta` has a part of at most
    :math:`r / \delta` in the space of eigenvectors whose eigenvalues are :math:`\delta` or more
    away from :math:`\theta` [1]_; the same holds of k vectors, with the norm of their residuals,
    if they are all on one side of the rest or around it. Noise of the products is part of r. Where
    the intervals of ``error_bounds`` do not overlap, each has its eigenvalue in it; otherwise each
    eigenvalue is within the norm of all residuals of its own value.

    References
    ----------
    .. [1] C. Davis and W. M. Kahan, "The rotation of eigenvectors by a perturbation. III", SIAM J.
       Numer. Anal. 7(1), 1970.

    Examples
    --------
    >>> import numpy as np
    >>> import hessop
    >>> from hessop import perturbation
    >>> result = hessop.lanczos(np.diag(np.arange(100.0)), k=2, which="LA", tol=1e-3, rng=0)
    >>> bool((perturbation.eigenvector_bounds(result, (-np.inf, 97.0)) < 0.2).all())
    True
    """
    if not isinstance(result, EigenResult):
        raise TypeError(_validation.message("result", "be an EigenResult", type(result).__name__))
    low, high = _interval(rest)
    theta, errors = result.eigenvalues, result.error_bounds
    residuals = result.residuals + result.noise * result.scale
    beyond = np.maximum(np.maximum(low - theta, theta - high), 0.0)
    norm = np.linalg.norm(residuals)
    if together:
        return float(_sine(norm, np.min(beyond)))
    apart = np.abs(theta[:, None] - theta)
    np.fill_diagonal(apart, np.inf)
    separate = (apart > errors[:, None] + errors).all() and (beyond > errors).all()
    others = apart - (errors if separate else norm)
    return _sine(residuals, np.minimum(others.min(axis=1), beyond))


def _sine(residual: Any, distance: Any) -> Any:
    """Their quotient where it is less than 1."""
    residual, distance = np.broadcast_arrays(residual, distance)
    return np.divide(residual, distance, out=np.ones(distance.shape), where=residual < distance)


def _interval(rest: Any) -> tuple[float, float]:
    """The gate of `rest`."""
    rule = "be a pair (low, high) of numbers with low <= high"
    try:
        low, high = (float(end) for end in rest)
    except (TypeError, ValueError):
        raise TypeError(_validation.message("rest", rule, repr(rest))) from None
    if not low <= high:
        raise ValueError(_validation.message("rest", rule, (low, high)))
    return low, high
