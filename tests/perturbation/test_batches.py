"""A batch against all data: numbers, bounds, cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hessop
from hessop import perturbation
from hessop.quadrature.norm import norm
from tests.perturbation import matrices
from tests.spectra import global_states, recorded

W = np.concatenate([np.linspace(-1, 1, 77), [3.0, 5.0, 9.0]])
A = matrices.matrix(W)
E = matrices.perturbation(80, 0.3, seed=1)
B = A + E


def compare(*operators, **arguments):
    """Of the three leading pairs, to rounding."""
    one, other = operators or (A, B)
    return perturbation.compare(one, other, **{"k": 3, "tol": 0, "rng": 0, **arguments})


class TestNumbers:
    def test_against_dense_matrices(self):
        """Values, distances and angles."""
        c = compare()
        (w, v), (w2, v2) = np.linalg.eigh(A), np.linalg.eigh(B)
        np.testing.assert_allclose(c.eigenvalues, [w[-3:], w2[-3:]], rtol=0, atol=1e-11)
        assert c.l1 == pytest.approx(np.abs(w2[-3:] - w[-3:]).sum(), rel=1e-9)
        assert c.l2 == pytest.approx(np.linalg.norm(w2[-3:] - w[-3:]), rel=1e-9)
        expected = perturbation.subspace_angles(v[:, -3:], v2[:, -3:])
        np.testing.assert_allclose(c.angles, expected, rtol=0, atol=1e-9)
        assert c.gap == pytest.approx(2.0, abs=1e-9)

    def test_the_difference(self):
        """Both norms of B - A, in their intervals."""
        c = compare()
        low, high = c.norm.confidence_interval()
        assert low <= 0.3 <= high <= 0.31
        low, high = c.frobenius.confidence_interval(0.999)
        assert low <= np.linalg.norm(E) <= high
        expected = norm(B - A, "fro", rng=np.random.default_rng(0).spawn(4)[3])
        assert c.frobenius.estimate == pytest.approx(expected.estimate, rel=1e-12)

    @pytest.mark.parametrize("level", [0.5, 0.95])
    def test_bounds(self, level):
        """Weyl's intervals around the batch's values hold those of all data; so for angles."""
        c = compare()
        low, high = c.interval(level)
        np.testing.assert_allclose(
            (low, high), perturbation.weyl(c.batch, c.norm, confidence_level=level), rtol=1e-14
        )
        assert (low <= W[-3:]).all()
        assert (high >= W[-3:]).all()
        bound = c.sine_bound(level)
        expected = perturbation.davis_kahan(c.gap, c.norm, confidence_level=level)
        assert bound == pytest.approx(expected, rel=1e-14)
        assert np.sin(c.angles[0]) <= bound < 0.2

    @settings(max_examples=40)
    @given(matrices.perturbed(), st.sampled_from(["LA", "SA", "LM"]), st.data())
    def test_inequalities_hold(self, pair, which, data):
        """Weyl, Hoffman-Wielandt and Davis-Kahan, with exact norms as the oracle."""
        one, difference = pair
        k = data.draw(st.integers(1, len(one) - 1))
        c = perturbation.compare(one, one + difference, k, which=which, tol=1e-9, rng=0)
        slack = 1e-7 * (np.abs(one).max() + np.abs(difference).max()) * len(one)
        low, high = c.norm.confidence_interval(1 - 1e-9)
        assert low - slack <= np.linalg.norm(difference, 2) <= high + slack
        if which != "LM":
            assert c.l2 <= np.linalg.norm(difference) + slack
            assert np.abs(np.diff(c.eigenvalues, axis=0)).max() <= high + slack
        if c.gap > 1e3 * slack:
            bound = perturbation.davis_kahan(c.gap, high)
            assert np.sin(c.angles[0]) <= bound + slack / c.gap

    def test_which_leads(self):
        """By magnitude, and by value at either end."""
        one = np.diag([-7.0, -1.0, 0.0, 2.0, 6.0, 6.5])
        leading = {"LM": [-7.0, 6.5], "LA": [6.0, 6.5], "SA": [-7.0, -1.0], "SM": [-1.0, 0.0]}
        gaps = {"LM": 0.5, "LA": 4.0, "SA": 1.0, "SM": 1.0}
        for which, expected in leading.items():
            c = perturbation.compare(one, one, 2, which=which, tol=0, rng=0)
            np.testing.assert_allclose(c.eigenvalues, [expected, expected], rtol=0, atol=1e-12)
            assert c.gap == pytest.approx(gaps[which], abs=1e-11)
            assert c.angles.max() < 1e-9
            assert c.l1 < 1e-11
            assert c.norm.estimate < 1e-12

    def test_all_pairs(self):
        """Beyond them there is nothing."""
        c = perturbation.compare(np.diag([1.0, 2.0]), np.diag([1.5, 2.0]), 2, rng=0)
        assert c.gap == np.inf
        assert c.sine_bound() == 0.0
        assert c.l1 == pytest.approx(0.5, rel=1e-12)

    def test_batches_of_a_network(self):
        """The report's section 4.2: larger batches are nearer."""
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
        x, y = torch.randn(256, 5), torch.randint(0, 3, (256,))

        def hessian(size):
            return hessop.HessianOperator(model, torch.nn.CrossEntropyLoss(), (x[:size], y[:size]))

        all_data, full, found = hessian(256), None, []
        for size in (4, 32, 200):
            c = perturbation.compare(all_data, hessian(size), 4, full=full, rng=0)
            full = c.full
            found.append((c.norm.estimate, c.frobenius.estimate, c.l1, c.l2))
        assert (np.diff(found, axis=0) < 0).all()


class TestCost:
    def test_products_are_counted(self):
        """One with the difference is one with each; that of the search for A is not repeated."""
        (one, first), (other, second) = recorded(A), recorded(B)
        c = compare(one, other, n_matvec=10)
        assert c.n_matvec == sum(first) + sum(second)
        assert sum(first) == c.full.n_matvec + 20
        assert sum(second) == c.batch.n_matvec + 20
        first.clear()
        again = compare(one, other, n_matvec=10, full=c.full)
        assert sum(first) == 20
        assert again.n_matvec == c.n_matvec - c.full.n_matvec

    def test_a_known_result_gives_the_same(self):
        """To the last bit."""
        one = compare()
        two = compare(full=one.full)
        np.testing.assert_array_equal(one.eigenvalues, two.eigenvalues)
        np.testing.assert_array_equal(one.angles, two.angles)
        assert one.gap == two.gap
        assert one.norm.estimate == two.norm.estimate

    def test_more_or_fewer_known_pairs(self):
        """The leading ones of more are taken; of k, the gap is not known."""
        expected = compare()
        for count, gap in ((3, 0.0), (4, expected.gap), (9, expected.gap)):
            c = compare(full=hessop.lanczos(A, k=count, rng=0))
            np.testing.assert_allclose(c.eigenvalues, expected.eigenvalues, rtol=0, atol=1e-10)
            np.testing.assert_allclose(c.angles, expected.angles, rtol=0, atol=1e-8)
            assert c.gap == pytest.approx(gap, abs=1e-9)
        assert compare(full=hessop.lanczos(A, k=3, rng=0)).sine_bound() == 1.0

    def test_the_batch_is_searched_from_what_is_known(self):
        """Which takes fewer products than from nothing."""
        near = A + 0.1 * E
        warm, cold = [], []
        for seed in range(5):
            c = compare(A, near, tol=1e-4, verify=False, rng=seed)
            warm.append(c.batch.n_matvec)
            cold.append(hessop.lanczos(near, k=3, tol=1e-4, verify=False, rng=seed).n_matvec)
        assert np.mean(warm) < 0.85 * np.mean(cold)

    def test_first_search_begins_where_it_is_told(self):
        """With ``v0``."""
        v = np.linalg.eigh(A)[1][:, -4:].sum(axis=1)
        one, other = (compare(v0=v0, tol=1e-4, verify=False) for v0 in (None, v))
        assert other.full.n_matvec < one.full.n_matvec


def test_reproducible():
    """By the seed; the global states stay."""
    before = global_states()
    one, two, other = (compare(rng=s) for s in (0, np.random.default_rng(0), 1))
    assert one.frobenius.estimate == two.frobenius.estimate != other.frobenius.estimate
    assert one.norm.estimate == two.norm.estimate
    np.testing.assert_array_equal(one.eigenvalues, two.eigenvalues)
    assert global_states() == before


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors(dtype):
    """And mixtures of types: the same numbers."""
    expected = compare()
    one, other = (torch.from_numpy(M).to(dtype) for M in (A, B))
    atol = 1e-4 if dtype == torch.float32 else 1e-8
    for pair in ((one, other), (A, other), (one, hessop.aslinearoperator(other).product)):
        c = compare(*pair)
        np.testing.assert_allclose(c.eigenvalues, expected.eigenvalues, rtol=0, atol=atol)
        np.testing.assert_allclose(c.angles, expected.angles, rtol=0, atol=atol)
        assert c.norm.estimate == pytest.approx(0.3, rel=10 * atol)


@pytest.mark.parametrize(
    ("arguments", "kind", "match"),
    [
        ({"B": np.eye(3)}, ValueError, r"^`B` must have shape \(80, 80\), as A; got \(3, 3\)\."),
        ({"k": 81}, ValueError, r"^`k` must satisfy 0 < k <= n; got k=81, n=80\."),
        ({"which": "BE"}, ValueError, r"^`which` must be one of 'LM', 'LA', 'SA', 'SM'; got 'BE'"),
        ({"n_matvec": 0}, ValueError, r"^`n_matvec` must be an integer >= 1; got 0\."),
        ({"rng": "x"}, TypeError, r"^`rng` must be None, an int"),
        ({"full": 3}, TypeError, r"^`full` must be an EigenResult of k=3 pairs .*; got int\."),
        (
            {"full": hessop.lanczos(A, k=2, rng=0)},
            ValueError,
            r"^`full` must be .* of 80 entries each; got eigenvectors of shape \(80, 2\)\.",
        ),
        (
            {"full": hessop.lanczos(np.eye(5), k=4, rng=0)},
            ValueError,
            r"^`full` must be .*; got eigenvectors of shape \(5, 4\)\.",
        ),
        ({"checkpoint": "f"}, ValueError, r"^`checkpoint` must be None, for there are many"),
        ({"callback": print}, ValueError, r"^`callback` must be None, for there are many"),
    ],
)
def test_bad_input(arguments, kind, match):
    """Named, with the rule and what came."""
    with pytest.raises(kind, match=match):
        compare(A, arguments.pop("B", B), **arguments)
