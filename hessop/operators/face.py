"""A product behind SciPy's LinearOperator."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator

from hessop import _cupy, _exchange, _validation
from hessop._product import Product
from hessop.operators.symmetric import SymmetricFace


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

    def to_cupy(self) -> Any:
        """
        The same operator for CuPy, on its GPU.

        Returns
        -------
        CupyOperator
            A `cupyx.scipy.sparse.linalg.LinearOperator` with the same product behind it: CuPy
            arrays go in and come out without a copy, in the order of both libraries' streams.

        Raises
        ------
        ValueError
            If the product is not on a CUDA device.
        ImportError
            If CuPy is not installed (``pip install "hessop[gpu]"``).

        Examples
        --------
        >>> import numpy as np
        >>> import hessop
        >>> H = hessop.aslinearoperator(np.eye(2))
        >>> try:
        ...     H.to_cupy()
        ... except ValueError as error:
        ...     print(error)
        `A` must be on a CUDA device for CuPy; got cpu. Move the model there with model.to("cuda").
        """
        if self.product.device.type != "cuda":
            raise ValueError(
                _validation.message(
                    "A",
                    "be on a CUDA device for CuPy",
                    self.product.device,
                    'Move the model there with model.to("cuda").',
                )
            )
        _cupy.library("cupyx.scipy.sparse.linalg")  # which the class derives from
        from hessop.operators.cupy_face import CupyOperator

        return CupyOperator(self.product)

    def _take(self, x: Any) -> torch.Tensor:
        x = np.asarray(x)
        p = self.product
        return _exchange.to_torch(_validation.real("x", x), dtype=p.dtype, device=p.device)

    def _give(self, V: torch.Tensor) -> Any:
        return _exchange.to_numpy(V)

    def _again(self, product: Product) -> ProductOperator:
        return ProductOperator(product)
