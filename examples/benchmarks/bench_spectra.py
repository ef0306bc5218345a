"""
Products that `hessop.lanczos` and `scipy.sparse.linalg.eigsh` need, on known spectra.

``python -m examples.benchmarks.bench_spectra --out examples/benchmarks/results/spectra.md``

Same operator, same start vector, same `ncv`, same `tol`. A set that differs from the exact one is
not counted but named: it is either wrong or incomplete.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

import hessop
from examples.benchmarks import report
from hessop import synthetic

SPECTRA = (*synthetic.REPORT, "clustered", "multiple", "plus_minus", "graded")


class Counting(LinearOperator):
    """A diagonal operator that counts its products."""

    def __init__(self, w: np.ndarray) -> None:
        super().__init__(w.dtype, (len(w), len(w)))
        self.w = w
        self.count = 0

    def _matvec(self, x: np.ndarray) -> np.ndarray:
        self.count += 1
        return self.w * x.ravel()

    def _adjoint(self) -> Counting:
        return self


HEADER = [
    "k",
    "ncv",
    "tol",
    "mean, `verify=False`",
    "worst",
    "mean, checked",
    "more than eigsh",
    "wrong: eigsh",
    "wrong: `verify=False`",
    "wrong: checked",
]


def exact(w: np.ndarray, k: int, which: str) -> np.ndarray:
    """What `which` asks for, by magnitude for LM so that a tie of signs is none."""
    if which == "LM":
        return np.sort(np.abs(w))[-k:]
    low = {"SA": k, "LA": 0, "BE": k // 2}[which]
    return np.sort(np.concatenate([w[:low], w[len(w) - (k - low) :]]))


def is_right(found: np.ndarray, wanted: np.ndarray, which: str, tol: float) -> bool:
    """Whether each eigenvalue is within the tolerance of the one it stands for."""
    found = np.sort(np.abs(found) if which == "LM" else found)
    slack = max(tol, 1e-12) * np.abs(wanted).max()
    return len(found) == len(wanted) and bool((np.abs(found - wanted) <= slack).all())


def scipys(A: Counting, k: int, tol: float, **options: object) -> np.ndarray:
    """SciPy's eigenvalues; none where it gave up."""
    try:
        return eigsh(A, k, tol=tol, return_eigenvectors=False, maxiter=10 * len(A.w), **options)
    except ArpackNoConvergence:
        return np.zeros(0)


def main() -> None:
    """Count, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    report.add_option(parser)
    parser.add_argument("--n", type=int, default=1000)
    options = parser.parse_args()
    n, rows = options.n, []
    warnings.simplefilter("error")
    for k, ncv in ((6, 20), (6, 40), (6, None), (20, 60)):
        for tol in (0, 1e-6, 1e-3):
            ratios, checked, worse, wrong = [], [], 0, [0, 0, 0]
            for name in SPECTRA:
                w = synthetic.spectrum(name, n, rng=1)
                v0 = np.random.default_rng(0).standard_normal(n)
                for which in ("LM", "LA", "SA", "BE"):
                    wanted = exact(w, k, which)
                    ask = {"which": which, "v0": v0, "ncv": ncv}
                    A = Counting(w)
                    theirs = is_right(scipys(A, k, tol, **ask), wanted, which, tol)
                    count = A.count
                    results = [
                        hessop.lanczos(Counting(w), k, tol=tol, verify=v, rng=0, **ask)
                        for v in (False, "auto")
                    ]
                    right = [is_right(r.eigenvalues, wanted, which, tol) for r in results]
                    for i, good in enumerate((theirs, *right)):
                        wrong[i] += not good
                    if theirs and right[0]:
                        ratios.append(results[0].n_matvec / count)
                        worse += results[0].n_matvec > count
                    if theirs and right[1]:
                        checked.append(results[1].n_matvec / count)
            cells = (np.exp(np.mean(np.log(ratios))), max(ratios), np.exp(np.mean(np.log(checked))))
            rows.append(
                [f"{k}", str(ncv), f"{tol:g}"]
                + [f"{cell:.2f}" for cell in cells]
                + [f"{worse} of {len(ratios)}"]
                + [str(count) for count in wrong]
            )
    report.publish(
        "Products of hessop.lanczos over those of eigsh",
        f"Ratios over {len(SPECTRA)} spectra of n = {n:,} and four `which`, geometric means, where "
        "both are right. `ncv` None is either one's default. The last three columns count sets "
        "that are not the exact one, out of 32.",
        [("", HEADER, rows)],
        options.out,
    )


if __name__ == "__main__":
    main()
