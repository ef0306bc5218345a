"""A spectral density as a damped Chebyshev expansion: what it says, and what it draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import dct
from scipy.special import ndtr

from hessop._estimates import Estimate
from hessop.quadrature import jackson
from hessop.quadrature.functions import Function, values


@dataclass(frozen=True)
class ChebyshevDensity:
    r"""
    The distribution of an operator's eigenvalues, from `hessop.kpm`.

    The mean over probes of the Chebyshev expansion of its measure on an interval, cut off after
    `degree` terms, and the eigenvalues that were locked as points.

    Attributes
    ----------
    moments : ndarray of float64, shape (n_probes, degree + 1)
        :math:`z^T T_j(\tilde A) z` of each probe z of norm 1, where :math:`\tilde A` is `A` with
        `bounds` mapped to -1 and 1; the first of each row is 1.
    bounds : tuple of float
        The interval; the moments stand for what lies in it.
    n : int
        Number of eigenvalues.
    points : ndarray of float64, shape (l,)
        Eigenvalues that were locked: exact points, of weight ``1 / n`` each, wherever they lie.
        The moments stand for the ``n - l`` others.
    n_matvec : int
        Products spent, of one vector each, those for the bounds included.
    """

    moments: NDArray[np.float64]
    bounds: tuple[float, float]
    n: int
    points: NDArray[np.float64]
    n_matvec: int

    @property
    def degree(self) -> int:
        """The last moment's."""
        return len(self.moments[0]) - 1

    @property
    def bulk(self) -> int:
        """How many eigenvalues the moments stand for: all but `points`."""
        return self.n - len(self.points)

    @property
    def resolution(self) -> float:
        """
        The standard deviation of the kernel in the middle of the interval.

        ``pi / degree`` times half the length of `bounds`. Towards the ends it is less.
        """
        return np.pi * self._half / self.degree

    def pdf(self, x: ArrayLike, *, count: bool = False) -> NDArray[np.float64]:
        """
        The density, smoothed with Jackson's kernel.

        The kernel is near a Gaussian of width `resolution`, narrower towards the ends of
        `bounds`, and nothing is beyond them. Locked eigenvalues are drawn as Gaussians of width
        `resolution`.

        Parameters
        ----------
        x : array_like
            Where to evaluate.
        count : bool, optional
            Whether it integrates to n (eigenvalues per unit) instead of 1. Default False.

        Returns
        -------
        ndarray
            Shaped as `x`, not negative.
        """

        def bell(z: NDArray[np.float64]) -> NDArray[np.float64]:
            kernel: NDArray[np.float64] = np.exp(-0.5 * z**2) / (
                self.resolution * np.sqrt(2 * np.pi)
            )
            return kernel

        x = np.asarray(x, dtype=np.float64)
        angle = self._angle(x)
        width = np.pi * self._half * np.sin(angle)
        inside = (self.bounds[0] < x) & (x < self.bounds[1]) & (width > 0)
        # not negative but for rounding
        curve = np.maximum(jackson.series(self._coefficients, angle).real, 0.0)
        bulk = np.divide(curve, width, out=np.zeros(x.shape), where=inside)
        return self._with_points(bulk, bell, x, count)

    def cdf(self, x: ArrayLike, *, count: bool = False) -> NDArray[np.float64]:
        """
        The share of eigenvalues up to x: the integral of `pdf`.

        Parameters
        ----------
        x : array_like
            Where to evaluate.
        count : bool, optional
            Whether to count eigenvalues, up to n, instead. Default False.

        Returns
        -------
        ndarray
            Shaped as `x`, from 0 to 1, or to n.
        """
        x = np.asarray(x, dtype=np.float64)
        angle, a = self._angle(x), self._coefficients
        a[1:] /= np.arange(1, len(a))
        bulk = np.clip(1.0 - (angle + jackson.series(a, angle).imag) / np.pi, 0.0, 1.0)
        return self._with_points(bulk, ndtr, x, count)

    def expectation(self, f: Function) -> Estimate:
        r"""
        The mean of a function over the eigenvalues, :math:`\frac{1}{n} \sum_i f(\lambda_i)`.

        By the polynomial of degree `degree` that equals f at as many Chebyshev points of `bounds`;
        not damped. Exact, as far as a probe goes, for polynomials up to that degree.

        Parameters
        ----------
        f : callable
            Takes and returns an array. Evaluated all over `bounds`, which is more than the
            spectrum: a logarithm may call for `bounds` of one's own.

        Returns
        -------
        Estimate
            One sample per probe, so that it has a standard error and a confidence interval. They
            cover the choice of probes, not the error of the polynomial.

        Raises
        ------
        ValueError
            If `f` is not finite somewhere, or returns another shape.
        TypeError
            If `f` is complex.
        """
        count = self.degree + 1
        angles = np.pi * (np.arange(count) + 0.5) / count
        sampled = values(f, self._middle + self._half * np.cos(angles))
        series = dct(sampled) / count
        series[0] /= 2
        exact = float(np.sum(values(f, self.points)))
        return Estimate((self.bulk * (self.moments @ series) + exact) / self.n, self.n_matvec)

    def trace(self, f: Function | None = None) -> Estimate:
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
        >>> density = hessop.kpm(np.diag([1.0, 2.0, 4.0]), n_probes=4, degree=60, rng=0)
        >>> round(float(density.trace(np.exp)), 6)
        64.705488
        """
        mean = self.expectation(lambda x: x) if f is None else self.expectation(f)
        return Estimate(self.n * mean.samples, mean.n_matvec)

    @property
    def _middle(self) -> float:
        return self.bounds[0] / 2 + self.bounds[1] / 2

    @property
    def _half(self) -> float:
        return self.bounds[1] / 2 - self.bounds[0] / 2

    @property
    def _coefficients(self) -> NDArray[np.float64]:
        return jackson.coefficients(np.mean(self.moments, axis=0))

    def _angle(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """From pi to 0 across the interval."""
        angle: NDArray[np.float64] = np.arccos(np.clip((x - self._middle) / self._half, -1.0, 1.0))
        return angle

    def _with_points(
        self,
        bulk: NDArray[np.float64],
        kernel: Callable[[NDArray[np.float64]], NDArray[np.float64]],
        x: NDArray[np.float64],
        count: bool,
    ) -> NDArray[np.float64]:
        """The bulk's share, and a kernel around each point."""
        z = (x[..., None] - self.points) / self.resolution
        both: NDArray[np.float64] = self.bulk * bulk + kernel(z).sum(axis=-1)
        return both if count else both / self.n
