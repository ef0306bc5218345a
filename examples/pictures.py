"""
The pictures of the pages on concepts, from small networks and synthetic operators.

``python -m examples.pictures`` draws all of them into ``docs/pictures``, in under a minute on a
CPU. ``--only NAME`` draws one, ``--out FOLDER`` puts them elsewhere.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure

import hessop
from examples.models import mlp
from hessop import synthetic

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
STYLE = {
    "figure.dpi": 80,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
}


def side_by_side(width: float = 9.0, height: float = 3.1) -> tuple[Figure, Axes, Axes]:
    """A figure of two panels."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(width, height), layout="constrained")
    return figure, left, right


def corners(n: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    """Points in the plane, in the class that the sign of their product says."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    return x, (x[:, 0] * x[:, 1] > 0).long()


def small_network() -> torch.nn.Module:
    """2-6-6-2 with tanh, 74 parameters, the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return mlp((2, 6, 6, 2), torch.nn.Tanh).double()


def dense(A: hessop.operators.ProductOperator) -> np.ndarray:
    """The matrix, one product for each column."""
    columns = A @ np.eye(A.shape[0])
    return (columns + columns.T) / 2


def projected(t: hessop.Tridiagonal, m: int) -> np.ndarray:
    """What a sweep had for T after m of its steps."""
    off = t.beta[: m - 1]
    return np.diag(t.alpha[:m]) + np.diag(off, 1) + np.diag(off, -1)


def curvature_split() -> Figure:
    """The Hessian of a small network as the sum of two matrices."""
    x, y = corners()
    model, loss_fn = small_network(), torch.nn.CrossEntropyLoss()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(40):
        optimiser.zero_grad()
        loss_fn(model(x), y).backward()
        optimiser.step()
    H = dense(hessop.HessianOperator(model, loss_fn, (x, y)))
    G = dense(hessop.GGNOperator(model, loss_fn, (x, y)))
    figure, panels = plt.subplots(1, 3, figsize=(9.0, 3.1), layout="constrained")
    top = np.abs(H).max()
    colours = mpl.colormaps["RdBu_r"].resampled(15)
    norm = SymLogNorm(linthresh=top / 100, vmin=-top, vmax=top)
    borders = np.cumsum([p.numel() for p in model.parameters()])[1:-1:2]
    titles = ("Hessian", "= Gauss-Newton", "+ the curvature of the model")
    for axes, matrix, title in zip(panels, (H, G, H - G), titles, strict=True):
        image = axes.imshow(matrix, cmap=colours, norm=norm, interpolation="nearest")
        w = np.linalg.eigvalsh(matrix)
        axes.set_title(f"{title}\neigenvalues {w[0]:.2f} to {w[-1]:.2f}")
        axes.set_xticks(borders - 0.5, [])
        axes.set_yticks(borders - 0.5, [])
        axes.grid(color="0.4", linewidth=0.4)
    figure.colorbar(image, ax=panels, shrink=0.8)
    return figure


def curvature_training() -> Figure:
    """Eigenvalues and the size of both parts while a network is trained."""
    x, y = corners()
    model, loss_fn = small_network(), torch.nn.CrossEntropyLoss()
    H = hessop.HessianOperator(model, loss_fn, (x, y))
    G = hessop.GGNOperator(model, loss_fn, (x, y))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    steps, ends, parts, losses = [], [], [], []
    for step in range(401):
        if step % 10 == 0:
            h, g = dense(H), dense(G)
            w = np.linalg.eigvalsh(h)
            steps.append(step)
            ends.append((w[0], w[-1], np.linalg.eigvalsh(g)[-1]))
            parts.append((np.linalg.norm(g), np.linalg.norm(h - g)))
            losses.append(H.loss())
        optimiser.zero_grad()
        loss_fn(model(x), y).backward()
        optimiser.step()
    least, greatest, gauss_newton = np.array(ends).T
    figure, left, right = side_by_side()
    left.plot(steps, greatest, label="largest of the Hessian")
    left.plot(steps, gauss_newton, "--", label="largest of Gauss-Newton")
    left.plot(steps, least, label="smallest of the Hessian")
    left.axhline(0.0, color="0.7", linewidth=0.6)
    left.set(xlabel="training step", ylabel="eigenvalue")
    left.legend()
    size_g, size_r = np.array(parts).T
    right.semilogy(steps, size_g, label="Frobenius norm of Gauss-Newton")
    right.semilogy(steps, size_r, label="of the rest")
    right.semilogy(steps, losses, color="0.6", label="loss")
    right.set(xlabel="training step")
    right.legend()
    return figure


def eigenvalues_methods() -> Figure:
    """Ritz values as they settle, and the error of two methods by products spent."""
    rng = np.random.default_rng(0)
    w = np.sort(np.concatenate([rng.uniform(-1.0, 1.0, 990), np.geomspace(1.3, 6.0, 10)]))
    A = synthetic.operator(w, rng=0)
    t = hessop.tridiagonalize(A, None, 60, rng=1)
    figure, left, right = side_by_side()
    values = []
    for m in range(1, 61):
        values.append(np.linalg.eigvalsh(projected(t, m)))
        left.plot(np.full(m, m), values[-1], ".", color="C0", markersize=1.5)
    left.plot(np.full(len(w), 63), w, "_", color="C3", markersize=5)
    left.set(xlabel="products", ylabel="Ritz values; eigenvalues in red")
    third = w[-3]
    errors = [abs(v[-3] - third) if len(v) > 2 else np.nan for v in values]
    right.semilogy(range(1, 61), np.maximum(errors, 1e-15), label="Lanczos")
    V = A.eigenvectors(np.array([-1, -2]) % A.shape[0])
    for momentum, label in ((0.0, "power iteration"), (w[-4] ** 2 / 4, "with momentum")):
        x, old = rng.standard_normal(A.shape[0]), np.zeros(A.shape[0])
        errors = []
        for _ in range(140):
            x -= V @ (V.T @ x)  # the two larger ones are known, and cost nothing here
            size = np.linalg.norm(x)
            x, old = x / size, old / size
            product = A @ x
            errors.append(abs(x @ product - third))
            x, old = product - momentum * old, x
        right.semilogy(range(1, 141), np.maximum(errors, 1e-15), label=label)
    right.set(xlabel="products", ylabel="error of the third eigenvalue")
    right.legend()
    return figure


def eigenvalues_copies() -> Figure:
    """A search that converges to the wrong set, and the check that finds out."""
    w = np.concatenate([np.linspace(-0.05, 0.05, 1995), [3.0, 4.0, 5.0, 5.0, 6.0]])
    A = synthetic.operator(w, rng=0)
    seen: list[tuple[int, bool, np.ndarray]] = []

    def look(state: hessop.LanczosState) -> None:
        seen.append((state.n_matvec, state.auditing, state.ritz_values))

    hessop.lanczos(A, k=4, which="LA", tol=1e-8, rng=0, callback=look)
    figure, axes = plt.subplots(figsize=(7.0, 2.9), layout="constrained")
    for value in (3, 4, 5, 6):
        axes.axhline(value, color="0.85", linewidth=0.8, zorder=0)
    for steps, auditing, values in seen:
        # Two values that agree are drawn side by side.
        order = np.sort(values)
        shift = np.where(np.append(False, np.diff(order) < 0.02), 0.35, 0.0)
        colour = "C1" if auditing else "C0"
        axes.plot(steps + shift, order, ".", color=colour, markersize=5)
        if auditing:
            axes.axvspan(steps - 0.5, steps + 0.5, color="C1", alpha=0.08, linewidth=0)
    first = next(steps for steps, auditing, _ in seen if auditing)
    axes.annotate(
        "converged, and wrong", (first - 1, 3.0), (first - 1, 1.6), ha="center",
        arrowprops={"arrowstyle": "->"},
    )  # fmt: skip
    axes.annotate(
        "the second 5", (13.3, 5.0), (16.5, 5.5), va="center", arrowprops={"arrowstyle": "->"}
    )
    axes.text(seen[-1][0] - 7, 1.6, "shaded: the check", color="C1", ha="center")
    axes.set(xlabel="products", ylabel="the four largest Ritz values", ylim=(-0.3, 6.4))
    return figure


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


def stability_orthogonality() -> Figure:
    """How orthogonality is lost, and the ghosts that come with it."""
    rng = np.random.default_rng(0)
    w = np.concatenate([rng.uniform(-1.0, 1.0, 490), np.linspace(2.0, 6.0, 10)])
    A = synthetic.operator(w, rng=0)
    m = 90
    figure, left, right = side_by_side()
    for reorth in ("none", "selective", "full", "double"):
        t = hessop.tridiagonalize(A, None, m, reorth=reorth, rng=1)
        loss = np.abs(t.basis.T @ t.basis - np.eye(m))
        worst = np.maximum.accumulate([loss[: j + 1, : j + 1].max() for j in range(m)])
        left.semilogy(range(1, m + 1), worst, label=reorth)
        if reorth == "none":
            for j in range(4, m + 1):
                top = np.linalg.eigvalsh(projected(t, j))
                top = top[top > 1.5]
                right.plot(np.full(len(top), j), top, ".", color="C0", markersize=2)
    left.set(xlabel="step", ylabel=r"largest entry of $|V^T V - I|$")
    left.legend()
    for value in w[-10:]:
        right.axhline(value, color="C3", linewidth=0.5, zorder=0)
    right.set(xlabel="step", ylabel='Ritz values, "none"; eigenvalues in red')
    return figure


def stability_precision() -> Figure:
    """Residuals in two precisions: where they stop falling."""
    rng = np.random.default_rng(0)
    w = np.concatenate([rng.uniform(-1.0, 1.0, 990), np.linspace(2.0, 6.0, 10)])
    figure, left, right = side_by_side()
    for axes, dtype in ((left, torch.float32), (right, torch.float64)):
        A = synthetic.operator(w, dtype=dtype, rng=0)
        t = hessop.tridiagonalize(A, None, 50, rng=1)
        V = t.basis.astype(np.float64)
        estimate, error = [], []
        for m in range(3, 51):
            theta, Y = np.linalg.eigh(projected(t, m))
            y = V[:, :m] @ Y[:, -1]
            estimate.append(t.beta[m - 1] * abs(Y[-1, -1]))
            error.append(np.linalg.norm(np.float64(A @ y.astype(A.dtype)) - theta[-1] * y))
        axes.semilogy(range(3, 51), np.maximum(estimate, 1e-20), label="by the Lanczos relation")
        axes.semilogy(range(3, 51), error, label="measured")
        noise = 10 * torch.finfo(dtype).eps * w.max()
        axes.axhline(noise, color="0.6", linestyle="--", label="10 units of rounding")
        axes.set(title=str(dtype).removeprefix("torch."), xlabel="step", ylim=(1e-20, 10))
    left.set(ylabel="residual of the largest pair")
    left.legend()
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    "curvature-split": curvature_split,
    "curvature-training": curvature_training,
    "eigenvalues-methods": eigenvalues_methods,
    "eigenvalues-copies": eigenvalues_copies,
    "density-budget": density_budget,
    "density-share": density_share,
    "stability-orthogonality": stability_orthogonality,
    "stability-precision": stability_precision,
}


def draw(name: str, folder: Path) -> Path:
    """One picture, into a folder."""
    path = folder / f"{name}.png"
    with plt.rc_context(STYLE):
        figure = PICTURES[name]()
        figure.savefig(path, metadata={"Software": None})
        plt.close(figure)
    return path


def main() -> None:
    """Draw what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--out", type=Path, default=FOLDER, help="where the pictures go")
    parser.add_argument("--only", choices=PICTURES, help="one of them")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in [options.only] if options.only else PICTURES:
        path = draw(name, options.out)
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
