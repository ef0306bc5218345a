"""How eigenvalues are found."""

from __future__ import annotations

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

import hessop
from examples.pictures.common import projected, side_by_side
from hessop import synthetic


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
