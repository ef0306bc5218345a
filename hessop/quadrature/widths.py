"""How wide the kernel around each node is to be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Of the distance between nodes, the narrowest kernel; of an eigenvalue, the weight of a neighbour.
_NARROW, _LIGHT = 0.1, 1e-3


def adaptive(
    nodes: NDArray[np.float64],
    weights: NDArray[np.float64],
    residuals: NDArray[np.float64] | None,
    sigma: float,
    n: int,
) -> NDArray[np.float64]:
    """
    Of each node: the distance from its neighbours, or its residual if that is less.

    A rule resolves what lies between two of its nodes no further than they are apart, and a
    converged node stands for eigenvalues that lie within its residual. That is nothing at the end,
    and no kernel, so a tenth of the distance is the least. Nodes of next to no weight are nobody's
    neighbours: such are repeated ones, and ghosts on their way. They and single nodes get `sigma`.
    """
    width = np.full(nodes.shape, sigma)
    for row, (theta, w) in enumerate(zip(nodes, weights, strict=True)):
        heavy = np.flatnonzero(w * n > _LIGHT)
        if len(heavy) < 2:
            continue
        gaps = np.diff(theta[heavy])
        spacing = (np.append(gaps[0], gaps) + np.append(gaps, gaps[-1])) / 2
        near = spacing if residuals is None else np.minimum(residuals[row, heavy], spacing)
        width[row, heavy] = np.maximum(near, _NARROW * spacing)
    return width.ravel()
