"""
From a trained network to its spectrum
======================================

A small network learns to read digits. Before and after, the Hessian of its loss over all images
is put behind SciPy's operator interface, and its spectrum is computed three ways that must agree:

* `scipy.sparse.linalg.eigsh`, which takes the operator as it is,
* `hessop.lanczos`, which stays in torch and says how far each number can be trusted,
* `hessop.slq`, which sees the whole density.

Run it as a script: ``python -m examples.plot_quickstart``. It takes seconds on scikit-learn's
digits; with ``--data FOLDER`` it takes minutes, on all 60,000 images of MNIST with a 784-16-10
sigmoid network of 12,730 parameters.
"""

# %%
# The network and the data
# ------------------------
# Each image is one example. The objective is the mean loss over all of them, however they are cut
# into batches.

import argparse
import time

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.sparse.linalg import eigsh

import hessop
import hessop.plot
from examples import data
from examples.models import mlp
from examples.training import train

parser = argparse.ArgumentParser(description="From a trained network to its spectrum.")
data.add_option(parser)
parser.add_argument("--out", default="quickstart.png", help="where the picture goes")
options, _ = parser.parse_known_args()

torch.manual_seed(0)
if options.data:
    x, y = data.images(options.data, "mnist")
    model, name, schedule = mlp((784, 16, 10)), "MNIST", {"epochs": 5, "lr": 1e-3}
else:
    x, y = data.digits()
    model, name, schedule = mlp((64, 16, 10)), "scikit-learn's digits", {"epochs": 30, "lr": 3e-3}
loss_fn = torch.nn.CrossEntropyLoss()
classes = 10
n_parameters = sum(p.numel() for p in model.parameters())
print(f"{len(x):,} images of {name}, a network with {n_parameters:,} parameters\n")

# %%
# One operator, three ways
# ------------------------
# `H` is a `scipy.sparse.linalg.LinearOperator`. It follows the model: after training it is the
# Hessian at the new parameters.

H = hessop.HessianOperator(model, loss_fn, (x, y))


def compare(stage: str) -> tuple[hessop.EigenResult, hessop.SpectralDensity]:
    """Print the ends of the spectrum three ways, and what they cost."""
    clock = time.perf_counter()
    k = 2 * classes
    ours = hessop.lanczos(H, k=k, which="BE", tol=1e-4, verify=True, rng=0)
    scipys = eigsh(H, k=k, which="BE", tol=1e-4, return_eigenvectors=False)
    density = hessop.slq(H, n_probes=10, ncv=80, rng=0)
    trace = hessop.trace(H, n_matvec=100, rng=0)

    print(f"{stage}: loss {H.loss():.4f}, |gradient| {np.linalg.norm(H.gradient()):.2e}")
    print("   eigenvalue    eigsh  lanczos  residual      slq")
    # A probe's k-th largest node cannot exceed the k-th largest eigenvalue: take the best probe.
    nodes = density.nodes
    for i in [*range(k - 1, k - 6, -1), 2, 1, 0]:
        rank = k - i if i > 2 else i + 1
        seen = nodes[:, -rank].max() if i > 2 else nodes[:, rank - 1].min()
        label = f"{rank}. {'largest' if i > 2 else 'smallest'}"
        print(
            f"{label:>13} {scipys[i]:8.4f} {ours.eigenvalues[i]:8.4f} "
            f"{ours.residuals[i]:9.1e} {seen:8.4f}"
        )
    scale = np.abs(scipys).max()
    gap = np.abs(np.sort(scipys) - ours.eigenvalues).max() / scale
    print(f"eigsh and lanczos agree to {gap:.0e} of the largest, all {k} eigenvalues")
    extremes = np.array([nodes.max() - scipys.max(), nodes.min() - scipys.min()])
    print(f"slq's extremes agree with them to {np.abs(extremes).max() / scale:.0e}")
    low, high = trace.confidence_interval()
    print(f"trace {trace.estimate:.3f}, 95 % interval [{low:.3f}, {high:.3f}]", end="; ")
    print(f"by slq {float(density.trace()):.3f} +- {density.trace().standard_error:.3f}")
    print(f"{time.perf_counter() - clock:.1f} s\n")
    return ours, density


before, density_before = compare("before training")
train(model, loss_fn, x, y, **schedule)
after, density_after = compare("after training")
accuracy = (model(x).argmax(1) == y).float().mean()
print(f"training accuracy {100 * float(accuracy):.1f} %")

# %%
# How many outliers?
# ------------------
# For a trained classifier the bulk sits near zero, and about as many eigenvalues as there are
# classes, less one, stand out (Sagun et al. 2017). Counted here up to the widest relative gap
# among the largest eigenvalues.

top = hessop.lanczos(H, k=2 * classes, which="LA", tol=1e-4, rng=0).eigenvalues[::-1]
gaps = top[:-1] / top[1:]
outliers = 3 + int(np.argmax(gaps[2:]))
print(f"{outliers} outliers, above a gap of {gaps[outliers - 1]:.2f}; classes - 1 = {classes - 1}")

# %%
# The picture
# -----------
# On a logarithmic axis single eigenvalues are seen beside the bulk.

figure, axes = plt.subplots(2, 1, figsize=(7, 6), layout="constrained")
hessop.plot.density(density_before, outliers=before, ax=axes[0])
axes[0].set_title(f"Hessian spectrum, {name}: before training")
hessop.plot.density(density_after, outliers=after, ax=axes[1])
axes[1].set_title("after training")
figure.savefig(options.out, dpi=150)
print(f"picture written to {options.out}")
