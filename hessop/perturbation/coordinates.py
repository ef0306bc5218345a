"""Vectors of a resample, and of all data, in the same coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hessop import _exchange, _validation
from hessop._product import Product
from hessop._results import EigenResult
from hessop.krylov.wanted import Which, ranking
from hessop.perturbation.angles import columns

COORDINATES = ("parameters", "examples")


@dataclass(frozen=True)
class Resample:
    """
    How vectors of one resample are related to those of all data.

    Attributes
    ----------
    rows : ndarray of int, shape (n,), or None
        Which entry of a vector of all data each of its own belongs to; None where they are the
        same entries.
    length : int
        Of a vector of all data.
    alike : bool
        Whether there is such a relation at all.
    """

    rows: NDArray[np.intp] | None
    length: int
    alike: bool

    @classmethod
    def of(cls, coordinates: str, indices: NDArray[np.int64], length: int, size: int) -> Resample:
        """Of these examples, with vectors of this size."""
        if coordinates == "parameters":
            return cls(None, length, size == length)
        outputs = length // len(indices)
        if size != length or outputs * len(indices) != length:
            raise ValueError(
                _validation.message(
                    "build(indices)",
                    "have a row for each output of each example, where coordinates are examples",
                    f"{length} rows for all {len(indices)} examples, {size} for a resample",
                )
            )
        return cls((indices[:, None] * outputs + np.arange(outputs)).ravel(), length, True)

    def start(self, full: EigenResult) -> Any:
        """Where a search may begin: what was found for all data, in this resample's coordinates."""
        if self.rows is None:
            return full if self.alike else None
        return columns("v0", full).sum(axis=1)[self.rows]

    def carried(self, vectors: NDArray[Any], full: Product) -> tuple[NDArray[Any], int]:
        """
        The span of eigenvectors (n, s) in the coordinates of all data, and the products it takes.

        With the kernel ``J J^T`` of all data, copies of an example summed up are mapped to
        ``J J_r^T v``, the image under J of eigenvectors ``J_r^T v`` that have a coordinate for each
        parameter.
        """
        if self.rows is None:
            return vectors, 0
        summed = np.zeros((vectors.shape[1], self.length), dtype=vectors.dtype)
        np.add.at(summed.T, self.rows, vectors)
        rows = _exchange.to_torch(summed, dtype=full.dtype, device=full.device)
        images = _exchange.to_numpy(full.matmat(rows))
        return np.linalg.qr(images.T)[0], len(images)


def leading(result: EigenResult, count: int, which: Which) -> NDArray[Any]:
    """The most wanted eigenvectors, (n, count), copied to the host."""
    chosen = np.sort(ranking(result.eigenvalues, which)[:count])
    return _exchange.on_host(result.eigenvectors[:, chosen.tolist()])
