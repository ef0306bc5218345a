"""Leading eigenpairs along a trajectory of operators, as of a network that is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hessop import _validation
from hessop._results import EigenResult
from hessop.krylov.lanczos import lanczos
from hessop.krylov.watching import LanczosState


@dataclass(frozen=True)
class Trajectory:
    """
    Eigenvalues along a trajectory of t operators.

    Attributes
    ----------
    eigenvalues : ndarray of float64, shape (t, k)
        Ascending for each operator.
    residuals : ndarray of float64, shape (t, k)
        ``||A v - w v||``.
    converged : ndarray of bool, shape (t, k)
        Which of them have converged.
    n_matvec : ndarray of int, shape (t,)
        Products spent on each operator.
    last : EigenResult
        That of the last operator, with eigenvectors: where a longer trajectory goes on.
    """

    eigenvalues: NDArray[np.float64]
    residuals: NDArray[np.float64]
    converged: NDArray[np.bool_]
    n_matvec: NDArray[np.int_]
    last: EigenResult


def track(operators: Iterable[Any], k: int = 6, *, v0: Any = None, **options: Any) -> Trajectory:
    """
    Leading eigenvalues along a trajectory, each search begun where the last one ended.

    Parameters
    ----------
    operators : iterable of operators
        One after the other; of a generator that trains a network between two of them, each is
        searched before the next is asked for, and may be the same object: a
        `hessop.HessianOperator` follows its model.
    k : int, optional
        How many eigenvalues. Default 6.
    v0 : array_like or EigenResult, optional
        Where the first search begins.
    **options : object
        What `hessop.lanczos` takes.

    Returns
    -------
    Trajectory
        Eigenvalues, residuals and products, operator by operator. Where a callback ends a
        search, the trajectory ends with it, NaN in the place of what it had not come to.

    Raises
    ------
    ValueError, TypeError, FloatingPointError
        As `hessop.lanczos`; also if there is no operator, or with ``checkpoint``.

    See Also
    --------
    hessop.lanczos : One operator.

    Notes
    -----
    A search begins with the sum of the last eigenvectors. Between two near operators that takes
    about as many products fewer as it takes to find the wanted part of a random vector; most of
    what is left is the check for completeness (``verify=False`` omits it).

    Examples
    --------
    >>> import numpy as np
    >>> import hessop
    >>> A = np.diag(np.arange(50.0))
    >>> path = hessop.track((A + t * np.eye(50) for t in range(3)), k=2, rng=0)
    >>> np.round(path.eigenvalues, 6)
    array([[48., 49.],
           [49., 50.],
           [50., 51.]])
    """
    if options.get("checkpoint") is not None:
        raise ValueError(
            _validation.message(
                "checkpoint",
                "be None, for a trajectory has many searches",
                repr(options["checkpoint"]),
                "Call hessop.lanczos for each operator, with v0 the last result.",
            )
        )
    found: list[EigenResult] = []
    start, stopped = v0, False
    callback: Callable[[LanczosState], Any] | None = options.get("callback")
    if callback is not None:
        asked = callback

        def watch(state: LanczosState) -> bool:
            nonlocal stopped
            stopped = bool(asked(state))
            return stopped

        options = {**options, "callback": watch}
    for operator in operators:
        start = lanczos(operator, k, v0=start, **options)
        # of all but the last the numbers are enough
        found = [*(replace(r, eigenvectors=None) for r in found), start]
        if stopped:
            break
    if not found:
        raise ValueError(_validation.message("operators", "hold at least one operator", "none"))
    return Trajectory(
        np.stack([_filled(r.eigenvalues, k, np.nan) for r in found]),
        np.stack([_filled(r.residuals, k, np.nan) for r in found]),
        np.stack([_filled(r.converged, k, False) for r in found]),
        np.array([r.n_matvec for r in found]),
        found[-1],
    )


def _filled(values: NDArray[Any], k: int, nothing: Any) -> NDArray[Any]:
    """Values up to k, for a search may have been ended before there were as many."""
    return np.append(values, np.full(k - len(values), nothing))
