"""All eigenvalues of a full Hessian: a product with each unit vector, then a dense solver."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import scipy.linalg
import torch
from tqdm.auto import tqdm

import hessop
from examples.report.study import Arrays, Study

_BLOCK = 64  # rows between two marks of how far it has come


def spectrum(study: Study, name: str, H: hessop.HessianOperator) -> np.ndarray:
    """
    The eigenvalues of H, (n,), ascending.

    The rows are written to a file as they come, so that a run that is killed goes on where it was.
    """
    found = study.once(f"exact-{name}", partial(_computed, study.work / f"{name}.rows", H))
    return found["eigenvalues"]


def _computed(path: Path, H: hessop.HessianOperator) -> Arrays:
    n = H.shape[0]
    done = path.with_suffix(".done")
    first = int(done.read_text()) if path.is_file() and done.is_file() else 0
    rows = np.lib.format.open_memmap(
        path, mode="r+" if first else "w+", dtype=np.float64, shape=(n, n)
    )
    H.product.expect(n - first)
    total = -(-n // _BLOCK)
    starts = range(first, n, _BLOCK)
    for a in tqdm(starts, path.stem, total, leave=False, initial=total - len(starts)):
        units = torch.zeros((min(_BLOCK, n - a), n), dtype=torch.float64)
        units[torch.arange(len(units)), a + torch.arange(len(units))] = 1.0
        rows[a : a + _BLOCK] = H.product.matmat(units).numpy()
        rows.flush()
        done.write_text(str(a + len(units)))
    w, asymmetry = eigenvalues(np.array(rows))
    del rows
    path.unlink()
    done.unlink()
    return {"eigenvalues": w, "asymmetry": np.array(asymmetry)}


def eigenvalues(dense: np.ndarray) -> tuple[np.ndarray, float]:
    """Those of the symmetric part of a matrix, which is overwritten, and the size of the rest."""
    largest = asymmetry = 0.0
    for a in range(0, len(dense), 256):  # a strip at a time: there is no room for another matrix
        b = a + 256
        strip = (dense[a:b, a:] + dense[a:, a:b].T) / 2
        asymmetry = max(asymmetry, float(np.abs(strip - dense[a:b, a:]).max()))
        largest = max(largest, float(np.abs(strip).max()))
        dense[a:b, a:], dense[a:, a:b] = strip, strip.T
    if asymmetry > 1e-9 * largest:
        raise SystemExit(f"the Hessian is not symmetric: {asymmetry:.1e} of {largest:.1e}")
    w = scipy.linalg.eigvalsh(dense, overwrite_a=True, check_finite=False)
    return w, asymmetry
