"""Gaps, and what residuals say of eigenvectors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import hessop
from hessop import perturbation
from hessop._results import EigenResult
from tests.perturbation import matrices
from tests.strategies import seeds, spectra


class TestGap:
    @pytest.mark.parametrize(
        ("which", "expected"),
        [
            ("LM", [3.0, 1.0, 4.0]),
            ("LA", [4.0, 4.0, 1.5]),
            ("SA", [5.5, 1.5, 4.0]),
            ("SM", [0.5, 4.0, 1.0]),
        ],
    )
    def test_values(self, which, expected):
        """By hand, in any order."""
        w = [5.0, -6.0, 1.0, 9.0, -0.5]
        assert [perturbation.gap(w, k, which) for k in (1, 2, 3)] == expected

    @settings(max_examples=100)
    @given(spectra(12), st.integers(1, 11), st.sampled_from(["LM", "LA", "SA", "SM"]))
    def test_no_other_is_nearer(self, w, k, which):
        """Nor would one be among values that lead by less."""
        assume(k < len(w))
        key = {"LM": np.abs(w), "LA": w, "SA": -w, "SM": -np.abs(w)}[which]
        order = np.argsort(-key, kind="stable")
        chosen, others = w[order[:k]], w[order[k:]]
        found = perturbation.gap(w, k, which)
        assert 0 <= found <= np.abs(chosen[:, None] - others).min()
        # and the k + 1 leading ones are enough to know
        assert perturbation.gap(w[order[: k + 1]], k, which) == found

    def test_errors_of_a_result_are_subtracted(self):
        """Down to nothing."""
        A = matrices.matrix(np.linspace(0, 10, 60))
        result = hessop.lanczos(A, k=3, which="LA", tol=1e-2, verify=False, rng=0)
        w, e = result.eigenvalues, result.error_bounds
        expected = w[1] - e[1] - w[0] - e[0]
        assert 0 < expected < w[1] - w[0]
        assert perturbation.gap(result, 2, "LA") == pytest.approx(expected, rel=1e-12)
        wide = EigenResult(w, None, e, np.ones(3), np.ones(3, bool), False, 0, 0)
        assert perturbation.gap(wide, 2, "LA") == 0.0

    @pytest.mark.parametrize(
        ("w", "k", "which", "kind", "match"),
        [
            ([1.0, 2.0], 2, "LM", ValueError, r"^`k` must be an integer in \[1, 1\]; got 2\."),
            ([1.0, 2.0], 0, "LM", ValueError, r"^`k` must be an integer in \[1, 1\]; got 0\."),
            ([1.0, 2.0], 1.0, "LM", TypeError, r"^`k` must be an integer in \[1, 1\]; got 1\.0\."),
            ([1.0], 1, "LM", ValueError, r"^`w` must have k \+ 1 values or more; got 1\."),
            ([1.0, 2.0], 1, "BE", ValueError, r"^`which` must be one of 'LM', .*; got 'BE'\."),
        ],
    )
    def test_bad_input(self, w, k, which, kind, match):
        """Named, with the rule and what came."""
        with pytest.raises(kind, match=match):
            perturbation.gap(w, k, which)


def ritz(A, V, bounds=None):
    """The Rayleigh-Ritz pairs of the span of some columns, with true residuals."""
    Q = np.linalg.qr(V)[0]
    w, S = np.linalg.eigh(Q.T @ A @ Q)
    V = Q @ S
    r = np.linalg.norm(A @ V - V * w, axis=0)
    bounds = r if bounds is None else bounds
    return EigenResult(w, V, r, bounds, np.ones(len(w), bool), True, 0, 0, noise=1e-14, scale=1.0)


class TestEigenvectorBounds:
    @settings(max_examples=400)
    @given(spectra(10), st.integers(1, 9), st.sampled_from([1e-8, 1e-3, 0.03, 0.3]), seeds)
    def test_they_hold(self, w, k, size, seed):
        """For vectors near the leading ones, of any spectrum."""
        scale = np.abs(w).max()
        assume(k < len(w) and scale > 0)
        A = matrices.matrix(w / scale, seed)
        exact, U = np.linalg.eigh(A)
        noise = np.random.default_rng(seed).standard_normal((len(w), k))
        result = ritz(A, U[:, -k:] + size * noise)
        rest = (-np.inf, exact[-k - 1])
        norm = np.linalg.norm(result.residuals)
        # a complete set: its values are those of the k eigenvalues above the rest
        assume((np.abs(result.eigenvalues - exact[-k:]) <= norm + 1e-13).all())
        V = result.eigenvectors
        together = perturbation.eigenvector_bounds(result, rest, together=True)
        assert np.linalg.norm(V - U[:, -k:] @ (U[:, -k:].T @ V), 2) <= together + 1e-9
        bounds = perturbation.eigenvector_bounds(result, rest)
        for theta, v, bound in zip(result.eigenvalues, V.T, bounds, strict=True):
            u = U[:, np.argmin(np.abs(exact - theta))]
            if bound < 1:
                assert np.linalg.norm(v - u * (u @ v)) <= bound * (1 + 1e-9) + 1e-9

    def test_by_hand(self):
        """Residual over distance, to the others of the result or to the rest."""
        w, r = np.array([1.0, 4.0, 6.0]), np.array([0.1, 0.2, 0.3])
        result = EigenResult(w, np.eye(5)[:, :3], r, 2 * r, r > 0, True, 0, 0, noise=0.0, scale=6.0)
        found = perturbation.eigenvector_bounds(result, (-1.0, 0.0))
        np.testing.assert_allclose(found, [0.1 / 1.0, 0.2 / 1.4, 0.3 / 1.6], rtol=1e-14)
        found = perturbation.eigenvector_bounds(result, (-1.0, 0.0), together=True)
        assert found == pytest.approx(np.sqrt(0.14) / 1.0, rel=1e-14)
        assert isinstance(found, float)
        # intervals that overlap: any of the three may be off by all residuals together
        result = EigenResult(w, np.eye(5)[:, :3], r, 9 * r, r > 0, True, 0, 0, noise=0.0, scale=6.0)
        norm = np.sqrt(0.14)
        found = perturbation.eigenvector_bounds(result, (np.inf, np.inf))
        expected = [0.1 / (3 - norm), 0.2 / (2 - norm), 0.3 / (2 - norm)]
        np.testing.assert_allclose(found, expected, rtol=1e-14)

    def test_noise_counts(self):
        """A residual is not known better than the products."""
        w, zero = np.array([1.0, 2.0]), np.zeros(2)
        result = EigenResult(
            w, np.eye(3)[:, :2], zero, zero, w > 0, True, 0, 0, noise=1e-3, scale=2.0
        )
        found = perturbation.eigenvector_bounds(result, (-1.0, 0.0))
        np.testing.assert_allclose(found, [2e-3, 2e-3], rtol=1e-12)

    def test_a_cluster(self):
        """Its vectors are unknown, its span is not."""
        w = np.concatenate([np.linspace(0, 1, 60), [5.0, 5.0, 8.0]])
        A = matrices.matrix(w)
        result = hessop.lanczos(A, k=3, which="LA", rng=0)
        bounds = perturbation.eigenvector_bounds(result, (0.0, 1.0))
        np.testing.assert_array_equal(bounds[:2], 1.0)
        assert bounds[2] < 1e-12
        assert perturbation.eigenvector_bounds(result, (0.0, 1.0), together=True) < 1e-12

    def test_inside_the_rest(self):
        """Nothing can be said."""
        result = hessop.lanczos(np.diag([1.0, 2.0, 5.0]), k=1, rng=0)
        assert perturbation.eigenvector_bounds(result, (0.0, 6.0)).tolist() == [1.0]
        assert perturbation.eigenvector_bounds(result, (0.0, 6.0), together=True) == 1.0

    def test_of_lanczos(self):
        """They are bounds for what a loose tolerance gives, and not by orders of magnitude."""
        w = np.concatenate([np.linspace(-1, 1, 200), [3.0, 4.0, 6.0]])
        A = matrices.matrix(w)
        result = hessop.lanczos(A, k=3, which="LM", tol=1e-3, rng=0)
        U = np.linalg.eigh(A)[1][:, -3:]
        bounds = perturbation.eigenvector_bounds(result, (-1.0, 1.0))
        sines = np.linalg.norm(result.eigenvectors - U * (U * result.eigenvectors).sum(0), axis=0)
        assert (sines <= bounds).all()
        assert (bounds <= np.maximum(10 * sines, 1e-12)).all()

    @pytest.mark.parametrize(
        ("rest", "kind", "match"),
        [
            (
                (2.0, 1.0),
                ValueError,
                r"^`rest` must be a pair \(low, high\) .*; got \(2\.0, 1\.0\)",
            ),
            ((np.nan, 1.0), ValueError, r"^`rest` must be a pair .*; got \(nan, 1\.0\)\."),
            (1.0, TypeError, r"^`rest` must be a pair .*; got 1\.0\."),
            ((1.0, 2.0, 3.0), TypeError, r"^`rest` must be a pair .*; got \(1\.0, 2\.0, 3\.0\)\."),
            (("x", 1.0), TypeError, r"^`rest` must be a pair .*; got \('x', 1\.0\)\."),
        ],
    )
    def test_bad_rest(self, rest, kind, match):
        """Named, with the rule and what came."""
        result = hessop.lanczos(np.diag([1.0, 2.0, 5.0]), k=1, rng=0)
        with pytest.raises(kind, match=match):
            perturbation.eigenvector_bounds(result, rest)

    def test_bad_result(self):
        """Residuals are needed."""
        with pytest.raises(TypeError, match=r"^`result` must be an EigenResult; got tuple\."):
            perturbation.eigenvector_bounds((np.ones(1), np.ones((2, 1))), (0.0, 1.0))
