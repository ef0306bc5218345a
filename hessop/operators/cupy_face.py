"""A product behind CuPy's LinearOperator. Importing this file imports CuPy."""

from __future__ import annotations

from typing import Any

import torch
from cupyx.scipy.sparse.linalg import LinearOperator

from hessop import _cupy, _exchange, _validation
from hessop._product import Product
from hessop.operators.symmetric import SymmetricFace


class CupyOperator(SymmetricFace, LinearOperator):
    """
    A real symmetric `cupyx.scipy.sparse.linalg.LinearOperator` with a torch product behind it.

    Made by ``H.to_cupy()``. CuPy's multiples of an operator change its dtype and have no adjoint;
    those of this class are computed in torch, as its sums.

    Parameters
    ----------
    product : Product
        What multiplies, on a CUDA device.

    Attributes
    ----------
    product : Product
        The torch side: ``n``, ``dtype``, ``device``, ``matmat(V)`` for rows `V` of shape
        ``(k, n)`` and ``n_matvec``, the count of vectors multiplied so far.
    """

    __array_ufunc__ = None  # a number of NumPy's times this is for this class to say, as in SciPy

    def __init__(self, product: Product) -> None:
        super().__init__(_exchange.numpy_dtype(product.dtype), (product.n, product.n))
        self.product = product

    def _take(self, x: Any) -> torch.Tensor:
        device = self.product.device
        if not _cupy.is_array(x):
            remedy = "Use cupy.asarray(x), or the operator that to_cupy() was called on."
            kind = type(x).__name__
            raise TypeError(_validation.message("x", "be a CuPy array", f"a {kind}", remedy))
        if x.device.id != device.index:
            place = f"one on GPU {x.device.id}"
            raise ValueError(_validation.message("x", f"be on GPU {device.index}", place))
        return _cupy.take(_validation.real("x", x)).to(self.product.dtype)

    def _give(self, V: torch.Tensor) -> Any:
        return _cupy.give(V)

    def _again(self, product: Product) -> CupyOperator:
        return CupyOperator(product)
