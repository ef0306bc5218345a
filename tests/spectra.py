"""Oracles: which eigenvalues are the wanted ones, and whether a result is honest about itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.random import mtrand
from numpy.typing import NDArray

import hessop


def wanted(spectrum: Any, which: str, k: int) -> NDArray[np.float64]:
    """The `k` eigenvalues that `which` names, ascending; one set of several under ties."""
    w = np.sort(np.asarray(spectrum, dtype=np.float64))
    if which == "LA":
        return w[len(w) - k :]
    if which == "SA":
        return w[:k]
    if which == "LM":
        return np.sort(w[np.argsort(-np.abs(w), kind="stable")[:k]])
    low = k // 2  # one more from the high end for odd k, as SciPy
    return np.concatenate([w[:low], w[len(w) - (k - low) :]])


def keys(values: Any, which: str) -> NDArray[np.float64]:
    """What the choice goes by, ascending: under LM, -a and a are a tie."""
    return np.sort(np.abs(values) if which == "LM" else np.asarray(values))


def distances(values: Any, spectrum: Any) -> NDArray[np.float64]:
    """From each value to the nearest exact eigenvalue."""
    return np.abs(np.asarray(values)[:, None] - np.asarray(spectrum)).min(axis=1, initial=np.inf)


def assert_among(values: Any, spectrum: Any, atol: float) -> None:
    """Each value has an exact eigenvalue of its own within `atol`: none is made up or doubled."""
    left = list(np.sort(spectrum))
    for value in np.sort(values):
        # The smallest one in reach is the best choice: both lists are sorted, the reach is fixed.
        while left and left[0] < value - atol:
            left.pop(0)
        assert left, f"nothing is left within {atol:.1e} of {value!r}"
        assert left[0] <= value + atol, f"{value!r} is {left[0] - value:.1e} from {left[0]!r}"
        left.pop(0)


def assert_wanted(values: Any, spectrum: Any, which: str, k: int, atol: float) -> None:
    """The values are the wanted set, with all its multiplicities, up to `atol`."""
    assert len(values) == k
    assert_among(values, spectrum, atol)
    exact = keys(wanted(spectrum, which, k), which)
    np.testing.assert_allclose(keys(values, which), exact, rtol=0, atol=atol)


def orthonormality(v: Any) -> float:
    """``max |V^T V - I|``, in float64."""
    v = np.asarray(v, dtype=np.float64)
    return float(np.abs(v.T @ v - np.eye(v.shape[1])).max(initial=0.0))


def measured(A: Any, w: Any, v: Any) -> NDArray[np.float64]:
    """``||A v - w v||`` for each pair, accumulated in float64."""
    rows = torch.from_numpy(np.ascontiguousarray(np.asarray(v).T))
    products = hessop.aslinearoperator(A).product.matmat(rows).double().numpy()
    return np.linalg.norm(products - np.asarray(w)[:, None] * rows.double().numpy(), axis=1)


def global_states() -> tuple[bytes, bytes]:
    """NumPy's legacy random state and torch's, to be compared before and after."""
    legacy = mtrand._rand.get_state(legacy=False)
    return repr(legacy).encode() + legacy["state"]["key"].tobytes(), bytes(torch.get_rng_state())


def recorded(A: Any) -> tuple[hessop.TorchOperator, list[int]]:
    """The same operator, and a list that grows by the width of every block it multiplies."""
    product, widths = hessop.aslinearoperator(A).product, []

    def matmat(X: torch.Tensor) -> torch.Tensor:
        widths.append(X.shape[1])
        return product.matmat(X.T.contiguous()).T

    return hessop.TorchOperator(matmat, product.n, dtype=product.dtype), widths
