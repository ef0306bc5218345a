"""
Operators whose eigenvalues and eigenvectors are known exactly.

For tests, benchmarks and teaching: `operator` puts a spectrum into a random orthogonal
eigenbasis that is applied implicitly, so a million dimensions work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hessop import _exchange, _validation
from hessop._product import Product
from hessop.operators import ProductOperator

Spectrum = NDArray[np.float64]


def _gaussian(n: int, rng: np.random.Generator) -> Spectrum:
    """The report's first: standard normal."""
    return rng.standard_normal(n)


def _uniform(n: int, rng: np.random.Generator) -> Spectrum:
    """The report's second: uniform on [-50, 50]."""
    return rng.uniform(-50.0, 50.0, n)


def _banded(n: int, rng: np.random.Generator) -> Spectrum:
    """The report's third: five well separated Gaussian bands."""
    return rng.choice([-40.0, -20.0, 0.0, 20.0, 40.0], n) + rng.standard_normal(n)


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
    return np.logspace(-12, 0, n) * rng.choice([-1.0, 1.0], n)


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


class _Eigenbasis:
    """An orthogonal matrix Q, a product of Householder reflections in random directions."""

    def __init__(
        self, n: int, reflections: int, rng: np.random.Generator, dtype: torch.dtype
    ) -> None:
        u = rng.standard_normal((reflections, n))
        u /= np.linalg.norm(u, axis=1, keepdims=True)
        self._directions = torch.from_numpy(u).to(dtype)

    def apply(self, V: torch.Tensor, transpose: bool = False) -> torch.Tensor:
        """Rows of V times Q^T (each row v becomes Q v), or times Q."""
        order = self._directions if transpose else self._directions.flip(0)
        for u in order:
            V = torch.addr(V, V @ u, u, alpha=-2)
        return V


class SyntheticProduct(Product):
    """``V Q diag(w) Q^T``."""

    def __init__(self, w: Spectrum, basis: _Eigenbasis, dtype: torch.dtype) -> None:
        super().__init__(len(w), dtype, torch.device("cpu"))
        self._w = torch.from_numpy(w).to(dtype)
        self.basis = basis

    def _apply(self, V: torch.Tensor) -> torch.Tensor:
        return self.basis.apply(self.basis.apply(V, transpose=True) * self._w)


class SyntheticOperator(ProductOperator):
    """
    A symmetric operator with prescribed eigenvalues and a random eigenbasis.

    Made by `operator`.

    Attributes
    ----------
    eigenvalues : ndarray of float64, shape (n,)
        Exact, ascending.
    """

    product: SyntheticProduct

    def __init__(self, eigenvalues: Spectrum, product: SyntheticProduct) -> None:
        super().__init__(product)
        self.eigenvalues = eigenvalues

    def eigenvectors(self, indices: Any) -> Any:
        """
        Exact eigenvectors.

        Parameters
        ----------
        indices : array_like of int, shape (k,)
            Positions in `eigenvalues`.

        Returns
        -------
        ndarray, shape (n, k)
            Orthonormal columns, in the operator's dtype.
        """
        indices = torch.as_tensor(np.atleast_1d(indices))
        rows = torch.zeros((len(indices), self.product.n), dtype=self.product.dtype)
        rows[torch.arange(len(indices)), indices] = 1.0
        return _exchange.to_numpy(self.product.basis.apply(rows)).T


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


def operator(
    eigenvalues: Any,
    n: int | None = None,
    *,
    dtype: torch.dtype = torch.float64,
    reflections: int = 4,
    rng: Any = None,
) -> SyntheticOperator:
    """
    A symmetric operator with a prescribed spectrum.

    Parameters
    ----------
    eigenvalues : array_like of float, shape (n,), or str
        The spectrum, or the name of one (then `n` is needed).
    n : int, optional
        Size, for a named spectrum.
    dtype : torch.dtype, optional
        ``torch.float64`` (default) or ``torch.float32``.
    reflections : int, optional
        Householder reflections in the eigenbasis; a product costs four passes over a vector for
        each. 0 makes the operator diagonal. Default 4.
    rng : None, int or numpy.random.Generator, optional
        For the spectrum and the eigenbasis.

    Returns
    -------
    SyntheticOperator
        With ``eigenvalues`` and ``eigenvectors(indices)``.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> from hessop import synthetic
    >>> A = synthetic.operator([3.0, 1.0, 2.0], rng=0)
    >>> A.eigenvalues
    array([1., 2., 3.])
    """
    generator = _validation.rng(rng)
    if isinstance(eigenvalues, str):
        w = spectrum(eigenvalues, _validation.integer("n", n, 1), rng=generator)
    else:
        given = np.asarray(eigenvalues, dtype=np.float64)
        w = np.sort(_validation.vector("eigenvalues", given, given.size))
    _validation.choice("dtype", dtype, (torch.float32, torch.float64))
    reflections = _validation.integer("reflections", reflections, 0)
    basis = _Eigenbasis(len(w), reflections, generator, dtype)
    return SyntheticOperator(w, SyntheticProduct(w, basis, dtype))
