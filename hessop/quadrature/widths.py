"""How wide the kernel around each node is to be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Of the distance between nodes, the narrowest kernel; of the common width, what counts as nothing.
_NARROW, _NOTHING = 0.1, 1e-9


def adaptive(
    nodes: NDArray[np.float64], residuals: NDArray[np.float64] | None, sigma: float
) -> NDArray[np.float64]:
    """
    Of each node: the distance from its neighbours, or its residual if that is less.

    A rule resolves what lies between two of its nodes no further than they are apart, and a
    converged node stands for eigenvalues that lie within its residual. That is nothing at the end,
    and no kernel, so a tenth of the distance is the least. `sigma` is for a node without neighbour.
    """
    if nodes.shape[1] == 1:
        return np.full(nodes.size, sigma)
    gaps = np.diff(nodes, axis=1)
    left, right = np.hstack([gaps[:, :1], gaps]), np.hstack([gaps, gaps[:, -1:]])
    # the last node of a shorter rule is repeated, and has a neighbour on one side alone
    ends = right == 0.0
    spacing = np.where(ends, left, (left + right) / 2)
    spacing = np.where(spacing > _NOTHING * sigma, spacing, sigma)
    near = spacing if residuals is None else np.minimum(residuals, spacing)
    width: NDArray[np.float64] = np.maximum(near, _NARROW * spacing).ravel()
    return width
