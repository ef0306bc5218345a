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


def test_padded():
    """A short rule repeats its last node, with weight 0: sums do not change, f can be evaluated."""
    rules = [
        (np.array([1.0, 2.0, 4.0]), np.array([0.2, 0.3, 0.5])),
        (np.array([-3.0]), np.array([1.0])),
        (np.array([0.0, 5.0]), np.array([0.25, 0.75])),
    ]
    nodes, weights = gauss.padded(rules)
    np.testing.assert_array_equal(nodes, [[1, 2, 4], [-3, -3, -3], [0, 5, 5]])
    np.testing.assert_array_equal(weights, [[0.2, 0.3, 0.5], [1, 0, 0], [0.25, 0.75, 0]])
