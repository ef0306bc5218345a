"""Replays: arguments go in, values come out, and nothing of either is kept."""

from __future__ import annotations

import pytest
import torch

from hessop import _graphs
from tests.replaying import graphs

__all__ = ["graphs"]


def test_only_on_a_gpu():
    """There are no such graphs elsewhere."""
    assert not _graphs.possible(torch.device("cpu"))
    assert _graphs.possible(torch.device("cuda", 1))


def test_arguments_are_copied_in(graphs):
    """What it was made with is an example, not written, and not looked at again."""
    x, y = torch.ones(3), torch.full((3,), 2.0)
    run = _graphs.Replay(lambda a, b: (10 * a + b, None), [x, y])
    x.zero_()
    first, nothing = run(torch.arange(3.0), y)
    assert nothing is None
    assert first.tolist() == [2.0, 12.0, 22.0]
    assert not x.any()
    second, _ = run(torch.arange(3.0), torch.zeros(3))
    assert second.tolist() == [0.0, 10.0, 20.0]
    assert first.tolist() == [2.0, 12.0, 22.0]  # new memory each time
    assert (graphs.captured, graphs.launched) == (1, 2)


def test_any_layout(graphs):
    """An argument that comes transposed is the same argument."""
    A = torch.arange(6.0).reshape(2, 3)
    run = _graphs.Replay(lambda X: (X @ X.T,), [A.T.contiguous().T])
    assert torch.equal(run(A)[0], A @ A.T)


@pytest.mark.parametrize("function", [lambda t: (t * float(t.sum()),), lambda t: (t[t > 0],)])
def test_what_looks_at_a_value(graphs, function):
    """Cannot be captured, and is said to be so."""
    with pytest.raises(_graphs.NotCapturedError, match="not permitted"):
        _graphs.Replay(function, [torch.ones(3)])


def test_no_graph_of_autograds_is_kept(graphs):
    """A vector that requires a gradient is a vector."""
    run = _graphs.Replay(lambda t: (2 * t,), [torch.ones(3)])
    for _ in range(3):
        (found,) = run(torch.ones(3, requires_grad=True))
    assert not found.requires_grad
    assert all(t.grad_fn is None for t in run._inputs)
