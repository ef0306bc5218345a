"""Vectors over a network's parameters, cut into pieces by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from hessop.curvature.layout import Layout


class ParameterVectors(ABC):
    """What an operator can do whose vectors have an entry for each parameter."""

    @property
    @abstractmethod
    def _layout(self) -> Layout:
        """How the parameters lie in a vector."""

    @property
    def names(self) -> tuple[str, ...]:
        """The chosen parameters in the order of the flat vector."""
        return self._layout.names

    def flatten(self, tree: Mapping[str, Any] | Iterable[Any]) -> Any:
        """
        One vector from values for each parameter.

        Parameters
        ----------
        tree : mapping or iterable
            Arrays by parameter name, or in the order of ``names``, each of its parameter's shape.

        Returns
        -------
        ndarray, cupy.ndarray or torch.Tensor, shape (n,)
            Torch for torch, CuPy for CuPy, NumPy for the rest.

        Raises
        ------
        ValueError
            If a name is missing or a shape is wrong.
        """
        return self._layout.flatten(tree)

    def unflatten(self, v: Any) -> dict[str, Any]:
        """
        Values for each parameter from one vector.

        Parameters
        ----------
        v : ndarray, cupy.ndarray or torch.Tensor, shape (n,)
            For instance an eigenvector.

        Returns
        -------
        dict of str to ndarray, cupy.ndarray or torch.Tensor
            By parameter name, in the parameters' shapes, as views of `v`.

        Raises
        ------
        ValueError
            If `v` has another length or is not finite.
        """
        return self._layout.unflatten(v)
