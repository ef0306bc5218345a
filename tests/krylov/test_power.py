"""Deflated power iteration: right where it converges, honest where it cannot."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hessop
from hessop import synthetic
from tests.spectra import distances, measured, orthonormality, recorded
from tests.strategies import problems, seeds, starts

EPS = {torch.float64: 2.0**-52, torch.float32: 2.0**-23}


def quietly(*args, **kwargs):
    """The result, and the categories of the warnings."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        result = hessop.deflated_power_iteration(*args, **kwargs)
    return result, [w.category for w in seen]


@settings(max_examples=80)
@given(st.data())
def test_honest_on_hostile_spectra(data):
    """What is marked as converged is an eigenpair; what is not is warned of; nothing is NaN."""
    problem = data.draw(problems(max_n=30))
    k = data.draw(st.integers(1, min(problem.n, 4)), label="k")
    v0 = data.draw(starts(problem), label="v0")
    tol = data.draw(st.sampled_from([1e-2, 1e-4, 0.0]), label="tol")
    mu = data.draw(st.sampled_from([0.0, 0.05, 0.2]), label="momentum")
    before = None if v0 is None else v0.tobytes()
    A, scale = problem.operator(), problem.scale
    result, seen = quietly(
        A,
        k,
        momentum=mu * scale**2,
        v0=v0,
        maxiter=200,
        tol=tol,
        rng=data.draw(seeds, label="rng"),
    )
    assert v0 is None or v0.tobytes() == before
    for values in (result.eigenvalues, result.residuals, np.asarray(result.eigenvectors)):
        assert np.isfinite(values).all()
    assert (np.diff(result.eigenvalues) >= 0).all()
    assert (hessop.ConvergenceWarning in seen) == (not result.converged.all())
    assert result.n_matvec <= 200 * k
    # A product has an error of about 10 eps ||A||.
    slack = 20 * problem.eps * scale
    true = measured(A, *result)
    assert np.abs(true - result.residuals).max() <= slack
    assert (distances(result.eigenvalues, problem.exact) <= result.error_bounds + slack).all()
    assert orthonormality(result.eigenvectors) <= 50 * problem.eps
    largest = np.abs(result.eigenvalues).max()
    limit = max(tol, problem.eps) * largest
    assert (result.residuals[result.converged] <= limit * (1 + 1e-12)).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("momentum", "sign"), [(0.0, 1), (0.0, -1), (0.6, 1), (0.6, -1)])
def test_dominant_pairs(momentum, sign, dtype):
    """The largest in magnitude, one after the other, of either sign."""
    w = sign * np.concatenate([[-10.0, 8.0, -6.0, 4.5], np.linspace(-2, 2, 60)])
    A = synthetic.operator(w, dtype=dtype, rng=0)
    result = hessop.deflated_power_iteration(A, 4, momentum=momentum, tol=1e-5, rng=0)
    assert result.converged.all()
    # A Rayleigh quotient is off by the residual squared over the gap, 1e-8 / 1.5 here.
    expected = np.sort(w[:4])
    np.testing.assert_allclose(result.eigenvalues, expected, rtol=0, atol=50 * EPS[dtype] + 1e-7)
    assert orthonormality(result.eigenvectors) <= 20 * EPS[dtype]
    assert (measured(A, *result) <= 1.1e-5 * 10).all()


class TestMomentum:
    """Polyak's, after De Sa et al."""

    # 1 / 0.98: without momentum the error falls by 0.98 a step
    SPECTRUM = np.concatenate([[1.0, 0.98], np.linspace(-0.9, 0.9, 60)])

    def test_best_momentum_needs_far_fewer_products(self):
        """With a quarter of the square of the second eigenvalue."""
        A = synthetic.operator(self.SPECTRUM, rng=0)
        plain, fast = (
            hessop.deflated_power_iteration(A, momentum=mu, tol=1e-8, rng=0)
            for mu in (0.0, 0.98**2 / 4)
        )
        assert plain.converged.all()
        assert fast.converged.all()
        # sqrt of the relative gap, 0.14, instead of the gap, 0.02: about a fourth
        assert fast.n_matvec < plain.n_matvec / 2.5
        for result in (plain, fast):
            np.testing.assert_allclose(result.eigenvalues, [1.0], rtol=0, atol=1e-12)

    @pytest.mark.parametrize("momentum", [0.0, 0.1, 0.24])
    @pytest.mark.parametrize("steps", [2, 10, 60])
    def test_eigenvalue_and_residual_are_those_of_the_operator(self, momentum, steps):
        """At any step: the Rayleigh quotient and ||A x - w x||, whatever the momentum does."""
        A = synthetic.operator(self.SPECTRUM, rng=0)
        result, _ = quietly(A, momentum=momentum, maxiter=steps, tol=0, rng=0)
        x = result.eigenvectors[:, 0]
        Ax = A @ x
        assert result.eigenvalues[0] == pytest.approx(x @ Ax, abs=1e-14)
        assert result.residuals[0] == pytest.approx(np.linalg.norm(Ax - (x @ Ax) * x), abs=1e-14)

    def test_iterates_are_those_of_the_paper(self):
        """Algorithm 1, unnormalised: a polynomial recurrence in A applied to the start."""
        A = synthetic.operator(self.SPECTRUM, rng=0)
        v0, mu = np.random.default_rng(0).standard_normal(62), 0.2
        older, newer = np.zeros(62), v0
        for steps in range(1, 30):
            result, _ = quietly(A, v0=v0, momentum=mu, maxiter=steps, tol=0)
            x = newer / np.linalg.norm(newer)
            assert abs(x @ result.eigenvectors[:, 0]) == pytest.approx(1.0, abs=1e-12)
            older, newer = newer, A @ newer - mu * older

    def test_too_much_momentum_does_not_converge_and_says_so(self):
        """From a quarter of the square of the first eigenvalue on."""
        A = synthetic.operator(self.SPECTRUM, rng=0)
        with pytest.warns(hessop.ConvergenceWarning, match="lower `momentum`"):
            result = hessop.deflated_power_iteration(A, momentum=0.3, maxiter=300, rng=0)
        assert not result.converged.any()
        assert np.isfinite(result.residuals).all()


class TestHonesty:
    def test_pair_of_equal_magnitude_cannot_be_told_apart(self):
        """The iterate turns in their plane; the residual is large and is not hidden."""
        A = synthetic.operator(np.concatenate([[-3.0, 3.0], np.linspace(-1, 1, 30)]), rng=0)
        with pytest.warns(hessop.ConvergenceWarning, match="1 of 1 eigenvalues did not converge"):
            result = hessop.deflated_power_iteration(A, maxiter=200, rng=0)
        assert not result.converged.any()
        assert result.residuals[0] > 0.5
        assert result.n_matvec == 200

    def test_both_parts_of_the_criterion(self):
        """A still Rayleigh quotient is not enough: the residual must be small too."""
        # From an even mixture of -3 and 3 the quotient is 0 at every step, exactly still.
        A = hessop.aslinearoperator(np.diag([3.0, -3.0]))
        result, seen = quietly(A, v0=np.ones(2), maxiter=50)
        assert hessop.ConvergenceWarning in seen
        np.testing.assert_allclose(result.eigenvalues, [0.0], atol=1e-14)
        np.testing.assert_allclose(result.residuals, [3.0], rtol=1e-14)

    def test_a_small_residual_is_not_enough_either(self):
        """The first quotient has nothing to be compared with: two products at least."""
        A, widths = recorded(np.diag([3.0, 1.0, 0.5]))
        result = hessop.deflated_power_iteration(A, v0=np.eye(3)[0])
        assert result.converged.all()
        assert sum(widths) == result.n_matvec == 2

    def test_maxiter_counts_products_of_each_pair(self):
        """And a pair that fails does not stop the next."""
        A, widths = recorded(synthetic.operator("uniform", 100, rng=0))
        result, seen = quietly(A, 3, maxiter=7, tol=1e-12, rng=0)
        assert seen == [hessop.ConvergenceWarning]
        assert result.n_matvec == sum(widths) == len(widths) == 21
        assert result.eigenvalues.shape == (3,)
        assert not result.converged.any()

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    def test_tolerance_below_rounding_is_raised_to_it(self, dtype):
        """tol = 0 asks for what the dtype can do."""
        A = synthetic.operator([5.0, 1.0, 0.5, 0.1], dtype=dtype, reflections=0, rng=0)
        result = hessop.deflated_power_iteration(A, tol=0, rng=0)
        assert result.converged.all()
        assert result.residuals[0] <= EPS[dtype] * 5

    @pytest.mark.parametrize("scale", [1e-20, 1e-6, 1e6, 1e20])
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    def test_scale_does_not_matter(self, scale, dtype):
        """The same steps on any scale."""
        w = np.concatenate([[4.0, -3.0], np.linspace(-1, 1, 20)])
        spent = {
            hessop.deflated_power_iteration(
                synthetic.operator(s * w, dtype=dtype, rng=0), 2, tol=1e-3, rng=0
            ).n_matvec
            for s in (1.0, scale)
        }
        assert max(spent) - min(spent) <= 2  # at the limit, rounding may cost a step


class TestDegenerate:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    @pytest.mark.parametrize("k", [1, 3])
    def test_zero_operator(self, k, dtype):
        """Any orthonormal vectors, value 0, converged, no NaN."""
        A = synthetic.operator("zero", 10, dtype=dtype, rng=0)
        result = hessop.deflated_power_iteration(A, k, rng=0)
        np.testing.assert_array_equal(result.eigenvalues, 0.0)
        np.testing.assert_array_equal(result.residuals, 0.0)
        assert result.converged.all()
        assert orthonormality(result.eigenvectors) <= 10 * EPS[dtype]

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    def test_identity(self, dtype):
        """Every vector will do, as many as there are."""
        A = synthetic.operator("identity", 8, dtype=dtype, rng=0)
        result = hessop.deflated_power_iteration(A, 8, rng=0)
        np.testing.assert_allclose(result.eigenvalues, 1.0, rtol=20 * EPS[dtype])
        assert orthonormality(result.eigenvectors) <= 20 * EPS[dtype]

    def test_rank_one(self):
        """The rest is zero, to rounding of the first."""
        A = synthetic.operator("rank_one", 20, rng=0)
        result = hessop.deflated_power_iteration(A, 3, rng=0)
        np.testing.assert_allclose(result.eigenvalues, [0.0, 0.0, 3.0], rtol=0, atol=1e-14)

    @pytest.mark.parametrize("value", [0.0, -2.5, 1e-200, 1e200])
    def test_one_by_one(self, value):
        """The smallest matrix."""
        result = hessop.deflated_power_iteration(np.array([[value]]), rng=0)
        np.testing.assert_allclose(result.eigenvalues, [value], rtol=1e-15)

    def test_multiple_eigenvalue(self):
        """Each copy in turn, by deflation."""
        A = synthetic.operator("multiple", 60, rng=0)
        result = hessop.deflated_power_iteration(A, 4, tol=1e-8, rng=0)
        np.testing.assert_allclose(result.eigenvalues, 5.0, rtol=1e-13)

    def test_whole_spectrum(self):
        """k = n, of mixed signs."""
        A = synthetic.operator([8.0, -5.0, 3.0, -1.5, 0.5], rng=0)
        result = hessop.deflated_power_iteration(A, 5, tol=1e-10, rng=0)
        np.testing.assert_allclose(result.eigenvalues, A.eigenvalues, rtol=0, atol=1e-12)


class TestLockAndStart:
    def test_locked_vectors_do_not_appear_again(self):
        """The next pairs do."""
        A = synthetic.operator([9.0, -7.0, 5.0, -3.0, *np.linspace(-1, 1, 20)], rng=0)
        lock = A.eigenvectors([0, 23])
        w, v = hessop.deflated_power_iteration(A, 2, tol=1e-8, lock=lock, rng=0)
        np.testing.assert_allclose(w, [-3.0, 5.0], rtol=1e-12)
        assert np.abs(lock.T @ v).max() <= 1e-14

    def test_dependent_columns_lock_no_more_than_their_span(self):
        """A column given twice locks nothing else."""
        A = np.diag([5.0, 3.0, 1.0])
        lock = np.eye(3)[:, [0, 0]]
        result = hessop.deflated_power_iteration(A, 2, tol=1e-10, lock=lock, rng=0)
        np.testing.assert_allclose(result.eigenvalues, [1.0, 3.0], rtol=1e-12)

    def test_start_is_for_the_first_pair(self):
        """Near the third eigenvector, with a little of everything: the first pair all the same."""
        A = np.diag([5.0, 3.0, 1.0])
        result = hessop.deflated_power_iteration(
            A, 3, v0=np.array([0.01, 0.01, 1.0]), tol=1e-10, rng=0
        )
        np.testing.assert_allclose(result.eigenvalues, [1.0, 3.0, 5.0], rtol=1e-12)

    def test_nothing_given_is_written(self):
        """Neither the start nor the locked columns, read-only as they are."""
        v0, lock = np.arange(1.0, 7.0), np.eye(6)[:, :1]
        before = v0.tobytes(), lock.tobytes()
        v0.flags.writeable = lock.flags.writeable = False
        hessop.deflated_power_iteration(np.diag(np.arange(6.0)), 2, v0=v0, lock=lock, rng=0)
        assert (v0.tobytes(), lock.tobytes()) == before

    def test_randomness(self):
        """The same int the same bits; another, others; torch's global state is left alone."""
        A = synthetic.operator("hessian_like", 40, rng=0)
        state = torch.get_rng_state()
        one, two, other = (
            quietly(A, 2, maxiter=20, rng=s)[0].eigenvectors.tobytes() for s in (3, 3, 4)
        )
        assert one == two != other
        assert torch.equal(torch.get_rng_state(), state)

    def test_array_types(self):
        """Tensors for a product, NumPy for an operator; float32 stays."""
        A = synthetic.operator([3.0, 1.0, 0.5], dtype=torch.float32, rng=0)
        for which, kind in ((A, np.ndarray), (A.product, torch.Tensor)):
            w, v = hessop.deflated_power_iteration(which, 1, rng=0)
            assert isinstance(v, kind)
            assert tuple(v.shape) == (3, 1)
            assert w.dtype == np.float64


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite_is_refused(bad):
    """At the first step and later."""
    d = torch.arange(1.0, 11.0, dtype=torch.float64)
    for after in (0, 4):
        calls = []

        def matmat(X, after=after, calls=calls):
            calls.append(1)
            return d[:, None] * X * (bad if len(calls) > after else 1.0)

        A = hessop.TorchOperator(matmat, 10, dtype=torch.float64)
        with pytest.raises(FloatingPointError, match="`A` must give finite products"):
            hessop.deflated_power_iteration(A, rng=0)
