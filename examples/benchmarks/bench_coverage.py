"""
How often 95 percent intervals of densities and traces hold the truth, by simulation.

``python -m examples.benchmarks.bench_coverage --repetitions 500 --out FILE``

Each repetition has other probes, on operators all of whose eigenvalues are known. A cell holds the
share of intervals that held the truth, in percent, and their mean width.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from scipy.special import ndtr

import hessop
from examples.benchmarks import exact, report

SPECTRA = ("hessian_like", "gaussian", "trained_like")
_AT_ONCE = 25  # repetitions whose probes are multiplied together
_BY_PROBE = ("nodes", "weights", "residuals", "alpha", "beta")
OUTLIERS = {"hessian_like": 20, "gaussian": 20, "trained_like": 10}  # that are locked
TRACES = ("hutchinson", "hutch++", "xtrace")

NOTE = (
    "{repetitions} repetitions, n = {n:,}, uniformly random eigenbases. Share of 95 percent "
    "intervals that held the truth, in percent, and in parentheses their mean width: of traces "
    "over the sum of magnitudes of eigenvalues, of means over the mean, of shares of eigenvalues "
    "as they are, of counts in eigenvalues. s is the mean magnitude of an eigenvalue. Outliers are "
    "{outliers}; the gap lies halfway between them and the rest. The zeros are half of all in "
    "`hessian_like`, and none elsewhere."
)

Truth = Callable[[Any], float]
Interval = tuple[float, float]


@dataclass
class Tally:
    """Intervals that held the truth, and how wide they all were."""

    held: list[bool] = field(default_factory=list)
    widths: list[float] = field(default_factory=list)

    def add(self, interval: Interval, truth: float, unit: float) -> None:
        """One more."""
        low, high = map(float, interval)
        slack = 1e-9 * unit
        self.held.append(low - slack <= truth <= high + slack)
        self.widths.append((high - low) / unit)

    def __str__(self) -> str:
        return f"{100 * np.mean(self.held):.1f} ({np.mean(self.widths):.2g})"


@dataclass(frozen=True)
class Places:
    """Where a spectrum is looked at."""

    w: np.ndarray
    outliers: int

    @property
    def scale(self) -> float:
        """Mean magnitude."""
        return float(np.abs(self.w).mean())

    def points(self) -> dict[str, float]:
        """Within the bulk, beyond it, and just above the zeros."""
        size = np.sort(np.abs(self.w))
        edge, next_one = size[len(size) - self.outliers - 1 :][:2]
        bulk = self.w[np.abs(self.w) <= edge]
        return {
            "bulk": float(np.quantile(bulk[np.abs(bulk) > 0], 0.7)),
            "gap": float(edge + next_one) / 2,
            "zeros": 1e-10 * float(size[-1]),
        }


def intervals(
    density: hessop.SpectralDensity, at: Places
) -> Iterator[tuple[str, Any, float, float]]:
    """Name, interval, truth and unit of all that is claimed."""
    w, s = at.w, at.scale
    points = at.points()
    yield "trace", density.trace().confidence_interval(), w.sum(), np.abs(w).sum()
    for name, f in (
        ("mean of x^2", np.square),
        ("mean of log(1 + (x/s)^2)", lambda x: np.log1p((x / s) ** 2)),
    ):
        mean = float(np.mean(f(w)))
        yield name, density.expectation(f).confidence_interval(), mean, mean
    x = np.array(list(points.values()))
    low, high = density.interval(x)
    for name, a, b, p in zip(points, low, high, x, strict=True):
        yield f"cdf, {name}", (a, b), float(np.mean(w <= p)), 1.0
    low, high = density.interval(x, of="smooth")
    for name, a, b, p in zip(points, low, high, x, strict=True):
        smoothed = float(np.mean(ndtr((p - w) / density.sigma)))
        yield f"smooth cdf, {name}", (a, b), smoothed, 1.0
    middle = (0.1 * points["bulk"], points["bulk"])
    for name, (a, b) in (("in the bulk", middle), ("of outliers", (points["gap"], np.inf))):
        truth = float(np.sum((a <= w) & (w <= b)))
        yield f"count {name}", density.count(a, b).confidence_interval(), truth, 1.0


def repeated(
    A: Any, count: int, probes: int, steps: int, lock: Any
) -> Iterator[hessop.SpectralDensity]:
    """So many densities of as many probes; many of them from one run, for wide block products."""
    for first in range(0, count, _AT_ONCE):
        here = min(_AT_ONCE, count - first)
        whole = hessop.slq(A, n_probes=here * probes, ncv=steps, lock=lock, rng=first)
        for i in range(here):
            rows = slice(i * probes, (i + 1) * probes)
            parts = {name: getattr(whole, name)[rows] for name in _BY_PROBE}
            yield replace(whole, **parts)


def densities(options: argparse.Namespace) -> report.Section:
    """A row for each spectrum and setting."""
    rows: list[list[str]] = []
    header: list[str] = []
    for name in options.spectra.split(","):
        at = Places(exact.named(name, options.n), OUTLIERS[name])
        A = exact.hidden(name, at.w, torch.float64).operator
        known = hessop.lanczos(A, at.outliers, tol=1e-8, rng=0)
        settings = [
            (p, m, lock) for lock in (None, known) for p in options.probes for m in options.steps
        ]
        for probes, steps, lock in settings:
            tallies: dict[str, Tally] = {}
            for density in repeated(A, options.repetitions, probes, steps, lock):
                for what, interval, truth, unit in intervals(density, at):
                    tallies.setdefault(what, Tally()).add(interval, truth, unit)
            header = ["", "probes", "steps", "locked", *tallies]
            locked = "0" if lock is None else str(at.outliers)
            rows.append([name, str(probes), str(steps), locked, *map(str, tallies.values())])
            print(dict(zip(header, rows[-1], strict=True)), file=sys.stderr, flush=True)
    return "Densities", header, rows


def traces(options: argparse.Namespace) -> report.Section:
    """A row for each spectrum and number of products."""
    rows = []
    for name in options.spectra.split(","):
        w = exact.named(name, options.n)
        A = exact.hidden(name, w, torch.float64).operator
        for count in options.products:
            cells = []
            for method in TRACES:
                tally = Tally()
                for i in range(options.repetitions):
                    found = hessop.trace(A, method=method, n_matvec=count, rng=i)
                    tally.add(found.confidence_interval(), w.sum(), np.abs(w).sum())
                cells.append(str(tally))
            rows.append([name, str(count), *cells])
            print(rows[-1], file=sys.stderr, flush=True)
    return "hessop.trace", ["", "products", *TRACES], rows


def main() -> None:
    """Simulate, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    report.add_option(parser)
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--spectra", default=",".join(SPECTRA))
    parser.add_argument("--probes", type=int, nargs="+", default=[10, 30])
    parser.add_argument("--steps", type=int, nargs="+", default=[40, 100])
    parser.add_argument("--products", type=int, nargs="+", default=[30, 100, 300])
    options = parser.parse_args()
    warnings.simplefilter("error")
    names = ", ".join(f"{count} in `{name}`" for name, count in OUTLIERS.items())
    sections = [densities(options), traces(options)]
    report.publish(
        "Coverage of 95 percent intervals",
        NOTE.format(outliers=names, **vars(options)),
        sections,
        options.out,
    )


if __name__ == "__main__":
    main()
