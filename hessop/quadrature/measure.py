"""A distribution of eigenvalues as weighted nodes, one set for each probe, and exact points."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hessop import _validation
from hessop._estimates import BoundedEstimate, Estimate
from hessop.quadrature import gauss, radau
from hessop.quadrature.functions import Function, values
from hessop.quadrature.probes import Source
from hessop.quadrature.sweeps import Method


@dataclass(frozen=True, eq=False)
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
    residuals, alpha, beta : ndarray of float64 or None
        Where the rules come from.
    source : Source or None
        Where the probes come from.
    method : Method
        How the sweeps were done.
    parts : tuple of (Source, int)
        Of a sum: where its probes come from, and how many.
    """

    nodes: NDArray[np.float64]
    weights: NDArray[np.float64]
    n: int
    ncv: int
    n_matvec: int
    points: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0), kw_only=True)
    residuals: NDArray[np.float64] | None = field(default=None, kw_only=True)
    alpha: NDArray[np.float64] | None = field(default=None, kw_only=True)
    beta: NDArray[np.float64] | None = field(default=None, kw_only=True)
    source: Source | None = field(default=None, kw_only=True)
    method: Method = field(default_factory=Method, kw_only=True)
    parts: tuple[tuple[Source, int], ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        """Arrays that nobody writes to."""
        for name in ("nodes", "weights", "points", "residuals", "alpha", "beta"):
            array = getattr(self, name)
            if array is not None:
                view = np.asarray(array, dtype=np.float64).view()
                view.flags.writeable = False
                object.__setattr__(self, name, view)

    @property
    def bulk(self) -> int:
        """How many eigenvalues the nodes stand for: all but `points`."""
        return self.n - len(self.points)

    @property
    def sweeps(self) -> list[gauss.Swept]:
        """The rule and the recurrence of each probe."""
        if self.residuals is None or self.alpha is None or self.beta is None:
            raise ValueError(
                _validation.message(
                    "density", "know its recurrences", "one without", "Use hessop.slq."
                )
            )
        table = gauss.Swept(self.nodes, self.weights, self.residuals, self.alpha, self.beta)
        return gauss.rows(table)

    def atoms(self, *, count: bool = False) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """
        The density as it is, without a kernel.

        Parameters
        ----------
        count : bool, optional
            Whether the weights sum to n instead of 1. Default False.

        Returns
        -------
        values : ndarray of float64, shape (n_probes * m + l,)
            The nodes of all probes and the points, ascending.
        weights : ndarray of float64, shape (n_probes * m + l,)
            Of each.
        """
        found, weights = self._everything, self._masses(count)
        order = np.argsort(found, kind="stable")
        return found[order], weights[order]

    @property
    def _everything(self) -> NDArray[np.float64]:
        """All nodes, then the points."""
        return np.append(self.nodes, self.points)

    def _masses(self, count: bool) -> NDArray[np.float64]:
        """The weights of all nodes and points, of sum 1 or n."""
        inside = self.weights.ravel() * (self.bulk / len(self.weights))
        return np.append(inside, np.ones(len(self.points))) / (1 if count else self.n)

    def expectation(
        self, f: Function, *, within: tuple[float, float] | None = None
    ) -> Estimate | BoundedEstimate:
        r"""
        The mean of a function over the eigenvalues, :math:`\frac{1}{n} \sum_i f(\lambda_i)`.

        Parameters
        ----------
        f : callable
            Takes and returns an array; evaluated at every node, zero included.
        within : tuple (a, b), optional
            Ends of an interval that holds all eigenvalues. Then each probe's value is bracketed by
            the Gauss-Radau rules with a node at either end, which is certain for an f whose
            derivative of order ``2 ncv + 1`` keeps its sign in between: powers, exponentials,
            logarithms, ``1 / (x + c)``.

        Returns
        -------
        Estimate or BoundedEstimate
            One sample per probe, so that it has a standard error and a confidence interval. That
            covers the choice of probes; the error of the rules too with `within`, where samples
            are the middles of the brackets.

        Raises
        ------
        ValueError
            If `f` is not finite at a node, or returns another shape; if nodes lie outside `within`.
        TypeError
            If `f` is complex.
        """
        return self._estimate(f, within, 1.0 / self.n)

    def trace(
        self, f: Function | None = None, *, within: tuple[float, float] | None = None
    ) -> Estimate | BoundedEstimate:
        r"""
        The trace of a function of the operator, :math:`\operatorname{tr} f(A)`.

        Parameters
        ----------
        f : callable, optional
            Takes and returns an array. Default: the identity.
        within : tuple (a, b), optional
            As in `expectation`: brackets by Gauss-Radau rules.

        Returns
        -------
        Estimate or BoundedEstimate
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
        return self._estimate(f or (lambda x: x), within, 1.0)

    def count(self, a: float, b: float) -> BoundedEstimate:
        r"""
        How many eigenvalues lie in an interval.

        For each probe, the weight of the interval lies between bounds that the Gauss-Radau rules
        with nodes at its ends give (Chebyshev, Markov and Stieltjes; Golub and Meurant, "Matrices,
        Moments and Quadrature with Applications", 2010): the best that follow from `ncv` steps.
        They are narrow where an end lies in a gap of the spectrum.

        Parameters
        ----------
        a, b : float
            The ends, which belong to it with what lies within rounding of them, ``a <= b``;
            infinite ones are allowed.

        Returns
        -------
        BoundedEstimate
            Samples are the middles of the bounds. Its interval covers the choice of probes and the
            error of the rules.

        Raises
        ------
        ValueError
            If ``a > b``, or one is NaN.
        """
        a, b = float(a), float(b)
        if not a <= b:
            raise ValueError(_validation.message("a, b", "satisfy a <= b", (a, b)))
        # the next number below: of a measure up to there, the end is not part
        left, right = np.nextafter(a - self.rounding, -np.inf), b + self.rounding
        sweeps = self.sweeps
        (least, most), (lower, upper) = (radau.shares(sweeps, x) for x in (left, right))
        exact = int(((left <= self.points) & (self.points <= right)).sum())
        low, high = (
            exact + self.bulk * np.clip(part, 0.0, 1.0) for part in (lower - most, upper - least)
        )
        return BoundedEstimate((low + high) / 2, self.n_matvec, low, high)

    @property
    def rounding(self) -> float:
        """What cannot be told apart, in units of eigenvalues."""
        return self.method.rounding * float(np.abs(self._everything).max())

    def _estimate(
        self, f: Function, within: tuple[float, float] | None, factor: float
    ) -> Estimate | BoundedEstimate:
        """The trace of a function, times a factor."""
        if within is None:
            sums = np.sum(self.weights * values(f, self.nodes), axis=1)
            return Estimate(factor * self._whole(f, sums), self.n_matvec)
        a, b = self._interval(within)
        pairs = np.empty((len(self.nodes), 2))
        for pair, one in zip(pairs, self.sweeps, strict=True):
            # A converged Ritz value differs from an end by rounding alone. A little farther out the
            # bracket holds as well; f is evaluated inside.
            ends = min(a, one.nodes[0]) - self.rounding, max(b, one.nodes[-1]) + self.rounding
            for i, at in enumerate(ends):
                nodes, weights = radau.radau(one, at)
                pair[i] = weights @ values(f, np.clip(nodes, a, b))
        low, high = (factor * self._whole(f, ends) for ends in np.sort(pairs, axis=1).T)
        return BoundedEstimate((low + high) / 2, self.n_matvec, low, high)

    def _whole(self, f: Function, inside: NDArray[np.float64]) -> NDArray[np.float64]:
        """The trace, from the means over what the nodes stand for."""
        exact = float(np.sum(values(f, self.points)))
        return self.bulk * inside + exact

    def _interval(self, within: Any) -> tuple[float, float]:
        """The gate of `within`."""
        try:
            a, b = (_validation.number("within", end, -np.inf) for end in within)
        except (TypeError, ValueError):
            raise TypeError(
                _validation.message("within", "be a pair of finite numbers", repr(within))
            ) from None
        if not (a - self.rounding <= self.nodes.min() and self.nodes.max() <= b + self.rounding):
            raise ValueError(
                _validation.message(
                    "within",
                    f"hold all nodes, from {self.nodes.min():g} to {self.nodes.max():g}",
                    (a, b),
                )
            )
        return a, b
