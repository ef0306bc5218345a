"""
What is CuPy's goes into every algorithm, and vectors of it come out; numbers are NumPy's.

Over a stand-in for CuPy's arrays, with the same random numbers: to the last bit what NumPy gets.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse.linalg
import torch

import hessop
from hessop import perturbation
from tests.cupy_arrays import ndarray
from tests.cupy_on_numpy import installed

N = 40


@pytest.fixture(autouse=True)
def world():
    """CuPy's class, and arrays over NumPy."""
    with installed() as world:
        yield world


def dense(dtype="f8"):
    """A symmetric matrix, positive definite, with an outlier."""
    A = np.random.default_rng(0).standard_normal((N, N))
    return (A @ A.T / N + 5 * np.outer(np.ones(N), np.ones(N)) / N).astype(dtype)


# The same operator for CuPy and for NumPy.
FORMS = {
    "a face": (
        lambda world, D: world.CupyOperator(hessop.aslinearoperator(D).product),
        hessop.aslinearoperator,
    ),
    "an operator": (
        lambda world, D: world.solvers.aslinearoperator(ndarray(D)),
        scipy.sparse.linalg.aslinearoperator,
    ),
    "a matrix": (lambda world, D: ndarray(D), lambda D: D),
}


def given(k=None):
    """A vector, or a block, as NumPy's."""
    return np.random.default_rng(k or 0).standard_normal(N if k is None else (N, k))


def eigen(result):
    """What an EigenResult has."""
    numbers = [result.eigenvalues, result.residuals, result.converged, result.n_matvec]
    return [result.eigenvectors], numbers


def estimate(found):
    """What an Estimate has."""
    return [], [found.estimate, found.standard_error]


def density(d):
    """What a density says."""
    return [], [d.expectation(lambda x: x * x).estimate, d.pdf(np.linspace(0, 8, 9))]


def tridiagonal(t):
    """Its coefficients and basis."""
    return [t.basis], [t.alpha, t.beta]


def product(value, found):
    """``f(A) b`` with what is known of it."""
    return [value], [found.error, found.converged, found.n_matvec]


# What is called, on an operator and with a function that makes arrays of its library; it returns
# what has to be of that library, and what has to be the host's.
CALLS = {
    "lanczos": lambda A, on: eigen(hessop.lanczos(A, 3, rng=0)),
    "lanczos from v0": lambda A, on: eigen(hessop.lanczos(A, 2, v0=on(given()), rng=0)),
    "lanczos from a block": lambda A, on: eigen(hessop.lanczos(A, 2, v0=on(given(2)), rng=0)),
    "lanczos beside lock": lambda A, on: eigen(hessop.lanczos(A, 2, lock=on(given(2)), rng=0)),
    "lanczos from a result": lambda A, on: eigen(
        hessop.lanczos(A, 2, v0=hessop.lanczos(A, 2, rng=0), rng=1)
    ),
    "lanczos without a basis": lambda A, on: eigen(hessop.lanczos(A, 2, reorth="none", rng=0)),
    "lanczos inside": lambda A, on: eigen(hessop.lanczos(A, 2, sigma=1.0, rng=0)),
    "lanczos by an inverse": lambda A, on: eigen(
        hessop.lanczos(A, 2, sigma=-1.0, ncv=20, preconditioner=on(np.eye(N)), rng=0)
    ),
    "eigsh": lambda A, on: ([*hessop.eigsh(A, 3, rng=0)], []),
    "eigsh from v0": lambda A, on: ([*hessop.eigsh(A, 3, v0=on(given()), which="SA", rng=0)], []),
    "eigsh of values": lambda A, on: (
        [
            hessop.eigsh(A, 3, which=w, return_eigenvectors=False, rng=0)
            for w in ("LM", "LA", "SA", "BE", "SM")
        ],
        [],
    ),
    "eigsh about sigma": lambda A, on: ([*hessop.eigsh(A, 2, sigma=0.2, rng=0)], []),
    "eigsh with M": lambda A, on: (
        [*hessop.eigsh(A, 2, on(np.diag(np.arange(1.0, N + 1))), rng=0)],
        [],
    ),
    "eigsh with Minv": lambda A, on: (
        [*hessop.eigsh(A, 2, on(2 * np.eye(N)), Minv=on(np.eye(N) / 2), rng=0)],
        [],
    ),
    "eigsh with OPinv": lambda A, on: (
        [*hessop.eigsh(A, 2, sigma=0.2, OPinv=on(np.linalg.inv(dense() - 0.2 * np.eye(N))), rng=0)],
        [],
    ),
    "eigsh, buckling": lambda A, on: (
        [*hessop.eigsh(A, 2, on(np.eye(N)), sigma=0.2, mode="buckling", rng=0)],
        [],
    ),
    "slq": lambda A, on: density(hessop.slq(A, n_probes=3, ncv=12, rng=0)),
    "slq with lock": lambda A, on: density(
        hessop.slq(A, n_probes=3, ncv=12, lock=hessop.eigsh(A, 2, rng=0), rng=0)
    ),
    "kpm": lambda A, on: density(
        hessop.kpm(A, n_probes=3, degree=20, lock=hessop.lanczos(A, 1, rng=0), rng=0)
    ),
    "trace": lambda A, on: estimate(hessop.trace(A, n_matvec=8, rng=0)),
    "trace, xtrace": lambda A, on: estimate(hessop.trace(A, method="xtrace", n_matvec=8, rng=0)),
    "trace_variance": lambda A, on: ([], [hessop.trace_variance(A, n_matvec=8, rng=0)]),
    "diagonal": lambda A, on: (
        lambda d: ([d.estimate, d.standard_error], [d.n_probes, d.n_matvec])
    )(hessop.diagonal(A, n_matvec=8, rng=0)),
    "norm": lambda A, on: estimate(hessop.norm(A, rng=0)),
    "spectral norm": lambda A, on: estimate(hessop.norm(A, 2, rng=0)),
    "funm_multiply": lambda A, on: (lambda f: product(f.value, f))(
        hessop.funm_multiply(np.sqrt, A, on(given()))
    ),
    "funm_multiply of a block": lambda A, on: (lambda f: product(f.value, f))(
        hessop.funm_multiply(np.exp, A, on(given(2)), lock=hessop.lanczos(A, 1, rng=0))
    ),
    "tridiagonalize": lambda A, on: tridiagonal(hessop.tridiagonalize(A, on(given()), 9)),
    "randomized_eigh": lambda A, on: eigen(hessop.randomized_eigh(A, 3, rng=0)),
    "deflated_power_iteration": lambda A, on: eigen(
        hessop.deflated_power_iteration(A, 1, v0=on(given()), lock=on(given(1)), rng=0)
    ),
    "track": lambda A, on: (
        lambda t: ([t.last.eigenvectors], [t.eigenvalues, t.residuals, t.n_matvec])
    )(hessop.track([A, A], 2, rng=0)),
    "compare": lambda A, on: (
        lambda c: ([c.full.eigenvectors, c.batch.eigenvectors], [c.eigenvalues, c.angles])
    )(perturbation.compare(A, 2 * A, 2, rng=0)),
    "subspace_angles": lambda A, on: (
        [],
        [perturbation.subspace_angles(hessop.lanczos(A, 2, rng=0), on(given(2)))],
    ),
    "weyl and gap": lambda A, on: (
        [],
        [
            *perturbation.weyl(hessop.eigsh(A, 3, rng=0)[0], on(np.ones(3))),
            perturbation.gap(hessop.eigsh(A, 3, rng=0)[0], 2),
        ],
    ),
    "bootstrap": lambda A, on: (lambda b: ([b.full.eigenvectors], [b.eigenvalues, b.angles]))(
        perturbation.bootstrap(lambda indices: A, 5, 2, n_resamples=2, rng=0)
    ),
}


class TestAlgorithms:
    @pytest.mark.parametrize("name", CALLS)
    @pytest.mark.parametrize("form", FORMS)
    def test_cupy_in_is_cupy_out(self, world, form, name):
        """By the numbers as NumPy's; and nothing that came in is written."""
        for_cupy, for_numpy = FORMS[form]
        matrix = dense()
        made = []

        def on_device(x):
            made.append((x, ndarray(x.copy())))
            return made[-1][1]

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", hessop.ConvergenceWarning)
            vectors, numbers = CALLS[name](for_cupy(world, matrix), on_device)
            expected, host = CALLS[name](for_numpy(dense()), lambda x: x)
        assert all(type(v) is ndarray for v in vectors)
        assert not any(type(x) is ndarray for x in numbers)
        for mine, theirs in zip(vectors, expected, strict=True):
            np.testing.assert_array_equal(mine.get(), theirs)
            assert mine.dtype == theirs.dtype
        for mine, theirs in zip(numbers, host, strict=True):
            np.testing.assert_array_equal(mine, theirs)
        np.testing.assert_array_equal(matrix, dense())
        for before, after in made:
            np.testing.assert_array_equal(after.get(), before)

    def test_single_precision(self, world):
        """float32 in, float32 out."""
        w, v = hessop.eigsh(ndarray(dense("f4")), 3, rng=0)
        assert w.dtype == v.dtype == np.float32
        np.testing.assert_array_equal(v.get(), hessop.eigsh(dense("f4"), 3, rng=0)[1])

    def test_vectors_of_another_library(self, world):
        """What comes out is as the operator is; a start vector may be anything."""
        expected = hessop.lanczos(dense(), 2, v0=given(), rng=0).eigenvectors
        for v0 in (given(), torch.tensor(given()), ndarray(given())):
            found = hessop.lanczos(ndarray(dense()), 2, v0=v0, rng=0).eigenvectors
            np.testing.assert_array_equal(found.get(), expected)
            found = hessop.lanczos(dense(), 2, v0=v0, rng=0).eigenvectors
            np.testing.assert_array_equal(found, expected)

    def test_what_has_converged_is_cupys_too(self, world):
        """The exception carries it."""
        A = ndarray(np.diag(np.linspace(0, 1, 500)))
        with pytest.raises(hessop.NoConvergence) as caught:
            hessop.eigsh(A, 6, ncv=25, maxiter=1, rng=0)
        assert type(caught.value.eigenvectors) is ndarray

    @pytest.mark.parametrize("sigma", [None, 0.5])
    def test_complex_matrices(self, world, sigma):
        """Are CuPy's own matter."""
        A = ndarray(np.eye(N, dtype=complex))
        with pytest.raises(TypeError, match=r"^`A` must be real"):
            hessop.eigsh(A, 2, sigma=sigma)
        with pytest.raises(TypeError, match=r"^`A` must be real symmetric; got dtype complex128"):
            hessop.lanczos(A, 2)
