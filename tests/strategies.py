"""Hypothesis strategies: spectra that break eigensolvers, and operators that have them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st
from numpy.typing import NDArray

from hessop import synthetic

# Zero, rounding, and widths between what float32 and float64 resolve and what a start vector sees.
WIDTHS = (0.0, 1e-14, 1e-12, 1e-9, 1e-7, 1e-6, 1e-5, 1e-4)
SCALES = (1.0, 1.0, 1.0, 1e-20, 1e-6, 1e3, 1e20)


@dataclass(frozen=True)
class Problem:
    """An operator with a known spectrum; its repr is all that is needed to build it again."""

    spectrum: tuple[float, ...]
    dtype: torch.dtype
    reflections: int
    seed: int

    @property
    def exact(self) -> NDArray[np.float64]:
        """The eigenvalues, ascending, as the operator's dtype holds them."""
        kind = np.float32 if self.dtype == torch.float32 else np.float64
        return np.sort(np.array(self.spectrum)).astype(kind).astype(np.float64)

    @property
    def n(self) -> int:
        """The number of eigenvalues."""
        return len(self.spectrum)

    @property
    def eps(self) -> float:
        """The unit of rounding."""
        return float(torch.finfo(self.dtype).eps)

    @property
    def scale(self) -> float:
        """The largest eigenvalue in magnitude."""
        return float(np.abs(self.exact).max())

    def operator(self) -> synthetic.SyntheticOperator:
        """The same operator every time."""
        return synthetic.operator(
            self.exact, dtype=self.dtype, reflections=self.reflections, rng=self.seed
        )

    def eigenvectors(self, *indices: int) -> NDArray[np.floating]:
        """Exact eigenvectors, in columns."""
        return self.operator().eigenvectors(list(indices))


dtypes = st.sampled_from([torch.float64, torch.float32])
seeds = st.integers(0, 2**16)


@st.composite
def _clusters(draw: st.DrawFn, max_n: int) -> NDArray[np.float64]:
    """Clusters of any width and multiplicity anywhere, mirrored or not, on any scale."""
    centres = draw(st.lists(st.integers(-32, 32), min_size=1, max_size=max_n))
    values: list[float] = []
    for centre in centres:
        count = draw(st.integers(1, 6)) if draw(st.booleans()) else 1
        width = draw(st.sampled_from(WIDTHS))
        values += [centre / 32 + width * i / max(count - 1, 1) for i in range(count)]
    w = np.array(values)
    if draw(st.booleans()):
        w = np.concatenate([w, -w])
    return draw(st.sampled_from(SCALES)) * w[:max_n]


@st.composite
def _named(draw: st.DrawFn, max_n: int) -> NDArray[np.float64]:
    """A spectrum of `hessop.synthetic`."""
    name = draw(st.sampled_from(synthetic.SPECTRA))
    return synthetic.spectrum(name, draw(st.integers(1, max_n)), rng=draw(seeds))


@st.composite
def _graded(draw: st.DrawFn, max_n: int) -> NDArray[np.float64]:
    """A geometric sequence of any ratio, both signs or one."""
    ratio = draw(st.sampled_from([0.1, 0.5, 0.9, 0.99]))
    w = ratio ** np.arange(draw(st.integers(1, max_n)))
    return w * (-1) ** np.arange(len(w)) if draw(st.booleans()) else w


def spectra(max_n: int = 60) -> st.SearchStrategy[NDArray[np.float64]]:
    """Adversarial spectra with 1 to `max_n` eigenvalues."""
    return _clusters(max_n) | _named(max_n) | _graded(max_n)


@st.composite
def problems(draw: st.DrawFn, max_n: int = 60) -> Problem:
    """Operators with adversarial spectra, of either dtype, diagonal or not."""
    w = draw(spectra(max_n))
    return Problem(
        tuple(float(x) for x in w),
        draw(dtypes),
        draw(st.sampled_from([0, 1, 4])),
        draw(seeds),
    )


@st.composite
def starts(draw: st.DrawFn, problem: Problem) -> NDArray[np.float64] | None:
    """Start vectors: none, random, an exact eigenvector, or a sum of two."""
    kind = draw(st.sampled_from(["none", "random", "eigenvector", "two"]))
    if kind == "none":
        return None
    if kind == "random":
        return np.random.default_rng(draw(seeds)).standard_normal(problem.n)
    count = 1 if kind == "eigenvector" else 2
    indices = [draw(st.integers(0, problem.n - 1)) for _ in range(count)]
    return problem.eigenvectors(*indices).astype(np.float64).sum(axis=1)
