"""Numbers estimated from random probes, with their error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap
from scipy.stats import t as student_t

from hessop import _validation

METHODS = ("student", "bootstrap")
_RESAMPLES = 999
_BATCH = 50  # of them at a time


class ConfidenceInterval(NamedTuple):
    """An interval, with SciPy's field names ``low`` and ``high``."""

    low: float
    high: float


def student(samples: NDArray[np.float64], confidence_level: float) -> tuple[Any, Any]:
    """Student's interval for the mean of samples along the first axis; NaN for one."""
    level = _validation.number("confidence_level", confidence_level, 0.0, high=1.0)
    s, mean = len(samples), np.mean(samples, axis=0)
    if s < 2:
        return np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    error = np.std(samples, axis=0, ddof=1) / np.sqrt(s)
    # at level 1 it is infinite, but not where there is no error
    quantile = student_t.ppf(0.5 + level / 2, s - 1)
    half = np.multiply(error, quantile, out=np.zeros_like(error), where=error > 0)
    return mean - half, mean + half


def band(
    samples: NDArray[np.float64], confidence_level: float, method: str, rng: Any
) -> tuple[Any, Any]:
    """Student's interval, or percentiles of resampled means, along the first axis."""
    _validation.choice("method", method, METHODS)
    if method == "student" or len(samples) < 2:
        return student(samples, confidence_level)
    level = _validation.number("confidence_level", confidence_level, 0.0, high=1.0)
    found = bootstrap(
        (samples,),
        np.mean,
        n_resamples=_RESAMPLES,
        batch=_BATCH,
        confidence_level=level,
        method="percentile",
        rng=_validation.rng(rng),
    ).confidence_interval
    return found.low, found.high


@dataclass(frozen=True, eq=False)
class Estimate:
    """
    The mean of independent samples, with its error. ``float(e)`` is the estimate.

    Attributes
    ----------
    samples : ndarray of float64, shape (s,)
        One unbiased value per probe.
    n_matvec : int
        Products spent, of one vector each.
    """

    samples: NDArray[np.float64]
    n_matvec: int

    @property
    def estimate(self) -> float:
        """The mean of the samples."""
        return float(np.mean(self.samples))

    @property
    def standard_error(self) -> float:
        """Standard error of the mean, ``std(ddof=1) / sqrt(s)``; NaN for one sample."""
        s = len(self.samples)
        return float(np.std(self.samples, ddof=1) / np.sqrt(s)) if s > 1 else float("nan")

    def confidence_interval(
        self, confidence_level: float = 0.95, *, method: str = "student", rng: Any = None
    ) -> ConfidenceInterval:
        """
        An interval for the mean over all possible probes.

        Parameters
        ----------
        confidence_level : float, optional
            Between 0 and 1. Default 0.95.
        method : {"student", "bootstrap"}, optional
            Student's interval (default), which few probes call for, or percentiles of 999
            resampled means by `scipy.stats.bootstrap`, which is too narrow for few.
        rng : None, int or numpy.random.Generator, optional
            For the bootstrap.

        Returns
        -------
        ConfidenceInterval
            ``low`` and ``high``; NaN for one sample, of no width where all samples agree.
        """
        low, high = band(self.samples, confidence_level, method, rng)
        return ConfidenceInterval(float(low), float(high))

    def __float__(self) -> float:
        """The estimate."""
        return self.estimate


@dataclass(frozen=True, eq=False)
class BoundedEstimate(Estimate):
    """
    An estimate whose samples are known between bounds only.

    Attributes
    ----------
    low, high : ndarray of float64, shape (s,)
        Between which the true value of each sample lies.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def confidence_interval(
        self, confidence_level: float = 0.95, *, method: str = "student", rng: Any = None
    ) -> ConfidenceInterval:
        """
        From the lower end for the lower bounds to the upper end for the upper ones.

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
            ``low`` and ``high``; NaN for one sample.
        """
        generator = _validation.rng(rng)
        low, _ = band(self.low, confidence_level, method, generator)
        _, high = band(self.high, confidence_level, method, generator)
        return ConfidenceInterval(float(low), float(high))


@dataclass(frozen=True, eq=False)
class DiagonalEstimate:
    """
    The diagonal of an operator, with the error of each entry.

    Attributes
    ----------
    estimate : ndarray, cupy.ndarray or torch.Tensor, shape (n,)
        In the array type and dtype of the operator.
    standard_error : ndarray, cupy.ndarray or torch.Tensor, shape (n,)
        Of each entry's mean over probes; NaN for one probe.
    n_probes : int
        How many.
    n_matvec : int
        Products spent, of one vector each.
    """

    estimate: Any
    standard_error: Any
    n_probes: int
    n_matvec: int

    def confidence_interval(self, confidence_level: float = 0.95) -> tuple[Any, Any]:
        """
        Student's intervals for the entries, each by itself.

        Parameters
        ----------
        confidence_level : float, optional
            Between 0 and 1. Default 0.95.

        Returns
        -------
        low : ndarray, cupy.ndarray or torch.Tensor, shape (n,)
            Lower ends; NaN for one probe.
        high : ndarray, cupy.ndarray or torch.Tensor, shape (n,)
            Upper ends.
        """
        confidence_level = _validation.number("confidence_level", confidence_level, 0.0, high=1.0)
        quantile = float(student_t.ppf(0.5 + confidence_level / 2, max(self.n_probes - 1, 1)))
        half = quantile * self.standard_error
        return self.estimate - half, self.estimate + half
