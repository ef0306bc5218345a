"""Operators all of whose eigenvalues are known: made up, or a network's Hessian, from a cache."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
import torch

import hessop
from examples import data, matrices
from examples.benchmarks.networks import LOSS, Case
from examples.models import mlp
from examples.training import train
from hessop import synthetic

IMAGES = 10_000  # that the Hessian is of
STATES = ("initial", "trained")
_BLOCK = 256


@dataclass(frozen=True)
class Known:
    """
    An operator and its eigenvalues.

    Attributes
    ----------
    name : str
        What it is.
    operator : hessop operator
        To multiply with.
    eigenvalues : ndarray of float64, shape (n,)
        All of them, ascending.
    """

    name: str
    operator: Any
    eigenvalues: np.ndarray


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give a script ``--data`` and ``--cache``."""
    data.add_option(parser)
    parser.add_argument("--cache", type=Path, help="folder for exact spectra, which take minutes")


def trained_like(n: int) -> np.ndarray:
    """
    The spectrum of a trained network in caricature, after that of the report's.

    Ten outliers, five times to twice the largest of the rest, whose magnitudes fall as 1 / i from
    the tenth on; a fifth of those are negative, and twenty times smaller.
    """
    bulk = 1 / (1 + np.arange(n - 10) / 10)
    negative = np.random.default_rng(0).random(n - 10) < 0.2
    bulk[negative] *= -0.05
    return np.sort(np.concatenate([bulk, 5 * 0.9 ** np.arange(10.0)]))


def named(name: str, n: int) -> np.ndarray:
    """One of hessop's spectra, or "trained_like"."""
    return trained_like(n) if name == "trained_like" else synthetic.spectrum(name, n, rng=0)


def made_up(n: int) -> Iterator[Known]:
    """The report's spectra and the caricature, in random eigenbases."""
    for name in (*synthetic.REPORT, "trained_like"):
        yield hidden(name, named(name, n))


def hidden(name: str, w: np.ndarray, dtype: torch.dtype = torch.float32) -> Known:
    """A dense matrix with these eigenvalues and an eigenbasis that the name seeds."""
    A = matrices.dense(w, np.random.default_rng(list(name.encode())))
    operator = hessop.aslinearoperator(torch.from_numpy(A).to(dtype))
    return Known(f"{name}, n = {len(w):,}", operator, w)


def hessians(folder: str | None, cache: Path | None) -> Iterator[Known]:
    """
    The Hessian of the report's network, at initialisation and after training.

    Its eigenvalues come from products in float64; it multiplies in float32.
    """
    for state in STATES:
        source = "digits" if folder is None else "MNIST"
        path = None if cache is None else cache / f"{source}-{state}.npz"
        held = path is not None and path.is_file()
        case = network(state if not held else "initial", folder)
        model, x, y = case
        if path is not None and held:
            with np.load(path) as archive:
                w, parameters = archive["eigenvalues"], torch.from_numpy(archive["parameters"])
            torch.nn.utils.vector_to_parameters(parameters, model.parameters())
        H = hessop.HessianOperator(model, LOSS, (x, y), mode="recorded", check=False)
        if held:
            ends = hessop.lanczos(H, 2, which="BE", tol=1e-6, rng=0).eigenvalues
            if np.abs(ends - w[[0, -1]]).max() > 1e-6 * np.abs(w).max():
                raise SystemExit(f"{path} holds the spectrum of another Hessian; delete it.")
        else:
            w = spectrum(H, case)
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                flat = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
                np.savez(path, eigenvalues=w, parameters=flat.numpy())
        H = hessop.HessianOperator(
            model.float(), LOSS, (x.float(), y), mode="recorded", check=False
        )
        yield Known(f"{source}, {state}, n = {len(w):,}", H, w)


def network(state: str, folder: str | None) -> Case:
    """The report's network in float64 and the images that its Hessian is of."""
    torch.manual_seed(0)
    if folder is None:
        x, y = data.digits()
        model, schedule = mlp((64, 16, 10)), dict[str, Any](epochs=30, lr=3e-3)
    else:
        x, y = data.images(folder)
        model, schedule = mlp((784, 16, 10)), dict[str, Any](epochs=5, lr=1e-3)
    if state == "trained":
        train(model, LOSS, x, y, **schedule)
    return model.double(), x[:IMAGES].double(), y[:IMAGES]


def spectrum(H: hessop.HessianOperator, case: Case) -> np.ndarray:
    """All eigenvalues, from a product with each unit vector; one product is checked by torch."""
    n = H.shape[0]
    _check(H, case)
    rows = torch.empty((n, n), dtype=torch.float64)
    for a in range(0, n, _BLOCK):
        units = torch.zeros((min(_BLOCK, n - a), n), dtype=torch.float64)
        units[torch.arange(len(units)), a + torch.arange(len(units))] = 1.0
        rows[a : a + _BLOCK] = H.product.matmat(units)
    dense = rows.numpy()
    for a in range(0, n, _BLOCK):  # symmetrised in place, a strip at a time
        b = a + _BLOCK
        strip = (dense[a:b, a:] + dense[a:, a:b].T) / 2
        off = np.abs(strip - dense[a:b, a:]).max()
        if off > 1e-10 * np.abs(dense[a:b]).max() + 1e-14:
            raise SystemExit(f"the Hessian is not symmetric: {off:.1e}")
        dense[a:b, a:], dense[a:, a:b] = strip, strip.T
    return scipy.linalg.eigvalsh(dense, overwrite_a=True, check_finite=False)


def _check(H: hessop.HessianOperator, case: Case) -> None:
    """A product against two backward passes."""
    model, x, y = case
    parameters = list(model.parameters())
    v = torch.randn(H.shape[0], dtype=torch.float64)
    pieces = v.split([p.numel() for p in parameters])
    gradient = torch.autograd.grad(LOSS(model(x), y), parameters, create_graph=True)
    shaped = [a.view_as(p) for a, p in zip(pieces, parameters, strict=True)]
    plain = torch.cat([g.ravel() for g in torch.autograd.grad(gradient, parameters, shaped)])
    if (H.product.matmat(v[None])[0] - plain).norm() > 1e-10 * plain.norm():
        raise SystemExit("a Hessian-vector product differs from torch's own")
