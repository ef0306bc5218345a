"""A distribution of eigenvalues as weighted nodes, one set for each probe, and exact points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hessop import _validation
from hessop._estimates import BoundedEstimate, Estimate
from hessop.quadrature import gauss


@dataclass(frozen=True)
class Measure:
    """
    What `SpectralDensity` says without smoothing; its attributes are described there.

    Attributes
    ----------
    nodes, weights : ndarray of float64, shape (n_probes, m)
        The rules.
    n, ncv, n_matvec : int
        Number of eigenvalues, steps asked for, products spent.
    points : ndarray of float64, shape (l,)
        Eigenvalues known exactly.
    """

    nodes: NDArray[np.float64]
    weights: NDArray[np.float64]
    n: int
    ncv: int
    n_matvec: int
    points: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0), kw_only=True)

    @property
    def bulk(self) -> int:
        """How many eigenvalues the nodes stand for: all but `points`."""
        return self.n - len(self.points)

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
        inside = np.sum(self.weights * self._values(f, self.nodes), axis=1)
        exact = float(np.sum(self._values(f, self.points)))
        return Estimate((self.bulk * inside + exact) / self.n, self.n_matvec)

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

    def count(self, a: float, b: float) -> BoundedEstimate:
        r"""
        How many eigenvalues lie in an interval.

        The weights of the nodes in it. For each probe, the true weight of the interval lies
        between bounds that its neighbours give (Chebyshev, Markov and Stieltjes; Golub and
        Meurant, "Matrices, Moments and Quadrature with Applications", 2010, Section 2.6).

        Parameters
        ----------
        a, b : float
            The ends, which belong to it, ``a <= b``; infinite ones are allowed.

        Returns
        -------
        BoundedEstimate
            Its interval covers the choice of probes and the error of the rules.

        Raises
        ------
        ValueError
            If ``a > b``, or one is NaN.
        """
        if not a <= b:
            raise ValueError(_validation.message("a, b", "satisfy a <= b", (a, b)))
        left = gauss.cumulative(self.nodes, self.weights, float(a), below=True)
        right = gauss.cumulative(self.nodes, self.weights, float(b))
        exact = int(((a <= self.points) & (self.points <= b)).sum())
        middle, low, high = (
            exact + self.bulk * np.clip(part, 0.0, 1.0)
            for part in (right[1] - left[1], right[0] - left[2], right[2] - left[0])
        )
        return BoundedEstimate(middle, self.n_matvec, low, high)

    @staticmethod
    def _values(
        f: Callable[[NDArray[np.float64]], Any], x: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """What the user's function makes of an array."""
        values = np.asarray(f(x))
        if values.dtype.kind == "c":
            raise TypeError(_validation.message("f", "be real", str(values.dtype)))
        values = values.astype(np.float64)
        if values.shape != x.shape:
            raise ValueError(_validation.message("f", f"keep the shape {x.shape}", values.shape))
        if not np.isfinite(values).all():
            bad = x[~np.isfinite(values)][0]
            raise ValueError(
                _validation.message("f", "be finite at every node", f"{bad:g} mapped to NaN or Inf")
            )
        return values
