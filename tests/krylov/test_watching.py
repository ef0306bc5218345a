"""What a callback sees, and what it can do."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import hessop
from hessop import synthetic
from tests.spectra import distances

A = synthetic.operator("hessian_like", 200, rng=0)


@pytest.mark.parametrize("how", [{}, {"ncv": 22}, {"block_size": 2}], ids=str)
def test_it_sees_every_step(how):
    """Products that grow, values and residuals that end as those of the result."""
    seen = []

    def callback(state):
        seen.append((state.n_matvec, state.n_restart, state.auditing, state.ritz_values.copy()))
        assert len(state.ritz_values) == len(state.residuals) == min(5, state.n_matvec)
        assert (np.diff(state.ritz_values) >= 0).all()

    result = hessop.lanczos(A, 5, rng=0, callback=callback, **how)
    products = [s[0] for s in seen]
    assert products[-1] == result.n_matvec
    assert set(np.diff(products)) <= {1, how.get("block_size", 1)}
    assert seen[-1][1] == result.n_restart
    assert seen[-1][2]
    assert not seen[0][2]
    np.testing.assert_allclose(seen[-1][3], result.eigenvalues, rtol=1e-12)


def test_looking_changes_nothing():
    """To the last bit."""
    plain = hessop.lanczos(A, 5, rng=0)
    watched = hessop.lanczos(A, 5, rng=0, callback=lambda s: s.residuals is None)
    np.testing.assert_array_equal(watched.eigenvectors, plain.eigenvectors)
    assert watched.n_matvec == plain.n_matvec


@pytest.mark.parametrize("steps", [1, 3, 12])
def test_it_can_end_the_search(steps):
    """What there is comes back, marked, and without a warning: it was asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = hessop.lanczos(A, 5, rng=0, callback=lambda s: s.n_matvec >= steps)
    assert result.n_matvec == steps
    assert len(result.eigenvalues) == min(5, steps)
    assert result.eigenvectors.shape == (200, min(5, steps))
    assert not result.complete
    assert (distances(result.eigenvalues, A.eigenvalues) <= result.error_bounds + 1e-12).all()


def test_an_exception_passes():
    """As it is."""

    def callback(state):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hessop.lanczos(A, 5, rng=0, callback=callback)


def test_progress(capsys):
    """A bar on the error stream, with the count of products and of converged pairs."""
    result = hessop.lanczos(A, 5, rng=0, progress=True)
    shown = capsys.readouterr().err
    assert "products" in shown
    assert "converged=" in shown
    assert str(result.n_matvec)[:1] in shown
    hessop.lanczos(A, 5, rng=0)
    assert not capsys.readouterr().err
