"""Where pictures are drawn. matplotlib is imported when something is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def axes(ax: Axes | None) -> Axes:
    """The user's axes, or those of a new figure."""
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot as plt
    except ImportError:
        raise ImportError(
            "`hessop.plot` must have matplotlib; it is not installed. "
            'Use pip install "hessop[plot]".'
        ) from None
    return plt.subplots(layout="constrained")[1]
