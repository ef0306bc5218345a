"""Vectors with another inner product than the Euclidean one."""

from __future__ import annotations

import numpy as np
import torch

from hessop._product import Product
from hessop._space import LocalSpace


class MetricSpace(LocalSpace):
    """
    Vectors with the inner product ``v^T B w``.

    Every algorithm that takes its reductions from the space works for operators that are
    self-adjoint in this product.

    Parameters
    ----------
    metric : Product
        B, positive semi-definite.
    into : Product
        What draws are multiplied with: where B is singular, its null space, which no inner
        product sees, is left out that way (Nour-Omid, Parlett, Ericsson and Jensen 1987).
    """

    def __init__(self, metric: Product, into: Product) -> None:
        # nobody knows what a product does, and whether it can be captured
        super().__init__(metric.n, metric.dtype, metric.device, graphs=False)
        self._metric = metric
        self._into = into

    def dot(self, v: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """``v^T B w`` in float64, a 0-d tensor."""
        return super().dot(v, self._image(w))

    def norm(self, w: torch.Tensor) -> torch.Tensor:
        """``sqrt(w^T B w)`` in float64, a 0-d tensor."""
        return self.dot(w, w).clamp_min(0.0).sqrt()

    def project(self, V: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """``V B w`` for rows V of shape (m, n), in float64, shape (m,)."""
        return super().project(V, self._image(w))

    def draw(self, rng: np.random.Generator, distribution: str) -> torch.Tensor:
        """A random vector in the range of the operator."""
        return self._into.matmat(super().draw(rng, distribution)[None])[0]

    def _image(self, w: torch.Tensor) -> torch.Tensor:
        return self._metric.matmat(w[None])[0]
