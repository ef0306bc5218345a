"""What a comparison of two operators found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hessop._norms import NormEstimate, SpectralNormEstimate
from hessop._results import EigenResult
from hessop.perturbation.bounds import davis_kahan, weyl


@dataclass(frozen=True)
class Comparison:
    """
    One operator, of a batch, against another, of all data.

    Attributes
    ----------
    full : EigenResult
        Leading pairs for all data, one more than compared; ``full=`` of the next comparison.
    batch : EigenResult
        The k leading pairs for the batch.
    eigenvalues : ndarray of float64, shape (2, k)
        The k leading eigenvalues, for all data and for the batch, each ascending.
    angles : ndarray of float64, shape (k,)
        The principal angles between the two leading subspaces, in radians, descending.
    gap : float
        Between the k leading eigenvalues for all data and the rest; 0 where the next is not known.
    norm : SpectralNormEstimate
        Of the difference of the operators.
    frobenius : NormEstimate
        Of the difference too.
    n_matvec : int
        Products spent with either operator; one with the difference is two.
    """

    full: EigenResult
    batch: EigenResult
    eigenvalues: NDArray[np.float64]
    angles: NDArray[np.float64]
    gap: float
    norm: SpectralNormEstimate
    frobenius: NormEstimate
    n_matvec: int

    @property
    def l1(self) -> float:
        """The sum of the distances of the leading eigenvalues, pair by pair."""
        return float(np.abs(np.diff(self.eigenvalues, axis=0)).sum())

    @property
    def l2(self) -> float:
        """The root of the sum of their squares."""
        return float(np.linalg.norm(np.diff(self.eigenvalues, axis=0)))

    def interval(
        self, confidence_level: float = 0.95
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """
        Weyl's intervals around the eigenvalues for the batch, for those of all data.

        Parameters
        ----------
        confidence_level : float, optional
            Of the upper end of `norm`. Default 0.95.

        Returns
        -------
        low : ndarray of float64, shape (k,)
            Lower ends.
        high : ndarray of float64, shape (k,)
            Upper ends.
        """
        return weyl(self.batch, self.norm, confidence_level=confidence_level)

    def sine_bound(self, confidence_level: float = 0.95) -> float:
        """
        The bound of `davis_kahan` on the sine of the largest angle.

        Parameters
        ----------
        confidence_level : float, optional
            Of the upper end of `norm`. Default 0.95.

        Returns
        -------
        float
            At most 1, which says nothing.
        """
        return float(davis_kahan(self.gap, self.norm, confidence_level=confidence_level))
