"""The vector space: every reduction over, and every random draw along, the parameter axis."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hessop import _graphs
from hessop._precision import float32_precision

# A float32 product over at most this many entries, then float64: the error of a long reduction
# stays at that of a short one without a float64 copy of the basis.
_CHUNK = 1 << 13
# A GPU shares a row's sum out among thousands of threads, and takes microseconds to be told of one.
_CHUNK_ON_GPU = 1 << 20


class LocalSpace:
    """
    Vectors of length n on one device of one process.

    Results of reductions are float64 tensors on the device, so that nothing waits for the host.

    Parameters
    ----------
    n : int
        Their length.
    dtype, device : torch.dtype, torch.device
        What they are made of, and where.
    graphs : bool, optional
        Whether launches may be captured, where the device has CUDA graphs.
    """

    def __init__(
        self, n: int, dtype: torch.dtype, device: torch.device, *, graphs: bool = True
    ) -> None:
        self.n = n
        self.dtype = dtype
        self.device = device
        self.captures = graphs and _graphs.possible(device)
        self._chunk = _CHUNK_ON_GPU if device.type == "cuda" else _CHUNK
        self.eps = float(torch.finfo(dtype).eps)

    def dot(self, v: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """``v . w`` in float64, a 0-d tensor."""
        product: torch.Tensor = torch.dot(v.double(), w.double())
        return product

    def norm(self, w: torch.Tensor) -> torch.Tensor:
        """``||w||`` in float64, a 0-d tensor."""
        if self.dtype == torch.float32:
            v = w.double()  # where no square of a float32 overflows
            return torch.dot(v, v).sqrt()
        # Divide by a power of two, which is exact, so that no square over- or underflows.
        largest = w.abs().max().clamp_min(torch.finfo(self.dtype).tiny)
        unit = torch.exp2(torch.floor(torch.log2(largest)))
        v = w / unit
        return torch.dot(v, v).sqrt() * unit

    def project(self, V: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """``V w`` for rows V of shape (m, n), in float64, shape (m,)."""
        if self.dtype == torch.float64 or self.n <= self._chunk:
            return torch.mv(V, w).double()
        total = torch.zeros(V.shape[0], dtype=torch.float64, device=self.device)
        for a in range(0, self.n, self._chunk):
            total += torch.mv(V[:, a : a + self._chunk], w[a : a + self._chunk])
        return total

    def bring(self, numbers: NDArray[np.float64]) -> torch.Tensor:
        """A few numbers of the host as a float64 tensor on the device, which nobody waits for."""
        t = torch.from_numpy(numbers)
        if self.device.type == "cuda":
            t = t.pin_memory()
        return t.to(self.device, non_blocking=True)

    def subtract(self, w: torch.Tensor, V: torch.Tensor, h: torch.Tensor) -> None:
        """``w -= V^T h`` in place, for rows V of shape (m, n)."""
        w.addmv_(V.T, h.to(self.dtype), alpha=-1)

    def combine(self, S: torch.Tensor, V: torch.Tensor) -> torch.Tensor:
        """``S V`` for coefficients S of shape (k, m) and rows V of shape (m, n)."""
        with float32_precision("highest", self.dtype):  # orthonormal rows shall stay so
            return torch.mm(S.to(device=self.device, dtype=self.dtype), V)

    def draw(self, rng: np.random.Generator, distribution: str) -> torch.Tensor:
        """
        One random probe, shape (n,), ``E[z z^T] = I``.

        Drawn on the host from a NumPy generator: every device, and either precision, sees the
        same probe.
        """
        out = torch.empty(self.n, dtype=self.dtype)
        for a in range(0, self.n, _CHUNK):
            size = min(_CHUNK, self.n - a)
            z: np.ndarray[Any, Any]
            if distribution == "rademacher":
                z = rng.integers(0, 2, size=size, dtype=np.int8) * 2 - 1
            else:
                z = rng.standard_normal(size)
            out[a : a + size] = torch.from_numpy(z)
        return out.to(self.device)


def children(rng: np.random.Generator, count: int) -> list[np.random.Generator]:
    """Independent generators, one per probe: probe i is the same however probes are grouped."""
    bits = type(rng.bit_generator)
    return [np.random.Generator(bits(seed)) for seed in parent(rng).spawn(count)]


def parent(rng: np.random.Generator) -> np.random.SeedSequence:
    """
    The sequence whose children are those of a generator.

    A generator without one (wrapped around a legacy state) seeds a new one instead.
    """
    seed = getattr(rng.bit_generator, "seed_seq", None)
    if isinstance(seed, np.random.SeedSequence):
        return seed
    return np.random.SeedSequence([int(word) for word in rng.integers(1 << 32, size=4)])
