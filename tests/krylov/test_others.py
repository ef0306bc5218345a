"""What other solvers were reported to get wrong, each rebuilt as a small operator."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse

import hessop
from tests.spectra import assert_wanted, orthonormality

SOLVERS = {
    "lanczos": lambda A, k, **how: tuple(hessop.lanczos(A, k, rng=0, **how)),
    "eigsh": lambda A, k, **how: hessop.eigsh(A, k, rng=0, **how),
}
EITHER = pytest.mark.parametrize("solve", SOLVERS.values(), ids=SOLVERS)
PRECISIONS = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def low_rank(n, values, rng):
    """A dense matrix with a few eigenvalues that are not zero."""
    Q = np.linalg.qr(rng.standard_normal((n, len(values))))[0]
    return (Q * values) @ Q.T


def check(solve, A, spectrum, k, which, **how):
    """The right set, each member as often as it occurs, with orthonormal vectors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        w, v = solve(A, k, which=which, **how)
    eps = np.finfo(A.dtype).eps
    scale = np.abs(spectrum).max()
    tol = max(how.get("tol", 0), 200 * eps)
    assert_wanted(np.float64(w), np.asarray(spectrum), which, k, tol * scale)
    assert np.isfinite(v).all()
    assert orthonormality(v) <= 1000 * eps


@EITHER
@PRECISIONS
class TestCuPy:
    """NaN, ghosts, and unconverged pairs without a word."""

    @pytest.mark.parametrize("k", [1, 3, 6])
    def test_identity(self, solve, dtype, k):
        """cupy#6446: NaN, for the first step breaks down."""
        check(solve, np.eye(20, dtype=dtype), np.ones(20), k, "LA")

    @pytest.mark.parametrize("rank", [1, 2, 4])
    def test_low_rank(self, solve, dtype, rank):
        """cupy#5001, #7495: more pairs than the rank has."""
        rng = np.random.default_rng(0)
        values = np.arange(1.0, rank + 1)
        A = low_rank(40, values, rng).astype(dtype)
        check(solve, A, np.concatenate([np.zeros(40 - rank), values]), 5, "LM")

    def test_zero(self, solve, dtype):
        """Nothing at all."""
        check(solve, np.zeros((12, 12), dtype=dtype), np.zeros(12), 4, "LM")

    def test_ghosts(self, solve, dtype):
        """cupy#5602, #8486: copies of an outlier that is there once."""
        spectrum = np.concatenate([np.linspace(0, 1, 300), [1e4]])
        check(solve, np.diag(spectrum).astype(dtype), spectrum, 6, "LA", tol=1e-5)

    def test_graph_laplacian(self, solve, dtype):
        """cupy#6769: a sparse matrix whose largest eigenvalues are in pairs."""
        n = 120
        ring = scipy.sparse.diags_array([2.0] * n).tolil()
        for i in range(n):
            ring[i, (i + 1) % n] = ring[(i + 1) % n, i] = -1.0
        spectrum = 2 - 2 * np.cos(2 * np.pi * np.arange(n) / n)
        check(solve, ring.tocsr().astype(dtype), spectrum, 6, "LA")

    def test_cluster(self, solve, dtype):
        """cupy#7355: a cluster at the wanted end."""
        spectrum = np.concatenate([np.linspace(-1, 1, 200), [5, 5 + 1e-3, 5 + 2e-3, 5 + 2e-3]])
        check(solve, np.diag(spectrum).astype(dtype), spectrum, 4, "LA")

    def test_no_silence(self, solve, dtype):
        """What did not converge is said, by a warning or an exception."""
        A = np.diag(np.linspace(0, 1, 2000)).astype(dtype)
        with pytest.raises(hessop.NoConvergence):
            hessop.eigsh(A, 6, ncv=25, maxiter=1, rng=0)
        with pytest.warns(hessop.ConvergenceWarning):
            assert not hessop.lanczos(A, 6, ncv=25, maxiter=40, rng=0).converged.all()


def cluster(values):
    """Twenty thousand eigenvalues, a uniform bulk below these."""
    return np.concatenate([np.linspace(-1, values[-1] - 0.2, 20_000 - len(values)), values])


TRIPLE = cluster([10, 10 + 1e-6, 10 + 2e-6, 9.5, 9.4, 9.3, 9.2])
FOURFOLD = cluster([10.0, 10.0, 10.0, 10.0, 9.9, 9.85])


class TestSciPy:
    """scipy#26112: a member of a cluster skipped, and success reported."""

    @EITHER
    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize(
        ("spectrum", "k", "tol", "ncv"),
        [
            (TRIPLE, 3, 1e-6, None),
            (TRIPLE, 3, 1e-4, None),
            (FOURFOLD, 4, 1e-6, 20),
            (FOURFOLD, 4, 1e-6, 40),
        ],
        ids=["triple, 1e-6", "triple, 1e-4", "fourfold, ncv=20", "fourfold, ncv=40"],
    )
    def test_clusters(self, solve, seed, spectrum, k, tol, ncv):
        """The operators and start vectors of the report, where `eigsh` is wrong."""
        A = scipy.sparse.diags_array(spectrum)
        v0 = np.random.RandomState(seed).random_sample(len(spectrum))
        how = {} if ncv is None else {"ncv": ncv}
        w, _ = solve(A, k, which="LA", tol=tol, v0=v0, **how)
        exact = np.sort(spectrum)[-k:]
        # tol bounds residuals; a set that lacks a member has a value from below the cluster
        np.testing.assert_allclose(np.sort(w), exact, rtol=0, atol=10 * tol)
        assert w.min() > exact.min() - 0.01


def drawn(seed):
    """Clusters and copies anywhere in the wanted set, over or under a bulk of twenty thousand."""
    rng = np.random.default_rng(seed)
    values: list[float] = []
    top = 10.0
    for _ in range(rng.integers(1, 4)):
        count = int(rng.integers(1, 7))
        width = float(rng.choice([0.0, 1e-8, 1e-6, 1e-5, 1e-4]))
        values += [top - width * i / max(count - 1, 1) for i in range(count)]
        top -= float(rng.uniform(0.3, 1.0))
    k = int(rng.integers(1, len(values) + 1))
    bulk = rng.uniform(-1.0, top - 0.3, 20_000 - len(values))
    spectrum = np.concatenate([bulk, values])
    return (-spectrum, "SA", k) if rng.integers(2) else (spectrum, "LA", k)


@pytest.mark.parametrize(
    "seed",
    [
        *(*range(12), 133, 192, 208),
        *(pytest.param(s, marks=pytest.mark.slow) for s in range(12, 300)),
    ],
)
def test_drawn_clusters(seed):
    """Every copy and every member, whatever the start vector; `ncv` of any size."""
    spectrum, which, k = drawn(seed)
    rng = np.random.default_rng(seed)
    tol = float(rng.choice([1e-6, 1e-8]))
    ncv = [None, 2 * k + 25, 60][rng.integers(3)]
    A = scipy.sparse.diags_array(spectrum)
    result = hessop.lanczos(A, k, which=which, tol=tol, ncv=ncv, v0=rng.random(20_000), rng=seed)
    exact = np.sort(spectrum)[-k:] if which == "LA" else np.sort(spectrum)[:k]
    assert result.converged.all()
    assert result.complete
    # what lies within the limit of convergence and the slack of the check, 10 tol each, is one
    np.testing.assert_allclose(result.eigenvalues, exact, rtol=0, atol=20 * tol)
