"""Samples of the trace from one probe each, with or without the leading part taken out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from hessop._product import Product
from hessop._space import LocalSpace


class Hutchinson:
    """
    ``z^T A z`` for each probe.

    Parameters
    ----------
    product : Product
        What is multiplied with.
    space : LocalSpace
        Where the vectors live.

    Attributes
    ----------
    cost : int
        Products for a probe.
    n_matvec : int
        Products spent.
    """

    cost = 1

    def __init__(self, product: Product, space: LocalSpace) -> None:
        self._product = product
        self._space = space
        self._samples: list[float] = []
        self.n_matvec = 0

    def add(self, probes: torch.Tensor) -> None:
        """Take in probes, rows (p, n)."""
        images = self._product.matmat(probes)
        self._samples += [float(self._space.dot(z, w)) for z, w in zip(probes, images, strict=True)]
        self.n_matvec += len(probes)

    def samples(self) -> NDArray[np.float64]:
        """One for each probe."""
        return np.array(self._samples)


class HutchPlusPlus(Hutchinson):
    """
    The trace on the range of a sketch, and Hutchinson's estimator on its complement.

    Meyer, Musco, Musco and Woodruff, "Hutch++: Optimal stochastic trace estimation", SOSA 2021.

    Parameters
    ----------
    product : Product
        What is multiplied with.
    space : LocalSpace
        Where the vectors live.
    sketch : torch.Tensor, shape (s, n)
        Probes whose products span the range; two products each.
    """

    def __init__(self, product: Product, space: LocalSpace, sketch: torch.Tensor) -> None:
        super().__init__(product, space)
        self._Q = torch.linalg.qr(product.matmat(sketch).T)[0].T.contiguous()
        images = product.matmat(self._Q)
        dots = [float(space.dot(q, w)) for q, w in zip(self._Q, images, strict=True)]
        self._known = float(np.sum(dots))
        self.n_matvec = len(sketch) + len(self._Q)

    def add(self, probes: torch.Tensor) -> None:
        """Take in probes, rows (p, n), which are not written."""
        rest = probes.clone()
        for row in rest:
            for _ in range(2):
                self._space.subtract(row, self._Q, self._space.project(self._Q, row))
        super().add(rest)

    def samples(self) -> NDArray[np.float64]:
        """One for each probe, the known part in all of them."""
        return self._known + super().samples()
