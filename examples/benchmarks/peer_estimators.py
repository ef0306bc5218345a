"""Spectral densities and traces by hessop's peers, from one operator whose products are counted."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import torch

import hessop
from examples.benchmarks import handed
from examples.benchmarks.solvers import Counted

_IMATE_POINTS = 20_000  # at which imate's cumulative density is looked at

Rule = tuple[np.ndarray, np.ndarray]
"""Values and their weights, which sum to 1: the density before it is smoothed."""

Density = Callable[[Counted, int, int, int], Rule]
"""Of an operator, from so many probes of so many steps, by a seed."""

Trace = Callable[[Counted, int, int], float]
"""Of an operator, from so many products, by a seed."""


def eigenthings(A: Counted, probes: int, steps: int, seed: int) -> Rule:
    """hessian-eigenthings, which gives seed i + 1 to the second probe of seed i."""
    import hessian_eigenthings as he

    found = he.spectral_density(
        handed.eigenthings(A), num_runs=probes, lanczos_steps=steps, seed=1000 * seed
    )
    return _joined(found.raw_eigenvalues, found.raw_weights)


def eigenthings_trace(method: str) -> Trace:
    """hessian-eigenthings."""

    def estimate(A: Counted, budget: int, seed: int) -> float:
        import hessian_eigenthings as he

        return he.trace(
            handed.eigenthings(A), num_matvecs=budget, method=method, seed=seed
        ).estimate

    return estimate


def curvlinops(A: Counted, probes: int, steps: int, seed: int) -> Rule:
    """curvlinops' Lanczos process; the products for the ends of its picture are spared."""
    from curvlinops.papyan2020traces.spectrum import fast_lanczos

    torch.manual_seed(seed)
    operator = handed.curvlinops(A)
    found = [fast_lanczos(operator, steps) for _ in range(probes)]
    return _joined(torch.stack([w for w, _ in found]), torch.stack([v[0] ** 2 for _, v in found]))


def curvlinops_trace(name: str, divisor: int) -> Trace:
    """curvlinops, whose budget must be divisible."""

    def estimate(A: Counted, budget: int, seed: int) -> float:
        import curvlinops as cl

        torch.manual_seed(seed)
        return float(getattr(cl, name)(handed.curvlinops(A), budget // divisor * divisor))

    return estimate


def pyhessian(A: Counted, probes: int, steps: int, seed: int) -> Rule:
    """PyHessian."""
    torch.manual_seed(seed)
    return pyhessian_density(handed.pyhessian(A), probes, steps)


def pyhessian_density(h: Any, probes: int, steps: int) -> Rule:
    """Its density, with an eigensolver in the place of one that torch no longer has."""

    def eig(T: torch.Tensor, eigenvectors: bool) -> Any:
        w, v = torch.linalg.eigh(T)
        return torch.stack([w, 0 * w], 1), v

    with mock.patch.object(torch, "eig", eig, create=True):
        w, weights = h.density(iter=steps, n_v=probes)
    return _joined(torch.tensor(np.array(w)), torch.tensor(np.array(weights)))


def pyhessian_trace(A: Counted, budget: int, seed: int) -> float:
    """PyHessian, not let stop early."""
    torch.manual_seed(seed)
    return float(np.mean(handed.pyhessian(A).trace(maxIter=budget, tol=-math.inf)))


def primate(A: Counted, probes: int, steps: int, seed: int) -> Rule:
    """scikit-primate's Lanczos process, fully orthogonal, and its Golub-Welsch rule."""
    from primate.integrate import quadrature
    from primate.lanczos import lanczos
    from primate.random import isotropic

    kind, rng = A.operator.dtype, np.random.default_rng(seed)
    found = []
    for z in isotropic((probes, A.operator.shape[0]), pdf="rademacher", seed=rng):
        a, b = lanczos(A.operator, v0=z, deg=steps, orth=-1, dtype=kind)
        found.append(quadrature(a, b))
    return np.concatenate([w for w, _ in found]), np.concatenate([t for _, t in found]) / probes


def primate_trace(name: str) -> Trace:
    """scikit-primate; its `m` for Hutch++ is a third of the products, and a multiple of three."""

    def estimate(A: Counted, budget: int, seed: int) -> float:
        import primate.trace

        ask = {"hutch": {"converge": "count", "count": budget}, "hutchpp": {"m": budget // 9 * 3}}
        return float(getattr(primate.trace, name)(A.operator, seed=seed, **ask[name]))

    return estimate


def imate(A: Counted, probes: int, steps: int, seed: int) -> Rule:
    """
    imate, which takes a dense matrix and says itself how many products it made.

    It gives no nodes, but the share of eigenvalues above any number of values for the same
    products, as those of A less a multiple of the identity above zero.
    """
    from imate import AffineMatrixFunction
    from imate import density as above

    n = A.operator.shape[0]
    dense = (A.inner @ np.eye(n)).astype(np.float64)
    ends = hessop.lanczos(A.inner, 2, which="BE", tol=1e-3, rng=0).eigenvalues
    reach = 0.01 * (ends[1] - ends[0])
    x = np.linspace(ends[0] - reach, ends[1] + reach, _IMATE_POINTS)
    shares, _, info = above(
        AffineMatrixFunction((dense + dense.T) / 2), method="slq", mu=0.0, sigma=1e-9 * reach,
        cumulative=True, parameters=-x, min_num_samples=probes, max_num_samples=probes,
        lanczos_degree=steps, orthogonalize=-1, seed=seed, error_rtol=0, error_atol=0,
        outlier_significance_level=0, return_info=True, num_threads=1,
    )  # fmt: skip
    A.count += int(np.max(info["convergence"]["num_samples_used"])) * steps
    return (x[1:] + x[:-1]) / 2, np.maximum(-np.diff(shares), 0.0)


def _joined(values: torch.Tensor, weights: torch.Tensor) -> Rule:
    """The mean of the rules in each row, NaN where they ended early."""
    rows, (w, t) = len(values), (a.double().numpy().ravel() for a in (values, weights))
    there = ~np.isnan(w)
    return w[there], t[there] / rows


PEERS: dict[str, tuple[str, Density, dict[str, Trace]]] = {
    "hessian-eigenthings 1.0.0a5": (
        "hessian_eigenthings",
        eigenthings,
        {m: eigenthings_trace(m) for m in ("hutchinson", "hutch++")},
    ),
    "PyHessian 0.1": ("pyhessian", pyhessian, {"hutchinson": pyhessian_trace}),
    "curvlinops 3.0.1": (
        "curvlinops",
        curvlinops,
        {
            "hutchinson": curvlinops_trace("hutchinson_trace", 1),
            "hutch++": curvlinops_trace("hutchpp_trace", 3),
            "xtrace": curvlinops_trace("xtrace", 2),
        },
    ),
    "scikit-primate 0.5.6": (
        "primate",
        primate,
        {"hutchinson": primate_trace("hutch"), "hutch++": primate_trace("hutchpp")},
    ),
}
"""By name and version: module, density, traces by method."""
