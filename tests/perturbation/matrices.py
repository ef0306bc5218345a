"""Symmetric matrices with prescribed spectra, and perturbations of them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.strategies import seeds, spectra


def orthogonal(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A random orthogonal matrix."""
    return np.linalg.qr(rng.standard_normal((n, n)))[0]


def matrix(w: NDArray[np.float64], seed: int = 0) -> NDArray[np.float64]:
    """Dense and exactly symmetric, with these eigenvalues."""
    Q = orthogonal(len(w), np.random.default_rng(seed))
    M = (Q * w) @ Q.T
    return (M + M.T) / 2


def perturbation(n: int, norm: float, seed: int = 0) -> NDArray[np.float64]:
    """Dense and symmetric, of this spectral norm."""
    E = np.random.default_rng(seed).standard_normal((n, n))
    E = E + E.T
    return E * (norm / np.linalg.norm(E, 2))


@st.composite
def perturbed(draw: st.DrawFn, max_n: int = 12) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrices A and E of one size, E anything from rounding to larger than A."""
    w = draw(spectra(max_n).filter(lambda w: len(w) > 1))
    scale = max(float(np.abs(w).max()), 1e-300)
    size = scale * draw(st.sampled_from([0.0, 1e-9, 1e-4, 0.01, 0.1, 0.3, 1.0, 10.0]))
    A, rng = matrix(w, draw(seeds)), np.random.default_rng(draw(seeds))
    kind = draw(st.sampled_from(["dense", "one", "between"]))
    if kind == "dense":
        return A, perturbation(len(w), size, draw(seeds))
    v = np.linalg.eigh(A)[1] if kind == "between" else orthogonal(len(w), rng)
    # what mixes two eigenvectors turns them furthest
    i, j = draw(st.permutations(range(len(w))))[:2]
    E = np.outer(v[:, i], v[:, j])
    return A, size * (E + E.T)
