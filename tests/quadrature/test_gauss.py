"""Gauss rules from tridiagonal matrices, against rules that are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hessop.quadrature import gauss


def jacobi(kind, m):
    """Recurrence coefficients of orthonormal polynomials: diagonal and off-diagonal."""
    j = np.arange(1.0, m)
    return np.zeros(m), {
        "legendre": j / np.sqrt(4 * j**2 - 1),
        "chebyshev": np.where(j == 1, np.sqrt(0.5), 0.5),
        "hermite": np.sqrt(j),
    }[kind]


def known(kind, m):
    """NumPy's rules, normalised to total weight 1 and, for Hermite, to unit variance."""
    if kind == "legendre":
        x, w = np.polynomial.legendre.leggauss(m)
    elif kind == "chebyshev":
        x, w = np.polynomial.chebyshev.chebgauss(m)
    else:
        x, w = np.polynomial.hermite_e.hermegauss(m)
    order = np.argsort(x)
    return x[order], w[order] / w.sum()


@pytest.mark.parametrize("kind", ["legendre", "chebyshev", "hermite"])
@pytest.mark.parametrize("m", [1, 2, 3, 10, 40])
def test_classical_rules(kind, m):
    """Nodes and weights of Gauss-Legendre, -Chebyshev and -Hermite."""
    theta, w = gauss.rule(*jacobi(kind, m))
    x, expected = known(kind, m)
    np.testing.assert_allclose(theta, x, rtol=0, atol=1e-13 * max(1.0, abs(x).max()))
    np.testing.assert_allclose(w, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("m", [1, 2, 5, 9])
def test_exact_to_degree_two_m_less_one(m):
    """And no further: the next moment of the uniform measure on [-1, 1] is missed."""
    theta, w = gauss.rule(*jacobi("legendre", m))
    for degree in range(2 * m):
        exact = 0.0 if degree % 2 else 1.0 / (degree + 1)
        assert w @ theta**degree == pytest.approx(exact, abs=1e-14)
    assert abs(w @ theta ** (2 * m) - 1.0 / (2 * m + 1)) > 1e-7


def test_a_last_beta_is_ignored():
    """A sweep hands over what is left over too: it is not in T."""
    alpha, beta = np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.25, 7.0])
    for one, two in zip(gauss.rule(alpha, beta), gauss.rule(alpha, beta[:2]), strict=True):
        np.testing.assert_array_equal(one, two)


def test_weight_is_squared_once():
    """On [[a, b], [b, a]] the start has half of either eigenvector; squared twice, a quarter."""
    theta, w = gauss.rule(np.array([2.0, 2.0]), np.array([1.0]))
    np.testing.assert_allclose(theta, [1.0, 3.0], rtol=1e-15)
    np.testing.assert_allclose(w, [0.5, 0.5], rtol=1e-14)


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=12),
    st.lists(st.floats(0.0, 1e3), min_size=12, max_size=12),
)
def test_weights_are_a_distribution(alpha, beta):
    """Not negative, of sum 1, with the mean at alpha[0]."""
    theta, w = gauss.rule(np.array(alpha), np.array(beta))
    assert (w >= 0).all()
    assert w.sum() == pytest.approx(1.0, abs=1e-13)
    scale = np.abs(theta).max() + 1e-300
    assert w @ theta == pytest.approx(alpha[0], abs=1e-13 * scale)


def test_padded_and_back():
    """A short rule repeats its last node, with weight 0: sums do not change, f can be evaluated."""
    recurrences = [
        (np.array([1.0, 2.0, 4.0]), np.array([0.5, 0.25, 0.125])),
        (np.array([-3.0]), np.array([0.0])),
        (np.array([0.0, 5.0]), np.array([1.0, 2.0])),
    ]
    sweeps = [gauss.swept(*r) for r in recurrences]
    table = gauss.padded(sweeps)
    np.testing.assert_array_equal(table.nodes[1], [-3, -3, -3])
    np.testing.assert_array_equal(table.weights[1], [1, 0, 0])
    assert table.nodes[2, 2] == table.nodes[2, 1]
    np.testing.assert_array_equal(table.alpha[2], [0, 5, np.nan])
    np.testing.assert_array_equal(table.beta[1], [0, np.nan, np.nan])
    for one, two in zip(sweeps, gauss.rows(table), strict=True):
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)


def test_residuals_bound_the_distance():
    """Of each node from an eigenvalue of the matrix that a longer recurrence makes."""
    rng = np.random.default_rng(0)
    alpha, beta = rng.normal(size=30), rng.uniform(0.1, 1, 30)
    exact, _ = gauss.rule(alpha, beta)
    for m in (1, 5, 20):
        one = gauss.swept(alpha[:m], beta[:m])
        distance = np.abs(one.nodes[:, None] - exact).min(axis=1)
        assert (distance <= one.residuals * (1 + 1e-9) + 1e-13).all()


def test_ghosts_are_merged():
    """Copies that agree to rounding become one node with the sum of their weights."""
    alpha, beta = np.array([1.0, 1.0, 3.0]), np.array([1e-12, 0.1, 0.3])
    apart, merged = gauss.swept(alpha, beta), gauss.swept(alpha, beta, 0.02)
    assert len(apart.nodes) == 3
    assert len(merged.nodes) == 2
    assert merged.weights[0] == pytest.approx(apart.weights[:2].sum(), rel=1e-14)
    assert merged.nodes[0] == pytest.approx(
        apart.weights[:2] @ apart.nodes[:2] / apart.weights[:2].sum(), rel=1e-14
    )
    assert merged.residuals[0] == apart.residuals[:2].min()
    assert gauss.swept(alpha, beta, 1e9).nodes == pytest.approx([1.0])
