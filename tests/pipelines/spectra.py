"""Rows of the matrix: eigenvalues, singular values, functions of a matrix."""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.linalg.interpolative as interpolative
import scipy.sparse.linalg as sl

from tests.pipelines.table import Consumer, again, exponential, identity, truncated


def _lobpcg(A, b):
    X = np.random.default_rng(3).standard_normal((len(b), 3)).astype(A.dtype)
    tolerance = 1e-7 if A.dtype == np.float64 else 1e-3
    return again(*sl.lobpcg(A, X, largest=True, tol=tolerance, maxiter=400))


def _shift_and_invert(A, b):
    sigma = 1.2 * sl.onenormest(A)  # above all eigenvalues
    return sl.eigsh(A, k=1, ncv=6, sigma=sigma, v0=b, tol=1e-4)[0]


def _svds(solver):
    def use(A, b):
        u, s, vt = sl.svds(A, k=2, solver=solver, rng=0, maxiter=400)
        return (u * s) @ vt

    return use


def _onenormest(A, b):
    # With as many columns as rows the estimate is the norm.
    return sl.onenormest(A, t=A.shape[0])


def _interpolative_svd(A, b):
    u, s, v = interpolative.svd(A, 1e-6, rng=0)
    return (u * s) @ v.T


EIGENVALUES = [
    Consumer(
        "`eigsh`", lambda A, b: again(*sl.eigsh(A, k=2, which="LA", v0=b)), truncated("LA", 2)
    ),
    Consumer(
        '`eigsh(which="BE")`',
        lambda A, b: sl.eigsh(A, k=2, which="BE", v0=b, tol=1e-6)[0],
        lambda D, b: np.linalg.eigvalsh(D)[[0, -1]],
        double=1e-5,
    ),
    Consumer(
        "`eigsh(sigma=)`",
        _shift_and_invert,
        lambda D, b: np.linalg.eigvalsh(D)[-1:],
        double=1e-4,
        single=None,
    ),
    Consumer(
        "`eigsh(M=, Minv=)`",
        lambda A, b: sl.eigsh(A, k=2, M=identity(A) * 2, Minv=identity(A) / 2, v0=b)[0],
        lambda D, b: np.sort(sorted(np.linalg.eigvalsh(D) / 2, key=abs)[-2:]),
    ),
    Consumer(
        "`eigs`",
        lambda A, b: np.sort(sl.eigs(A, k=2, which="LR", v0=b)[0].real),
        lambda D, b: np.linalg.eigvalsh(D)[-2:],
    ),
    Consumer("`lobpcg`", _lobpcg, truncated("LA", 3), double=1e-5, single=5e-2),
    *(
        Consumer(f'`svds(solver="{name}")`', _svds(name), truncated("LM", 2), single=single)
        for name, single in (("arpack", 1e-3), ("propack", 1e-2))
    ),
    # In float32 it asks for residuals that float32 has not, and says so in a warning.
    Consumer(
        '`svds(solver="lobpcg")`', _svds("lobpcg"), truncated("LM", 2), double=1e-4, single=None
    ),
    Consumer(
        "`scipy.linalg.interpolative.svd`",
        _interpolative_svd,
        lambda D, b: D,
        double=1e-4,
        single=None,
    ),
    Consumer(
        "`scipy.linalg.interpolative.estimate_spectral_norm`",
        lambda A, b: interpolative.estimate_spectral_norm(A, its=40, rng=0),
        lambda D, b: np.linalg.norm(D, 2),
        double=0.02,
        single=None,
    ),
]

FUNCTIONS = [
    Consumer(
        "`expm_multiply(traceA=)`",
        lambda A, b: sl.expm_multiply(A, b, traceA=1.0),
        exponential,
    ),
    Consumer(
        "`expm_multiply`, a grid of times",
        lambda A, b: sl.expm_multiply(-1.0 * A, b, start=0, stop=1, num=3, traceA=-1.0),
        lambda D, b: np.array([scipy.linalg.expm(-t * D) @ b for t in (0, 0.5, 1)]),
    ),
    Consumer(
        "`funm_multiply_krylov`",
        lambda A, b: sl.funm_multiply_krylov(scipy.linalg.expm, A, b, assume_a="her"),
        exponential,
        double=1e-5,
        since="1.17",
    ),
    Consumer("`onenormest`", _onenormest, lambda D, b: np.abs(D).sum(axis=0).max()),
    Consumer(
        "sums with `LaplacianNd`",
        lambda A, b: (A + sl.LaplacianNd((len(b),), dtype=A.dtype)) @ b,
        lambda D, b: D @ b + sl.LaplacianNd((len(b),)).toarray() @ b,
    ),
    Consumer(
        "`A @ A`, `A ** 3`", lambda A, b: (A @ A + A**3) @ b, lambda D, b: D @ D @ b + D @ D @ D @ b
    ),
]
