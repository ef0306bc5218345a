"""A product behind SciPy's LinearOperator."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator

from hessop import _exchange, _validation
from hessop._product import Product
from hessop.operators import algebra


class SymmetricFace:
    """
    What every face of a product does; it differs by base class and exchange alone.

    A leaf derives from this class first and from a library's ``LinearOperator`` second, and
    gives the exchange, `_take` and `_give`.

    SciPy 1.17 hands ``(n,)`` and ``(n, 1)`` to `_matvec`, 1.18 ``(n,)`` and ``(..., n)``; all
    are served. What is handed out is new memory, contiguous and of the operator's dtype: ARPACK
    passes views of its workspace, and other solvers write into what they get.
    """

    product: Product
    shape: tuple[int, int]

    def _take(self, x: Any) -> torch.Tensor:
        """An array of the face's library as a tensor of the product's dtype and device."""
        raise NotImplementedError

    def _give(self, V: torch.Tensor, x: Any) -> Any:
        """A tensor, the product of `x`, as an array of the face's library."""
        raise NotImplementedError

    def _matvec(self, x: Any) -> Any:
        rows = x.reshape(-1, self.product.n)
        return self._give(self.product.matmat(self._take(rows)), x).reshape(x.shape)

    def _matmat(self, X: Any) -> Any:
        if X.ndim > 2:
            raise ValueError(
                _validation.message("X", "have shape (n, k)", f"shape {X.shape}", "Loop over it.")
            )
        return self._give(self.product.matmat(self._take(X.T)), X).T

    def _adjoint(self) -> Any:
        return self

    def _transpose(self) -> Any:
        return self


class ProductOperator(SymmetricFace, LinearOperator):
    """
    A real symmetric `scipy.sparse.linalg.LinearOperator` with a torch product behind it.

    Parameters
    ----------
    product : Product
        What multiplies.

    Attributes
    ----------
    product : Product
        The torch side: ``n``, ``dtype``, ``device``, ``matmat(V)`` for rows `V` of shape
        ``(k, n)`` and ``n_matvec``, the count of vectors multiplied so far.
    """

    def __init__(self, product: Product) -> None:
        super().__init__(_exchange.numpy_dtype(product.dtype), (product.n, product.n))
        self.product = product

    def _take(self, x: Any) -> torch.Tensor:
        x = np.asarray(x)
        if x.dtype.kind == "c":
            raise TypeError(
                _validation.message("x", "be real", str(x.dtype), "Apply to x.real and x.imag.")
            )
        p = self.product
        return _exchange.to_torch(x, dtype=p.dtype, device=p.device)

    def _give(self, V: torch.Tensor, x: Any) -> Any:
        y = _exchange.to_numpy(V)
        if not np.isfinite(y).all() and np.isfinite(x).all():
            raise _validation.finite_product("A")
        return y

    def __add__(self, other: Any) -> Any:
        """The sum: on the device when both sides are, by SciPy otherwise."""
        if isinstance(other, ProductOperator) and other.shape == self.shape:
            return ProductOperator(algebra.SumProduct(self.product, other.product))
        return super().__add__(other)

    def __sub__(self, other: Any) -> Any:
        """The difference, as ``self + (-other)``."""
        return self + (-other)

    def __neg__(self) -> Any:
        """The operator times -1."""
        return self * -1.0

    def __mul__(self, other: Any) -> Any:
        """A real multiple, on the device and of the same dtype; the rest by SciPy."""
        if np.isscalar(other) and np.isrealobj(other):
            return ProductOperator(algebra.ScaledProduct(self.product, float(other)))  # type: ignore[arg-type]
        return super().__mul__(other)

    def __rmul__(self, other: Any) -> Any:
        """As `__mul__`: real multiples commute."""
        if np.isscalar(other) and np.isrealobj(other):
            return self * other
        return super().__rmul__(other)

    def __truediv__(self, other: Any) -> Any:
        """A real fraction, on the device and of the same dtype."""
        if np.isscalar(other) and np.isrealobj(other):
            return self * (1.0 / float(other))  # type: ignore[arg-type]
        return super().__truediv__(other)
