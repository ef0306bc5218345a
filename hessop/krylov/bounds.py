"""How far a Ritz value may lie from an eigenvalue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hessop.krylov.goal import Found


def error_bounds(found: Found, noise: float) -> NDArray[np.float64]:
    r"""
    Bounds on ``|theta - lambda|`` for the chosen pairs, `noise` of a product included.

    The residual r always is one. Where no other eigenvalue lies within g of theta, so is
    ``r^2 / g`` (Kato-Temple; Parlett, The Symmetric Eigenvalue Problem, 11.7). It is taken where
    the set is known to be complete, and all other Ritz values are farther away than their own
    residuals and r together: g is what is left of the smallest such distance.

    Parameters
    ----------
    found : Found
        What a search found.
    noise : float
        Absolute noise of a product with a unit vector.
    """
    theta, r = found.ritz.theta, found.ritz.residuals
    bounds: NDArray[np.float64] = r[found.chosen] + noise
    if not found.complete:
        return bounds
    for at, i in enumerate(found.chosen):
        reach = np.abs(theta - theta[i]) - r - noise
        reach[i] = np.inf
        gap = reach.min()
        if gap > bounds[at]:
            bounds[at] = min(bounds[at], (r[i] + noise) * ((r[i] + noise) / gap) + noise)
    return bounds
