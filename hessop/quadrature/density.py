"""A spectral density as weighted nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from hessop import _validation
from hessop._estimates import Estimate

_POINTS = 512  # points of x that are evaluated at a time


@dataclass(frozen=True)
class SpectralDensity:
    r"""
    The distribution of an operator's eigenvalues, from `hessop.slq`.

    The mean over probes of :math:`\sum_k w_k \delta(\lambda - \theta_k)`; `pdf` and `cdf` smooth
    it with a Gaussian.

    Attributes
    ----------
    nodes : ndarray of float64, shape (n_probes, m)
        Ritz values of each probe, ascending.
    weights : ndarray of float64, shape (n_probes, m)
        Of the nodes; each row sums to 1. A probe whose Krylov space was exhausted early repeats
        its last node with weight 0.
    n : int
        Number of eigenvalues.
    ncv : int
        Lanczos steps that were asked for.
    n_matvec : int
        Products spent, of one vector each.
    """

    nodes: NDArray[np.float64]
    weights: NDArray[np.float64]
    n: int
    ncv: int
    n_matvec: int

    @property
    def sigma(self) -> float:
        """
        Default width of the kernel, ``(lambda_max - lambda_min) / ncv``.

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

    def expectation(self, f: Callable[[NDArray[np.float64]], Any]) -> Estimate:
        r"""
        The mean of a function over the eigenvalues, :math:`\frac{1}{n} \sum_i f(\lambda_i)`.

        Parameters
        ----------
        f : callable
            Takes and returns an array; evaluated at every node, zero included.

        Returns
        -------
        Estimate
            One sample per probe, so that it has a standard error and a confidence interval. They
            cover the choice of probes, not the error of the Gauss rule.

        Raises
        ------
        ValueError
            If `f` is not finite at a node, or returns another shape.
        TypeError
            If `f` is complex.
        """
        values = np.asarray(f(self.nodes))
        if values.dtype.kind == "c":
            raise TypeError(_validation.message("f", "be real", str(values.dtype)))
        values = values.astype(np.float64)
        if values.shape != self.nodes.shape:
            raise ValueError(
                _validation.message("f", f"keep the shape {self.nodes.shape}", values.shape)
            )
        if not np.isfinite(values).all():
            bad = self.nodes[~np.isfinite(values)][0]
            raise ValueError(
                _validation.message("f", "be finite at every node", f"{bad:g} mapped to NaN or Inf")
            )
        return Estimate(np.sum(self.weights * values, axis=1), self.n_matvec)

    def trace(self, f: Callable[[NDArray[np.float64]], Any] | None = None) -> Estimate:
        r"""
        The trace of a function of the operator, :math:`\operatorname{tr} f(A)`.

        Parameters
        ----------
        f : callable, optional
            Takes and returns an array. Default: the identity.

        Returns
        -------
        Estimate
            With standard error and confidence interval, as `expectation`.

        Raises
        ------
        ValueError, TypeError
            As `expectation`.

        Examples
        --------
        >>> import numpy as np
        >>> import hessop
        >>> density = hessop.slq(np.diag([1.0, 2.0, 4.0]), n_probes=4, rng=0)
        >>> round(float(density.trace(np.log)), 10)  # log-determinant
        2.0794415417
        """
        mean = self.expectation(lambda x: x) if f is None else self.expectation(f)
        return Estimate(self.n * mean.samples, mean.n_matvec)

    def _width(self, sigma: float | None) -> float:
        return self.sigma if sigma is None else _validation.number("sigma", sigma, 0.0, strict=True)

    def _smooth(
        self,
        x: ArrayLike,
        kernel: Callable[[NDArray[np.float64]], NDArray[np.float64]],
        width: float,
        count: bool,
    ) -> NDArray[np.float64]:
        """The weighted mean of a kernel around every node, some points at a time."""
        points = np.asarray(x, dtype=np.float64)
        weights = self.weights.ravel() * ((self.n if count else 1.0) / len(self.weights))
        out = np.empty(points.size)
        for a in range(0, points.size, _POINTS):
            z = (points.ravel()[a : a + _POINTS, None] - self.nodes.ravel()) / width
            out[a : a + _POINTS] = kernel(z) @ weights
        return out.reshape(points.shape)
