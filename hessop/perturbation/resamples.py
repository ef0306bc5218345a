"""What a bootstrap found, and intervals from it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hessop import _validation
from hessop._results import EigenResult
from hessop.perturbation.angles import subspace_angles

METHODS = ("percentile", "basic")


@dataclass(frozen=True)
class Bootstrap:
    """
    Leading eigenvalues and subspaces over resamples of the data.

    Attributes
    ----------
    full : EigenResult
        Of all data, each example once.
    eigenvalues : ndarray of float64, shape (b, k)
        Of each resample, ascending.
    angles : ndarray of float64, shape (b,)
        The largest principal angle, in radians, between the leading subspace of each resample and
        that of all data; NaN where vectors of the two cannot be compared.
    converged : ndarray of bool, shape (b, k)
        Which of the eigenvalues have converged.
    n_matvec : ndarray of int, shape (b,)
        Products spent on each resample; those on all data are ``full.n_matvec``.
    subspaces : tuple of ndarray, each (n, s)
        Orthonormal columns that span what the leading eigenvectors of each resample do, on the
        host, in the coordinates of all data where there are such.
    """

    full: EigenResult
    eigenvalues: NDArray[np.float64]
    angles: NDArray[np.float64]
    converged: NDArray[np.bool_]
    n_matvec: NDArray[np.int_]
    subspaces: tuple[NDArray[Any], ...]

    @property
    def standard_error(self) -> NDArray[np.float64]:
        """The standard deviation of each eigenvalue over resamples; NaN for one resample."""
        if len(self.eigenvalues) < 2:
            return np.full(self.eigenvalues.shape[1], np.nan)
        return np.asarray(np.std(self.eigenvalues, axis=0, ddof=1), dtype=np.float64)

    @property
    def bias(self) -> NDArray[np.float64]:
        """The mean over resamples less the value for all data; it has been there once before."""
        return np.asarray(self.eigenvalues.mean(axis=0) - self.full.eigenvalues, dtype=np.float64)

    def confidence_interval(
        self, confidence_level: float = 0.95, *, method: str = "percentile"
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """
        Intervals for the eigenvalues over the population of the data, each by itself.

        Parameters
        ----------
        confidence_level : float, optional
            Between 0 and 1. Default 0.95.
        method : {"percentile", "basic"}, optional
            "percentile" (default): between quantiles of the resamples. "basic": these mirrored at
            the value for all data, which takes the bias off, as in `scipy.stats.bootstrap`.

        Returns
        -------
        low : ndarray of float64, shape (k,)
            Lower ends; NaN for one resample.
        high : ndarray of float64, shape (k,)
            Upper ends.

        Notes
        -----
        A quantile of b resamples is not known beyond the share ``1 / b``: twenty are enough for a
        standard error, and some hundreds for the ends of an interval.
        """
        level = _validation.number("confidence_level", confidence_level, 0.0, high=1.0)
        _validation.choice("method", method, METHODS)
        if len(self.eigenvalues) < 2:
            nothing = np.full(self.eigenvalues.shape[1], np.nan)
            return nothing, nothing.copy()
        tail = (1 - level) / 2
        low, high = np.quantile(self.eigenvalues, [tail, 1 - tail], axis=0)
        if method == "basic":
            low, high = 2 * self.full.eigenvalues - high, 2 * self.full.eigenvalues - low
        return low, high

    def pairwise_angles(self) -> NDArray[np.float64]:
        """
        The largest principal angle between the leading subspaces of each two resamples.

        Returns
        -------
        ndarray of float64, shape (b (b - 1) / 2,)
            In radians, in the order of `itertools.combinations`; NaN where the vectors of two
            resamples cannot be compared.
        """
        pairs = combinations(self.subspaces, 2)
        return np.array([largest_angle(v1, v2) for v1, v2 in pairs], dtype=np.float64)


def largest_angle(v1: NDArray[Any], v2: NDArray[Any]) -> float:
    """In radians; NaN for vectors of different lengths."""
    return float(subspace_angles(v1, v2)[0]) if len(v1) == len(v2) else float("nan")
