"""Gauss-Radau rules: their node, their degree, and the bounds that follow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hessop
from hessop import synthetic
from hessop.quadrature import gauss, radau
from tests.strategies import seeds


def legendre(m):
    """Of the uniform measure on [-1, 1], as m steps leave it."""
    j = np.arange(1.0, m + 1)
    return gauss.swept(np.zeros(m), j / np.sqrt(4 * j**2 - 1))


@pytest.mark.parametrize("m", [1, 2, 5, 12])
@pytest.mark.parametrize("at", [-1.0, 1.0, -3.0, 0.3])
def test_the_node_and_the_degree(m, at):
    """A node where it is asked for; exact to degree 2 m, no further."""
    nodes, weights = radau.radau(legendre(m), at)
    assert len(nodes) == m + 1
    assert np.abs(nodes - at).min() < 1e-13
    scale = max(1.0, np.abs(nodes).max())
    for degree in range(2 * m + 1):
        exact = 0.0 if degree % 2 else 1.0 / (degree + 1)
        assert weights @ nodes**degree == pytest.approx(exact, abs=1e-12 * scale**degree)
    if abs(at) == 1:
        assert abs(weights @ nodes ** (2 * m + 1)) > 1e-8


def test_a_node_of_the_gauss_rule():
    """The rule has it already; nothing blows up near it either."""
    one = legendre(5)
    nodes, _ = radau.radau(one, one.nodes[2])
    np.testing.assert_allclose(nodes, one.nodes, atol=1e-14)
    for off in (1e-15, 1e-9, 1e-6, 1e-5):
        nodes, weights = radau.radau(one, one.nodes[2] + off)
        # infinity is where the new coefficient is 1e8 times the others: 1e-9 of it is rounding
        assert np.abs(nodes - one.nodes[2] - off).min() < (1e-8 if off < 1e-7 else 1e-3 * off)
        assert weights.sum() == pytest.approx(1.0, abs=1e-12)


def test_separation_theorem():
    """Of the uniform measure on [-1, 1], at nodes, between them and beyond."""
    one = legendre(7)
    for x in [*np.linspace(-1.5, 1.5, 101), *one.nodes]:
        low, high = radau.cumulative(one, x)
        true = np.clip((x + 1) / 2, 0, 1)
        assert low - 1e-12 <= true <= high + 1e-12
    assert radau.cumulative(one, -np.inf) == (0.0, 0.0)
    assert radau.cumulative(one, np.inf) == (1.0, 1.0)


FUNCTIONS = {
    "log": (np.log, 1e-3),
    "inverse": (lambda x: 1 / x, 1e-3),
    "root": (np.sqrt, 0.0),
    "exp": (np.exp, -5.0),
    "seventh": (lambda x: x**7, -3.0),
    "share": (lambda x: x / (x + 0.5), 0.0),
}


@settings(max_examples=80)
@given(st.data())
def test_brackets_hold_the_truth(data):
    """Of each probe's own measure, whatever the spectrum, the steps and the ends."""
    f, least = FUNCTIONS[data.draw(st.sampled_from(sorted(FUNCTIONS)))]
    n = data.draw(st.integers(1, 40))
    entries = st.floats(least, 4.0, allow_subnormal=False)
    w = np.sort(data.draw(st.lists(entries, min_size=n, max_size=n)))
    w = np.where(np.abs(w) < 1e-9, max(least, 0.0), w)  # what rounding does to tiny values
    if least > -1 and w[0] < 1e-6:
        w = w + 1e-6
    seed, m = data.draw(seeds), data.draw(st.integers(1, 12))
    slack = data.draw(st.sampled_from([0.0, 1e-9, 0.3]))
    A = synthetic.operator(w, rng=seed)
    ends = w[0] - slack * (w[0] - least), w[-1] + slack
    density = hessop.slq(A, n_probes=2, ncv=m, rng=seed)
    found = density.trace(f, within=ends)
    Q = A.eigenvectors(list(range(n)))
    Z = np.stack([hessop_probe(A, seed, i) for i in range(2)])
    exact = n * ((Z @ Q) ** 2 @ f(A.eigenvalues))
    scale = n * np.abs(f(np.array([*ends, *w]))).max() + 1e-300
    assert (found.low <= exact + 1e-9 * scale).all()
    assert (exact <= found.high + 1e-9 * scale).all()


def hessop_probe(A, seed, i):
    """Probe i of a seed, of norm one."""
    z = (
        np.random.default_rng(seed).spawn(i + 1)[i].integers(0, 2, A.shape[0], dtype=np.int8) * 2
        - 1
    )
    return z / np.linalg.norm(z)


def test_within_must_hold_the_nodes():
    density = hessop.slq(np.diag([1.0, 2.0, 3.0, 4.0]), n_probes=2, ncv=2, rng=0)
    with pytest.raises(ValueError, match=r"`within` must hold all nodes, from .* got \(2.0, 4.0\)"):
        density.trace(np.log, within=(2, 4))


def test_narrower_with_more_steps():
    """To nothing when the Krylov space is exhausted."""
    A = synthetic.operator(np.linspace(0.1, 1, 60), rng=0)
    gaps = []
    for m in (2, 5, 10, 60):
        found = hessop.slq(A, n_probes=3, ncv=m, rng=0).logdet(within=(0.1, 1.0))
        gaps.append(np.max(found.high - found.low))
    assert gaps[0] > gaps[1] > 10 * gaps[2] > gaps[2] > 1e-9
    assert gaps[3] < 1e-9
