"""Traces of functions that have names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hessop import _validation
from hessop._estimates import BoundedEstimate, Estimate
from hessop._norms import NormEstimate
from hessop.quadrature.measure import Measure


@dataclass(frozen=True, eq=False)
class Named(Measure):
    """What `SpectralDensity` knows by name."""

    def logdet(
        self, shift: float = 0.0, *, within: tuple[float, float] | None = None
    ) -> Estimate | BoundedEstimate:
        r"""
        The logarithm of a determinant, :math:`\log \det (A + s I)`.

        Parameters
        ----------
        shift : float, optional
            The s of the formula, more than minus the least eigenvalue. Default 0.
        within : tuple (a, b), optional
            As in `trace`.

        Returns
        -------
        Estimate or BoundedEstimate
            As `trace`.

        Raises
        ------
        ValueError
            If a node plus the shift is not positive.
        """
        self._check_above("shift", shift, within)
        return self.trace(lambda x: np.log(x + shift), within=within)

    def effective_dimension(
        self, a: float, *, within: tuple[float, float] | None = None
    ) -> Estimate | BoundedEstimate:
        r"""
        The number of directions that the data determine, :math:`\operatorname{tr} A (A + a)^{-1}`.

        Parameters
        ----------
        a : float
            The precision of the prior, or the ridge: positive. Eigenvalues much larger count as 1,
            much smaller ones as 0.
        within : tuple (a, b), optional
            As in `trace`.

        Returns
        -------
        Estimate or BoundedEstimate
            As `trace`.

        Raises
        ------
        ValueError
            If `a` is not positive, or a node lies at ``-a`` or below it.

        References
        ----------
        .. [1] D. J. C. MacKay, "Bayesian interpolation", Neural Computation 4(3), 1992.
        """
        a = _validation.number("a", a, 0.0, strict=True)
        self._check_above("a", a, within)
        return self.trace(lambda x: x / (x + a), within=within)

    def schatten_norm(self, p: float) -> NormEstimate:
        r"""
        The Schatten norm :math:`(\sum_i |\lambda_i|^p)^{1/p}`; p = 1 is the nuclear norm.

        Parameters
        ----------
        p : float
            At least 1, finite.

        Returns
        -------
        NormEstimate
            Its samples are of the p-th power, of the norm over its ``scale``.

        Raises
        ------
        ValueError
            If `p` is out of range.

        See Also
        --------
        hessop.norm : The Frobenius norm and the spectral norm, for fewer products.
        """
        p = _validation.number("p", p, 1.0)
        # relative to the largest, so that no power over- or underflows
        scale = float(np.abs(self._everything).max()) or 1.0
        power = self.trace(lambda x: np.abs(x / scale) ** p)
        return NormEstimate(power.samples, power.n_matvec, p, scale)

    def frobenius_norm(self) -> NormEstimate:
        r"""
        The Frobenius norm, :math:`(\sum_i \lambda_i^2)^{1/2}`.

        Returns
        -------
        NormEstimate
            Its samples are of the square, of the norm over its ``scale``.
        """
        return self.schatten_norm(2.0)

    def _check_above(self, name: str, shift: float, within: tuple[float, float] | None) -> None:
        """Whether all eigenvalues plus the shift are positive, as far as is known."""
        shift = _validation.number(name, shift, -np.inf)
        least = float(np.min([*self.nodes.ravel(), *self.points, *(within or ())]))
        if least + shift <= 0:
            raise ValueError(
                _validation.message(
                    name,
                    f"be more than {-least:g}, minus the least node or end",
                    shift,
                    "Take a larger one, or a positive semidefinite operator such as the GGN.",
                )
            )
