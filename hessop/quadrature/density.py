"""A spectral density: what it says, and how it is compared, extended and joined."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import wasserstein_distance

from hessop import _validation
from hessop.krylov.sweep import Sweep
from hessop.quadrature import gauss
from hessop.quadrature.growth import Growth
from hessop.quadrature.picture import draw
from hessop.quadrature.probes import Source
from hessop.quadrature.storing import Stored
from hessop.quadrature.sweeps import Method, Part

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False, repr=False)
class SpectralDensity(Stored):
    r"""
    The distribution of an operator's eigenvalues, from `hessop.slq`.

    The mean over probes of :math:`\sum_k w_k \delta(\lambda - \theta_k)`, and the eigenvalues that
    were locked as points; `pdf` and `cdf` smooth it with a Gaussian.

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
    points : ndarray of float64, shape (l,)
        Eigenvalues that were locked: exact points, of weight ``1 / n`` each. The nodes stand for
        the ``n - l`` others.
    residuals : ndarray of float64, shape (n_probes, m), or None
        An eigenvalue lies within so much of each node.
    alpha, beta : ndarray of float64, shape (n_probes, steps), or None
        The recurrences that the nodes come from; NaN beyond the end of a shorter one. The last of
        `beta` is what was left over.
    source : Source or None
        Where the probes come from, which is what `extend` needs.
    method : Method
        How the sweeps were done.
    parts : tuple of (Source, int)
        Of a sum: where its probes come from, and how many from each.
    kept : tuple of Sweep
        The Lanczos vectors, where `hessop.slq` was asked to keep them.
    """

    kept: tuple[Sweep, ...] = field(default=(), kw_only=True)

    def __repr__(self) -> str:
        """In one line."""
        probes, low, high = len(self.nodes), self.nodes.min(), self.nodes.max()
        locked = f", {len(self.points)} locked" if len(self.points) else ""
        return (
            f"SpectralDensity(n={self.n}, {probes} probes of {self.nodes.shape[1]} nodes "
            f"in [{low:.4g}, {high:.4g}]{locked}, n_matvec={self.n_matvec})"
        )

    @classmethod
    def empty(
        cls, n: int, ncv: int, points: gauss.Array, source: Source, method: Method
    ) -> SpectralDensity:
        """
        A density without probes yet.

        Parameters
        ----------
        n, ncv, points, source, method : object
            As the attributes.

        Returns
        -------
        SpectralDensity
            For `joined`.
        """
        table = gauss.Swept(*[np.empty((0, 0))] * 5)._asdict()
        return cls(n=n, ncv=ncv, n_matvec=0, points=points, source=source, method=method, **table)

    def wasserstein(self, other: SpectralDensity | ArrayLike) -> float:
        """
        The Wasserstein-1 distance to another density, or to eigenvalues; not smoothed.

        Parameters
        ----------
        other : SpectralDensity or array_like
            A density, or all eigenvalues of an operator.

        Returns
        -------
        float
            In units of eigenvalues, by `scipy.stats.wasserstein_distance`.
        """
        theirs = other.atoms() if isinstance(other, SpectralDensity) else (np.ravel(other), None)
        mine = self.atoms()
        return float(wasserstein_distance(mine[0], theirs[0], mine[1], theirs[1]))

    def extend(
        self, A: Any, n_probes: int = 0, *, ncv: int | None = None, lock: Any = None
    ) -> SpectralDensity:
        """
        The density with more steps, or more probes, the next of the same seed.

        As one run with all of them, to rounding: products of blocks round by their width. (Where
        `rtol` ended the steps of earlier probes, new ones take all.) One product is spent on
        whether `A` is the operator that the density came from.

        Parameters
        ----------
        A : operator or matrix, shape (n, n)
            The operator that it came from.
        n_probes : int, optional
            How many more, at least 0. Default 0.
        ncv : int, optional
            Lanczos steps of every probe, at least as many as before, which is the default. Where
            the vectors were kept (``hessop.slq(..., keep=True)``) only the further steps are
            taken; otherwise sweeps begin anew.
        lock : tuple or EigenResult, optional
            What was locked, where something was.

        Returns
        -------
        SpectralDensity
            A new one; this one stays.

        Raises
        ------
        ValueError
            If `A` is another operator, `lock` has other eigenvalues, or the source is not known.
        """
        more = _validation.integer("n_probes", n_probes, 0)
        steps = self.ncv if ncv is None else _validation.integer("ncv", ncv, self.ncv)
        growth, count = Growth.of(self, A, lock, steps), len(self.nodes)
        off = growth.difference(self)
        if off:
            raise ValueError(
                _validation.message(
                    "A",
                    "be the operator that the density came from",
                    f"one whose products differ by {off:.1e}, relatively",
                )
            )
        grown = replace(self, n_matvec=self.n_matvec + 1)
        if steps > self.ncv:
            found, spent, kept = growth.deeper(self, self.kept)
            grown = grown._with(found, spent, kept, steps)
        new = list(growth.probes(count, count + more, keep=bool(grown.kept)))
        return grown.joined(*new) if new else grown

    def joined(self, *parts: Part) -> SpectralDensity:
        """
        This density and further probes.

        Parameters
        ----------
        *parts : tuple
            What the sweeps of some probes gave, the products they took, and their vectors where
            they are kept.

        Returns
        -------
        SpectralDensity
            A new one.
        """
        rules = [rule for part in parts for rule in part[0]]
        kept = [sweep for part in parts for sweep in part[2]]
        spent = sum(part[1] for part in parts)
        return self._with([*self.sweeps, *rules], spent, (*self.kept, *kept), self.ncv)

    def _with(
        self, sweeps: list[gauss.Swept], n_matvec: int, kept: tuple[Sweep, ...], ncv: int
    ) -> SpectralDensity:
        """These rules in the place of all, and the products that were spent on top."""
        spent = self.n_matvec + n_matvec
        table = gauss.padded(sweeps)._asdict()
        return replace(self, **table, n_matvec=spent, kept=kept, ncv=ncv)

    def __add__(self, other: SpectralDensity) -> SpectralDensity:
        """Merge two runs on the same operator with different probes."""
        if not isinstance(other, SpectralDensity):
            return NotImplemented
        for name in ("n", "ncv", "method", "points"):
            here, there = getattr(self, name), getattr(other, name)
            if not np.array_equal(here, there):
                raise ValueError(
                    _validation.message("other", f"have the {name} of this one, {here}", there)
                )
        mine, theirs = self._origins, other._origins
        if any(one.overlaps(i, two, j) for one, i in mine for two, j in theirs):
            raise ValueError(
                _validation.message("other", "have other probes", "some of these", "Use extend.")
            )
        both = self.joined((other.sweeps, other.n_matvec, ()))
        return replace(both, source=None, parts=(*mine, *theirs), kept=())

    def __radd__(self, other: object) -> SpectralDensity:
        """For `sum`, which begins with 0."""
        return self if other == 0 else NotImplemented

    @property
    def _origins(self) -> tuple[tuple[Source, int], ...]:
        """Where its probes come from, and how many from each."""
        return self.parts if self.source is None else ((self.source, len(self.nodes)),)

    def plot(
        self,
        *,
        sigma: float | str | None = None,
        band: float | None = None,
        magnitude: bool = False,
        label: str | None = None,
        ax: Axes | None = None,
    ) -> Axes:
        """
        Draw it on a logarithmic axis, where single outliers are seen beside the bulk.

        Parameters
        ----------
        sigma : float or "adaptive", optional
            As in `pdf`, or in `magnitude_pdf`. Default: theirs.
        band : float, optional
            A confidence level between 0 and 1: draws the band of `interval`. Default: none.
        magnitude : bool, optional
            Whether to draw `magnitude_pdf`. Default False.
        label : str, optional
            For a legend.
        ax : matplotlib.axes.Axes, optional
            Where to draw. Default: a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            What was drawn on.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        ValueError
            If an argument is out of range.
        """
        return draw(self, sigma=sigma, band=band, magnitude=magnitude, label=label, ax=ax)
