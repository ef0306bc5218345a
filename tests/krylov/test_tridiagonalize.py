"""One sweep on its own, against its defining equations and a textbook implementation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hessop
from hessop import synthetic
from hessop.krylov.reorthogonalization import METHODS
from tests.spectra import orthonormality, recorded
from tests.strategies import problems, starts

EPS = {torch.float64: 2.0**-52, torch.float32: 2.0**-23}


def textbook(A, v0, m, passes):
    """
    Algorithms 3, 2 and 4 of the report (0, 1 and 2 passes), line by line, in NumPy float64.

    `A` is a dense matrix. Vectors are orthogonalised one after the other, as it is written there.
    """
    V, alpha, beta = [v0 / np.linalg.norm(v0)], [], []
    for i in range(m):
        w = A @ V[i]
        if i > 0:
            w = w - beta[i - 1] * V[i - 1]
        alpha.append(V[i] @ w)
        w = w - alpha[i] * V[i]
        for _ in range(passes):
            w = w - np.sum([(w @ v) * v for v in V], axis=0)
        beta.append(np.linalg.norm(w))
        V.append(w / beta[i])
    return np.array(alpha), np.array(beta), np.array(V[:m]).T


def tridiagonal(t):
    """T as a matrix."""
    return np.diag(t.alpha) + np.diag(t.beta[:-1], 1) + np.diag(t.beta[:-1], -1)


def gap(A, t):
    """``A V - V T`` in float64, one column per step."""
    V = np.ascontiguousarray(np.asarray(t.basis).T)
    AV = hessop.aslinearoperator(A).product.matmat(torch.from_numpy(V)).double().numpy().T
    return AV - V.T.astype(np.float64) @ tridiagonal(t)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("reorth", METHODS)
@pytest.mark.parametrize("name", ["gaussian", "uniform", "banded", "hessian_like", "graded"])
def test_three_term_recurrence(name, reorth, dtype):
    """``A V = V T + beta v e_m^T``, whatever becomes of the orthogonality."""
    A = synthetic.operator(name, 120, dtype=dtype, rng=0)
    scale = np.abs(A.eigenvalues).max()
    t = hessop.tridiagonalize(A, None, 30, reorth=reorth, rng=0)
    # What a purge takes off is not in T: rounding, or up to sqrt(eps) where passes are selective.
    atol = scale * (np.sqrt(EPS[dtype]) if reorth == "selective" else 30 * EPS[dtype])
    columns = gap(A, t)
    assert np.linalg.norm(columns[:, :-1], axis=0).max() <= atol
    assert np.linalg.norm(columns[:, -1]) == pytest.approx(t.beta[-1], abs=atol)
    # and what is left over is the vector that one more step would have begun with
    assert t.beta[-1] > 1e-4 * scale  # not a quotient of rounding
    following = hessop.tridiagonalize(A, None, 31, reorth=reorth, rng=0).basis[:, -1]
    np.testing.assert_allclose(
        columns[:, -1] / t.beta[-1], following, rtol=0, atol=1e3 * atol / scale
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("reorth", ["full", "double", "selective"])
@pytest.mark.parametrize("name", ["gaussian", "uniform", "banded", "hessian_like", "graded"])
def test_projection(name, reorth, dtype):
    """``V^T A V = T``: to rounding, also where V is only semi-orthogonal (Simon 1984)."""
    A = synthetic.operator(name, 120, dtype=dtype, rng=0)
    t = hessop.tridiagonalize(A, None, 80, reorth=reorth, rng=0)
    V = np.asarray(t.basis, dtype=np.float64)
    if reorth == "selective":  # it is the projection on the span: orthonormalise first
        V = np.linalg.qr(V)[0] * np.sign(np.diag(np.linalg.qr(V)[1]))
    AV = A.product.matmat(torch.from_numpy(np.ascontiguousarray(V.T)).to(dtype)).double().numpy().T
    scale = np.abs(A.eigenvalues).max()
    np.testing.assert_allclose(V.T @ AV, tridiagonal(t), rtol=0, atol=60 * EPS[dtype] * scale)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", synthetic.SPECTRA)
def test_orthonormality_promised(name, dtype):
    """Two passes leave rounding, selective ones about sqrt(eps), to the last of n steps."""
    A = synthetic.operator(name, 100, dtype=dtype, rng=0)
    eps = EPS[dtype]
    level = {
        reorth: orthonormality(hessop.tridiagonalize(A, None, 100, reorth=reorth, rng=0).basis)
        for reorth in ("double", "selective")
    }
    assert level["double"] <= 20 * eps
    assert level["selective"] <= 4 * np.sqrt(eps)


@pytest.mark.parametrize("name", ["gaussian", "banded", "hessian_like", "plus_minus"])
def test_one_pass_is_nearly_enough_and_none_is_not(name):
    """The report's three variants, in order."""
    A = synthetic.operator(name, 200, rng=0)
    none, full, double = (
        orthonormality(hessop.tridiagonalize(A, None, 150, reorth=r, rng=0).basis)
        for r in ("none", "full", "double")
    )
    assert double <= 20 * EPS[torch.float64]
    assert full <= 1e-10
    assert none >= 0.1


@pytest.mark.parametrize(("reorth", "passes"), [("none", 0), ("full", 1), ("double", 2)])
@pytest.mark.parametrize("name", ["uniform", "gaussian", "banded"])
def test_against_the_textbook(name, reorth, passes):
    """The same coefficients and vectors as the report's algorithms, line by line."""
    A = synthetic.operator(name, 60, rng=0)
    dense, v0 = A @ np.eye(60), np.random.default_rng(1).standard_normal(60)
    m = 15 if reorth == "none" else 40  # without passes the two drift apart exponentially
    t = hessop.tridiagonalize(A, v0, m, reorth=reorth)
    alpha, beta, V = textbook(dense, v0, m, passes)
    scale = np.abs(A.eigenvalues).max()
    # Lanczos coefficients are ill-conditioned functions of A and v0: 1e-9 is what two float64
    # implementations agree to here, and any slip in the recurrence is far above it.
    np.testing.assert_allclose(t.alpha, alpha, rtol=0, atol=1e-9 * scale)
    np.testing.assert_allclose(t.beta, beta, rtol=0, atol=1e-9 * scale)
    np.testing.assert_allclose(t.basis, V, rtol=0, atol=1e-9)


@settings(max_examples=80)
@given(st.data())
def test_whole_spectrum_of_hostile_operators(data):
    """m = n on any spectrum and start: orthonormal, the recurrence holds, all eigenvalues."""
    problem = data.draw(problems())
    v0 = data.draw(starts(problem), label="v0")
    reorth = data.draw(st.sampled_from(["double", "selective"]), label="reorth")
    A, eps, scale = problem.operator(), problem.eps, problem.scale
    before = None if v0 is None else v0.tobytes()
    t = hessop.tridiagonalize(A, v0, problem.n, reorth=reorth, rng=0)
    assert v0 is None or v0.tobytes() == before
    assert np.isfinite(t.alpha).all()
    assert np.isfinite(t.beta).all()
    assert (t.beta >= 0).all()
    slack = 60 * eps if reorth == "double" else 10 * np.sqrt(eps)
    assert orthonormality(t.basis) <= slack
    assert np.linalg.norm(gap(A, t), axis=0).max() <= slack * max(scale, 1e-300)
    np.testing.assert_allclose(t.eigh()[0], problem.exact, rtol=0, atol=slack * scale)


class TestBreakdown:
    @pytest.mark.parametrize("reorth", METHODS)
    def test_identity(self, reorth):
        """Every vector is an eigenvector: every step is a fresh start."""
        t = hessop.tridiagonalize(np.eye(12), None, 12, reorth=reorth, rng=0)
        np.testing.assert_allclose(t.alpha, 1.0, rtol=1e-14)
        np.testing.assert_array_equal(t.beta, 0.0)
        assert orthonormality(t.basis) <= 1e-14

    def test_zero_marks_each_restart(self):
        """Two values, multiplicities 4 and 8: four planes, then single vectors."""
        A = synthetic.operator("two_valued", 12, rng=0)
        t = hessop.tridiagonalize(A, None, 12, rng=0)
        assert list(np.flatnonzero(t.beta == 0.0)) == [1, 3, 5, 7, 8, 9, 10, 11]
        np.testing.assert_allclose(t.eigh()[0], A.eigenvalues, rtol=0, atol=1e-13)
        assert np.abs(gap(A, t)).max() <= 1e-13

    def test_nothing_left_over(self):
        """At the end of an invariant subspace the last beta is zero, and the residuals are."""
        A = synthetic.operator("hessian_like", 40, rng=0)
        v0 = A.eigenvectors([0, 20, 39]).sum(axis=1)
        t = hessop.tridiagonalize(A, v0, 3, rng=0)
        assert t.beta[-1] == 0.0
        np.testing.assert_allclose(t.eigh()[0], A.eigenvalues[[0, 20, 39]], rtol=0, atol=1e-12)
        np.testing.assert_array_equal(t.residuals(), 0.0)

    def test_fresh_directions_come_from_rng(self):
        """The same seed the same ones, another seed others; the start is the user's in both."""
        one, two, other = (
            hessop.tridiagonalize(np.eye(6), np.ones(6), 3, rng=s).basis for s in (0, 0, 1)
        )
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one[:, 0], other[:, 0])
        assert (one[:, 1] != other[:, 1]).any()

    @pytest.mark.parametrize("reorth", METHODS)
    def test_last_beta_after_n_steps(self, reorth):
        """It is the norm of what is left over, and where orthogonality is lost that is not zero."""
        A = synthetic.operator("hessian_like", 150, rng=0)
        t = hessop.tridiagonalize(A, None, 150, reorth=reorth, rng=0)
        scale = np.abs(A.eigenvalues).max()
        # Semi-orthogonality leaves its level, sqrt(eps); the other bounds are rounding.
        atol = scale * (1e-7 if reorth == "selective" else 1e-12)
        assert np.linalg.norm(gap(A, t)[:, -1]) == pytest.approx(t.beta[-1], abs=atol)


class TestLeadingBlocks:
    """`Tridiagonal.eigh(m)` and `.residuals(m)`."""

    @pytest.fixture
    def long(self):
        """Thirty steps on a known operator."""
        A = synthetic.operator("gaussian", 100, rng=0)
        return A, hessop.tridiagonalize(A, None, 30, rng=0)

    @pytest.mark.parametrize("m", [1, 2, 17, 30, None])
    def test_they_are_those_of_a_shorter_sweep(self, long, m):
        """A leading block is what the sweep had after m steps."""
        A, t = long
        short = hessop.tridiagonalize(A, None, 30 if m is None else m, rng=0)
        for one, two in zip(t.eigh(m), short.eigh(), strict=True):
            np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(t.residuals(m), short.residuals())

    @pytest.mark.parametrize("m", [1, 2, 17, 30])
    def test_residuals_are_true(self, long, m):
        """Measured with the operator."""
        A, t = long
        theta, Y = t.eigh(m)
        np.testing.assert_allclose(tridiagonal(t)[:m, :m] @ Y, Y * theta, rtol=0, atol=1e-13)
        X = t.basis[:, :m] @ Y
        true = np.linalg.norm(A @ X - X * theta, axis=0)
        np.testing.assert_allclose(t.residuals(m), true, rtol=0, atol=1e-13)


class TestLock:
    @pytest.mark.parametrize("reorth", METHODS)
    def test_operator_is_seen_on_the_complement(self, reorth):
        """Of any locked vectors, eigenvectors or not: ``P A P`` restricted to it."""
        A = synthetic.operator("gaussian", 40, rng=0)
        lock = np.random.default_rng(0).standard_normal((40, 3))
        t = hessop.tridiagonalize(A, None, 10, reorth=reorth, lock=lock, rng=0)
        assert np.abs(lock.T @ t.basis).max() <= 1e-12
        Q = np.linalg.qr(lock)[0]
        P = np.eye(40) - Q @ Q.T
        left = P @ (A @ t.basis) - t.basis @ tridiagonal(t)
        assert np.abs(left[:, :-1]).max() <= 1e-13
        assert np.linalg.norm(left[:, -1]) == pytest.approx(t.beta[-1], rel=1e-10)

    def test_as_many_steps_as_there_are_dimensions_left(self):
        """And no more."""
        A = synthetic.operator("gaussian", 12, rng=0)
        lock = A.eigenvectors([0, 11])
        t = hessop.tridiagonalize(A, None, 10, lock=lock, rng=0)
        np.testing.assert_allclose(t.eigh()[0], A.eigenvalues[1:-1], rtol=0, atol=1e-13)
        with pytest.raises(ValueError, match=r"`m` must be an integer in \[1, 10\]; got 11"):
            hessop.tridiagonalize(A, None, 11, lock=lock, rng=0)


def test_first_vector_is_the_start():
    """Normalised, and neither kept nor written."""
    v0 = np.array([3.0, 0.0, 4.0, 0.0])
    t = hessop.tridiagonalize(np.diag([1.0, 2, 3, 4]), v0, 2)
    np.testing.assert_allclose(t.basis[:, 0], [0.6, 0, 0.8, 0], rtol=1e-15)
    np.testing.assert_array_equal(v0, [3.0, 0.0, 4.0, 0.0])


@pytest.mark.parametrize("reorth", METHODS)
@pytest.mark.parametrize("m", [1, 7, 20])
def test_m_products(reorth, m):
    """One for each step, one vector each."""
    A, widths = recorded(synthetic.operator("gaussian", 20, rng=0))
    t = hessop.tridiagonalize(A, None, m, reorth=reorth, rng=0)
    assert widths == [1] * m
    assert t.alpha.shape == t.beta.shape == (m,)
    assert t.basis.shape == (20, m)


def test_array_types():
    """NumPy for an operator, tensors for a product; coefficients are float64 in either case."""
    A = synthetic.operator("gaussian", 20, dtype=torch.float32, rng=0)
    for which, kind in ((A, np.ndarray), (A.product, torch.Tensor)):
        t = hessop.tridiagonalize(which, None, 3, rng=0)
        assert isinstance(t.basis, kind)
        assert str(t.basis.dtype).endswith("float32")
        assert t.alpha.dtype == t.beta.dtype == np.float64


@pytest.mark.parametrize("reorth", METHODS)
def test_asymmetry_is_refused(reorth):
    """Even without any pass: the row before shows it."""
    rng = np.random.default_rng(0)
    for M in (rng.standard_normal((30, 30)), np.triu(np.ones((30, 30)))):
        with pytest.raises(ValueError, match="`A` must be symmetric; got"):
            hessop.tridiagonalize(M, None, 10, reorth=reorth, rng=0)


@pytest.mark.parametrize("reorth", METHODS)
def test_not_finite_is_refused(reorth):
    """At the first step and later."""
    d = torch.arange(1.0, 31.0, dtype=torch.float64)
    for after in (0, 4):
        calls = []

        def matmat(X, after=after, calls=calls):
            calls.append(1)
            return d[:, None] * X * (np.nan if len(calls) > after else 1.0)

        A = hessop.TorchOperator(matmat, 30, dtype=torch.float64)
        with pytest.raises(FloatingPointError, match="`A` must give finite products"):
            hessop.tridiagonalize(A, None, 10, reorth=reorth, rng=0)
