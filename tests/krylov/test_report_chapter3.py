"""What chapter 3 of the report finds on synthetic matrices, at its sizes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import hessop
from hessop import synthetic

CLOSE = 1e-5  # the report's criterion


@pytest.fixture(scope="module", params=synthetic.REPORT)
def matrix(request):
    """One of the four spectra in a thousand dimensions."""
    return synthetic.operator(request.param, 1000, rng=0)


def found(A, theta):
    """How many of the exact eigenvalues have a Ritz value of their own within 1e-5."""
    count, left = 0, list(np.sort(theta))
    for w in A.eigenvalues:
        while left and left[0] < w - CLOSE:
            left.pop(0)
        if left and left[0] <= w + CLOSE:
            left.pop(0)
            count += 1
    return count


@pytest.mark.parametrize("reorth", ["full", "double", "selective"])
def test_all_thousand_eigenvalues_are_found(matrix, reorth):
    """With reorthogonalisation, after as many steps as dimensions; zeros as often as they occur."""
    theta, _ = hessop.tridiagonalize(matrix, None, 1000, reorth=reorth, rng=0).eigh()
    assert np.abs(theta - matrix.eigenvalues).max() <= CLOSE
    assert found(matrix, theta) == 1000


def test_without_reorthogonalisation_fewer_are_found_and_ghosts_appear(matrix):
    """Copies of true eigenvalues, and nothing but: no Ritz value that has converged is false."""
    t = hessop.tridiagonalize(matrix, None, 1000, reorth="none", rng=0)
    m = 990  # a leading block: its residuals need what is left over
    theta, residuals = t.eigh(m)[0], t.residuals(m)
    assert found(matrix, t.eigh()[0]) < 1000
    converged = theta[residuals <= 1e-7]
    assert len(converged) >= 100
    distance = np.abs(converged[:, None] - matrix.eigenvalues).min(axis=1)
    assert distance.max() <= CLOSE
    # the largest eigenvalue is simple, and comes more than once
    largest = matrix.eigenvalues[np.argmax(np.abs(matrix.eigenvalues))]
    assert (np.abs(matrix.eigenvalues - largest) <= CLOSE).sum() == 1
    assert (np.abs(converged - largest) <= CLOSE).sum() >= 2
    # the extremes are there all the same
    ends = np.concatenate([converged[:1], converged[-1:]])
    np.testing.assert_allclose(ends, matrix.eigenvalues[[0, -1]], rtol=0, atol=CLOSE)


@pytest.mark.parametrize("m", [100, 250, 500])
def test_more_are_found_with_reorthogonalisation_at_any_length(matrix, m):
    """The report's figure 3.6: the curves of "none" are generally lower, and one is not above."""
    counts = {
        reorth: found(
            matrix, hessop.tridiagonalize(matrix, None, m, reorth=reorth, rng=0).eigh()[0]
        )
        for reorth in ("none", "full", "double")
    }
    assert counts["full"] == counts["double"]
    assert counts["none"] <= counts["double"]


@pytest.fixture(scope="module", params=synthetic.REPORT)
def blocks(request):
    """An operator in two hundred dimensions, and the Ritz values after each of its steps."""
    A = synthetic.operator(request.param, 200, rng=1)
    t = hessop.tridiagonalize(A, None, 200, rng=1)
    return A.eigenvalues, [t.eigh(m)[0] for m in range(1, 201)]


def test_cauchy_interlacing(blocks):
    """Equation 2.4: the values of neighbouring blocks interlace, the i-th largest only grows."""
    w, ritz = blocks
    slack = 1e-13 * np.abs(w).max()
    for shorter, longer in itertools.pairwise(ritz):
        assert (longer[1:] >= shorter - slack).all()
        assert (longer[:-1] <= shorter + slack).all()
    np.testing.assert_allclose(ritz[-1], w, rtol=0, atol=10 * slack)


@pytest.mark.parametrize("end", ["smallest", "largest"])
def test_extremes_converge_first(blocks, end):
    """From either end inwards: the deeper a value lies, the later it is right, five by five."""
    w, ritz = blocks
    if end == "largest":
        w, ritz = -w[::-1], [-theta[::-1] for theta in ritz]

    def arrival(i):
        """The first step from which on the i-th value stays right."""
        right = [len(theta) > i and abs(theta[i] - w[i]) <= CLOSE for theta in ritz]
        return len(right) - right[::-1].index(False)

    depths = [np.mean([arrival(i) for i in range(a, a + 5)]) for a in (0, 10, 20, 40)]
    assert depths[0] < depths[1] < min(depths[2:])  # deeper yet, band edges change the order
    assert depths[0] <= 0.6 * depths[-1]
