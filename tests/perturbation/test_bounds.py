"""Weyl and Davis-Kahan: they hold, they are reached, and they take a norm in any form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.linalg import aslinearoperator

import hessop
from hessop import perturbation
from hessop._estimates import Estimate
from hessop._norms import NormEstimate
from hessop.quadrature.norm import norm
from tests.perturbation import matrices

EPS = 2.0**-52


def rounding(A, E):
    """What dense float64 eigenvalues of A + E may be off by."""
    return 20 * len(A) * EPS * (np.abs(A).max() + np.abs(E).max())


def sine(v1, v2):
    """Of the largest principal angle, without arc functions."""
    return np.linalg.norm(v2 - v1 @ (v1.T @ v2), 2)


class TestWeyl:
    @settings(max_examples=200)
    @given(matrices.perturbed())
    def test_it_holds(self, pair):
        """For any symmetric A and E."""
        A, E = pair
        low, high = perturbation.weyl(np.linalg.eigvalsh(A), np.linalg.norm(E, 2))
        w, slack = np.linalg.eigvalsh(A + E), rounding(A, E)
        assert (low - slack <= w).all()
        assert (w <= high + slack).all()

    @pytest.mark.parametrize("sign", [-1.0, 1.0])
    def test_it_is_reached(self, sign):
        """By a shift."""
        w = np.array([-1.0, 0.5, 3.0])
        ends = perturbation.weyl(w, 0.25)
        np.testing.assert_array_equal(ends[0 if sign < 0 else 1], w + sign * 0.25)

    def test_notebook_exercise_51(self):
        """Along A + a E the largest change stays on or below the line y = x."""
        rng = np.random.default_rng(0)
        A, E = (M + M.T for M in rng.standard_normal((2, 50, 50)))
        norms = np.linspace(0, 1, 21) * np.linalg.norm(E, 2)
        low, high = perturbation.weyl(np.linalg.eigvalsh(A), norms)
        found = np.array([np.linalg.eigvalsh(A + a * E) for a in np.linspace(0, 1, 21)])
        assert low.shape == high.shape == found.shape == (21, 50)
        assert (low - 1e-12 <= found).all()
        assert (found <= high + 1e-12).all()
        # and not far below it either: a tenth
        change = np.abs(found - found[0]).max(axis=1)
        assert (change[1:] >= 0.1 * norms[1:]).all()

    def test_bounds_of_a_result_are_added(self):
        """A value that is known to within its error only."""
        A = matrices.matrix(np.linspace(0, 10, 60))
        result = hessop.lanczos(A, k=3, which="LA", tol=1e-2, verify=False, rng=0)
        low, high = perturbation.weyl(result, 0.5)
        assert (result.error_bounds > 1e-6).all()
        np.testing.assert_allclose(high - low, 1 + 2 * result.error_bounds, rtol=1e-12)
        np.testing.assert_allclose((low + high) / 2, result.eigenvalues, rtol=1e-12)

    def test_lists_and_tensors(self):
        """Anything that is an array."""
        low, high = perturbation.weyl(torch.tensor([1, 2]), torch.tensor([0.5]))
        assert low.tolist() == [[0.5, 1.5]]
        assert high.tolist() == [[1.5, 2.5]]


class TestDavisKahan:
    @settings(max_examples=400)
    @given(matrices.perturbed(), st.integers(1, 11), st.data())
    def test_it_holds(self, pair, k, data):
        """For the eigenvalues of any window of the spectrum, and for those around one."""
        A, E = pair
        n = len(A)
        assume(k < n)
        first = data.draw(st.integers(0, n - k))
        inside = np.arange(first, first + k)
        chosen = inside if data.draw(st.booleans()) else np.setdiff1d(np.arange(n), inside)
        others = np.setdiff1d(np.arange(n), chosen)
        w, v = np.linalg.eigh(A)
        gap = np.abs(w[chosen][:, None] - w[others]).min()
        bound = perturbation.davis_kahan(gap, np.linalg.norm(E, 2))
        v2 = np.linalg.eigh(A + E)[1]
        slack = rounding(A, E) / gap if gap else 1.0
        assert sine(v[:, chosen], v2[:, chosen]) <= bound * (1 + 1e-9) + slack

    @pytest.mark.parametrize("ratio", [0.01, 0.2, 0.4, 0.49])
    def test_it_is_reached(self, ratio):
        """Where E acts across the bisector of the old and new eigenvectors."""
        angle = np.arcsin(2 * ratio) / 2
        reflection = np.array([[-np.sin(2 * angle), np.cos(2 * angle)]])
        E = ratio * np.vstack([reflection, [[np.cos(2 * angle), np.sin(2 * angle)]]])
        A = np.diag([0.5, -0.5])
        assert np.linalg.norm(E, 2) == pytest.approx(ratio, rel=1e-14)
        found = sine(np.eye(2)[:, :1], np.linalg.eigh(A + E)[1][:, 1:])
        bound = perturbation.davis_kahan(1.0, ratio)
        assert found == pytest.approx(bound, rel=1e-12)
        # which the quotient of norm and gap is not: it needs the gap to the perturbed values
        assert found > ratio

    def test_no_more_from_half_the_gap_on(self):
        """Two values meet there, and the vectors may change places."""
        A, E = np.diag([0.5, -0.5]), np.diag([-0.501, 0.501])
        assert sine(np.eye(2)[:, :1], np.linalg.eigh(A + E)[1][:, 1:]) == 1.0
        np.testing.assert_array_equal(perturbation.davis_kahan(1.0, [0.5, 0.501, np.inf]), 1.0)
        assert perturbation.davis_kahan(1.0, 0.4999) < np.sqrt(0.5)

    def test_notebook_exercise_52(self):
        """
        The gap that counts is that to the rest of the spectrum.

        Of a top three 10, 10 - g, 10 - 2 g above values up to 1 the span hardly turns, whatever g
        is; single vectors do.
        """
        E, turned = matrices.perturbation(50, 0.05, seed=1), []
        rest = np.random.default_rng(0).random(47)
        for g in (0.01, 0.1, 1.0, 3.0):
            w = np.concatenate([[10.0, 10.0 - g, 10.0 - 2 * g], rest])
            A = matrices.matrix(w)
            v, v2 = (np.linalg.eigh(M)[1] for M in (A, A + E))
            gap = perturbation.gap(w, 3)
            assert gap == pytest.approx(10.0 - 2 * g - rest.max(), rel=1e-12)
            assert sine(v[:, -3:], v2[:, -3:]) <= perturbation.davis_kahan(gap, 0.05) <= 0.02
            turned.append(sine(v[:, -1:], v2[:, -1:]))
            assert turned[-1] <= perturbation.davis_kahan(g, 0.05)
        assert turned[0] > 0.1 > 0.05 > turned[-1]

    @pytest.mark.parametrize(
        ("gap", "norm", "expected"),
        [
            (0.0, 0.0, 1.0),
            (0.0, 1.0, 1.0),
            (1.0, 0.0, 0.0),
            (np.inf, 1.0, 0.0),
            (np.inf, np.inf, 1.0),
            (1e-320, 1e-322, 1e-2),
        ],
    )
    def test_edges(self, gap, norm, expected):
        """Nothing divided by nothing says nothing."""
        found = perturbation.davis_kahan(gap, norm)
        assert isinstance(found, float)
        assert found == pytest.approx(expected, rel=0.05)

    def test_shapes(self):
        """Several gaps, several norms, or as many of each."""
        many = perturbation.davis_kahan([1.0, 2.0], [0.1, 0.4])
        singles = [perturbation.davis_kahan(1.0, 0.1), perturbation.davis_kahan(2.0, 0.4)]
        np.testing.assert_array_equal(many, singles)
        np.testing.assert_array_equal(perturbation.davis_kahan([1.0, 2.0], 0.1)[0], singles[0])
        np.testing.assert_array_equal(perturbation.davis_kahan(2.0, [0.1, 0.4])[1], singles[1])


class TestNorm:
    """What `norm` may be, for both."""

    E = matrices.perturbation(30, 0.3)

    def radius(self, given, **options):
        """Half the width of Weyl's interval."""
        low, high = perturbation.weyl([0.0], given, **options)
        return float((high - low)[0]) / 2

    @pytest.mark.parametrize(
        "kind",
        [np.asarray, torch.from_numpy, csr_array, aslinearoperator, hessop.aslinearoperator],
    )
    def test_the_perturbation_itself(self, kind):
        """Its norm is estimated; the upper end is taken."""
        expected = norm(self.E, 2, rng=7).confidence_interval(0.8).high
        found = self.radius(kind(self.E), confidence_level=0.8, rng=7)
        assert found == pytest.approx(expected, rel=1e-12)
        assert 0.3 <= found <= 0.31

    def test_a_product(self):
        """The torch side of an operator too."""
        assert 0.3 <= self.radius(hessop.aslinearoperator(self.E).product, rng=0) <= 0.31

    @pytest.mark.parametrize("level", [0.5, 0.95])
    def test_an_estimate(self, level):
        """Its upper end at the level asked for."""
        e = norm(self.E, "fro", n_matvec=10, rng=0)
        high = e.confidence_interval(level).high
        assert self.radius(e, confidence_level=level) == pytest.approx(high, rel=1e-14)
        bound = perturbation.davis_kahan(10.0, e, confidence_level=level)
        assert bound == pytest.approx(perturbation.davis_kahan(10.0, high), rel=1e-14)

    def test_default_level(self):
        """95 percent."""
        e = Estimate(np.array([0.1, 0.2, 0.4]), 3)
        assert self.radius(e) == pytest.approx(e.confidence_interval(0.95).high, rel=1e-14)

    @pytest.mark.parametrize(
        ("given", "kind", "match"),
        [
            (-1.0, ValueError, r"^`norm` must be a number >= 0, or an array .*; got -1\.0\."),
            (np.nan, ValueError, r"^`norm` must be a number >= 0, .*; got nan\."),
            ([1.0, -2.0], ValueError, r"^`norm` must be a number >= 0, .*; got \[ 1\. -2\.\]\."),
            ("x", TypeError, r"^`norm` must be a number >= 0, .*; got 'x'\."),
            (None, (TypeError, ValueError), r"^`norm` must be a number >= 0"),
            (np.ones((2, 3)), ValueError, r"^`A` must be square"),
            (np.ones((2, 2, 2)), ValueError, r"^`norm` must be .*; got shape \(2, 2, 2\)\."),
            (
                NormEstimate(np.ones(1), 1, 2.0),
                ValueError,
                r"^`norm` must have a confidence interval; got one sample\. Spend more products\.",
            ),
        ],
    )
    def test_bad_norms(self, given, kind, match):
        """Named, with the rule and what came."""
        with pytest.raises(kind, match=match):
            perturbation.weyl([1.0], given)
        with pytest.raises(kind, match=match):
            perturbation.davis_kahan(1.0, given)

    def test_bad_levels(self):
        """A probability."""
        with pytest.raises(ValueError, match=r"^`confidence_level` must be a number in \[0, 1\]"):
            perturbation.weyl([1.0], self.E, confidence_level=2.0)


@pytest.mark.parametrize(
    ("w", "kind", "match"),
    [
        (1.0, ValueError, r"^`w` must be finite real numbers, .*; got shape \(\)\."),
        ([[1.0]], ValueError, r"^`w` must be finite real numbers, .*; got shape \(1, 1\)\."),
        ([1.0, np.inf], ValueError, r"^`w` must be finite real numbers, .*; got NaN or Inf\."),
        (["x"], TypeError, r"^`w` must be finite real numbers, .*; got \['x'\]\."),
    ],
)
def test_bad_eigenvalues(w, kind, match):
    """Named, with the rule and what came."""
    with pytest.raises(kind, match=match):
        perturbation.weyl(w, 0.5)
    with pytest.raises(kind, match=match):
        perturbation.gap(w, 1)


@pytest.mark.parametrize(
    ("gap", "kind", "match"),
    [
        (-1.0, ValueError, r"^`gap` must be a number >= 0, .*; got -1\.0\."),
        ("x", TypeError, r"^`gap` must be a number >= 0, .*; got 'x'\."),
        ([1.0, 2.0], ValueError, r"^`gap` must have shape \(3,\), as norm; got shape \(2,\)\."),
    ],
)
def test_bad_gaps(gap, kind, match):
    """Named, with the rule and what came."""
    with pytest.raises(kind, match=match):
        perturbation.davis_kahan(gap, [0.1, 0.2, 0.3])
