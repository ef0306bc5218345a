"""Norms estimated from products, with their error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from hessop import _validation
from hessop._estimates import METHODS, ConfidenceInterval, Estimate


@dataclass(frozen=True, eq=False)
class NormEstimate(Estimate):
    """
    A norm, of which a power has unbiased samples. ``float(e)`` is the estimate.

    Attributes
    ----------
    samples : ndarray of float64, shape (s,)
        One unbiased value of ``(norm / scale)**power`` per probe.
    n_matvec : int
        Products spent, of one vector each.
    power : float
        Which power.
    scale : float
        What the norm was divided by before.
    """

    power: float
    scale: float = 1.0

    @property
    def estimate(self) -> float:
        """The root of the mean of the samples, which is a little too small on average."""
        return self._root(super().estimate)

    @property
    def standard_error(self) -> float:
        """By the delta method: that of the mean times the slope of the root there."""
        error, mean = super().standard_error, super().estimate
        if mean <= 0:
            return 0.0 if error == 0 else float("nan")
        return error * self._root(mean) / (self.power * mean)

    def confidence_interval(
        self, confidence_level: float = 0.95, *, method: str = "student", rng: Any = None
    ) -> ConfidenceInterval:
        """
        The roots of an interval for the mean.

        Parameters
        ----------
        confidence_level : float, optional
            Between 0 and 1. Default 0.95.
        method : {"student", "bootstrap"}, optional
            As for `Estimate`.
        rng : None, int or numpy.random.Generator, optional
            For the bootstrap.

        Returns
        -------
        ConfidenceInterval
            ``low``, at least 0, and ``high``; NaN for one sample.
        """
        low, high = super().confidence_interval(confidence_level, method=method, rng=rng)
        return ConfidenceInterval(self._root(low), self._root(high))

    def _root(self, value: float) -> float:
        """The norm for a value of its power; NaN stays."""
        return self.scale * float(np.maximum(value, 0.0) ** (1 / self.power))


@dataclass(frozen=True, eq=False)
class SpectralNormEstimate(Estimate):
    r"""
    The largest eigenvalue in magnitude, from one Lanczos sweep. ``float(e)`` is the estimate.

    The largest Ritz value in magnitude is a lower bound of it. There is no sample to repeat, but
    the start of the sweep was random, and that bounds the norm from above (see Notes).

    Attributes
    ----------
    samples : ndarray of float64, shape (1,)
        The estimate.
    n_matvec : int
        Products spent, of one vector each.
    ritz_values : ndarray of float64, shape (m,)
        Those of the sweep, ascending.
    leftovers : ndarray of float64, shape (m,)
        The norm of what each step left over; of the last one at least what counts as rounding.
    n : int
        Length of a vector.
    noise : float
        What a Ritz value may be wrong by, from rounding and noise in the products.

    Notes
    -----
    After m steps from a unit vector b, the next Lanczos vector is :math:`p(A) b` with
    :math:`p(x) = \prod_j (x - \theta_j) / \beta_j`. Its length is 1, so that no eigenvector u of
    `A` has :math:`|p(\lambda)| |u^T b| > 1`. For a random b, :math:`|u^T b|` is less than
    :math:`\delta` with a probability of at most :math:`\delta \sqrt{2 (n - 1) / \pi}`. Otherwise
    :math:`|p(\lambda)| \le 1 / \delta`, which one number beyond the Ritz values solves with
    equality. It is the bound by Lanczos polynomials of [1]_, for both ends of the spectrum at
    once. What is known before a sweep [2]_ (at either end, the error is at most e times the spread
    but for a probability of :math:`1.648 \sqrt{n} \exp(-(2 m - 1) \sqrt{e})`) is far wider: the
    coefficients show what the spectrum is like.

    References
    ----------
    .. [1] J. van Dorsselaer, M. Hochstenbach and H. van der Vorst, "Computing probabilistic bounds
       for extreme eigenvalues of symmetric matrices with the Lanczos method", SIAM J. Matrix Anal.
       Appl. 22(3), 2000.
    .. [2] J. Kuczynski and H. Wozniakowski, "Estimating the largest eigenvalue by the power and
       Lanczos algorithms with a random start", SIAM J. Matrix Anal. Appl. 13(4), 1992.
    """

    ritz_values: NDArray[np.float64]
    leftovers: NDArray[np.float64]
    n: int
    noise: float

    @property
    def standard_error(self) -> float:
        """NaN: the error has one sign and no distribution that is known."""
        return float("nan")

    def confidence_interval(
        self, confidence_level: float = 0.95, *, method: str = "student", rng: Any = None
    ) -> ConfidenceInterval:
        """
        From the largest Ritz value in magnitude to what the random start leaves possible.

        Parameters
        ----------
        confidence_level : float, optional
            Between 0 and 1. Default 0.95.
        method : {"student", "bootstrap"}, optional
            Without effect: there is no more than one sample.
        rng : None, int or numpy.random.Generator, optional
            Without effect.

        Returns
        -------
        ConfidenceInterval
            ``low`` is certain, ``high`` holds with at least that probability. Both leave room for
            `noise`, and there is little more between them where the Krylov space was exhausted.
        """
        _validation.choice("method", method, METHODS)
        level = _validation.number("confidence_level", confidence_level, 0.0, high=1.0)
        theta, largest = self.ritz_values, self.estimate
        high = largest
        if len(theta) < self.n:
            # Either end may fail with half the probability. The density of a part of a random
            # unit vector is at most its value at zero, and that at most sqrt(2 (n - 1) / pi).
            part = (1 - level) / 2 * math.sqrt(math.pi / (2 * (self.n - 1)))
            beyond = [_beyond(t, self.leftovers, part) for t in (theta, -theta[::-1])]
            high = max(high, theta[-1] + beyond[0], -theta[0] + beyond[1])
        return ConfidenceInterval(max(largest - self.noise, 0.0), high + self.noise)


def _beyond(theta: NDArray[np.float64], beta: NDArray[np.float64], part: float) -> float:
    """
    How far beyond the last of ascending Ritz values an eigenvalue may lie.

    It solves ``prod(x - theta) = prod(beta) / part``, where `part` is what the start vector has of
    the eigenvector at least. In logarithms, for products of many factors over- and underflow.
    """
    if not beta.all():
        return 0.0
    if part == 0.0:
        return math.inf
    target = float(np.sum(np.log(beta))) - math.log(part)
    others = theta[-1] - theta[:-1]

    def excess(s: float) -> float:
        return s + float(np.sum(np.log(math.exp(s) + others))) - target

    # no factor is less than the distance itself, and none more than at that
    most = target / len(theta)
    least = target - float(np.sum(np.log(math.exp(most) + others)))
    return math.exp(brentq(excess, least - 1.0, most + 1.0, xtol=1e-9))
