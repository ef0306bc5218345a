"""Angles between subspaces."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray

from hessop import _exchange, _validation
from hessop._results import EigenResult


def subspace_angles(v1: Any, v2: Any) -> NDArray[np.float64]:
    """
    The principal angles between two subspaces, in radians.

    Parameters
    ----------
    v1, v2 : array_like, shape (n, k) and (n, l), or EigenResult
        Columns that span them, NumPy arrays or torch tensors on any device; of a result, its
        eigenvectors. They need not be orthonormal.

    Returns
    -------
    ndarray of float64, shape (min(k, l),)
        Descending, as `scipy.linalg.subspace_angles` has them, which computes them in float64.

    Raises
    ------
    ValueError, TypeError
        If the columns are not real and finite, or not of the same length.

    Examples
    --------
    >>> import numpy as np
    >>> from hessop import perturbation
    >>> v1, v2 = np.eye(3)[:, :2], np.eye(3)[:, 1:]
    >>> np.round(np.degrees(perturbation.subspace_angles(v1, v2)), 9)
    array([90.,  0.])
    """
    first = columns("v1", v1)
    second = columns("v2", v2)
    if len(first) != len(second):
        raise ValueError(
            _validation.message("v2", f"have {len(first)} rows, as v1", f"{len(second)}")
        )
    angles: NDArray[np.float64] = scipy.linalg.subspace_angles(first, second)
    return angles


def columns(name: str, v: Any) -> NDArray[np.float64]:
    """Columns of a result or an array of any library, in float64 on the host."""
    if isinstance(v, EigenResult):
        v = v.eigenvectors
    v = _exchange.array(v)
    if v.ndim not in (1, 2) or 0 in v.shape:
        raise ValueError(
            _validation.message(name, "have shape (n, k), n and k at least 1", tuple(v.shape))
        )
    v = _validation.columns(name, v, v.shape[0])
    host = _exchange.to_torch(v, dtype=torch.float64, device=torch.device("cpu"))
    return _exchange.to_numpy(host)
