"""The invariants of a sweep, checked numerically after every kind of step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hessop
from hessop import synthetic
from hessop._space import LocalSpace
from hessop.krylov.basis import Basis
from hessop.krylov.entrance import start_vector
from hessop.krylov.ritz import rayleigh_ritz
from hessop.krylov.sweep import Sweep
from tests.spectra import orthonormality
from tests.strategies import problems

CPU = torch.device("cpu")


def started(A, *, lock=None, reorth="double", seed=0, keep=True):
    """A sweep on an operator from a random start."""
    product = A.product
    space = LocalSpace(product.n, product.dtype, CPU)
    rows = Basis(space)
    for row in [] if lock is None else torch.from_numpy(np.ascontiguousarray(lock.T)):
        rows.append(row)
    start = start_vector(space, None, rows, np.random.default_rng(seed))
    return Sweep(space, start, reorth=reorth, lock=rows, keep=keep)


def step(sweep, A):
    """One product."""
    return sweep.absorb(A.product.matmat(sweep.vector()[None])[0])


def run(sweep, A, steps):
    """Several."""
    for _ in range(steps):
        step(sweep, A)


def rows_of(sweep, which):
    """Some rows of the basis in float64, as a matrix."""
    out = [sweep.basis.row(i).double().numpy() for i in which]
    return np.array(out).reshape(len(out), sweep.space.n)


def assert_invariant(sweep, A, lock=None, factor=30.0):
    """
    ``A V_E^T = V_E^T T + V_P^T C`` on the complement of the lock, V orthonormal, T symmetric.

    To `factor` units of rounding: a product of these operators has about 10, and two passes of
    Gram-Schmidt leave a few.
    """
    eps, done = sweep.space.eps, sweep.multiplied
    scale = max(np.abs(A.eigenvalues).max(), np.finfo(float).tiny)
    V_E, V_P = rows_of(sweep, done), rows_of(sweep, sweep.waiting)
    T, C = sweep.projection()
    assert T.shape == (len(done), len(done))
    assert C.shape == (len(sweep.waiting), len(done))
    assert len(done) + len(sweep.waiting) == len(sweep.rows) == len(sweep.basis)
    np.testing.assert_array_equal(T, T.T)
    V = np.vstack([V_E, V_P])
    assert orthonormality(V.T) <= factor * eps
    rows = torch.from_numpy(V_E).to(sweep.space.dtype)
    AV = A.product.matmat(rows).double().numpy().T
    if lock is not None:
        Q = np.asarray(lock, dtype=np.float64)
        assert np.abs(V @ Q).max(initial=0.0) <= factor * eps
        AV = AV - Q @ (Q.T @ AV)
    gap = AV - V_E.T @ T - V_P.T @ C
    assert np.linalg.norm(gap, axis=0).max(initial=0.0) <= factor * eps * scale


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("locked", [0, 3])
def test_invariant_through_a_whole_life(dtype, locked):
    """Steps, three rows waiting at once, out of order, restarts in between, a lock."""
    A = synthetic.operator("hessian_like", 60, dtype=dtype, rng=0)
    lock = A.eigenvectors([0, 30, 59])[:, :locked]
    sweep = started(A, lock=lock)
    rng = np.random.default_rng(1)
    assert_invariant(sweep, A, lock)
    for _ in range(5):
        assert step(sweep, A)
        assert_invariant(sweep, A, lock)
    assert sweep.fresh(rng)
    assert_invariant(sweep, A, lock)
    step(sweep, A)
    assert sweep.fresh(rng)
    assert len(sweep.waiting) == 3
    assert_invariant(sweep, A, lock)
    for chosen in (0, 1, 2, 0, 1):  # any waiting row, not only the newest
        sweep.vector(sweep.waiting[chosen % len(sweep.waiting)])
        step(sweep, A)
        assert_invariant(sweep, A, lock)
    assert len(sweep.waiting) == 3
    for keep in (6, 2):
        ritz = rayleigh_ritz(sweep)
        before = len(sweep.waiting)
        sweep.restart(ritz.theta[-keep:], ritz.S[-keep:])
        assert len(sweep.multiplied) == keep
        assert len(sweep.waiting) == before
        assert_invariant(sweep, A, lock)
        np.testing.assert_allclose(np.diag(sweep.projection()[0]), ritz.theta[-keep:], rtol=1e-12)
        for _ in range(6):
            step(sweep, A)
            assert_invariant(sweep, A, lock)
    sweep.fresh(rng)
    while sweep.waiting:
        step(sweep, A)
        if not sweep.waiting:
            sweep.fresh(rng)
    assert_invariant(sweep, A, lock)
    assert len(sweep.multiplied) == sweep.size == 60 - locked
    left = np.delete(A.eigenvalues, [0, 30, 59][:locked])
    scale = np.abs(A.eigenvalues).max()
    atol = 60 * sweep.space.eps * scale
    np.testing.assert_allclose(rayleigh_ritz(sweep).theta, left, rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_invariant_with_one_pass(dtype):
    """Where one row waits at a time and nothing breaks down, one pass does it."""
    A = synthetic.operator("gaussian", 60, dtype=dtype, rng=0)
    sweep = started(A, reorth="full")
    for _ in range(40):
        step(sweep, A)
        assert_invariant(sweep, A)


@settings(max_examples=60)
@given(problems(max_n=25), st.lists(st.sampled_from(["step", "fresh", "turn", "restart"])))
def test_invariant_through_any_life(problem, moves):
    """On hostile spectra, in any order of steps."""
    A = problem.operator()
    sweep, rng = started(A), np.random.default_rng(0)
    for move in [*moves, "step", "restart"]:
        if move == "restart" and sweep.multiplied:
            ritz = rayleigh_ritz(sweep)
            keep = (len(ritz.theta) + 1) // 2
            sweep.restart(ritz.theta[-keep:], ritz.S[-keep:])
        elif move == "fresh" or not sweep.waiting:
            sweep.fresh(rng)
        elif move == "turn":
            sweep.vector(sweep.waiting[0])
        elif move == "step":
            step(sweep, A)
    # Below the breakdown threshold, 10 eps ||A||, what is left over is dropped; a restart by a
    # matrix orthogonal to rounding adds a little each time.
    assert_invariant(sweep, A, factor=60 + 2 * len(moves))


class TestBreakdown:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    @pytest.mark.parametrize("name", ["identity", "zero", "rank_one", "two_valued"])
    def test_exhausted_space_is_seen(self, name, dtype):
        """After as many steps as there are distinct eigenvalues nothing is left over."""
        A = synthetic.operator(name, 40, dtype=dtype, rng=0)
        sweep = started(A)
        distinct = len(set(A.eigenvalues))
        left = [step(sweep, A) for _ in range(distinct)]
        assert left == [True] * (distinct - 1) + [False]
        assert not sweep.waiting

    @pytest.mark.parametrize("scale", [1e-30, 1e-8, 1.0, 1e8, 1e30])
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    def test_it_is_relative_to_the_scale(self, scale, dtype):
        """The same number of steps on any scale."""
        w = scale * np.repeat([-1.0, 0.0, 0.5, 2.0], 10)
        A = synthetic.operator(w, dtype=dtype, rng=0)
        sweep = started(A)
        assert [step(sweep, A) for _ in range(4)] == [True, True, True, False]

    def test_a_fresh_direction_is_coupled_with_zero(self):
        """To all rows multiplied before: the span was invariant."""
        A = synthetic.operator("two_valued", 30, rng=0)
        sweep = started(A)
        while sweep.waiting:
            step(sweep, A)
        assert sweep.fresh(np.random.default_rng(3))
        assert_invariant(sweep, A)
        np.testing.assert_array_equal(sweep.projection()[1], 0.0)
        step(sweep, A)
        T, _ = sweep.projection()
        assert abs(T[-1, :-1]).max() == 0.0

    def test_no_fresh_direction_in_a_full_space(self):
        """n rows are all there are; a lock takes its share."""
        A = synthetic.operator("gaussian", 6, rng=0)
        for locked in (0, 2):
            lock = A.eigenvectors(range(locked)) if locked else None
            sweep, rng = started(A, lock=lock), np.random.default_rng(0)
            assert sweep.size == 6 - locked
            while sweep.waiting or sweep.fresh(rng):
                step(sweep, A)
            assert len(sweep.basis) == 6 - locked
            assert not sweep.fresh(rng)


class TestScaleAndNoise:
    def test_scale_is_the_largest_product(self):
        """A lower bound of the norm, and the norm itself before long."""
        A = synthetic.operator("hessian_like", 80, rng=0)
        sweep, largest = started(A), 0.0
        for _ in range(25):
            largest = max(largest, float(np.linalg.norm(A @ sweep.vector().numpy())))
            step(sweep, A)
            assert sweep.rounding.scale == pytest.approx(largest, rel=1e-12)
        assert sweep.rounding.scale <= np.abs(A.eigenvalues).max() * (1 + 1e-12)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    def test_noise_of_a_clean_operator_is_rounding(self, dtype):
        """Between what counts as breakdown and a few times that."""
        A = synthetic.operator("gaussian", 80, dtype=dtype, rng=0)
        sweep = started(A)
        for _ in range(40):
            step(sweep, A)
        assert 10 * sweep.space.eps <= sweep.rounding.noise <= 50 * sweep.space.eps

    @pytest.mark.parametrize("level", [1e-8, 1e-5, 1e-3])
    def test_asymmetry_is_measured(self, level):
        """A skew part of a given size shows in the noise, to a factor."""
        rng = np.random.default_rng(0)
        skew = rng.standard_normal((80, 80))
        skew = skew - skew.T
        M = np.diag(np.linspace(-1, 1, 80)) + level * skew / np.linalg.norm(skew, 2)
        A = hessop.aslinearoperator(M)
        sweep = started(A)
        for _ in range(30):
            step(sweep, A)
        assert level / 30 <= sweep.rounding.noise <= 3 * level

    def test_too_much_asymmetry_is_refused(self):
        """From a hundredth on it is no noise."""
        rng = np.random.default_rng(0)
        skew = rng.standard_normal((80, 80))
        skew = skew - skew.T
        M = np.diag(np.linspace(-1, 1, 80)) + 0.1 * skew / np.linalg.norm(skew, 2)
        A = hessop.aslinearoperator(M)
        for reorth in ("full", "double"):
            sweep = started(A, reorth=reorth)
            with pytest.raises(
                ValueError, match=r"`A` must be symmetric; .* Pass \(A \+ A.T\) / 2"
            ):
                run(sweep, A, 30)

    @pytest.mark.parametrize("reorth", ["none", "full", "double", "selective"])
    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_not_finite(self, bad, reorth):
        """Refused at the step where it comes."""
        A = synthetic.operator("gaussian", 20, rng=0)
        sweep = started(A, reorth=reorth)
        step(sweep, A)
        w = A.product.matmat(sweep.vector()[None])[0]
        w[3] = bad
        with pytest.raises(FloatingPointError, match="must give finite products"):
            sweep.absorb(w)


class TestWithoutBasis:
    def test_coefficients_are_those_with_the_basis_kept(self):
        """Two rows are enough for "none"."""
        A = synthetic.operator("gaussian", 50, rng=0)
        kept, light = (started(A, reorth="none", keep=keep) for keep in (True, False))
        for _ in range(20):
            step(kept, A)
            step(light, A)
        for one, two in zip(kept.tridiagonal(), light.tridiagonal(), strict=True):
            np.testing.assert_array_equal(one, two)

    def test_released(self):
        """The coefficients stay when the vectors go."""
        A = synthetic.operator("gaussian", 50, rng=0)
        sweep = started(A)
        for _ in range(10):
            step(sweep, A)
        before = sweep.tridiagonal()
        sweep.release()
        assert len(sweep.basis) == 0
        for one, two in zip(before, sweep.tridiagonal(), strict=True):
            np.testing.assert_array_equal(one, two)


def test_vector_asked_for_comes_next():
    """And stays in line behind the newest otherwise."""
    A = synthetic.operator("gaussian", 20, rng=0)
    sweep, rng = started(A), np.random.default_rng(0)
    step(sweep, A)
    sweep.fresh(rng)
    sweep.fresh(rng)
    oldest, _, newest = sweep.waiting
    assert torch.equal(sweep.vector(), sweep.basis.row(newest))
    assert torch.equal(sweep.vector(oldest), sweep.basis.row(oldest))
    step(sweep, A)
    assert sweep.rows[oldest].alpha is not None
    assert sweep.rows[newest].alpha is None


def test_spread_puts_coefficients_on_the_multiplied_rows():
    """Rows that wait get zero."""
    A = synthetic.operator("gaussian", 20, rng=0)
    sweep, rng = started(A), np.random.default_rng(0)
    step(sweep, A)
    sweep.fresh(rng)
    step(sweep, A)
    full = sweep.spread(np.array([[1.0, 2.0]]))
    assert full.shape == (1, len(sweep.rows))
    np.testing.assert_array_equal(full[0, sweep.multiplied], [1.0, 2.0])
    np.testing.assert_array_equal(full[0, sweep.waiting], 0.0)
