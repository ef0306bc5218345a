"""What algorithms return, warn with and raise."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import numpy as np
import pytest
import scipy.stats
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence

import hessop
from hessop._estimates import ConfidenceInterval, Estimate
from hessop._results import EigenResult, NoConvergence, Tridiagonal


def eigen_result():
    """A result with k = 2, n = 3."""
    return EigenResult(
        eigenvalues=np.array([1.0, 2.0]),
        eigenvectors=np.eye(3)[:, :2],
        residuals=np.zeros(2),
        error_bounds=np.zeros(2),
        converged=np.ones(2, bool),
        complete=True,
        n_matvec=5,
        n_restart=0,
    )


class TestWarnings:
    @pytest.mark.parametrize("kind", [hessop.ConvergenceWarning, hessop.PrecisionWarning])
    def test_they_are_runtime_warnings(self, kind):
        """One filter catches both."""
        assert issubclass(kind, RuntimeWarning)


class TestNoConvergence:
    def test_scipy_clauses_catch_it(self):
        """Written for `eigsh` of SciPy, by either name or by the built-in one."""
        for kind in (ArpackNoConvergence, ArpackError, RuntimeError):
            with pytest.raises(kind, match=r"^only 1 of 3$"):
                raise NoConvergence("only 1 of 3", np.ones(1), np.ones((4, 1)))

    def test_it_carries_what_converged(self):
        """By the names of SciPy."""
        error = NoConvergence("text", np.array([2.0]), np.ones((4, 1)))
        assert error.eigenvalues == 2.0
        assert error.eigenvectors.shape == (4, 1)

    @pytest.mark.parametrize("text", ["100% wrong", "%s %d", "%(code)s", "{}"])
    def test_the_text_is_taken_literally(self, text):
        """ARPACK's errors format their text; ours is finished."""
        assert str(NoConvergence(text, None, None)) == text

    def test_it_survives_pickling(self):
        """A worker process has to be able to send it home."""
        error = pickle.loads(pickle.dumps(NoConvergence("text", np.ones(2), np.ones((4, 2)))))
        assert str(error) == "text"
        np.testing.assert_array_equal(error.eigenvalues, np.ones(2))
        assert error.eigenvectors.shape == (4, 2)


class TestEigenResult:
    def test_it_unpacks_like_scipys_tuple(self):
        """``w, v = result`` and nothing more."""
        result = eigen_result()
        w, v = result
        assert w is result.eigenvalues
        assert v is result.eigenvectors

    def test_it_is_frozen(self):
        """Results are not written to."""
        with pytest.raises(dataclasses.FrozenInstanceError):
            eigen_result().n_matvec = 3

    @pytest.mark.parametrize(
        "copier", [copy.copy, copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r))]
    )
    def test_it_copies_and_pickles(self, copier):
        """Fields and all."""
        result = copier(eigen_result())
        np.testing.assert_array_equal(result.eigenvalues, [1, 2])
        assert result.n_matvec == 5


class TestTridiagonal:
    rng = np.random.default_rng(0)
    T = Tridiagonal(rng.standard_normal(6), np.abs(rng.standard_normal(6)), np.eye(6))

    def dense(self, m):
        beta = self.T.beta[: m - 1]
        return np.diag(self.T.alpha[:m]) + np.diag(beta, 1) + np.diag(beta, -1)

    @pytest.mark.parametrize("m", [1, 2, 5, 6, None])
    def test_eigh_is_that_of_the_leading_block(self, m):
        """Also for one row and for all."""
        size = 6 if m is None else m
        theta, Y = self.T.eigh(m)
        assert (np.diff(theta) >= 0).all()
        np.testing.assert_allclose(theta, np.linalg.eigvalsh(self.dense(size)), atol=1e-13)
        np.testing.assert_allclose(self.dense(size) @ Y, Y * theta, atol=1e-13)
        np.testing.assert_allclose(Y.T @ Y, np.eye(size), atol=1e-13)

    @pytest.mark.parametrize("m", [1, 3, 5])
    def test_residuals_are_those_of_the_leading_block_in_the_whole(self, m):
        """The relation of Lanczos, with the whole T in the place of A."""
        theta, Y = self.T.eigh(m)
        padded = np.vstack([Y, np.zeros((6 - m, m))])
        measured = np.linalg.norm(self.dense(6) @ padded - padded * theta, axis=0)
        np.testing.assert_allclose(self.T.residuals(m), measured, atol=1e-13)

    def test_the_last_residual_uses_what_is_left_over(self):
        """``beta[-1]`` scales the last row of the eigenvectors."""
        expected = self.T.beta[-1] * np.abs(self.T.eigh()[1][-1])
        np.testing.assert_array_equal(self.T.residuals(), expected)


class TestEstimate:
    samples = np.array([1.0, 2.0, 4.0, 9.0])

    def test_mean_and_standard_error(self):
        """As SciPy has them."""
        e = Estimate(self.samples, 40)
        assert e.estimate == float(e) == 4.0
        assert e.standard_error == pytest.approx(scipy.stats.sem(self.samples), rel=1e-14)
        assert e.n_matvec == 40

    @pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
    def test_interval_is_students(self, level):
        """As SciPy's t-test has it, with its field names."""
        low, high = Estimate(self.samples, 4).confidence_interval(level)
        expected = scipy.stats.ttest_1samp(self.samples, 0.0).confidence_interval(level)
        assert (low, high) == pytest.approx((expected.low, expected.high), rel=1e-12)

    def test_interval_has_names(self):
        """``low`` and ``high``."""
        interval = Estimate(self.samples, 4).confidence_interval()
        assert isinstance(interval, ConfidenceInterval)
        assert interval.low < 4.0 < interval.high

    def test_one_sample_has_no_error(self):
        """NaN says that nothing is known, without a warning."""
        e = Estimate(np.array([3.0]), 1)
        assert float(e) == 3.0
        assert np.isnan(e.standard_error)
        assert np.isnan(e.confidence_interval()).all()

    def test_equal_samples_have_no_width(self):
        """A zero error is an interval of no width, not NaN."""
        e = Estimate(np.full(5, 2.0), 5)
        assert e.confidence_interval() == (2.0, 2.0)

    def test_it_is_frozen(self):
        """Results are not written to."""
        with pytest.raises(dataclasses.FrozenInstanceError):
            Estimate(self.samples, 4).n_matvec = 1
