"""hessop's algorithms on what is CuPy's: CuPy out, and the numbers of the CPU to rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hessop
from hessop import perturbation
from tests import oracles
from tests.models import PROBLEMS, cut

cupy = pytest.importorskip("cupy")
pytestmark = pytest.mark.gpu

N = 80


def dense():
    """A symmetric matrix, positive definite, sparse, with an outlier."""
    A = np.diag(np.linspace(1.0, 3.0, N)) + 0.1 * (np.eye(N, k=1) + np.eye(N, k=-1))
    A[0, 0] = 9.0
    return A


def _sparse(D):
    import cupyx.scipy.sparse

    return cupyx.scipy.sparse.csr_matrix(cupy.asarray(D))


def _foreign(D):
    import cupyx.scipy.sparse.linalg

    return cupyx.scipy.sparse.linalg.aslinearoperator(cupy.asarray(D))


def _face(D):
    return hessop.aslinearoperator(torch.tensor(D, device="cuda:0")).to_cupy()


FORMS = pytest.mark.parametrize("form", [_face, _foreign, cupy.asarray, _sparse])


def given(k=None):
    """A vector, or a block, of the host."""
    return np.random.default_rng(1).standard_normal(N if k is None else (N, k))


def spans(v, w):
    """Whether columns are the same up to their signs."""
    return np.allclose(np.abs(np.sum(v * w, axis=0)), 1.0, atol=1e-8)


@FORMS
class TestForms:
    @pytest.mark.parametrize(
        "options", [{}, {"v0": 1}, {"reorth": "none"}, {"sigma": 2.01}, {"lock": 1}]
    )
    def test_lanczos(self, form, options):
        """As on the CPU, from the same random numbers."""
        on_cpu = {name: given() if value == 1 else value for name, value in options.items()}
        on_gpu = {
            name: cupy.asarray(given()) if value == 1 else value for name, value in options.items()
        }
        expected = hessop.lanczos(dense(), 3, rng=0, **on_cpu)
        found = hessop.lanczos(form(dense()), 3, rng=0, **on_gpu)
        assert type(found.eigenvectors) is cupy.ndarray
        assert type(found.eigenvalues) is np.ndarray
        np.testing.assert_allclose(found.eigenvalues, expected.eigenvalues, atol=1e-9)
        assert spans(found.eigenvectors.get(), expected.eigenvectors)

    @pytest.mark.parametrize("which", ["LM", "LA", "SA", "BE"])
    def test_eigsh(self, form, which):
        """Both parts CuPy's, in SciPy's order."""
        w, v = hessop.eigsh(form(dense()), 4, which=which, rng=0)
        expected, vectors = hessop.eigsh(dense(), 4, which=which, rng=0)
        assert type(w) is type(v) is cupy.ndarray
        np.testing.assert_allclose(w.get(), expected, atol=1e-9)
        assert spans(v.get(), vectors)
        alone = hessop.eigsh(form(dense()), 4, which=which, return_eigenvectors=False, rng=0)
        order = hessop.eigsh(dense(), 4, which=which, return_eigenvectors=False, rng=0)
        np.testing.assert_allclose(alone.get(), order, atol=1e-9)

    def test_eigsh_of_a_pencil(self, form):
        """Solved on the host, given back on the device."""
        M = np.diag(np.arange(1.0, N + 1))
        for options in ({"sigma": 0.2}, {"M": M}, {"M": M, "sigma": 0.2}):
            on_gpu = {n: form(x) if n == "M" else x for n, x in options.items()}
            w, v = hessop.eigsh(form(dense()), 2, rng=0, **on_gpu)
            assert type(w) is type(v) is cupy.ndarray
            expected, _ = hessop.eigsh(dense(), 2, rng=0, **options)
            np.testing.assert_allclose(w.get(), expected, rtol=1e-7)

    def test_numbers(self, form):
        """The same probes: traces, norms and densities are the CPU's, on the host."""
        A, D = form(dense()), dense()
        calls = (
            lambda A: hessop.trace(A, n_matvec=9, rng=0).estimate,
            lambda A: hessop.trace(A, method="xtrace", n_matvec=9, rng=0).estimate,
            lambda A: hessop.norm(A, rng=0).estimate,
            lambda A: hessop.norm(A, 2, rng=0).estimate,
            lambda A: hessop.slq(A, n_probes=3, ncv=15, rng=0).pdf(np.linspace(0, 10, 7)),
            lambda A: hessop.kpm(A, n_probes=3, degree=30, rng=0).pdf(np.linspace(0, 10, 7)),
        )
        for call in calls:
            found = call(A)
            assert isinstance(found, (float, np.ndarray))
            np.testing.assert_allclose(found, call(D), rtol=1e-5, atol=1e-7)

    def test_vectors(self, form):
        """Diagonals, functions and bases come out on the device."""
        A, D, b = form(dense()), dense(), cupy.asarray(given())
        pairs = (
            (hessop.diagonal(A, n_matvec=9, rng=0).estimate, hessop.diagonal(D, n_matvec=9, rng=0)),
            (hessop.funm_multiply(np.sqrt, A, b).value, hessop.funm_multiply(np.sqrt, D, given())),
            (hessop.tridiagonalize(A, b, 9).basis, hessop.tridiagonalize(D, given(), 9)),
        )
        for found, expected in pairs:
            assert type(found) is cupy.ndarray
            names = ("estimate", "value", "basis")
            (host,) = (getattr(expected, name) for name in names if hasattr(expected, name))
            np.testing.assert_allclose(found.get(), host, atol=1e-8)

    def test_other_searches(self, form):
        """Random projections, the power method, trajectories and comparisons."""
        A, D = form(dense()), dense()
        for call in (
            lambda A: hessop.randomized_eigh(A, 2, n_power=3, rng=0),
            lambda A: hessop.deflated_power_iteration(A, 1, rng=0),
            lambda A: hessop.track([A, A], 2, rng=0).last,
            lambda A: perturbation.compare(A, A, 2, rng=0).full,
        ):
            found, expected = call(A), call(D)
            assert type(found.eigenvectors) is cupy.ndarray
            np.testing.assert_allclose(found.eigenvalues, expected.eigenvalues, atol=1e-7)

    def test_deflation(self, form, solvers):
        """Gives an operator of CuPy's, in which the next eigenvalue is the largest."""
        A = form(dense())
        B = hessop.deflate(A, *hessop.eigsh(A, 1, rng=0))
        assert isinstance(B, solvers.LinearOperator)
        w = np.linalg.eigvalsh(dense())
        largest = solvers.eigsh(B, k=1, v0=cupy.asarray(given()), return_eigenvectors=False)
        np.testing.assert_allclose(largest.get(), w[-2:-1], atol=1e-8)


class TestNetwork:
    @pytest.mark.parametrize("name", ["mlp", "regression"])
    def test_the_whole_way(self, name):
        """A Hessian on the device: eigenvalues of the dense one, parameters as CuPy arrays."""
        model, loss_fn, data = PROBLEMS[name]()
        w = np.linalg.eigvalsh(oracles.dense_hessian(model, loss_fn, data))
        batches = [tuple(t.cuda() for t in batch) for batch in cut(data, 3)]
        H = hessop.HessianOperator(model.cuda(), loss_fn, batches)
        found = hessop.lanczos(H.to_cupy(), 3, which="LA", rng=0)
        np.testing.assert_allclose(found.eigenvalues, w[-3:], atol=1e-9 * np.abs(w).max())
        v = found.eigenvectors[:, 0]
        tree = H.unflatten(v)
        assert all(type(piece) is cupy.ndarray for piece in tree.values())
        back = H.flatten(tree)
        assert type(back) is cupy.ndarray
        cupy.testing.assert_array_equal(back, v)
