"""
Cost of a Hessian-vector product, in units of one gradient.

``python -m examples.benchmarks.bench_products --out examples/benchmarks/results/products.md``

Gradient, product on kept graphs and product with nothing kept are timed in turn, round by round,
so that a drift of the machine's speed reaches all alike; a row holds medians. A product is timed
only after it has agreed with a product computed by plain torch calls.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

import hessop
from examples import data
from examples.benchmarks import report
from examples.models import CharTransformer, mlp

LOSS = torch.nn.CrossEntropyLoss()


def cases(folder: str | None) -> dict[str, tuple[torch.nn.Module, torch.Tensor, torch.Tensor]]:
    """The networks, each with one batch."""
    torch.manual_seed(0)
    x, y = torch.rand(10_000, 784), torch.randint(10, (10_000,))
    if folder is not None:
        x, y = (t[:10_000] for t in data.images(folder))
    return {
        "MLP 784-16-10, 10,000 images": (mlp((784, 16, 10)), x, y),
        "transformer, 4 layers, width 128, 32 x 64 characters": (
            CharTransformer(),
            *data.characters(folder, 32),
        ),
    }


def gradient(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
    """One forward and one backward pass, as in training."""
    torch.autograd.grad(LOSS(model(x), y), list(model.parameters()))


def plain_product(
    model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, v: torch.Tensor
) -> torch.Tensor:
    """The Hessian-vector product that torch's documentation would give."""
    parameters = list(model.parameters())
    with sdpa_kernel(SDPBackend.MATH):
        grads = torch.autograd.grad(LOSS(model(x), y), parameters, create_graph=True)
    flat = torch.cat([g.reshape(-1) for g in grads])
    return torch.cat([h.reshape(-1) for h in torch.autograd.grad(flat @ v, parameters)])


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(
    model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, rounds: int
) -> tuple[list[float], int]:
    """Median seconds of gradient, kept product, recomputed product; and n."""
    kept = hessop.HessianOperator(model, LOSS, (x, y))
    recomputed = hessop.HessianOperator(model, LOSS, (x, y), memory=0)
    v = torch.randn(kept.shape[0])
    expected = plain_product(model, x, y, v)
    for operator in (kept, recomputed):
        error = (operator.product.matmat(v[None])[0] - expected).norm() / expected.norm()
        if not error < 1e-5:
            raise SystemExit(f"a product is wrong by {error:.1e}: nothing is timed")
    works = [
        lambda: gradient(model, x, y),
        lambda: kept.product.matmat(v[None]),
        lambda: recomputed.product.matmat(v[None]),
    ]
    times = np.array([[seconds(work) for work in works] for _ in range(rounds + 1)])
    return list(np.median(times[1:], axis=0)), kept.shape[0]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    data.add_option(parser)
    report.add_option(parser)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    rows = []
    for name, (model, x, y) in cases(options.data).items():
        (base, kept, recomputed), n = measure(model, x, y, options.rounds)
        rows.append(
            [
                name,
                f"{n:,}",
                f"{1e3 * base:.1f} ms",
                f"{kept / base:.2f}",
                f"{recomputed / base:.2f}",
            ]
        )
    report.publish(
        "Cost of one Hessian-vector product, in gradients",
        f"Medians of {options.rounds} rounds in which all three took turns; float32.",
        ["network", "parameters", "one gradient", "graph kept", "nothing kept (`memory=0`)"],
        rows,
        options.out,
    )


if __name__ == "__main__":
    main()
