"""Functions of eigenvalues that users hand in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hessop import _validation

Function = Callable[[NDArray[np.float64]], Any]
"""Takes and returns an array."""


def values(f: Function, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the user's function makes of an array: real, finite, of its shape."""
    if not callable(f):
        raise TypeError(_validation.message("f", "be a function of an array", repr(f)))
    found = np.asarray(f(x.copy()))  # the user's function may write to what it gets
    if found.dtype.kind == "c":
        raise TypeError(_validation.message("f", "be real", str(found.dtype)))
    found = found.astype(np.float64)
    if found.shape != x.shape:
        raise ValueError(_validation.message("f", f"keep the shape {x.shape}", found.shape))
    if not np.isfinite(found).all():
        bad = x[~np.isfinite(found)][0]
        raise ValueError(
            _validation.message("f", "be finite at every node", f"{bad:g} mapped to NaN or Inf")
        )
    return found
