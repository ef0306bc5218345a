"""Bands around the curves of a density: how far other probes would move them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hessop import _validation
from hessop._estimates import band
from hessop.quadrature import radau
from hessop.quadrature.smoothed import Smoothed, bell, ogive, smooth


@dataclass(frozen=True, eq=False)
class Banded(Smoothed):
    """What `SpectralDensity` says of its curves."""

    def interval(
        self,
        x: ArrayLike,
        *,
        of: str = "cdf",
        sigma: float | str | None = None,
        confidence_level: float = 0.95,
        method: str = "student",
        rng: Any = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        r"""
        Confidence bands, point by point, over the choice of probes.

        Parameters
        ----------
        x : array_like
            Where.
        of : {"cdf", "smooth", "pdf"}, optional
            "cdf" (default): the share of eigenvalues up to x, not smoothed. The band holds the
            error of the rules too, by the bounds that `count` describes; inside a bulk these are
            much the larger part. "smooth", "pdf": what `cdf` and `pdf` return.
        sigma : float or "adaptive", optional
            Width of the kernel, where there is one. Default: the attribute `sigma`.
        confidence_level : float, optional
            Between 0 and 1. Default 0.95.
        method : {"student", "bootstrap"}, optional
            Student's interval of the mean over probes, which few probes call for, or percentiles
            of 999 resampled means by `scipy.stats.bootstrap`.
        rng : None, int or numpy.random.Generator, optional
            For the bootstrap.

        Returns
        -------
        low : ndarray
            Lower ends, shaped as `x`; NaN for one probe.
        high : ndarray
            Upper ends.

        Raises
        ------
        ValueError
            If an argument is out of range.
        """
        _validation.choice("of", of, ("cdf", "smooth", "pdf"))
        points = np.asarray(x, dtype=np.float64)
        self._widths(sigma)  # a wrong one is not for "cdf" either
        if of == "cdf":
            low, high = self._shares(points.ravel(), confidence_level, method, rng)
        else:
            low, high = band(self._curves(points.ravel(), of, sigma), confidence_level, method, rng)
        return low.reshape(points.shape), high.reshape(points.shape)

    def _shares(
        self, x: NDArray[np.float64], level: float, method: str, rng: Any
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Bands for the shares of eigenvalues up to each x."""
        sweeps, ends = self.sweeps, []
        for at in (x + self.rounding).tolist():
            exact = int((self.points <= at).sum())
            bounds = np.array(radau.shares(sweeps, at))
            ends.append((exact + self.bulk * bounds) / self.n)
        # (bound, probe, x)
        lower, upper = np.array(ends).reshape(len(x), 2, len(sweeps)).transpose(1, 2, 0)
        generator = _validation.rng(rng)
        low, _ = band(lower, level, method, generator)
        _, high = band(upper, level, method, generator)
        low, high = (np.where(np.isnan(x), np.nan, np.clip(end, 0, 1)) for end in (low, high))
        return low, high

    def _curves(self, x: NDArray[np.float64], of: str, sigma: Any) -> NDArray[np.float64]:
        """The curve of each probe with the points, (n_probes, len(x))."""
        (p, m), kernel = self.nodes.shape, bell if of == "pdf" else ogive
        weights, width = p * self._masses(count=False), self._widths(sigma)
        weights[p * m :] /= p
        curves = []
        for i in range(p):
            mine = np.r_[i * m : (i + 1) * m, p * m : len(weights)]
            curves.append(smooth(x, self._everything[mine], weights[mine], kernel, width[mine]))
        return np.array(curves)
