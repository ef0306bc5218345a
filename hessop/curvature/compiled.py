"""A tape compiled by torch, and used only if it gives what the tape gives."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch

from hessop.curvature.agreement import disagreement
from hessop.curvature.tape import Tape


def compiled_if_right(tape: Tape, examples: Sequence[torch.Tensor]) -> Callable[..., object]:
    """The compiled tape, or, with a warning, the tape where the compiler fails or is wrong."""
    generator = torch.Generator().manual_seed(0)
    pieces = [torch.randn(t.shape, generator=generator).to(t) for t in examples]
    expected = tape(*pieces)
    run = tape.compiled()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler's own, about this machine
            found = run(*pieces)
        problem = disagreement(found, expected)
    except Exception as failure:  # whatever the compiler cannot do, the tape can
        problem = f"{type(failure).__name__}: {str(failure)[:200]}"
    if not problem:
        return _without_graph(run)
    warnings.warn(
        f"`compile=True` is not used: {problem}. Products are right, and not compiled.",
        RuntimeWarning,
        stacklevel=2,
    )
    return tape


def _without_graph(run: Callable[..., object]) -> Callable[..., object]:
    def plain(*pieces: torch.Tensor) -> object:
        with torch.no_grad():
            return run(*pieces)

    return plain
