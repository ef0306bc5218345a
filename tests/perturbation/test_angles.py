"""Principal angles are SciPy's, whatever holds the columns."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

import hessop
from hessop import perturbation

V1, V2 = np.random.default_rng(0).standard_normal((2, 9, 3))


def test_they_are_scipys():
    """Also of spaces of different dimensions."""
    for v1, v2 in [(V1, V2), (V1, V2[:, :1]), (V1[:, 0], V2)]:
        expected = scipy.linalg.subspace_angles(v1.reshape(9, -1), v2)
        np.testing.assert_allclose(perturbation.subspace_angles(v1, v2), expected, rtol=1e-13)


def test_of_tensors_and_results():
    """In any mixture."""
    result = hessop.lanczos(torch.diag(torch.arange(9.0)).double(), k=3, rng=0)
    expected = scipy.linalg.subspace_angles(np.eye(9)[:, -3:], V2)
    assert isinstance(result.eigenvectors, torch.Tensor)
    for v1 in (result, result.eigenvectors, result.eigenvectors.numpy()):
        for v2 in (V2, torch.from_numpy(V2)):
            found = perturbation.subspace_angles(v1, v2)
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_small_angles_of_float32():
    """Computed in float64: an angle below the square root of its rounding is seen."""
    v1, v2 = np.eye(5, 2, dtype=np.float32), np.eye(5, 2, dtype=np.float32)
    v2[4, 1] = 1e-5
    found = perturbation.subspace_angles(v1, torch.from_numpy(v2))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [1e-5, 0.0], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(
    ("v1", "v2", "kind", "match"),
    [
        (V1, V2[:5], ValueError, r"^`v2` must have 9 rows, as v1; got 5\."),
        (np.ones((2, 2, 2)), V2, ValueError, r"^`v1` must have shape \(n, k\), .*got \(2, 2, 2\)"),
        (V1, np.ones((9, 0)), ValueError, r"^`v2` must have shape \(n, k\), .*got \(9, 0\)"),
        (V1, np.full((9, 1), np.nan), ValueError, r"^`v2` must be finite; got NaN or Inf\."),
        (1j * V1, V2, TypeError, r"^`v1` must be real; got complex128\."),
        (V1.T, V2, ValueError, r"^`v1` must have shape \(3, k\) with k <= 3; got shape \(3, 9\)"),
    ],
)
def test_bad_input(v1, v2, kind, match):
    """Named, with the rule and what came."""
    with pytest.raises(kind, match=match):
        perturbation.subspace_angles(v1, v2)
