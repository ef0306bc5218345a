"""What a density shows, and its error."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

import hessop
from examples.pictures.common import side_by_side
from hessop import synthetic


def bulk(n: int = 1500) -> synthetic.SyntheticOperator:
    """Two humps and six outliers."""
    rng = np.random.default_rng(0)
    third = n // 3
    low, high = rng.standard_normal(n - third - 6), rng.standard_normal(third)
    humps = np.concatenate([0.25 * low, 1.5 + 0.2 * high])
    return synthetic.operator(np.append(humps, [4.0, 4.6, 5.0, 6.0, 7.5, 9.0]), rng=0)


def density_budget() -> Figure:
    """What steps and what probes do to a density."""
    x = np.linspace(-1.2, 2.6, 500)
    width = 0.08
    figure, left, right = side_by_side()
    large, small = bulk(), bulk(150)
    for axes, A in ((left, large), (right, small)):
        kernel = np.exp(-(((x[:, None] - A.eigenvalues) / width) ** 2) / 2)
        exact = kernel.sum(axis=1) / (A.shape[0] * width * np.sqrt(2 * np.pi))
        axes.fill_between(x, exact, color="0.88", label="exact, the same kernel")
    for ncv in (10, 20, 100):
        d = hessop.slq(large, n_probes=10, ncv=ncv, rng=0)
        left.plot(x, d.pdf(x, sigma=width), label=f"{ncv} steps")
    left.set(title="1,500 eigenvalues, 10 probes", xlabel="eigenvalue", ylabel="density")
    for probes, label in ((1, "1 probe"), (10, "10 probes, 95 % band")):
        d = hessop.slq(small, n_probes=probes, ncv=100, rng=1)
        (line,) = right.plot(x, d.pdf(x, sigma=width), label=label)
        if probes > 1:
            low, high = d.interval(x, of="pdf", sigma=width)
            right.fill_between(x, low, high, color=line.get_color(), alpha=0.25, linewidth=0)
    right.set(title="150 eigenvalues, 100 steps", xlabel="eigenvalue")
    left.legend()
    right.legend()
    return figure


def density_share() -> Figure:
    """The share of eigenvalues with both errors, and samples of the trace with outliers locked."""
    A = bulk()
    figure, left, right = side_by_side()
    d = hessop.slq(A, n_probes=10, ncv=25, rng=0)
    x = np.linspace(-1.2, 2.6, 300)
    low, high = d.interval(x)
    left.fill_between(x, low, high, color="C0", alpha=0.25, linewidth=0, label="95 % interval")
    low, high = d.interval(x, of="smooth")
    left.fill_between(x, low, high, color="C1", linewidth=1.2, label="of the smooth curve")
    exact = np.searchsorted(np.sort(A.eigenvalues), x) / A.shape[0]
    left.plot(x, exact, "k", linewidth=0.8, label="exact")
    left.set(title="10 probes of 25 steps", xlabel="x", ylabel="share of eigenvalues up to x")
    left.legend()
    outliers = hessop.lanczos(A, k=6, which="LA", rng=0)
    rows = {
        "plain": hessop.slq(A, n_probes=30, ncv=25, rng=0),
        "6 locked": hessop.slq(A, n_probes=30, ncv=25, lock=outliers, rng=0),
    }
    for row, density in enumerate(rows.values()):
        e = density.trace(lambda w: w**2)
        right.plot(e.samples, np.full(len(e.samples), -row), "|", markersize=14, color=f"C{row}")
    right.axvline((A.eigenvalues**2).sum(), color="k", linewidth=0.8)
    right.set_yticks([0, -1], list(rows))
    right.set(
        title="the sum of squared eigenvalues, one sample per probe",
        xlabel="sample; the line is exact",
        ylim=(-1.6, 0.6),
    )
    return figure
