"""How far a Ritz value may lie from an eigenvalue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hessop.krylov.goal import Found
from hessop.krylov.wanted import Which, borders


def error_bounds(found: Found, noise: float, which: Which) -> NDArray[np.float64]:
    r"""
    Bounds on ``|theta - lambda|`` for the chosen pairs, `noise` of a product included.

    The residual r always is one. Where no other eigenvalue lies within g of theta, so is
    ``r^2 / g`` (Kato-Temple; Parlett, The Symmetric Eigenvalue Problem, 11.7). It is taken where
    the set is known to be complete, and all other Ritz values are farther away than their own
    residuals and r together: g is what is left of the smallest such distance. A check does not
    look for more copies of what lies at the border of the set, nor for what it takes for equal:
    there the residual stays, unless the whole spectrum has been seen.

    Parameters
    ----------
    found : Found
        What a search found.
    noise : float
        Absolute noise of a product with a unit vector.
    which : Which
        What it looked for.
    """
    theta, r = found.ritz.theta, found.ritz.residuals
    values = theta[found.chosen]
    bounds: NDArray[np.float64] = r[found.chosen] + noise
    if not found.complete:
        return bounds
    exhausted = found.miss_probability == 0.0
    edges = [] if exhausted else [edge for edge in borders(values, which) if edge is not None]
    if not edges and not exhausted:
        return bounds
    for at, i in enumerate(found.chosen):
        reach = np.abs(theta - theta[i]) - r - noise
        reach[i] = np.inf
        gap = min([reach.min(), *(abs(theta[i] - edge) for edge in edges)])
        if gap > max(bounds[at], found.limit + 10 * noise):
            bounds[at] = min(bounds[at], (r[i] + noise) * ((r[i] + noise) / gap) + noise)
    return bounds
