"""Parts of a curvature matrix: over some of the parameters, or due to them."""

from __future__ import annotations

from typing import Protocol

import torch

from hessop import _exchange
from hessop._product import Product
from hessop.curvature.layout import Layout, Subset
from hessop.operators.face import ProductOperator
from hessop.operators.pieces import ParameterVectors


class _Divisible(Protocol):
    """A product that can be had over some of the parameters alone."""

    device: torch.device
    cuda_graphs: bool | str

    def multiply(self, V: torch.Tensor, subset: Subset) -> torch.Tensor: ...

    def expect(self, vectors: int) -> None: ...

    def floor(self) -> float: ...


class PartProduct(Product):
    """The product of a part, with what the whole product keeps; its vectors have `side` entries."""

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


class BlockOperator(ParameterVectors, ProductOperator):
    """
    A diagonal block of a curvature matrix, over some of its parameters.

    Parameters
    ----------
    whole : CurvatureProduct
        The product of the whole matrix, whose graphs are shared.
    subset : Subset
        Which parameters.

    Attributes
    ----------
    names : tuple of str
        The parameters in the order of the block's vectors.

    Examples
    --------
    >>> import torch
    >>> import hessop
    >>> x, y = torch.randn(20, 4), torch.randn(20, 2)
    >>> H = hessop.HessianOperator(torch.nn.Linear(4, 2), torch.nn.MSELoss(), (x, y))
    >>> block = H.block("bias")
    >>> v = block @ [1.0, 0.0]
    >>> block.names, block.unflatten(v)["bias"].shape
    (('bias',), (2,))
    """

    def __init__(self, whole: _Divisible, subset: Subset) -> None:
        super().__init__(PartProduct(whole, subset, subset.n))
        self._subset = subset

    @property
    def _layout(self) -> Layout:
        return self._subset


class KernelTermOperator(ProductOperator):
    """
    A term of the tangent kernel, due to some of the parameters.

    Its vectors are over outputs, like those of the whole, so there is nothing to cut by name.

    Parameters
    ----------
    whole : NTKProduct
        The product of the whole kernel, whose graphs are shared.
    subset : Subset
        Which parameters.
    side : int
        How many outputs there are.

    Attributes
    ----------
    names : tuple of str
        Those parameters.

    Examples
    --------
    >>> import torch
    >>> import hessop
    >>> K = hessop.NTKOperator(torch.nn.Linear(4, 2), torch.randn(20, 4))
    >>> term = K.block("bias")
    >>> term.names, term.shape == K.shape
    (('bias',), True)
    """

    def __init__(self, whole: _Divisible, subset: Subset, side: int) -> None:
        super().__init__(PartProduct(whole, subset, side))
        self.names = subset.names
