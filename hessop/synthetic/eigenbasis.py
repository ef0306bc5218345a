"""An operator with a prescribed spectrum in a random eigenbasis."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hessop import _exchange, _validation
from hessop._product import Product
from hessop.operators import ProductOperator
from hessop.synthetic.spectra import Spectrum, spectrum


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
        return self.basis.apply(self.basis.apply(V, transpose=True) * self._w).contiguous()


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
        given = np.asarray(eigenvalues)
        if n is not None and given.size != _validation.integer("n", n, 1):
            raise ValueError(_validation.message("n", "be the number of eigenvalues", n))
        w = np.sort(_validation.vector("eigenvalues", given, max(given.size, 1)).astype(np.float64))
    _validation.choice("dtype", dtype, (torch.float32, torch.float64))
    reflections = _validation.integer("reflections", reflections, 0)
    basis = _Eigenbasis(len(w), reflections, generator, dtype)
    return SyntheticOperator(w, SyntheticProduct(w, basis, dtype))
