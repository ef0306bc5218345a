"""A density as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hessop import _figure, _validation
from hessop.quadrature.bands import Banded

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS = 2000
_FLOOR = 0.3  # of one eigenvalue per kernel width: what the log axis still shows
_SMALLEST = 1e-12  # of the largest: where a picture of magnitudes ends


def draw(
    density: Banded,
    *,
    sigma: float | str | None = None,
    ax: Axes | None = None,
    label: str | None = None,
    band: float | None = None,
    magnitude: bool = False,
) -> Axes:
    """`SpectralDensity.plot`: a curve on a logarithmic axis, and its band."""
    if band is not None:
        band = _validation.number("band", band, 0.0, high=1.0)
        if magnitude:
            raise ValueError(_validation.message("band", "be None with magnitude", band))
    ax = _figure.axes(ax)
    if magnitude:
        x, y = _magnitudes(density, sigma)
        ax.semilogy(x, y, label=label)
        ax.set_xlabel("log10 |eigenvalue|")
        ax.set_ylabel("eigenvalues per decade")
        return ax
    x = grid(density, sigma)
    (line,) = ax.semilogy(x, density.pdf(x, sigma, count=True), label=label)
    if band is not None:
        low, high = density.interval(x, of="pdf", sigma=sigma, confidence_level=band)
        # bands of single probes reach below zero, which a logarithmic axis does not
        low, high = (density.n * np.maximum(end, 0.0) for end in (low, high))
        ax.fill_between(x, low, high, color=line.get_color(), alpha=0.25, linewidth=0)
    ax.set_ylim(bottom=floor(density, sigma))
    ax.set_xlabel("eigenvalue")
    ax.set_ylabel("eigenvalues per unit")
    return ax


def grid(density: Banded, sigma: float | str | None) -> NDArray[np.float64]:
    """Where the curve is evaluated."""
    centres, _ = density.atoms()
    margin = 5 * (density.sigma if sigma is None or isinstance(sigma, str) else sigma)
    x = np.linspace(centres[0] - margin, centres[-1] + margin, _POINTS)
    # every node and point is one of them, or the peak of an outlier could fall between two
    return np.sort(np.concatenate([x, centres]))


def floor(density: Banded, sigma: float | str | None) -> float:
    """Below the height of a single eigenvalue under the kernel, in one probe of all."""
    width = density.sigma if sigma is None or isinstance(sigma, str) else sigma
    return float(_FLOOR / (width * np.sqrt(2 * np.pi)) / len(density.nodes))


def _magnitudes(
    density: Banded, sigma: float | str | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Over the decades that the rules show."""
    width = 0.1 if sigma is None or isinstance(sigma, str) else sigma
    sizes = np.abs(density.atoms()[0])
    sizes = sizes[sizes > _SMALLEST * sizes.max()]
    if not len(sizes):
        raise ValueError(
            _validation.message("density", "have eigenvalues that are not zero", "none")
        )
    ends = np.log10(sizes.min()) - 3 * width, np.log10(sizes.max()) + 3 * width
    x = np.linspace(*ends, _POINTS)
    return x, density.magnitude_pdf(x, width, count=True)
