"""Named spectra: the report's four, and the hostile ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hessop import _validation

Spectrum = NDArray[np.float64]


def _gaussian(n: int, rng: np.random.Generator) -> Spectrum:
    """The report's first: standard normal."""
    return rng.standard_normal(n)


def _uniform(n: int, rng: np.random.Generator) -> Spectrum:
    """The report's second: uniform on [-50, 50]."""
    return rng.uniform(-50.0, 50.0, n)


def _banded(n: int, rng: np.random.Generator) -> Spectrum:
    """The report's third: five well separated Gaussian bands."""
    centres = np.array([-40.0, -20.0, 0.0, 20.0, 40.0])
    return centres[rng.integers(5, size=n)] + rng.standard_normal(n)


def _hessian_like(n: int, rng: np.random.Generator) -> Spectrum:
    """The report's fourth: a Gaussian bulk, a tenth of outliers (at most 20), half exact zeros."""
    w = rng.standard_normal(n)
    w[: n // 2] = 0.0
    outliers = min(max(n // 10, 1), 20)
    signs = rng.choice([-1.0, 1.0], outliers, p=[0.3, 0.7])
    w[n - outliers :] = signs * rng.uniform(10.0, 60.0, outliers)
    return w


def _identity(n: int, rng: np.random.Generator) -> Spectrum:
    return np.ones(n)


def _zero(n: int, rng: np.random.Generator) -> Spectrum:
    return np.zeros(n)


def _rank_one(n: int, rng: np.random.Generator) -> Spectrum:
    return np.append(np.zeros(n - 1), 3.0)


def _two_valued(n: int, rng: np.random.Generator) -> Spectrum:
    return np.where(np.arange(n) < n // 3, -1.0, 2.0)


def _clustered(n: int, rng: np.random.Generator) -> Spectrum:
    """Triples of width 1e-6 at both ends of a uniform bulk."""
    w = rng.uniform(-1.0, 1.0, n)
    triple = np.array([0.0, 1e-6, 2e-6])
    w[:3] = (10.0 + triple)[:n]
    w[3:6] = (-8.0 - triple)[: max(n - 3, 0)]
    return w


def _multiple(n: int, rng: np.random.Generator) -> Spectrum:
    """The largest four times, the smallest three times, over a uniform bulk."""
    w = rng.uniform(-1.0, 1.0, n)
    w[:4] = 5.0
    w[4:7] = -4.0
    return w


def _plus_minus(n: int, rng: np.random.Generator) -> Spectrum:
    """Pairs of equal magnitude and opposite sign."""
    w = np.sort(rng.uniform(0.0, 1.0, (n + 1) // 2)) ** 2
    return np.concatenate([w, -w])[:n]


def _graded(n: int, rng: np.random.Generator) -> Spectrum:
    """Twelve orders of magnitude, both signs."""
    signs = 2.0 * rng.integers(2, size=n) - 1.0
    return signs * np.logspace(-12, 0, n)


def _tiny(n: int, rng: np.random.Generator) -> Spectrum:
    return 1e-20 * rng.standard_normal(n)


def _huge(n: int, rng: np.random.Generator) -> Spectrum:
    return 1e20 * rng.standard_normal(n)


_SPECTRA: dict[str, Callable[[int, np.random.Generator], Spectrum]] = {
    "gaussian": _gaussian,
    "uniform": _uniform,
    "banded": _banded,
    "hessian_like": _hessian_like,
    "identity": _identity,
    "zero": _zero,
    "rank_one": _rank_one,
    "two_valued": _two_valued,
    "clustered": _clustered,
    "multiple": _multiple,
    "plus_minus": _plus_minus,
    "graded": _graded,
    "tiny": _tiny,
    "huge": _huge,
}

SPECTRA = tuple(_SPECTRA)
"""The names that `spectrum` and `operator` know: the report's four, then the hostile ones."""

REPORT = SPECTRA[:4]
"""The four spectra of the report's chapter 3."""


def spectrum(name: str, n: int, *, rng: Any = None) -> Spectrum:
    """
    Eigenvalues of a named spectrum.

    Parameters
    ----------
    name : str
        One of `SPECTRA`: the report's "gaussian", "uniform" (on [-50, 50]), "banded" and
        "hessian_like" (bulk, outliers, half exact zeros), and the hostile "identity", "zero",
        "rank_one", "two_valued", "clustered" (triples 1e-6 wide), "multiple", "plus_minus",
        "graded" (twelve orders), "tiny" (1e-20) and "huge" (1e20).
    n : int
        How many, at least 1.
    rng : None, int or numpy.random.Generator, optional
        For the spectra that are drawn.

    Returns
    -------
    ndarray of float64, shape (n,)
        Ascending.

    Raises
    ------
    ValueError
        If the name is not known or n is below 1.

    References
    ----------
    .. [1] N. Ilieva, "Spectral Properties of Neural Network Architectures and Optimization",
       EPFL, 2025, section 3.3.

    Examples
    --------
    >>> from hessop import synthetic
    >>> synthetic.spectrum("two_valued", 6)
    array([-1., -1.,  2.,  2.,  2.,  2.])
    """
    _validation.choice("name", name, SPECTRA)
    n = _validation.integer("n", n, 1)
    return np.sort(_SPECTRA[name](n, _validation.rng(rng)))
