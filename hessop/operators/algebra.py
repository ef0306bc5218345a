"""Sums, multiples and deflation of products, without leaving the device."""

from __future__ import annotations

from typing import Any

import torch

from hessop import _exchange, _validation
from hessop._product import Product


class SumProduct(Product):
    """``V (A + B)``."""

    def __init__(self, left: Product, right: Product) -> None:
        super().__init__(left.n, torch.promote_types(left.dtype, right.dtype), left.device)
        if left.device != right.device:
            raise ValueError(
                _validation.message(
                    "A + B", "be of operators on one device", f"{left.device} and {right.device}"
                )
            )
        self.cuda_graphs = left.cuda_graphs and right.cuda_graphs
        self._left = left
        self._right = right

    def expect(self, vectors: int) -> None:
        """Announce to both."""
        self._left.expect(vectors)
        self._right.expect(vectors)

    def floor(self) -> float:
        """The larger of both."""
        return max(self._left.floor(), self._right.floor())

    def _apply(self, V: torch.Tensor) -> torch.Tensor:
        left, right = (p.matmat(V.to(p.dtype)).to(self.dtype) for p in (self._left, self._right))
        return left.add_(right)


class ScaledProduct(Product):
    """``V (factor A)``."""

    def __init__(self, product: Product, factor: float) -> None:
        super().__init__(product.n, product.dtype, product.device)
        self.cuda_graphs = product.cuda_graphs
        self._product = product
        self._factor = factor

    def expect(self, vectors: int) -> None:
        """Announce to what is inside."""
        self._product.expect(vectors)

    def floor(self) -> float:
        """That of what is inside."""
        return self._product.floor()

    def _apply(self, V: torch.Tensor) -> torch.Tensor:
        return self._product.matmat(V).mul_(self._factor)


class DeflatedProduct(Product):
    """``V (A - U^T diag(w) U)`` for rows U."""

    def __init__(self, product: Product, w: torch.Tensor, U: torch.Tensor) -> None:
        super().__init__(product.n, product.dtype, product.device)
        self.cuda_graphs = product.cuda_graphs
        self._product = product
        self._space = product.space()
        self._w = w
        self._U = U

    def expect(self, vectors: int) -> None:
        """Announce to what is inside."""
        self._product.expect(vectors)

    def floor(self) -> float:
        """That of what is inside."""
        return self._product.floor()

    def _apply(self, V: torch.Tensor) -> torch.Tensor:
        out = self._product.matmat(V)
        for v, row in zip(V, out, strict=True):
            self._space.subtract(row, self._U, self._w * self._space.project(self._U, v))
        return out


def deflated(product: Product, w: Any, v: Any) -> DeflatedProduct:
    """The product of ``A - v diag(w) v^T``; w and v of any array type, checked."""
    v = _validation.columns("v", v, product.n)
    w = _validation.vector("w", w, v.shape[1])
    U = _exchange.to_torch(v, dtype=product.dtype, device=product.device).T
    weights = _exchange.to_torch(w, dtype=torch.float64, device=product.device)
    # copies: what comes in may be the user's memory
    return DeflatedProduct(product, weights.clone(), U.clone(memory_format=torch.contiguous_format))
