"""What the algorithms return, warn with and raise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import ArpackNoConvergence

from hessop import _validation


class ConvergenceWarning(RuntimeWarning):
    """Something asked for was not reached; the result says what."""


class PrecisionWarning(RuntimeWarning):
    """A tolerance lies below what the products can resolve and was raised to it."""


class NoConvergence(ArpackNoConvergence):
    """
    `eigsh` ran out of iterations.

    A subclass of `scipy.sparse.linalg.ArpackNoConvergence`, so that an ``except`` clause written
    for SciPy works.

    Attributes
    ----------
    eigenvalues : ndarray, shape (c,)
        The eigenvalues that did converge, ascending.
    eigenvectors : ndarray, shape (n, c)
        Their eigenvectors, in columns.
    """

    def __init__(self, text: str, eigenvalues: Any, eigenvectors: Any) -> None:
        super().__init__("%s", eigenvalues, eigenvectors)
        self.args = (text,)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with what is carried."""
        return type(self), (self.args[0], self.eigenvalues, self.eigenvectors)


@dataclass(frozen=True)
class EigenResult:
    """
    Eigenpairs and what they are worth. Unpacks as ``w, v = result``.

    Attributes
    ----------
    eigenvalues : ndarray of float64, shape (k,)
        Ascending.
    eigenvectors : ndarray, cupy.ndarray or torch.Tensor, shape (n, k)
        Orthonormal columns, in the array type and dtype of the operator.
    residuals : ndarray of float64, shape (k,)
        ``||A v - w v||``; by the Lanczos relation unless they were measured (``verify=True``).
    error_bounds : ndarray of float64, shape (k,)
        ``|w - lambda| <= error_bounds`` for some eigenvalue ``lambda`` of `A`: the residual plus
        the noise seen in the products; less, by the square of the residual over the gap, where
        the set is complete and the gap to its neighbours is known.
    converged : ndarray of bool, shape (k,)
        Whether the residual is at most ``max(tol, noise) * scale``.
    complete : bool
        Whether a check for missing eigenvalues was carried through and found none; False without
        one. What it proves is `miss_probability`, which may be 1: nothing.
    miss_probability : float
        A bound, over random directions, on the probability that the check overlooked one that is
        orthogonal to all that was searched; 1 where nothing is known.
    n_matvec : int
        Products spent, of one vector each.
    n_restart : int
        How often the basis was full and was restarted.
    noise : float
        What products were seen, or are known, to be wrong by, relative to `scale`.
    scale : float
        The size of the operator that tolerances are relative to: the largest Ritz value in
        magnitude, of the set or beside it.
    method : str
        How the pairs were computed.
    """

    eigenvalues: NDArray[np.float64]
    eigenvectors: Any
    residuals: NDArray[np.float64]
    error_bounds: NDArray[np.float64]
    converged: NDArray[np.bool_]
    complete: bool
    n_matvec: int
    n_restart: int
    miss_probability: float = 1.0
    noise: float = 0.0
    scale: float = 0.0
    method: str = "lanczos"

    def __iter__(self) -> Iterator[Any]:
        """Unpack as SciPy's tuple ``(w, v)``."""
        return iter((self.eigenvalues, self.eigenvectors))


@dataclass(frozen=True)
class Tridiagonal:
    """
    A tridiagonal projection ``V^T A V = T`` from one Lanczos sweep.

    Attributes
    ----------
    alpha : ndarray of float64, shape (m,)
        Diagonal of `T`.
    beta : ndarray of float64, shape (m,)
        ``beta[:-1]`` is the off-diagonal of `T` (zero where the sweep was restarted in a fresh
        direction), ``beta[-1]`` the norm of what is left over: ``A V = V T + beta[-1] v e_m^T``.
    basis : ndarray, cupy.ndarray or torch.Tensor, shape (n, m)
        The Lanczos vectors, in columns.
    """

    alpha: NDArray[np.float64]
    beta: NDArray[np.float64]
    basis: Any

    def eigh(self, m: int | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """
        Ritz values and eigenvectors of the leading block of `T`.

        Parameters
        ----------
        m : int, optional
            Size of the block, at least 1. Default: all of it.

        Returns
        -------
        theta : ndarray, shape (m,)
            Ritz values, ascending.
        Y : ndarray, shape (m, m)
            Eigenvectors of the block, in columns.
        """
        m = self._block(m)
        theta, Y = eigh_tridiagonal(self.alpha[:m], self.beta[: m - 1])
        return theta, Y

    def residuals(self, m: int | None = None) -> NDArray[np.float64]:
        """
        Residual norms of the Ritz pairs, by the Lanczos relation.

        Parameters
        ----------
        m : int, optional
            Size of the leading block. Default: all of it.

        Returns
        -------
        ndarray, shape (m,)
            ``beta[m-1] |e_m^T y|`` for each Ritz pair, in the order of `eigh`.
        """
        m = self._block(m)
        residuals: NDArray[np.float64] = self.beta[m - 1] * np.abs(self.eigh(m)[1][-1])
        return residuals

    def _block(self, m: int | None) -> int:
        size = len(self.alpha)
        return size if m is None else _validation.integer("m", m, 1, size)
