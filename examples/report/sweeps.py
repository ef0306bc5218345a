"""Lanczos sweeps over dense matrices with the report's four spectra (chapter 3)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch

import hessop
from examples import matrices
from examples.report.study import Arrays, Study
from hessop import synthetic

SPECTRA = {
    "hessian_like": "Custom",
    "gaussian": "Gaussian",
    "uniform": "Uniform",
    "banded": "Banded",
}
"""hessop's names, and the report's."""

VARIANTS = {"full": "full", "double": "double full", "none": "none"}
"""Reorthogonalisation: hessop's names (Algorithms 2, 4 and 3), and those in pictures."""


@dataclass(frozen=True)
class Problem:
    """
    A matrix and a start vector; the variants of a run are given the same.

    Attributes
    ----------
    spectrum : str
        One of `SPECTRA`.
    n, run : int
        Size, and which of several draws.
    """

    spectrum: str
    n: int
    run: int = 0

    @cached_property
    def eigenvalues(self) -> np.ndarray:
        """All of them, ascending."""
        return synthetic.spectrum(self.spectrum, self.n, rng=self._rng(0))

    @cached_property
    def matrix(self) -> torch.Tensor:
        """The dense matrix."""
        return torch.from_numpy(matrices.dense(self.eigenvalues, self._rng(1)))

    def start(self) -> np.ndarray:
        """The start vector."""
        return self._rng(2).standard_normal(self.n)

    def tridiagonalize(self, reorth: str) -> hessop.Tridiagonal:
        """As many steps as dimensions."""
        rng = self._rng(3)  # for where the Krylov space is exhausted
        return hessop.tridiagonalize(self.matrix, self.start(), self.n, reorth=reorth, rng=rng)

    def swept(self, study: Study, reorth: str) -> tuple[hessop.Tridiagonal, float]:
        """The projection, whose basis is not kept, and how far that was from orthonormal."""
        name = f"sweep-{self.spectrum}-{self.n}-{self.run}-{reorth}"
        found = study.once(name, partial(self._computed, reorth))
        return hessop.Tridiagonal(found["alpha"], found["beta"], None), float(found["loss"])

    def _computed(self, reorth: str) -> Arrays:
        t = self.tridiagonalize(reorth)
        V = np.asarray(t.basis)
        loss = np.linalg.norm(V.T @ V - np.eye(self.n), 2)
        return {"alpha": t.alpha, "beta": t.beta, "loss": np.array(loss)}

    def _rng(self, purpose: int) -> np.random.Generator:
        return np.random.default_rng([*self.spectrum.encode(), self.n, self.run, purpose])
