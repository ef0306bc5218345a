"""Traces and diagonals from a sketch of which each probe in turn is left out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from hessop import _validation
from hessop._product import Product
from hessop._space import LocalSpace
from hessop.quadrature.hutchinson import Hutchinson
from hessop.quadrature.moments import Moments
from hessop.quadrature.sketch import Sketch, left_out

# How many parts the probes are cut into for the error.
_GROUPS = 25


class XTrace(Hutchinson):
    r"""
    Probes, an orthonormal basis of their products, and the products of that.

    For probe i let P_i be the orthogonal projection onto the span of the products of all others.
    ``tr A = tr(P_i A P_i) + tr((1 - P_i) A (1 - P_i))``, of which the first part is known and the
    second is estimated from probe i, which P_i does not depend on. All P_i follow from one
    QR factorisation, ``P_i = Q (1 - s_i s_i^T) Q^T`` with s_i orthogonal to all columns of R but i
    (Epperly, Tropp and Webber, SIAM J. Matrix Anal. Appl. 45, 2024).

    Parameters
    ----------
    product : Product
        What is multiplied with.
    space : LocalSpace
        Where the vectors live.
    isotropic : bool
        Whether the probes' directions are uniform. Then the length of what is left of a probe
        says nothing, and is divided out.
    """

    cost = 2

    def __init__(self, product: Product, space: LocalSpace, isotropic: bool) -> None:
        super().__init__(product, space)
        self._isotropic = isotropic
        empty = torch.zeros((0, space.n), dtype=space.dtype, device=space.device)
        self._probes, self._images, self._basis, self._products = empty, empty, empty, empty

    def add(self, probes: torch.Tensor) -> None:
        """Take in probes, rows (p, n): two products each, unless their products are dependent."""
        images = self._product.matmat(probes)
        if not torch.isfinite(images).all():
            raise _validation.finite_product("A")
        new = self._orthonormal(images)
        if len(new):
            self._products = torch.cat([self._products, self._product.matmat(new)])
        self._probes = torch.cat([self._probes, probes])
        self._images = torch.cat([self._images, images])
        self._basis = torch.cat([self._basis, new])
        self.n_matvec += len(probes) + len(new)

    def traces(self) -> NDArray[np.float64]:
        """One estimate of the trace for each probe left out; their mean is XTrace."""
        return self._sketch().traces(self._isotropic)

    def samples(self) -> NDArray[np.float64]:
        """
        Values for groups of probes whose mean is XTrace, and whose spread is its error.

        The estimates of `traces` are functions of all probes. Of terms that depend on k probes
        at a time, their own spread shows the k-th part of the variance, and that of jackknife
        pseudo-values over groups of probes (Efron and Stein 1981) k times the variance. The
        geometric mean of the two is right for any k, and too large for a mixture.
        """
        sketch = self._sketch()
        traces = sketch.traces(self._isotropic)
        groups = np.array_split(np.arange(len(traces)), min(_GROUPS, len(traces)))
        parts = np.array([sketch.without(some).traces(self._isotropic).mean() for some in groups])
        pseudo = (len(groups) - 1) * (parts.mean() - parts)
        spread = float(np.var(pseudo, ddof=1)) / len(groups)
        shown = float(np.var(traces, ddof=1)) / len(traces)
        if spread > 0:
            pseudo *= (shown / spread) ** 0.25
        samples: NDArray[np.float64] = traces.mean() + pseudo
        return samples

    def diagonals(self) -> Moments:
        """One estimate of the diagonal, (n,), for each probe left out, which is of random signs."""
        R = self._on(self._images)
        known = (self._basis * self._products).sum(0)
        found = Moments(self._space.n, self._space.device)
        for i, s in enumerate(left_out(R)):
            q, z, inside = (
                self._space.combine(torch.from_numpy(c[None].copy()), V)[0]
                for c, V in ((s, self._basis), (s, self._products), (R[:, i], self._basis))
            )
            left = self._images[i] - inside + float(s @ R[:, i]) * q
            found.add(known - q * z + self._probes[i] * left)
        return found

    def _sketch(self) -> Sketch:
        H = self._on(self._products)
        return Sketch(
            self._on(self._probes),
            self._on(self._images),
            (H + H.T) / 2,
            self._dots(self._probes, self._images),
            self._dots(self._probes, self._probes),
            self._space.n,
        )

    def _orthonormal(self, images: torch.Tensor) -> torch.Tensor:
        """An orthonormal basis, as rows, of what of the images is new; twice is enough."""
        rest = images.clone()
        for _ in range(2):
            for row in rest:
                self._space.subtract(row, self._basis, self._space.project(self._basis, row))
        U, sigma, _ = torch.linalg.svd(rest.T, full_matrices=False)
        largest = torch.linalg.vector_norm(images, dim=1).max()
        new: torch.Tensor = U.T[sigma > 10 * self._space.eps * largest].contiguous()
        return new

    def _on(self, vectors: torch.Tensor) -> NDArray[np.float64]:
        """Coefficients of rows (p, n) on the basis, (r, p)."""
        if not len(self._basis):  # the operator is zero on all probes
            return np.zeros((0, len(vectors)))
        return torch.stack([self._space.project(self._basis, v) for v in vectors], 1).cpu().numpy()

    def _dots(self, V: torch.Tensor, W: torch.Tensor) -> NDArray[np.float64]:
        return np.array([float(self._space.dot(v, w)) for v, w in zip(V, W, strict=True)])
