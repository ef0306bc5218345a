"""A spectral density: what it says, and how it is compared, kept and joined."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import wasserstein_distance

from hessop import _files, _validation
from hessop.krylov.sweep import Sweep
from hessop.quadrature import gauss, storing
from hessop.quadrature.bands import Banded
from hessop.quadrature.growth import Growth
from hessop.quadrature.picture import draw
from hessop.quadrature.probes import Source
from hessop.quadrature.sweeps import Method


@dataclass(frozen=True)
class SpectralDensity(Banded):
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
    kept : tuple of Sweep
        The Lanczos vectors, where `hessop.slq` was asked to keep them.
    """

    kept: tuple[Sweep, ...] = field(default=(), kw_only=True, repr=False, compare=False)

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

        As one run with all of them, to rounding: products of blocks round by their width. One
        product is spent on whether `A` is the operator that the density came from.

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
        for part in growth.probes(count, count + more, keep=bool(self.kept)):
            grown = grown.joined(*part)
        return grown

    def joined(
        self, more: list[gauss.Swept], n_matvec: int, kept: tuple[Sweep, ...] = ()
    ) -> SpectralDensity:
        """
        This density and further rules.

        Parameters
        ----------
        more : list of Swept
            What the sweeps of further probes gave.
        n_matvec : int
            The products they took.
        kept : tuple of Sweep, optional
            Their vectors, where they are kept.

        Returns
        -------
        SpectralDensity
            A new one.
        """
        return self._with([*self.sweeps, *more], n_matvec, (*self.kept, *kept), self.ncv)

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
        same = (self.n, self.ncv, self.method) == (other.n, other.ncv, other.method)
        if not same or not np.array_equal(self.points, other.points):
            raise ValueError(
                _validation.message(
                    "other", "be of the same operator, with the same settings", repr(other.method)
                )
            )
        if self.source and other.source:
            shared = self.source.overlaps(len(self.nodes), other.source, len(other.nodes))
            if shared:
                raise ValueError(
                    _validation.message(
                        "other", "have other probes", "the same seed", "Use extend."
                    )
                )
        return replace(self.joined(other.sweeps, other.n_matvec), source=None, kept=())

    def save(self, path: Any) -> None:
        """
        Write it to a file, for `load`; without the vectors that are kept.

        Parameters
        ----------
        path : path_like
            A NumPy archive; ``.npz`` is added where it is missing.

        Raises
        ------
        ValueError
            If the folder does not exist.
        """
        where = _files.in_folder("path", path)
        if where.suffix != ".npz":
            where = where.with_name(f"{where.name}.npz")
        with _files.replaced(where) as file:
            storing.write(self, file)

    @classmethod
    def load(cls, path: Any) -> SpectralDensity:
        """
        Read what `save` wrote.

        Parameters
        ----------
        path : path_like
            The file.

        Returns
        -------
        SpectralDensity
            The same, to the last bit.
        """
        return cls(**storing.read(Path(path)))

    def plot(self, **options: Any) -> Any:
        """
        Draw it on a logarithmic axis, where single outliers are seen beside the bulk.

        Parameters
        ----------
        **options : object
            ``sigma``, ``ax``, ``label``, ``band`` (a confidence level) and ``magnitude`` (whether
            to draw the density of ``log10 |lambda|``), all optional.

        Returns
        -------
        matplotlib.axes.Axes
            What was drawn on.

        See Also
        --------
        hessop.plot.density : Several densities, and outliers to mark.
        """
        return draw(self, **options)
