"""Pictures of results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from hessop import _exchange, _figure, _validation
from hessop._results import EigenResult, Tridiagonal
from hessop.quadrature import SpectralDensity

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def spectrum(
    values: ArrayLike | EigenResult | Mapping[str, ArrayLike], *, ax: Axes | None = None
) -> Axes:
    """
    Eigenvalues against their index, ascending, one series or several.

    Parameters
    ----------
    values : array_like, EigenResult or mapping of str to array_like
        Eigenvalues, each series of shape (m,); in a mapping, keys are the legend. The first
        series of a mapping is the reference: the others show their L1 and L2 distance to it
        where they are as long.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        What was drawn on.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    TypeError
        If `values` is a density, which `density` draws.

    Examples
    --------
    >>> import hessop.plot
    >>> ax = hessop.plot.spectrum({"exact": [1.0, 2.0, 3.0], "Lanczos": [1.0, 2.0, 3.1]})
    >>> ax.get_ylabel()
    'eigenvalue'
    """
    if isinstance(values, SpectralDensity):
        raise TypeError(
            _validation.message(
                "values", "be eigenvalues", "a SpectralDensity", "Use hessop.plot.density."
            )
        )
    if isinstance(values, EigenResult):
        values = values.eigenvalues
    series = values if isinstance(values, Mapping) else {"": values}
    ax = _figure.axes(ax)
    reference = np.sort(np.asarray(_exchange.on_host(next(iter(series.values()))), dtype=float))
    for number, (label, w) in enumerate(series.items()):
        w = np.sort(np.asarray(_exchange.on_host(w), dtype=float))
        if number and len(w) == len(reference):
            gap = w - reference
            label += f" (L1 {np.abs(gap).sum():.2g}, L2 {np.linalg.norm(gap):.2g})"
        ax.plot(np.arange(1, len(w) + 1), w, ".", markersize=5, label=label or None, alpha=0.7)
    ax.set_xlabel("index")
    ax.set_ylabel("eigenvalue")
    if any(series):
        ax.legend()
    return ax


def density(
    densities: SpectralDensity | Mapping[str, SpectralDensity],
    *,
    sigma: float | str | None = None,
    band: float | None = None,
    outliers: ArrayLike | EigenResult | None = None,
    ax: Axes | None = None,
) -> Axes:
    """
    Spectral densities on a logarithmic axis, so that single outliers are seen beside the bulk.

    Parameters
    ----------
    densities : SpectralDensity or mapping of str to SpectralDensity
        What to draw; in a mapping, keys are the legend. The axis counts eigenvalues per unit.
    sigma : float or "adaptive", optional
        Width of the kernel, as in `SpectralDensity.pdf`. Default: each density's own.
    band : float, optional
        A confidence level between 0 and 1: draws the band over the choice of probes. Default: no
        band.
    outliers : array_like or EigenResult, optional
        Eigenvalues to mark below the curve, of shape (m,).
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        What was drawn on.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    ValueError
        If `sigma` is not positive.

    Notes
    -----
    The axis ends below the height of a single eigenvalue under the kernel, so that everything
    that stands for an eigenvalue is seen, and nothing that stands for less.

    Examples
    --------
    >>> import numpy as np
    >>> import hessop.plot
    >>> d = hessop.slq(np.diag([0.0, 0.0, 0.1, 5.0]), n_probes=5, rng=0)
    >>> ax = hessop.plot.density(d, outliers=[5.0])
    >>> ax.get_yscale()
    'log'
    """
    series = densities if isinstance(densities, Mapping) else {"": densities}
    ax, bottom = _figure.axes(ax), np.inf
    for label, d in series.items():
        d.plot(sigma=sigma, band=band, ax=ax, label=label or None)
        bottom = min(bottom, ax.get_ylim()[0])
    ax.set_ylim(bottom=bottom)
    if outliers is not None:
        w = (
            outliers.eigenvalues
            if isinstance(outliers, EigenResult)
            else _exchange.on_host(outliers)
        )
        ax.plot(w, np.full(len(w), 1.5 * bottom), "k|", markersize=9, label="eigenvalues")
    if any(series) or outliers is not None:
        ax.legend()
    return ax


def convergence(t: Tridiagonal, *, exact: ArrayLike | None = None, ax: Axes | None = None) -> Axes:
    """
    Ritz values at each step of a Lanczos sweep; the extremes settle first.

    Parameters
    ----------
    t : Tridiagonal
        From `hessop.tridiagonalize`, m steps.
    exact : array_like, shape (n,), optional
        True eigenvalues, drawn behind the last step as the column "G".
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        What was drawn on.

    Raises
    ------
    ImportError
        If matplotlib is missing.

    Notes
    -----
    Colours count from either end, in turn: the largest and the smallest Ritz value share one, the
    second of each the next.

    Examples
    --------
    >>> import numpy as np
    >>> import hessop.plot
    >>> A = np.diag([1.0, 2.0, 3.0])
    >>> ax = hessop.plot.convergence(hessop.tridiagonalize(A, np.ones(3), 3), exact=[1, 2, 3])
    >>> ax.get_xlabel()
    'step'
    """
    ax = _figure.axes(ax)
    m = len(t.alpha)
    columns = [(step, t.eigh(step)[0]) for step in range(1, m + 1)]
    last = m + max(1, m // 20)  # apart from the steps, so that its label stands free
    if exact is not None:
        columns.append((last, np.sort(np.asarray(_exchange.on_host(exact), dtype=float))))
    x = np.concatenate([np.full(len(w), step) for step, w in columns])
    y = np.concatenate([w for _, w in columns])
    ranks = [np.minimum(np.arange(len(w)), np.arange(len(w))[::-1]) for _, w in columns]
    colours = np.concatenate(ranks) % 10
    ax.scatter(x, y, c=colours, cmap="tab10", vmin=0, vmax=9, marker="x", s=12, linewidths=0.8)
    ax.locator_params(axis="x", integer=True)  # there are no half steps
    if exact is not None:
        ticks = [tick for tick in ax.get_xticks() if 0 < tick <= m]
        ax.set_xticks([*ticks, last], [*(f"{tick:g}" for tick in ticks), "G"])
    ax.set_xlabel("step")
    ax.set_ylabel("Ritz value")
    return ax
