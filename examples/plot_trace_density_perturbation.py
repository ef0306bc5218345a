"""
Trace, density, perturbation: what can be trusted
=================================================

Three tools that need nothing but products with a matrix: Hutchinson's trace, stochastic Lanczos
quadrature for the density of eigenvalues, and the perturbation theory that says how much any of
it is worth. Each figure puts an estimate beside the truth, or beside a bound.

Run it as a script: ``python -m examples.plot_trace_density_perturbation``; with ``--data FOLDER``
on MNIST, shrunk to 7 x 7 points, in place of scikit-learn's digits.
"""

# %%
# Hutchinson's trick, and its variance
# ------------------------------------
# For a random vector z with :math:`E[z z^T] = I`, the mean of :math:`z^T A z` is the trace of A.
# The variance of one such sample is :math:`2 \|A\|_F^2` for normal entries; for random signs
# :math:`2 \sum_i A_{ii}^2` less, since the diagonal then costs nothing. `hessop.trace_variance`
# gives it; the dots are variances over 50 runs each.

import argparse

import matplotlib.pyplot as plt
import numpy as np
import torch

import hessop
import hessop.plot
from examples import data
from examples.models import mlp
from examples.training import train
from hessop import perturbation, synthetic

parser = argparse.ArgumentParser(description="Trace, density, perturbation.")
data.add_option(parser)
options, _ = parser.parse_known_args()

rng = np.random.default_rng(0)
G = rng.standard_normal((30, 30))
A = G + G.T + 3 * np.eye(30)
trials, products = 50, [10, 30, 100, 300, 1000]

figure, ax = plt.subplots(layout="constrained")
for colour, distribution in (("C0", "rademacher"), ("C1", "gaussian")):
    seen = [
        np.var(
            [
                hessop.trace(A, n_matvec=m, distribution=distribution, rng=[m, trial]).estimate
                for trial in range(trials)
            ],
            ddof=1,
        )
        for m in products
    ]
    theory = hessop.trace_variance(A, distribution=distribution) / np.array(products)
    ax.loglog(products, seen, "o", color=colour, label=f"{distribution}, {trials} runs")
    ax.loglog(products, theory, "--", color=colour, label="theory")
    ratios = np.array(seen) / theory
    print(f"{distribution:>10}: variance seen / theory", " ".join(f"{r:.2f}" for r in ratios))
ax.set_xlabel("products m")
ax.set_ylabel("variance of the estimate")
ax.set_title("Hutchinson's estimator: signs against normal entries")
ax.legend()

# %%
# The trace of a network's Hessian
# --------------------------------
# A small network on 300 images. Its Hessian is small enough to be written out, which takes as
# many products as it has rows; the estimates take 200.

torch.manual_seed(0)
if options.data:
    x, y = data.images(options.data, "mnist")
    x = torch.nn.functional.avg_pool2d(x.reshape(-1, 28, 28), 4).reshape(-1, 49)
else:
    x, y = data.digits()
x, y = x[:300].double(), y[:300]
model = mlp((x.shape[1], 16, 10), torch.nn.Tanh).double()
loss_fn = torch.nn.CrossEntropyLoss()
H = hessop.HessianOperator(model, loss_fn, (x, y))
n = H.shape[0]


def exact_eigenvalues() -> np.ndarray:
    """All of them, by writing the matrix out."""
    M = H @ np.eye(n)
    return np.linalg.eigvalsh((M + M.T) / 2)


exact = exact_eigenvalues()
print(f"\n{n} parameters; exact trace {exact.sum():.4f}")
for method in ("hutchinson", "hutch++", "xtrace"):
    e = hessop.trace(H, method=method, n_matvec=200, rng=0)
    low, high = e.confidence_interval()
    print(f"{method:>10}: {e.estimate:.4f}, 95 % interval [{low:.4f}, {high:.4f}]")

# %%
# From a number to a density
# --------------------------
# Stochastic Lanczos quadrature of a matrix with 40 known eigenvalues, against the same Gaussian
# kernel around these. The band is where other probes would put the curve.

B = synthetic.operator(np.linspace(-2, 4, 40), rng=0)
density = hessop.slq(B, n_probes=30, ncv=30, rng=0)
grid, sigma = np.linspace(-3, 5, 400), 0.15
kernel = np.exp(-0.5 * ((grid[:, None] - B.eigenvalues) / sigma) ** 2)
truth = kernel.mean(axis=1) / (sigma * np.sqrt(2 * np.pi))

figure, ax = plt.subplots(layout="constrained")
ax.plot(grid, density.pdf(grid, sigma), label="slq, 30 probes")
ax.fill_between(grid, *density.interval(grid, of="pdf", sigma=sigma), alpha=0.25, linewidth=0)
ax.plot(grid, truth, "--", label="exact, same kernel")
ax.set_xlabel("eigenvalue")
ax.set_ylabel("density")
ax.set_title("Stochastic Lanczos quadrature against the truth")
ax.legend()
off = np.trapezoid(np.abs(density.pdf(grid, sigma) - truth), grid)
print(f"\nslq: L1 distance to the exact smoothed density {off:.3f}")

# %%
# Bulk and outliers
# -----------------
# The density of the network's Hessian at initialisation, and after training: a bulk near zero, and
# some outliers. It integrates to the number of parameters.

before = hessop.slq(H, n_probes=10, ncv=40, rng=0)
train(model, loss_fn, x, y, epochs=60, lr=3e-3)
after = hessop.slq(H, n_probes=10, ncv=40, rng=0)
trained = exact_eigenvalues()
print(f"trained: loss {H.loss():.3f}")
for name, d, w in (("initial", before, exact), ("trained", after, trained)):
    wide = np.linspace(*d.quantile([1e-6, 1 - 1e-6]), 20_001)
    total = np.trapezoid(d.pdf(wide, count=True), wide)
    print(
        f"{name}: the density integrates to {total:.1f}; Wasserstein distance to the spectrum "
        f"{d.wasserstein(w):.1e}, of a range of {np.ptp(w):.2f}"
    )

ax = hessop.plot.density({"at initialisation": before, "after training": after}, outliers=trained)
ax.set_title(f"Hessian spectrum, {n} parameters")

# %%
# Eigenvalues move no further than the perturbation is large
# ----------------------------------------------------------
# Weyl: :math:`|\lambda_k(A + E) - \lambda_k(A)| \le \|E\|_2` for all k.

A = rng.standard_normal((50, 50))
A = A + A.T
E = rng.standard_normal((50, 50))
E = E + E.T
w, norm = np.linalg.eigvalsh(A), np.linalg.norm(E, 2)
estimate = hessop.norm(E, 2, n_matvec=20, rng=0)
print(f"\n||E||_2 = {norm:.3f}; from 20 products at most {estimate.confidence_interval().high:.3f}")
parts = np.linspace(0, 1, 21)
moved = []
for part in parts:
    low, high = perturbation.weyl(w, part * norm)
    perturbed = np.linalg.eigvalsh(A + part * E)
    assert ((low - 1e-9 <= perturbed) & (perturbed <= high + 1e-9)).all()
    moved.append(np.abs(perturbed - w).max())

figure, ax = plt.subplots(layout="constrained")
ax.plot(parts * norm, moved, "o-", label="largest change of an eigenvalue")
ax.plot(parts * norm, parts * norm, "k--", alpha=0.6, label="Weyl's bound")
ax.set_xlabel(r"$\|E\|_2$")
ax.set_ylabel(r"$\max_k |\Delta \lambda_k|$")
ax.set_title("Eigenvalues are Lipschitz in the matrix")
ax.legend()

# %%
# Eigenvectors turn where the gap is small
# ----------------------------------------
# The three leading eigenvectors of a matrix whose gap is adjusted, under one small perturbation.
# `hessop.perturbation.davis_kahan` bounds the largest principal angle; the line
# :math:`\|E\|_2 / \mathrm{gap}` is what it tends to for large gaps.

E *= 0.05 / norm
gaps = np.array([0.06, 0.1, 0.3, 1.0, 3.0])
sines, bounds = [], []
for g in gaps:
    spectrum = np.r_[np.linspace(0, 10 - 3 * g, 47), 10 - 2 * g, 10 - g, 10.0]
    A = synthetic.operator(spectrum, rng=1) @ np.eye(50)
    (w, v), (_, turned) = np.linalg.eigh(A), np.linalg.eigh(A + E)
    angle = perturbation.subspace_angles(v[:, -3:], turned[:, -3:]).max()
    sines.append(np.sin(angle))
    bounds.append(perturbation.davis_kahan(perturbation.gap(w, 3, "LA"), 0.05))
    assert sines[-1] <= bounds[-1] + 1e-12

figure, ax = plt.subplots(layout="constrained")
ax.loglog(gaps, sines, "o-", label="largest principal angle seen")
ax.loglog(gaps, bounds, "s--", label="bound")
ax.loglog(gaps, 0.05 / gaps, "k:", label=r"$\|E\|_2 / \mathrm{gap}$")
ax.set_xlabel("gap")
ax.set_ylabel("sine of the angle")
ax.set_title("Small gaps make eigenvectors unstable")
ax.legend()

# %%
# The bootstrap: eigenvalues hold, eigenvectors turn
# --------------------------------------------------
# The empirical tangent kernel of 200 images, and of 20 resamples of them with replacement. Its five
# largest eigenvalues hardly change. The space of the three leading eigenvectors turns. (Entry by
# entry it would seem to turn further: entry i belongs to another image in each resample.
# Eigenvectors are compared as functions of all 200 images.)

images = x[:200]
found = perturbation.bootstrap(
    lambda indices: hessop.NTKOperator(model, images[indices]),
    len(images),
    k=5,
    which="LA",
    subspace=3,
    coordinates="examples",
    rng=0,
)
largest = found.full.eigenvalues[::-1]
errors = found.standard_error[::-1]
shown = [f"{w:.0f} +- {e:.0f}" for w, e in zip(largest, errors, strict=True)]
print("\ntangent kernel:", ", ".join(shown))
print(f"products: {found.full.n_matvec} on all data, {found.n_matvec.mean():.0f} on a resample")

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
axes[0].boxplot(found.eigenvalues[:, ::-1])
axes[0].plot(range(1, 6), largest, "k_", markersize=14, label="all data")
axes[0].set_xlabel("number of the eigenvalue")
axes[0].set_title("Eigenvalues over resamples")
axes[0].legend()
axes[1].hist(np.sin(found.pairwise_angles()), bins=20)
axes[1].set_xlabel("sine of the largest angle")
axes[1].set_title("Leading spaces of two resamples")
plt.show()
