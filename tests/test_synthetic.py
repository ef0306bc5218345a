"""Operators whose answers are known had better be right about them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings

import hessop
from hessop import synthetic
from tests.spectra import measured, orthonormality
from tests.strategies import problems

EPS = {torch.float64: 2.0**-52, torch.float32: 2.0**-23}


class TestSpectra:
    def test_names(self):
        """The report's four come first."""
        assert synthetic.REPORT == ("gaussian", "uniform", "banded", "hessian_like")
        assert synthetic.SPECTRA[:4] == synthetic.REPORT
        assert len(set(synthetic.SPECTRA)) == len(synthetic.SPECTRA)

    @pytest.mark.parametrize("name", synthetic.SPECTRA)
    @pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 8, 20, 101])
    def test_any_size(self, name, n):
        """n values, ascending, finite, float64, the same for the same seed."""
        w = synthetic.spectrum(name, n, rng=0)
        assert w.shape == (n,)
        assert w.dtype == np.float64
        assert np.isfinite(w).all()
        assert (np.diff(w) >= 0).all()
        np.testing.assert_array_equal(w, synthetic.spectrum(name, n, rng=0))

    @pytest.mark.parametrize("name", ["gaussian", "uniform", "banded", "hessian_like", "graded"])
    def test_seeds_differ(self, name):
        """What is drawn is drawn from `rng`."""
        one, two = (synthetic.spectrum(name, 50, rng=s) for s in (0, 1))
        assert (one != two).any()
        assert (synthetic.spectrum(name, 50) != synthetic.spectrum(name, 50)).any()

    def test_gaussian(self):
        """Standard normal: moments within four standard errors."""
        w = synthetic.spectrum("gaussian", 10_000, rng=0)
        assert abs(w.mean()) <= 4 / 100
        assert abs(w.var() - 1) <= 4 * np.sqrt(2 / 10_000)

    def test_uniform(self):
        """On [-50, 50]."""
        w = synthetic.spectrum("uniform", 10_000, rng=0)
        assert -50 <= w[0] < -49.9
        assert 49.9 < w[-1] <= 50
        counts, _ = np.histogram(w, 10, (-50, 50))
        assert np.abs(counts - 1000).max() <= 4 * np.sqrt(900)

    def test_banded(self):
        """Five bands of width 1, well apart."""
        w = synthetic.spectrum("banded", 5000, rng=0)
        centres = np.array([-40.0, -20, 0, 20, 40])
        nearest = np.abs(w[:, None] - centres)
        assert nearest.min(axis=1).max() < 6
        counts = np.bincount(nearest.argmin(axis=1))
        assert np.abs(counts - 1000).max() <= 4 * np.sqrt(800)

    def test_hessian_like(self):
        """Half exact zeros, a bulk, twenty outliers of either sign, mostly positive."""
        w = synthetic.spectrum("hessian_like", 1000, rng=0)
        assert (w == 0).sum() == 500
        outliers = w[np.abs(w) >= 10]
        assert len(outliers) == 20
        assert np.abs(outliers).max() <= 60
        assert 0 < (outliers < 0).sum() < 10
        assert (synthetic.spectrum("hessian_like", 30, rng=0) == 0).sum() == 15
        assert (np.abs(synthetic.spectrum("hessian_like", 50, rng=0)) >= 10).sum() == 5

    def test_identity_zero_and_rank_one(self):
        """As named."""
        np.testing.assert_array_equal(synthetic.spectrum("identity", 4), [1, 1, 1, 1])
        np.testing.assert_array_equal(synthetic.spectrum("zero", 4), [0, 0, 0, 0])
        np.testing.assert_array_equal(synthetic.spectrum("rank_one", 4), [0, 0, 0, 3])

    def test_two_valued(self):
        """A third -1, two thirds 2."""
        w = synthetic.spectrum("two_valued", 30)
        assert (w == -1).sum() == 10
        assert (w == 2).sum() == 20

    def test_clustered(self):
        """Triples 1e-6 apart at both ends of a bulk on [-1, 1]."""
        w = synthetic.spectrum("clustered", 40, rng=0)
        np.testing.assert_allclose(w[-3:], [10, 10 + 1e-6, 10 + 2e-6], rtol=1e-15)
        np.testing.assert_allclose(w[:3], [-8 - 2e-6, -8 - 1e-6, -8], rtol=1e-15)
        assert np.abs(w[3:-3]).max() <= 1

    def test_multiple(self):
        """Four times 5, three times -4."""
        w = synthetic.spectrum("multiple", 40, rng=0)
        assert (w == 5).sum() == 4
        assert (w == -4).sum() == 3
        assert np.abs(w[3:-4]).max() <= 1

    def test_plus_minus(self):
        """Pairs of equal magnitude; one without a partner for odd n."""
        for n in (40, 41):
            w = synthetic.spectrum("plus_minus", n, rng=0)
            magnitudes = np.sort(np.abs(w))[::-1]
            assert len(set(magnitudes)) == (n + 1) // 2
        w = synthetic.spectrum("plus_minus", 40, rng=0)
        np.testing.assert_array_equal(w, -w[::-1])

    def test_graded(self):
        """Twelve orders of magnitude, both signs."""
        w = synthetic.spectrum("graded", 60, rng=0)
        magnitudes = np.sort(np.abs(w))
        assert magnitudes[0] == pytest.approx(1e-12)
        assert magnitudes[-1] == 1.0
        ratios = magnitudes[1:] / magnitudes[:-1]
        np.testing.assert_allclose(ratios, ratios[0], rtol=1e-10)
        assert (w < 0).any()
        assert (w > 0).any()

    def test_tiny_and_huge(self):
        """Twenty orders below and above one."""
        for name, scale in (("tiny", 1e-20), ("huge", 1e20)):
            w = synthetic.spectrum(name, 200, rng=0) / scale
            assert 0.5 < w.std() < 2


class TestOperator:
    @settings(max_examples=60)
    @given(problems())
    def test_eigenpairs_are_exact(self, problem):
        """``A v = w v`` to rounding, all of them, for an orthonormal basis."""
        A, n = problem.operator(), problem.n
        np.testing.assert_array_equal(A.eigenvalues, problem.exact)
        v = A.eigenvectors(range(n))
        assert v.dtype == A.dtype
        assert orthonormality(v) <= 10 * problem.eps
        assert (measured(A, A.eigenvalues, v) <= 20 * problem.eps * problem.scale).all()

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    @pytest.mark.parametrize("reflections", [0, 1, 4])
    def test_dense_form(self, reflections, dtype):
        """Symmetric, with the spectrum that was asked for, by a dense solver."""
        A = synthetic.operator("hessian_like", 40, dtype=dtype, reflections=reflections, rng=0)
        M = A @ np.eye(40, dtype=A.dtype)
        scale = np.abs(A.eigenvalues).max()
        assert np.abs(M - M.T).max() <= 10 * EPS[dtype] * scale
        w = np.linalg.eigvalsh(M.astype(np.float64))
        np.testing.assert_allclose(w, A.eigenvalues, rtol=0, atol=40 * EPS[dtype] * scale)
        if reflections:
            assert np.abs(M - np.diag(np.diag(M))).max() > 1e-3 * scale

    def test_without_reflections_it_is_diagonal(self):
        """The spectrum in order, to the bit."""
        A = synthetic.operator([3.0, -1.0, 2.0], reflections=0)
        np.testing.assert_array_equal(A @ np.eye(3), np.diag([-1.0, 2.0, 3.0]))
        np.testing.assert_array_equal(A.eigenvectors([2, 0]), np.eye(3)[:, [2, 0]])

    def test_it_is_an_operator(self):
        """Of SciPy's, with a product that counts."""
        A = synthetic.operator("gaussian", 10, dtype=torch.float32, rng=0)
        assert A.shape == (10, 10)
        assert A.dtype == np.float32
        _ = A @ np.ones((10, 3))
        assert A.product.n_matvec == 3
        assert isinstance(A, hessop.synthetic.SyntheticOperator)

    def test_eigenvectors_by_index(self):
        """One, several, from the end; an array's order is kept."""
        A = synthetic.operator("gaussian", 12, rng=0)
        every = A.eigenvectors(range(12))
        np.testing.assert_allclose(A.eigenvectors(3), every[:, [3]], rtol=0, atol=1e-15)
        np.testing.assert_allclose(A.eigenvectors([7, 2]), every[:, [7, 2]], rtol=0, atol=1e-15)
        np.testing.assert_allclose(A.eigenvectors(-1), every[:, [11]], rtol=0, atol=1e-15)
        with pytest.raises(IndexError):
            A.eigenvectors(12)

    def test_seeds(self):
        """One rng for spectrum and basis."""
        one, two, other = (synthetic.operator("gaussian", 12, rng=s) for s in (0, 0, 1))
        x = np.ones(12)
        np.testing.assert_array_equal(one @ x, two @ x)
        assert (one @ x != other @ x).any()
        assert (one.eigenvalues != other.eigenvalues).any()

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    def test_a_million_dimensions(self, dtype):
        """A product, and the Rayleigh quotient and residual of an exact eigenvector."""
        n = 1_000_000
        A = synthetic.operator("hessian_like", n, dtype=dtype, reflections=2, rng=0)
        for index in (0, n - 1):
            v = A.eigenvectors(index)[:, 0]
            Av = (A @ v).astype(np.float64)
            w = A.eigenvalues[index]
            # float32 sums over a million entries, in the reflections, leave 1e-6 or so
            tol = 1e-12 if dtype == torch.float64 else 1e-5
            assert v.astype(np.float64) @ Av == pytest.approx(w, rel=tol)
            assert np.linalg.norm(Av - w * v) <= tol * np.abs(A.eigenvalues).max()

    @pytest.mark.parametrize("n", [1, 2])
    def test_smallest(self, n):
        """One and two dimensions, reflected or not."""
        for reflections in (0, 1, 4):
            A = synthetic.operator(np.arange(1.0, n + 1), reflections=reflections, rng=0)
            w = np.linalg.eigvalsh(A @ np.eye(n))
            np.testing.assert_allclose(w, np.arange(1.0, n + 1), rtol=1e-14)

    def test_spectrum_given_is_not_kept(self):
        """Nor written, nor shared."""
        w = np.array([3.0, 1.0, 2.0])
        A = synthetic.operator(w, reflections=0)
        w[:] = 0.0
        np.testing.assert_array_equal(A.eigenvalues, [1.0, 2.0, 3.0])
        np.testing.assert_array_equal(A @ np.ones(3), [1.0, 2.0, 3.0])
        ascending = np.array([1.0, 2.0, 3.0])
        B = synthetic.operator(ascending, reflections=0)
        ascending[:] = 0.0
        np.testing.assert_array_equal(B @ np.ones(3), [1.0, 2.0, 3.0])


class TestRefusals:
    @pytest.mark.parametrize("name", ["Gaussian", "", None, 3])
    def test_unknown_name(self, name):
        """With the list of names."""
        with pytest.raises(
            ValueError, match=r"`name` must be one of 'gaussian', 'uniform', .*; got"
        ):
            synthetic.spectrum(name, 5)

    def test_unknown_name_of_an_operator(self):
        """The same."""
        with pytest.raises(ValueError, match=r"`name` must be one of 'gaussian', .*; got 'flat'"):
            synthetic.operator("flat", 5)

    @pytest.mark.parametrize("make", [synthetic.spectrum, synthetic.operator])
    @pytest.mark.parametrize("n", [0, -1])
    def test_size_out_of_range(self, make, n):
        """At least 1."""
        with pytest.raises(ValueError, match=f"`n` must be an integer >= 1; got {n}"):
            make("gaussian", n)

    @pytest.mark.parametrize("make", [synthetic.spectrum, synthetic.operator])
    @pytest.mark.parametrize("n", [None, 2.5, "ten"])
    def test_size_of_the_wrong_kind(self, make, n):
        """An integer, and a name needs one."""
        with pytest.raises(TypeError, match="`n` must be an integer >= 1; got"):
            make("gaussian", n)

    def test_size_that_contradicts(self):
        """A spectrum has a size of its own."""
        assert synthetic.operator([1.0, 2.0], 2).shape == (2, 2)
        with pytest.raises(ValueError, match="`n` must"):
            synthetic.operator([1.0, 2.0], 7)

    @pytest.mark.parametrize("values", [[], np.ones((2, 2)), 3.0])
    def test_shape_of_the_spectrum(self, values):
        """One-dimensional, and not empty."""
        with pytest.raises(ValueError, match="`eigenvalues` must"):
            synthetic.operator(values)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_spectrum_not_finite(self, bad):
        """Refused."""
        with pytest.raises(ValueError, match="`eigenvalues` must be finite; got NaN or Inf"):
            synthetic.operator([1.0, bad])

    @pytest.mark.parametrize("values", [np.array([1.0, 2j]), [1.0, 2j]])
    def test_complex_spectrum(self, values):
        """Not cut to its real part."""
        with pytest.raises(TypeError, match="`eigenvalues` must be real; got complex128"):
            synthetic.operator(values)

    def test_other_arguments(self):
        """dtype, reflections and rng by name."""
        with pytest.raises(
            ValueError, match=r"`dtype` must be one of torch.float32, torch.float64"
        ):
            synthetic.operator([1.0], dtype=torch.float16)
        with pytest.raises(ValueError, match="`reflections` must be an integer >= 0; got -1"):
            synthetic.operator([1.0], reflections=-1)
        with pytest.raises(TypeError, match="`rng` must be None, an int"):
            synthetic.operator([1.0], rng="seed")
        with pytest.raises(TypeError, match="`rng` must be None, an int"):
            synthetic.spectrum("gaussian", 4, rng="seed")
