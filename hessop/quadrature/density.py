"""A spectral density: what it says, and how it grows."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import wasserstein_distance

from hessop import _validation
from hessop._space import LocalSpace
from hessop.operators import enter
from hessop.quadrature import gauss
from hessop.quadrature.lock import Lock
from hessop.quadrature.probes import Source
from hessop.quadrature.smoothed import Smoothed
from hessop.quadrature.sweeps import Method, rules


@dataclass(frozen=True)
class SpectralDensity(Smoothed):
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
    source : Source or None
        Where the probes come from, which is what `extend` needs.
    method : Method
        How the sweeps were done.
    """

    source: Source | None = field(default=None, kw_only=True)
    method: Method = field(default_factory=Method, kw_only=True)

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
        theirs = other._flat() if isinstance(other, SpectralDensity) else (np.ravel(other), None)
        return float(wasserstein_distance(self._flat()[0], theirs[0], self._flat()[1], theirs[1]))

    def extend(self, A: Any, n_probes: int, *, lock: Any = None) -> SpectralDensity:
        """
        The density with more probes, the next of the same seed: as one run with all of them.

        (To rounding: products of blocks round by their width.)

        Parameters
        ----------
        A : operator or matrix, shape (n, n)
            The operator that it came from.
        n_probes : int
            How many more, at least 1.
        lock : tuple or EigenResult, optional
            What was locked, where something was.

        Returns
        -------
        SpectralDensity
            A new one; this one stays.

        Raises
        ------
        ValueError
            If `A` has another size, `lock` other eigenvalues, or the source is not known.
        """
        more = _validation.integer("n_probes", n_probes, 1)
        if self.source is None:
            raise ValueError(
                _validation.message("density", "know its probes", "one without", "Use hessop.slq.")
            )
        product, _ = enter(A)
        space = LocalSpace(product.n, product.dtype, product.device)
        held = Lock.of(space, lock)
        if product.n != self.n or not np.array_equal(held.values, self.points):
            raise ValueError(
                _validation.message(
                    "A, lock",
                    f"have n={self.n} and {len(self.points)} locked eigenvalues, as the density",
                    f"n={product.n} and {len(held.values)}",
                )
            )
        count = len(self.nodes)
        grown = self
        generators = self.source.generators(count, count + more)
        for found, spent in rules(
            product, space, generators, self.method, steps=min(self.ncv, self.bulk), lock=held.basis
        ):
            grown = grown.with_rules(found, spent)
        return grown

    def with_rules(self, more: list[gauss.Rule], n_matvec: int) -> SpectralDensity:
        """
        This density and further rules.

        Parameters
        ----------
        more : list of tuple
            Nodes and weights of each.
        n_matvec : int
            The products they took.

        Returns
        -------
        SpectralDensity
            A new one.
        """
        mine = list(zip(self.nodes, self.weights, strict=True))
        nodes, weights = gauss.padded([*mine, *more])
        return replace(self, nodes=nodes, weights=weights, n_matvec=self.n_matvec + n_matvec)

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
        theirs = list(zip(other.nodes, other.weights, strict=True))
        return replace(self.with_rules(theirs, other.n_matvec), source=None)

    def save(self, path: Any) -> None:
        """
        Write it to a file, for `load`.

        Parameters
        ----------
        path : path_like
            A NumPy archive; ``.npz`` is added where it is missing.
        """
        rest = {"n": self.n, "ncv": self.ncv, "n_matvec": self.n_matvec}
        state = {
            **rest,
            "method": asdict(self.method),
            "source": None if self.source is None else asdict(self.source),
        }
        arrays = {"nodes": self.nodes, "weights": self.weights, "points": self.points}
        np.savez(Path(path), allow_pickle=False, state=np.array(json.dumps(state)), **arrays)

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
        with np.load(Path(path), allow_pickle=False) as file:
            state = json.loads(str(file["state"]))
            arrays = {name: file[name] for name in ("nodes", "weights", "points")}
        method, source = Method(**state.pop("method")), state.pop("source")
        return cls(**arrays, **state, method=method, source=source and Source.read(source))

    def _flat(self) -> tuple[Any, Any]:
        """All values and their weights."""
        share = self.weights.ravel() * (self.bulk / len(self.weights))
        return np.append(self.nodes, self.points), np.append(share, np.ones(len(self.points)))
