"""Traces of functions that have names, and the density without a kernel."""

from __future__ import annotations

import numpy as np
import pytest

import hessop
from hessop import synthetic


@pytest.fixture(scope="module")
def w():
    """Both signs, some outliers."""
    return np.sort(np.r_[np.random.default_rng(0).normal(0, 0.2, 110), np.linspace(2, 9, 10)])


@pytest.fixture(scope="module")
def density(w):
    """Exact: as many steps as eigenvalues, on a diagonal matrix, where signs have no variance."""
    return hessop.slq(np.diag(w), n_probes=3, ncv=120, rng=0)


def test_log_determinant(density, w):
    assert float(density.logdet(1.0)) == pytest.approx(np.log(w + 1.0).sum(), rel=1e-10)
    for shift, within in ((0.1, None), (1.0, (-1.0, 10.0))):
        with pytest.raises(ValueError, match=r"`shift` must be more than .* least node or end"):
            density.logdet(shift, within=within)


def test_effective_dimension(density, w):
    assert float(density.effective_dimension(2.0)) == pytest.approx(
        np.sum(w / (w + 2.0)), rel=1e-10
    )
    with pytest.raises(ValueError, match=r"`a` must be more than .* Take a larger one, or"):
        density.effective_dimension(0.1)
    with pytest.raises(ValueError, match="`a` must be a finite number > 0; got 0"):
        density.effective_dimension(0)


@pytest.mark.parametrize("p", [1, 1.5, 2, 5])
def test_schatten_norms(density, w, p):
    exact = np.sum(np.abs(w) ** p) ** (1 / p)
    assert float(density.schatten_norm(p)) == pytest.approx(exact, rel=1e-10)
    if p == 2:
        assert float(density.frobenius_norm()) == pytest.approx(np.linalg.norm(w), rel=1e-10)


def test_norms_have_errors(w):
    """Whose intervals hold the truth as they say."""
    A = synthetic.operator(w, rng=0)
    held = 0
    for seed in range(200):
        low, high = (
            hessop.slq(A, n_probes=5, ncv=10, rng=seed).frobenius_norm().confidence_interval()
        )
        held += low <= np.linalg.norm(w) <= high
    assert 0.9 <= held / 200 <= 0.99


@pytest.mark.parametrize("p", [0.5, np.inf, "fro"])
def test_bad_order(density, p):
    with pytest.raises((ValueError, TypeError), match="`p` must be a finite number >= 1"):
        density.schatten_norm(p)


def test_atoms(w):
    """All nodes and points, ascending, with their weights."""
    A = synthetic.operator(w, rng=0)
    top = hessop.lanczos(A, 10, which="LA", rng=0)
    density = hessop.slq(A, n_probes=3, ncv=7, lock=top, rng=0)
    values, weights = density.atoms()
    assert len(values) == len(weights) == 3 * 7 + 10
    assert (np.diff(values) >= 0).all()
    assert weights.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(weights[-10:], 1 / 120)
    np.testing.assert_allclose(density.atoms(count=True)[1], 120 * weights)
    assert weights @ values == pytest.approx(density.expectation(lambda x: x).estimate)


def test_no_ghosts():
    """Without reorthogonalisation nodes are distinct, with the weights of eigenvalues."""
    w = np.r_[np.random.default_rng(0).normal(0, 0.01, 190), np.linspace(2, 9, 10)]
    A = synthetic.operator(w, rng=0)
    ghostly, clean = (
        hessop.slq(A, n_probes=2, ncv=90, reorth=reorth, rng=0) for reorth in ("none", "double")
    )
    for one, two in zip(ghostly.sweeps, clean.sweeps, strict=True):
        assert len(one.nodes) < 90
        assert np.diff(one.nodes).min() > 1e-13
        for value in A.eigenvalues[-10:]:
            mine, other = (s.weights[np.abs(s.nodes - value) < 1e-8].sum() for s in (one, two))
            assert mine == pytest.approx(other, rel=1e-6)
            # further ones are on their way, with no weight yet
            assert ((np.abs(one.nodes - value) < 1e-8) & (one.weights > 1e-20)).sum() == 1
    # the bounds of a count are those of the measure, ghosts or not
    for a, b in ((1.0, 10.0), (2.5, 5.1)):
        one, two = ghostly.count(a, b), clean.count(a, b)
        np.testing.assert_allclose(one.low, two.low, atol=1e-6)
        np.testing.assert_allclose(one.high, two.high, atol=1e-6)
