"""Replays: arguments go in, the value comes out of the same memory each time."""

from __future__ import annotations

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
    run = _graphs.Replay(lambda a, b: 10 * a + b, [x, y])
    x.zero_()
    first = run(torch.arange(3.0), y)
    assert first.tolist() == [2.0, 12.0, 22.0]
    assert not x.any()
    second = run(torch.arange(3.0), torch.zeros(3))
    assert second.tolist() == [0.0, 10.0, 20.0]
    assert first.data_ptr() == second.data_ptr()
    assert (graphs.captured, graphs.launched) == (1, 2)


def test_any_layout(graphs):
    """An argument that comes transposed is the same argument."""
    A = torch.arange(6.0).reshape(2, 3)
    run = _graphs.Replay(lambda X: X @ X.T, [A.T.contiguous().T])
    assert torch.equal(run(A), A @ A.T)
