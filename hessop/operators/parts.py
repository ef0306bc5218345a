"""The diagonal blocks of a curvature matrix."""

from __future__ import annotations

from typing import Protocol

import torch

from hessop import _exchange
from hessop._product import Product
from hessop.curvature.layout import Subset
from hessop.operators.face import ProductOperator


class _Divisible(Protocol):
    """A product that can be had over some of the parameters alone."""

    device: torch.device
    cuda_graphs: bool | str

    def multiply(self, V: torch.Tensor, subset: Subset) -> torch.Tensor: ...

    def expect(self, vectors: int) -> None: ...

    def floor(self) -> float: ...


class BlockProduct(Product):
    """``V -> V C_bb`` for a subset b of the parameters, with what the whole product keeps."""

    def __init__(self, whole: _Divisible, subset: Subset, side: int) -> None:
        super().__init__(side, _exchange.face_dtype(subset.dtype), whole.device)
        self.cuda_graphs = whole.cuda_graphs
        self._whole = whole
        self._subset = subset

    def expect(self, vectors: int) -> None:
        """Announce to the whole."""
        self._whole.expect(vectors)

    def floor(self) -> float:
        """That of the whole."""
        return self._whole.floor()

    def _apply(self, V: torch.Tensor) -> torch.Tensor:
        return self._whole.multiply(V, self._subset)


class BlockOperator(ProductOperator):
    """
    A diagonal block of a curvature matrix, over some of its parameters.

    Parameters
    ----------
    whole : CurvatureProduct
        The product of the whole matrix, whose graphs are shared.
    subset : Subset
        Which parameters.
    side : int
        The length of the block's vectors.

    Attributes
    ----------
    names : tuple of str
        The parameters in the order of the block's vectors.
    """

    def __init__(self, whole: _Divisible, subset: Subset, side: int) -> None:
        super().__init__(BlockProduct(whole, subset, side))
        self._subset = subset

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters in the order of the block's vectors."""
        return self._subset.names
