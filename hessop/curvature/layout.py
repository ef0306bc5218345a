"""How tensors of several shapes lie in one vector, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from hessop import _exchange, _validation

Pieces = Sequence[torch.Tensor | None]
"""Tensors in a fixed order; None stands for zeros."""


class Layout:
    """
    Named shapes in a fixed order.

    Attributes
    ----------
    names : tuple of str
        What lies where.
    shapes : tuple of torch.Size
        Their shapes.
    sizes : list of int
        How many numbers each holds.
    n : int
        How many numbers all hold: the length of the flat vector.
    dtype, device : torch.dtype, torch.device
        What the tensors share.
    """

    def __init__(
        self,
        names: Iterable[str],
        shapes: Iterable[torch.Size],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.dtype = dtype
        self.device = device
        self.names = tuple(names)
        self.shapes = tuple(shapes)
        self.sizes = [shape.numel() for shape in self.shapes]
        self.n = sum(self.sizes)

    def split(self, V: torch.Tensor) -> list[torch.Tensor]:
        """Views of a flat vector ``(n,)`` in the shapes, or of a block ``(k, n)`` in k of each."""
        pieces = torch.split(V, self.sizes, dim=-1)
        lead = V.shape[:-1]
        return [piece.view(*lead, *shape) for piece, shape in zip(pieces, self.shapes, strict=True)]

    def add(self, pieces: Pieces, out: torch.Tensor) -> None:
        """Add pieces to a flat vector ``(n,)``, or k of each to a block ``(k, n)``."""
        for target, piece in zip(self.split(out), pieces, strict=True):
            if piece is not None:
                target.add_(piece.detach())

    def flatten(self, tree: Mapping[str, Any] | Iterable[Any]) -> Any:
        """One vector from a mapping by name, or a sequence in order."""
        if isinstance(tree, Mapping):
            missing = [name for name in self.names if name not in tree]
            if missing:
                raise ValueError(
                    _validation.message("tree", f"hold {list(self.names)}", f"no {missing}")
                )
            tree = [tree[name] for name in self.names]
        given = list(tree)
        shapes = [tuple(leaf.shape) for leaf in given]
        if shapes != [tuple(s) for s in self.shapes]:
            raise ValueError(
                _validation.message(
                    "tree", f"hold arrays of shapes {[tuple(s) for s in self.shapes]}", shapes
                )
            )
        if any(_exchange.is_complex(leaf) for leaf in given):
            raise TypeError(_validation.message("tree", "hold real arrays", "complex ones"))
        dtype = _exchange.face_dtype(self.dtype)
        out = torch.zeros(self.n, dtype=dtype, device=self.device)
        self.add([_exchange.to_torch(x, dtype=dtype, device=self.device) for x in given], out)
        return _exchange.like(given[0], out)

    def unflatten(self, v: Any) -> dict[str, Any]:
        """Arrays by name from one vector, as views of it."""
        v = _validation.vector("v", v, self.n)
        ends = torch.tensor(self.sizes).cumsum(0).tolist()
        return {
            name: v[end - size : end].reshape(tuple(shape))
            for name, size, end, shape in zip(
                self.names, self.sizes, ends, self.shapes, strict=True
            )
        }

    def everything(self) -> Subset:
        """All of it, as a subset."""
        return Subset(self, list(range(len(self.names))))


class Subset(Layout):
    """
    Some tensors of a layout: what a block of a linear map is taken over.

    Attributes
    ----------
    indices : tuple of int
        Their places in the layout.
    whole : bool
        Whether they are all.
    """

    def __init__(self, space: Layout, indices: list[int]) -> None:
        names, shapes = (space.names[i] for i in indices), (space.shapes[i] for i in indices)
        super().__init__(names, shapes, space.dtype, space.device)
        self.indices = tuple(indices)
        self.whole = len(indices) == len(space.names)
        self._count = len(space.names)

    def place(self, V: torch.Tensor) -> list[torch.Tensor | None]:
        """The pieces of a vector, or block, over the subset, None for the rest of the layout."""
        pieces: list[torch.Tensor | None] = [None] * self._count
        for i, piece in zip(self.indices, self.split(V), strict=True):
            pieces[i] = piece
        return pieces
