"""What every face of a product has: a library's LinearOperator that multiplies in torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hessop import _validation
from hessop._product import Product
from hessop.operators import algebra


class SymmetricFace:
    """
    What every face of a product does; it differs by base class and exchange alone.

    A leaf derives from this class first and from a library's ``LinearOperator`` second, and
    gives the exchange, `_take` and `_give`, and what its sums and multiples are, `_again`.

    SciPy 1.17 hands ``(n,)`` and ``(n, 1)`` to `_matvec`, 1.18 ``(n,)`` and ``(..., n)``, CuPy
    ``(n,)`` and ``(n, 1)``; all are served. What is handed out is new memory, contiguous and of
    the operator's dtype: ARPACK passes views of its workspace, and other solvers write into what
    they get.
    """

    product: Product
    shape: tuple[int, int]

    def _take(self, x: Any) -> torch.Tensor:
        """An array of the face's library as a tensor of the product's dtype and device."""
        raise NotImplementedError

    def _give(self, V: torch.Tensor) -> Any:
        """A tensor as an array of the face's library."""
        raise NotImplementedError

    def _again(self, product: Product) -> Any:
        """Another product behind the same library's face."""
        raise NotImplementedError

    def _matvec(self, x: Any) -> Any:
        rows = self._take(x.reshape(-1, self.product.n))
        return self._give(self._multiplied(rows, x)).reshape(x.shape)

    def _matmat(self, X: Any) -> Any:
        if X.ndim > 2:
            raise ValueError(
                _validation.message("X", "have shape (n, k)", f"shape {X.shape}", "Loop over it.")
            )
        return self._give(self._multiplied(self._take(X.T), X).T)

    def _multiplied(self, rows: torch.Tensor, x: Any) -> torch.Tensor:
        """The product, which is finite where what came in is."""
        found = self.product.matmat(rows)
        if not torch.isfinite(found).all() and np.isfinite(x).all():
            raise _validation.finite_product("A")
        return found

    def _adjoint(self) -> Any:
        return self

    def _transpose(self) -> Any:
        return self

    def __add__(self, other: Any) -> Any:
        """The sum: on the device when both sides are, by the library otherwise."""
        if isinstance(other, SymmetricFace) and other.shape == self.shape:
            return self._again(algebra.SumProduct(self.product, other.product))
        return super().__add__(other)  # type: ignore[misc]

    def __sub__(self, other: Any) -> Any:
        """The difference, as ``self + (-other)``."""
        return self + (-other)

    def __neg__(self) -> Any:
        """The operator times -1."""
        return self * -1.0

    def __mul__(self, other: Any) -> Any:
        """A real multiple, on the device and of the same dtype; the rest by the library."""
        if np.isscalar(other) and np.isrealobj(other):
            return self._again(algebra.ScaledProduct(self.product, float(other)))  # type: ignore[arg-type]
        return super().__mul__(other)  # type: ignore[misc]

    def __rmul__(self, other: Any) -> Any:
        """As `__mul__`: real multiples commute."""
        if np.isscalar(other) and np.isrealobj(other):
            return self * other
        return super().__rmul__(other)  # type: ignore[misc]

    def __truediv__(self, other: Any) -> Any:
        """A fraction, on the device and of the same dtype where it is real."""
        if np.isscalar(other):
            return self * (1.0 / other)  # type: ignore[operator]
        return NotImplemented
