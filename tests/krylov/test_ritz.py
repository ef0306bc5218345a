"""The small problem, and which of its values are wanted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hessop import synthetic
from hessop._space import LocalSpace
from hessop.krylov.basis import Basis
from hessop.krylov.entrance import start_vector
from hessop.krylov.ritz import rayleigh_ritz
from hessop.krylov.sweep import Sweep
from hessop.krylov.wanted import WHICH, keys, ranking
from tests.spectra import measured, orthonormality, wanted

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("which", "order"),
    [
        ("LA", [5.0, 1.0, -2.0, -7.0]),
        ("SA", [-7.0, -2.0, 1.0, 5.0]),
        ("LM", [-7.0, 5.0, -2.0, 1.0]),
        ("BE", [5.0, -7.0, 1.0, -2.0]),
    ],
)
def test_ranking(which, order):
    """The most wanted first; "BE" from both ends in turn, the high one first."""
    theta = np.array([-7.0, -2.0, 1.0, 5.0])
    np.testing.assert_array_equal(theta[ranking(theta, which)], order)


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=12), st.sampled_from(WHICH))
def test_leading_part_of_the_ranking_is_the_wanted_set(values, which):
    """For every k, with ties, against the definition."""
    theta = np.sort(np.array(values, dtype=float))
    order = ranking(theta, which)
    assert sorted(order) == list(range(len(theta)))
    for k in range(1, len(theta) + 1):
        np.testing.assert_array_equal(
            keys(theta[order[:k]], which), keys(wanted(theta, which, k), which)
        )


def test_keys():
    """Ascending; magnitudes under "LM", where a and -a are a tie."""
    theta = np.array([-3.0, 1.0, 2.0])
    np.testing.assert_array_equal(keys(theta, "LM"), [1.0, 2.0, 3.0])
    for which in ("LA", "SA", "BE"):
        np.testing.assert_array_equal(keys(theta[::-1], which), theta)


def sweep_of(A, steps, *, fresh=(), restart=None):
    """A sweep of some steps, with fresh directions before some of them."""
    product = A.product
    rng = np.random.default_rng(0)
    space = LocalSpace(product.n, product.dtype, CPU)
    sweep = Sweep(space, start_vector(space, None, Basis(space), rng), reorth="double")
    for step in range(steps):
        if step in fresh or not sweep.waiting:
            sweep.fresh(rng)
        if step == restart:
            ritz = rayleigh_ritz(sweep)
            sweep.restart(ritz.theta[-3:], ritz.S[-3:])
        sweep.absorb(product.matmat(sweep.vector()[None])[0])
    return sweep


@pytest.mark.parametrize("kind", ["tridiagonal", "fresh", "restarted", "exhausted"])
def test_pairs_are_those_of_the_projection(kind):
    """Values, vectors and residual norms, each measured with the operator."""
    A = synthetic.operator("two_valued" if kind == "exhausted" else "gaussian", 30, rng=0)
    sweep = {
        "tridiagonal": lambda: sweep_of(A, 12),
        "fresh": lambda: sweep_of(A, 12, fresh=(4, 8)),
        "restarted": lambda: sweep_of(A, 12, fresh=(4,), restart=9),
        "exhausted": lambda: sweep_of(A, 5),
    }[kind]()
    ritz = rayleigh_ritz(sweep)
    V = sweep.basis.combine(sweep.spread(ritz.S)).numpy()
    assert (np.diff(ritz.theta) >= 0).all()
    assert orthonormality(V.T) <= 1e-13
    np.testing.assert_allclose(np.diag(V @ (A @ V.T)), ritz.theta, rtol=0, atol=1e-13)
    np.testing.assert_allclose(measured(A, ritz.theta, V.T), ritz.residuals, rtol=0, atol=1e-13)
    assert ritz.largest == np.abs(ritz.theta).max()
    assert ritz.leaks.shape == (len(sweep.waiting), len(ritz.theta))
    # leaks tell not only how much of A y is outside, but where
    for i, row in enumerate(sweep.waiting):
        u = sweep.basis.row(row).numpy()
        np.testing.assert_allclose(V @ (A @ u), ritz.leaks[i], rtol=0, atol=1e-13)


def test_one_row():
    """The smallest projection."""
    ritz = rayleigh_ritz(sweep_of(synthetic.operator("gaussian", 10, rng=0), 1))
    assert ritz.theta.shape == (1,)
    assert abs(ritz.S[0, 0]) == 1.0
