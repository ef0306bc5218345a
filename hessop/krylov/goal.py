"""What a search is after, and what it has found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hessop.krylov.ritz import Ritz
from hessop.krylov.wanted import Which


@dataclass(frozen=True)
class Goal:
    """
    What is looked for, and how long.

    Attributes
    ----------
    k, which : int, Which
        How many eigenvalues, and of which kind.
    tol : float
        Relative to the largest Ritz value in magnitude.
    ncv : int
        Most rows that may be multiplied before a restart; more than k, or n. For an audit at
        least `audit.room`.
    maxiter : int
        Most products.
    audit : bool
        Whether to check that the set is complete.
    block : int
        How many vectors are multiplied together, where as many wait.
    """

    k: int
    which: Which
    tol: float
    ncv: int
    maxiter: int
    audit: bool
    block: int = 1


@dataclass(frozen=True)
class Found:
    """
    The Ritz pairs a look finds: `chosen` of `ritz`, with `limit` on their residuals.

    Attributes
    ----------
    complete : bool
        Whether a check found that none is missing.
    miss_probability : float
        A bound on the probability that one is all the same; 1 where nothing is known.
    stopped : bool
        Whether the user ended the search.
    """

    ritz: Ritz
    chosen: NDArray[np.intp]
    limit: float
    n_matvec: int
    n_restart: int
    complete: bool = False
    miss_probability: float = 1.0
    stopped: bool = False
