"""Densities as curves: kernels around the nodes, and their inverse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import elementwise
from scipy.special import ndtr

from hessop import _validation
from hessop.quadrature import widths
from hessop.quadrature.named import Named

_POINTS = 512  # points of x that are evaluated at a time
_FAR = 40.0  # widths: beyond, a kernel is 0 or 1


Kernel = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
"""Of distances in widths, and the widths."""


@dataclass(frozen=True, eq=False)
class Smoothed(Named):
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
        self, x: ArrayLike, sigma: float | str | None = None, *, count: bool = False
    ) -> NDArray[np.float64]:
        r"""
        The density, smoothed with a Gaussian kernel.

        .. math:: \frac{1}{p} \sum_{l=1}^p \sum_k w_{lk} \,
            \frac{1}{\sigma \sqrt{2 \pi}} \, e^{-(x - \theta_{lk})^2 / 2 \sigma^2}

        Parameters
        ----------
        x : array_like
            Where to evaluate.
        sigma : float or "adaptive", optional
            Width of the kernel, positive, in units of eigenvalues. Default: the attribute `sigma`.
            "adaptive" gives each node its own, as wide as what the rule resolves there: its
            distance from its neighbours, or its residual if that is less (a tenth of the distance
            at least). A bulk that is narrow beside the outliers keeps its shape.
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
        return smooth(x, self._everything, self._masses(count), bell, self._widths(sigma))

    def cdf(
        self, x: ArrayLike, sigma: float | str | None = None, *, count: bool = False
    ) -> NDArray[np.float64]:
        """
        The share of eigenvalues up to x, smoothed as `pdf`.

        Parameters
        ----------
        x : array_like
            Where to evaluate.
        sigma : float or "adaptive", optional
            As in `pdf`.
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
        return smooth(x, self._everything, self._masses(count), ogive, self._widths(sigma))

    def quantile(self, q: ArrayLike, sigma: float | str | None = None) -> NDArray[np.float64]:
        """
        The inverse of `cdf`.

        Parameters
        ----------
        q : array_like
            Between 0 and 1, ends excluded.
        sigma : float or "adaptive", optional
            As in `pdf`.

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
        reach = _FAR * self._widths(sigma).max()
        everything = self._everything
        ends = everything.min() - reach, everything.max() + reach
        # there it may be 1 less rounding, and q be more
        most = self.cdf(ends[1], sigma)
        found = elementwise.find_root(
            lambda x, share: self.cdf(x, sigma) / most - share,
            (np.full(shares.shape, ends[0]), np.full(shares.shape, ends[1])),
            args=(shares,),
        )
        return np.asarray(found.x, dtype=np.float64)

    def magnitude_pdf(
        self, x: ArrayLike, sigma: float = 0.1, *, count: bool = False
    ) -> NDArray[np.float64]:
        r"""
        The density of :math:`\log_{10} |\lambda|`, for tails that follow a power law.

        Eigenvalues of zero are at minus infinity, so that it integrates to the share of the
        others. Where the rules do not resolve what is near zero, neither does this.

        Parameters
        ----------
        x : array_like
            Values of ``log10 |lambda|``.
        sigma : float, optional
            Width of the Gaussian kernel, positive, in decades. Default 0.1.
        count : bool, optional
            Whether to count eigenvalues per decade. Default False.

        Returns
        -------
        ndarray
            Shaped as `x`.

        Raises
        ------
        ValueError
            If `sigma` is not positive.
        """
        width = _validation.number("sigma", sigma, 0.0, strict=True)
        sizes = np.abs(self._everything)
        some = sizes > 0
        return smooth(
            x, np.log10(sizes[some]), self._masses(count)[some], bell, np.full(some.sum(), width)
        )

    def _widths(self, sigma: float | str | None) -> NDArray[np.float64]:
        """A kernel's width for each node and point."""
        if isinstance(sigma, str):
            if sigma != "adaptive":
                raise ValueError(
                    _validation.message("sigma", 'be a number > 0 or "adaptive"', repr(sigma))
                )
            own = widths.adaptive(self.nodes, self.weights, self.residuals, self.sigma, self.n)
            return np.append(own, np.full(len(self.points), self.sigma))
        width = self.sigma
        if sigma is not None:
            width = _validation.number("sigma", sigma, 0.0, strict=True)
        return np.full(self.nodes.size + len(self.points), width)


def smooth(
    x: ArrayLike,
    centres: NDArray[np.float64],
    weights: NDArray[np.float64],
    kernel: Kernel,
    width: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The weighted sum of kernels around centres, some x at a time."""
    points = np.asarray(x, dtype=np.float64)
    out = np.empty(points.size)
    for a in range(0, points.size, _POINTS):
        with np.errstate(over="ignore"):
            z = (points.ravel()[a : a + _POINTS, None] - centres) / width
        out[a : a + _POINTS] = kernel(np.clip(z, -_FAR, _FAR), width) @ weights
    return out.reshape(points.shape)


def bell(z: NDArray[np.float64], width: NDArray[np.float64]) -> NDArray[np.float64]:
    """The Gaussian."""
    curve: NDArray[np.float64] = np.exp(-0.5 * z**2) / (width * np.sqrt(2 * np.pi))
    return curve


def ogive(z: NDArray[np.float64], width: NDArray[np.float64]) -> NDArray[np.float64]:
    """Its integral, whatever the width."""
    curve: NDArray[np.float64] = ndtr(z)
    return curve
