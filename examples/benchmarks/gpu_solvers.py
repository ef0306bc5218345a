"""Who computes eigenpairs in bench_gpu; all start from the same vector."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

import hessop
from examples.benchmarks import eigenthings
from examples.benchmarks.gpu_problem import Problem

_CUPY_MOST = 1 << 31  # entries of a basis; CuPy's kernel finds them by 32-bit numbers


class Pairs(NamedTuple):
    """Eigenvalues, their vectors as rows, and the products spent."""

    w: torch.Tensor
    rows: torch.Tensor
    steps: int


Solve = Callable[[int], Pairs | str]
"""After at most so many steps; a text says why not."""


def solvers(
    problem: Problem, H: hessop.HessianOperator, v0: torch.Tensor, k: int
) -> dict[str, Solve]:
    """For the k eigenvalues of largest magnitude, without a restart."""
    found: dict[str, Callable[[int], Pairs]] = {
        "plain": lambda m: Pairs(*eigenthings.lanczos(problem.plain, v0, k, m), m),
        "hessop": lambda m: ours(H, v0, k, m),
        "hessop, all steps": lambda m: ours(H, v0, k, m, _AtTheEnd(m)),
    }
    if v0.is_cuda and importlib.util.find_spec("cupyx"):
        found["cupyx eigsh on hessop"] = lambda m: _cupys(H, v0, k, m)
    return {who: _attempt(solve) for who, solve in found.items()}


def _attempt(solve: Callable[[int], Pairs]) -> Solve:
    def run(steps: int) -> Pairs | str:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what has not converged is measured
                return solve(steps)
        except Exception as error:
            return f"{type(error).__name__}: {str(error)[:150]}"

    return run


class _AtTheEnd:
    """
    Wants the eigenvalues of largest magnitude, but not before all steps are done.

    Until then it wants the smallest, which do not converge: for equal work with those who do not
    look whether they have finished.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def __call__(self, w: np.ndarray) -> np.ndarray:
        """A score for each Ritz value."""
        return np.abs(w) if len(w) >= self._steps else -np.abs(w)


def ours(
    H: hessop.HessianOperator, v0: torch.Tensor, k: int, steps: int, which: Any = "LM"
) -> Pairs:
    """hessop on its products, with the vectors left on the device; ends at rounding."""
    found = hessop.lanczos(
        H.product, k, which=which, v0=v0, ncv=steps, maxiter=steps, verify=False, basis="device"
    )
    return Pairs(torch.from_numpy(found.eigenvalues), found.eigenvectors.T, found.n_matvec)


def _cupys(H: hessop.HessianOperator, v0: torch.Tensor, k: int, steps: int) -> Pairs:
    """CuPy's eigsh, which overwrites its start vector, and restarts if it may go on."""
    import cupy
    from cupyx.scipy.sparse.linalg import eigsh

    if len(v0) * steps >= _CUPY_MOST:  # it would write elsewhere, and end the process
        raise ValueError("CuPy counts the entries of a basis in 32 bits")
    start = cupy.from_dlpack(v0.clone())
    w, X = eigsh(H.to_cupy(), k, which="LM", v0=start, ncv=steps, maxiter=steps)
    return Pairs(torch.from_dlpack(w), torch.from_dlpack(X).T, steps)
