"""Matrices on which CuPy's own eigsh breaks down without a word: hessop's does not."""

from __future__ import annotations

import numpy as np
import pytest

import hessop

cupy = pytest.importorskip("cupy")
pytestmark = pytest.mark.gpu

N = 400
FORMS = pytest.mark.parametrize(
    "form",
    [cupy.asarray, lambda D: hessop.aslinearoperator(cupy.asarray(D))],
    ids=["CuPy", "SciPy"],
)


def low_rank(rank, dtype):
    """A matrix with the eigenvalues 1 to `rank`, and zeros."""
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((N, max(rank, 1))))[0]
    return ((Q[:, :rank] * np.arange(1.0, rank + 1)) @ Q[:, :rank].T).astype(dtype)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("rank", [0, 1, 3, 10])
@FORMS
def test_more_eigenvalues_than_the_rank_has(form, rank, dtype):
    """All of them finite and right, the vectors orthonormal."""
    w, v = hessop.eigsh(form(low_rank(rank, dtype)), 6, rng=0)
    w, v = (np.asarray(x.get() if isinstance(x, cupy.ndarray) else x) for x in (w, v))
    expected = np.concatenate([np.zeros(N), np.arange(1.0, rank + 1)])[-6:]
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(w, expected, atol=1000 * eps * max(rank, 1))
    np.testing.assert_allclose(v.T @ v, np.eye(6), atol=1000 * eps)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_identity(dtype):
    """One eigenvalue, as often as it is asked for."""
    w, v = hessop.eigsh(cupy.eye(50, dtype=dtype), 4, rng=0)
    np.testing.assert_allclose(w.get(), np.ones(4), atol=100 * np.finfo(dtype).eps)
    np.testing.assert_allclose((v.T @ v).get(), np.eye(4), atol=100 * np.finfo(dtype).eps)


def test_no_silence():
    """What has not converged is said, and what has is CuPy's."""
    A = cupy.diag(cupy.linspace(0, 1, 2000))
    with pytest.raises(hessop.NoConvergence) as caught:
        hessop.eigsh(A, 6, ncv=25, maxiter=1, rng=0)
    assert type(caught.value.eigenvectors) is cupy.ndarray
