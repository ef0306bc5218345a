"""Densities drawn as curves: kernels around the nodes, their inverse, their bands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import elementwise
from scipy.special import ndtr
from scipy.stats import bootstrap

from hessop import _validation
from hessop._estimates import BoundedEstimate, student
from hessop.quadrature import gauss
from hessop.quadrature.measure import Measure

_POINTS = 512  # points of x that are evaluated at a time


@dataclass(frozen=True)
class Smoothed(Measure):
    """What `SpectralDensity` draws."""

    @property
    def sigma(self) -> float:
        """
        Default width of the kernel, ``(lambda_max - lambda_min) / ncv``, without `points`.

        Where all nodes agree to one part in a million, their magnitude takes the place of the range
        (1 for zero).
        """
        low, high = float(self.nodes.min()), float(self.nodes.max())
        width = high - low
        if width <= 1e-6 * max(abs(low), abs(high)):
            width = max(abs(low), abs(high)) or 1.0
        return width / self.ncv

    def pdf(
        self, x: ArrayLike, sigma: float | None = None, *, count: bool = False
    ) -> NDArray[np.float64]:
        r"""
        The density, smoothed with a Gaussian kernel.

        .. math:: \frac{1}{p} \sum_{l=1}^p \sum_k w_{lk} \,
            \frac{1}{\sigma \sqrt{2 \pi}} \, e^{-(x - \theta_{lk})^2 / 2 \sigma^2}

        Parameters
        ----------
        x : array_like
            Where to evaluate.
        sigma : float, optional
            Width of the kernel, positive, in units of eigenvalues. Default: the attribute `sigma`.
        count : bool, optional
            Whether it integrates to n (eigenvalues per unit) instead of 1. Default False.

        Returns
        -------
        ndarray
            Shaped as `x`.

        Raises
        ------
        ValueError
            If `sigma` is not positive.

        Examples
        --------
        >>> import numpy as np
        >>> import hessop
        >>> density = hessop.slq(np.diag([0.0, 1.0]), n_probes=3, rng=0)
        >>> x = np.linspace(-1, 2, 1001)
        >>> round(float(np.trapezoid(density.pdf(x, sigma=0.1), x)), 6)
        1.0
        """
        width = self._width(sigma)

        def kernel(z: NDArray[np.float64]) -> NDArray[np.float64]:
            bell: NDArray[np.float64] = np.exp(-0.5 * z**2) / (width * np.sqrt(2 * np.pi))
            return bell

        return self._smooth(x, kernel, width, count)

    def cdf(
        self, x: ArrayLike, sigma: float | None = None, *, count: bool = False
    ) -> NDArray[np.float64]:
        """
        The share of eigenvalues up to x, smoothed as `pdf`.

        Parameters
        ----------
        x : array_like
            Where to evaluate.
        sigma : float, optional
            Width of the kernel, positive. Default: the attribute `sigma`.
        count : bool, optional
            Whether to count eigenvalues, up to n, instead. Default False.

        Returns
        -------
        ndarray
            Shaped as `x`, from 0 to 1, or to n.

        Raises
        ------
        ValueError
            If `sigma` is not positive.
        """
        return self._smooth(x, ndtr, self._width(sigma), count)

    def quantile(self, q: ArrayLike, sigma: float | None = None) -> NDArray[np.float64]:
        """
        The inverse of `cdf`.

        Parameters
        ----------
        q : array_like
            Between 0 and 1, ends excluded.
        sigma : float, optional
            Width of the kernel, positive. Default: the attribute `sigma`.

        Returns
        -------
        ndarray
            Shaped as `q`: eigenvalues below which these shares lie.

        Raises
        ------
        ValueError
            If `q` is out of range.
        """
        shares = np.asarray(q, dtype=np.float64)
        if not ((shares > 0) & (shares < 1)).all():
            raise ValueError(_validation.message("q", "lie between 0 and 1", repr(q)))
        # forty widths beyond the last node the curve is 0 or 1
        reach = 40 * self._width(sigma)
        everything = np.append(self.nodes, self.points)
        ends = everything.min() - reach, everything.max() + reach
        found = elementwise.find_root(
            lambda x, share: self.cdf(x, sigma) - share,
            (np.full(shares.shape, ends[0]), np.full(shares.shape, ends[1])),
            args=(shares,),
        )
        return np.asarray(found.x, dtype=np.float64)

    def interval(
        self,
        x: ArrayLike,
        *,
        of: str = "cdf",
        sigma: float | None = None,
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
            "cdf" (default): the share of eigenvalues up to x, not smoothed; the band holds the
            error of the rules too (see `count`). "smooth", "pdf": what `cdf` and `pdf` return.
        sigma : float, optional
            Width of the kernel, where there is one. Default: the attribute `sigma`.
        confidence_level : float, optional
            Between 0 and 1. Default 0.95.
        method : {"student", "bootstrap"}, optional
            Student's interval of the mean over probes, which few probes call for, or percentiles
            of 999 resampled means by `scipy.stats.bootstrap`, not for "cdf".
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
        _validation.choice("method", method, ("student", "bootstrap"))
        points = np.asarray(x, dtype=np.float64)
        if of == "cdf":
            if method == "bootstrap":
                raise ValueError(
                    _validation.message("method", 'be "student" for the cdf', repr(method))
                )
            bands = [
                BoundedEstimate(*self._share(float(p))).confidence_interval(confidence_level)
                for p in points.ravel()
            ]
            low, high = np.clip(np.array(bands).reshape(-1, 2), 0.0, 1.0).T
        else:
            # one probe after the other, as a density of its own
            width = self._width(sigma)
            alone = [self._alone(i) for i in range(len(self.nodes))]
            each = np.array(
                [getattr(a, "pdf" if of == "pdf" else "cdf")(points.ravel(), width) for a in alone]
            )
            if method == "student":
                low, high = student(each, confidence_level)
            else:
                found = bootstrap(
                    (each,),
                    np.mean,
                    n_resamples=999,
                    confidence_level=confidence_level,
                    method="percentile",
                    rng=_validation.rng(rng),
                ).confidence_interval
                low, high = found.low, found.high
        return low.reshape(points.shape), high.reshape(points.shape)

    def _share(self, x: float) -> tuple[Any, int, Any, Any]:
        """The samples of the share up to x, products, and bounds on them."""
        exact = int((self.points <= x).sum())
        low, middle, high = gauss.cumulative(self.nodes, self.weights, x)
        low, middle, high = ((exact + self.bulk * part) / self.n for part in (low, middle, high))
        return middle, self.n_matvec, low, high

    def _alone(self, probe: int) -> Smoothed:
        """One probe's part."""
        rows = slice(probe, probe + 1)
        return Smoothed(
            self.nodes[rows], self.weights[rows], self.n, self.ncv, 0, points=self.points
        )

    def _width(self, sigma: float | None) -> float:
        return self.sigma if sigma is None else _validation.number("sigma", sigma, 0.0, strict=True)

    def _smooth(
        self,
        x: ArrayLike,
        kernel: Callable[[NDArray[np.float64]], NDArray[np.float64]],
        width: float,
        count: bool,
    ) -> NDArray[np.float64]:
        """The weighted mean of a kernel around every node and point, some x at a time."""
        points = np.asarray(x, dtype=np.float64)
        share = self.weights.ravel() * (self.bulk / len(self.weights))
        weights = np.append(share, np.ones(len(self.points))) / (1.0 if count else self.n)
        nodes = np.append(self.nodes, self.points)
        out = np.empty(points.size)
        for a in range(0, points.size, _POINTS):
            z = (points.ravel()[a : a + _POINTS, None] - nodes) / width
            out[a : a + _POINTS] = kernel(z) @ weights
        return out.reshape(points.shape)
