"""The small matrices of XTrace: what is known of an operator on the range of a sketch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# A column counts as in the span of the others when this share of it is missing from the rest.
_DEPENDENT = 1e-6
# Of an image beside the largest one, what is rounding.
_NOTHING = 1e-13


@dataclass(frozen=True)
class Sketch:
    """
    Probes and their images in coordinates of an orthonormal basis of the images.

    Attributes
    ----------
    probes, images : ndarray, shape (r, p)
        Coefficients on the basis.
    inside : ndarray, shape (r, r)
        The operator on the basis.
    quadratic, lengths : ndarray, shape (p,)
        ``z^T A z`` and ``z^T z`` for each probe.
    n : int
        Length of a vector.
    """

    probes: Array
    images: Array
    inside: Array
    quadratic: Array
    lengths: Array
    n: int

    def traces(self, isotropic: bool) -> Array:
        """An estimate of the trace for each probe left out."""
        H, found = self.inside, []
        for i, s in enumerate(left_out(self.images)):
            w = self.probes[:, i]
            c = w - s * (s @ w)
            rest = self.quadratic[i] - 2 * c @ self.images[:, i] + c @ H @ c
            if isotropic:
                size = self.lengths[i] - c @ (2 * w - c)
                rest *= (self.n - len(H) + bool(s.any())) / size if size > 0 else 0.0
            found.append(float(np.trace(H) - s @ H @ s + rest))
        return np.array(found)

    def without(self, some: NDArray[np.int_]) -> Sketch:
        """The sketch of the other probes, on a basis of their images."""
        images = np.delete(self.images, some, axis=1)
        U, sigma, _ = np.linalg.svd(images, full_matrices=False)
        basis = U[:, sigma > _NOTHING * max(1, len(sigma)) * np.max(sigma, initial=0.0)]
        return Sketch(
            basis.T @ np.delete(self.probes, some, axis=1),
            basis.T @ images,
            basis.T @ self.inside @ basis,
            np.delete(self.quadratic, some),
            np.delete(self.lengths, some),
            self.n,
        )


def left_out(R: Array) -> Array:
    """
    Unit vectors (p, r): what of the range of R only column i reaches; zero where nothing is.

    Row i of the pseudoinverse is orthogonal to all columns but i where that is not in the
    span of the others, which is where it has product 1 with it.
    """
    inverse = np.linalg.pinv(R)
    needed = np.sum(inverse * R.T, axis=1) > 1 - _DEPENDENT
    sizes = np.where(needed, np.linalg.norm(inverse, axis=1), np.inf)
    unit: Array = inverse / sizes[:, None]
    return unit
