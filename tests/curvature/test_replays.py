"""Captured products: when they are, that they are right, and what makes them void."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

import hessop
from tests.models import mlp
from tests.replaying import graphs

__all__ = ["graphs"]


def operator(batches=1, **how):
    """The Hessian of a small network, one batch or several, float64."""
    model, loss_fn, (x, y) = mlp()
    data = list(zip(x.tensor_split(batches), y.tensor_split(batches), strict=True))
    return model, hessop.HessianOperator(model, loss_fn, data, **how)


def dense(model, loss_fn=None):
    """The same, without anything kept."""
    _, loss_fn, (x, y) = mlp()
    H = hessop.HessianOperator(model, loss_fn, (x, y), memory=0, cuda_graphs=False)
    return H @ np.eye(H.shape[0])


class TestProducts:
    @pytest.mark.parametrize("batches", [1, 3])
    @pytest.mark.parametrize("mode", ["recorded", "linearized"])
    @pytest.mark.parametrize("block_size", [1, 4])
    def test_right(self, graphs, mode, batches, block_size):
        """One by one, in blocks with a rest, and as often as one likes."""
        model, H = operator(batches, mode=mode, block_size=block_size, cuda_graphs=True)
        expected = dense(model)
        n = H.shape[0]
        for _ in range(3):
            np.testing.assert_allclose(H @ np.eye(n), expected, atol=1e-12)
        assert graphs.captured == (2 if block_size > 1 and n % block_size else 1)
        assert graphs.launched > n // block_size

    def test_parts_of_the_parameters(self, graphs):
        """Each has a graph of its own."""
        model, H = operator(mode="recorded", cuda_graphs=True)
        expected, blocks = dense(model), H.blocks()
        H @ np.ones(H.shape[0])
        start = 0
        for block in blocks.values():
            n = block.shape[0]
            for _ in range(3):
                part = block @ np.eye(n)
            here = slice(start, start + n)
            np.testing.assert_allclose(part, expected[here, here], atol=1e-12)
            start += n
        assert graphs.captured == len(blocks)

    def test_a_kernel_of_two_passes(self, graphs):
        """Which goes over the batches twice."""
        model, _, (x, _) = mlp()
        K = hessop.NTKOperator(model, x, mode="recorded", cuda_graphs=True)
        plain = hessop.NTKOperator(model, x, mode="kept", cuda_graphs=False)
        v = np.ones(K.shape[0])
        for _ in range(5):
            np.testing.assert_allclose(K @ v, plain @ v, atol=1e-10)
        assert graphs.captured == 1

    def test_what_comes_out_is_new_memory(self, graphs):
        """The graph writes to the same place each time."""
        _, H = operator(mode="recorded", cuda_graphs=True)
        E = torch.eye(H.shape[0], dtype=torch.float64)
        for _ in range(3):
            H.product.matmat(E[:1])
        first = H.product.matmat(E[:1])
        kept = first.clone()
        H.product.matmat(E[1:2])
        assert torch.equal(first, kept)


class TestWhen:
    def test_the_second_time(self, graphs):
        """A product that is asked for once is not worth it."""
        _, H = operator(mode="recorded", cuda_graphs=True)
        v, captured = np.ones(H.shape[0]), []
        for _ in range(4):
            H @ v
            captured.append(graphs.captured)
        assert captured == [0, 0, 1, 1]  # the first builds graphs, and has no tape yet
        assert graphs.launched == 2

    @pytest.mark.parametrize(
        "how",
        [
            {"mode": "kept"},
            {"mode": "recorded", "cuda_graphs": False},
            {"mode": "auto", "memory": 0},
            {"mode": "forward-over-reverse"},
        ],
    )
    def test_not_where_there_is_nothing_to_capture(self, graphs, how):
        """Or where it is not wanted."""
        _, H = operator(**how)
        for _ in range(5):
            H @ np.ones(H.shape[0])
        assert graphs.captured == 0

    def test_not_where_some_batches_are_made_for_the_occasion(self, graphs):
        """The captured product would be one of their memory."""
        model, H = operator(4, mode="recorded", cuda_graphs=True)
        for _ in range(2):
            H @ np.ones(H.shape[0])
        held = H.report().kept_bytes
        model, H = operator(4, mode="recorded", cuda_graphs=True, memory=held // 2)
        expected = dense(model)
        for _ in range(4):
            np.testing.assert_allclose(H @ np.eye(H.shape[0])[0], expected[0], atol=1e-12)
        assert 0 < H.report().kept < 4
        assert graphs.captured == 0

    def test_so_many_and_no_more(self, graphs, monkeypatch):
        """Each keeps the memory of a product."""
        monkeypatch.setattr("hessop.curvature.replays._MOST", 1)
        _, H = operator(mode="recorded", cuda_graphs=True)
        for A in (H, *H.blocks().values()):
            for _ in range(4):
                A @ np.ones(A.shape[0])
        assert graphs.captured == 1


class TestVoid:
    def test_a_model_that_has_changed(self, graphs):
        """By whatever way."""
        model, H = operator(mode="recorded", cuda_graphs=True)
        n = H.shape[0]
        for _ in range(2):
            for _ in range(4):
                found = H @ np.eye(n)
            np.testing.assert_allclose(found, dense(model), atol=1e-12)
            model[0].weight.data.mul_(1.5)
        np.testing.assert_allclose(H @ np.eye(n), dense(model), atol=1e-12)
        assert graphs.captured == 2

    @pytest.mark.parametrize("how", [copy.deepcopy, lambda H: pickle.loads(pickle.dumps(H))])
    def test_a_copy_captures_anew(self, graphs, how):
        """Graphs neither pickle nor copy."""
        model, H = operator(mode="recorded", cuda_graphs=True)
        for _ in range(4):
            H @ np.ones(H.shape[0])
        twin = how(H)
        for _ in range(4):
            found = twin @ np.eye(H.shape[0])
        np.testing.assert_allclose(found, dense(model), atol=1e-12)
        assert graphs.captured == 2

    def test_what_cannot_be_captured(self, graphs):
        """Is computed as before, and the report says why."""
        model, H = operator(mode="recorded", cuda_graphs=True)
        graphs.error = RuntimeError("operation not permitted when stream is capturing")
        for _ in range(5):
            found = H @ np.eye(H.shape[0])
        np.testing.assert_allclose(found, dense(model), atol=1e-12)
        said = "no CUDA graphs: RuntimeError: operation not permitted when stream is capturing"
        assert H.report().notes.count(said) == 1

    def test_no_memory_for_it(self, graphs):
        """What is kept is worth more than a graph of it."""
        model, H = operator(mode="recorded", cuda_graphs=True)
        graphs.error = torch.OutOfMemoryError("out of memory")
        for _ in range(3):
            found = H @ np.eye(H.shape[0])
        np.testing.assert_allclose(found, dense(model), atol=1e-12)
        assert H.report().kept == 1
        assert "no CUDA graphs: OutOfMemoryError: out of memory" in H.report().notes

    def test_a_loss_with_a_mask(self, graphs):
        """Whose host has to know how many examples count."""
        model, _, (x, y) = mlp()

        def masked(z, y):
            return torch.nn.functional.cross_entropy(z[y > 0], y[y > 0])

        def weight(batch):
            return float((batch[1] > 0).sum())

        how = {"weight": weight, "mode": "recorded"}
        H = hessop.HessianOperator(model, masked, (x, y), cuda_graphs=True, **how)
        plain = hessop.HessianOperator(model, masked, (x, y), cuda_graphs=False, **how)
        for _ in range(4):
            found = H @ np.ones(H.shape[0])
        np.testing.assert_allclose(found, plain @ np.ones(H.shape[0]), atol=1e-12)
        assert graphs.captured == 0
        assert any("no CUDA graphs" in note for note in H.report().notes)

    @pytest.mark.parametrize("rows", [1, 3])
    def test_columns_come_out_as_rows(self, graphs, rows):
        """Contiguous, however the vectors lie."""
        _, H = operator(mode="recorded", cuda_graphs=True)
        V = torch.ones(H.shape[0], rows, dtype=torch.float64).T
        for _ in range(4):
            assert H.product.matmat(V).is_contiguous()

    def test_other_blocks_are_other_graphs(self, graphs):
        """Those of a width that is in use no more are let go of."""
        _, H = operator(mode="recorded", cuda_graphs=True)
        v = np.ones(H.shape[0])
        for width in (1, 2):
            H.product._planner.width = width
            for _ in range(4):
                H @ v
        assert len(H.product._replays._captured) == 1
        assert graphs.captured == 2

    def test_a_way_is_timed_as_it_will_be_used(self, graphs):
        """A tape that is slow to launch is fast once it is captured."""
        _, H = operator(mode="auto", cuda_graphs="auto")
        H.product.expect(100_000)
        for _ in range(8):
            H @ np.ones(H.shape[0])
        assert H.report().stage in ("recorded", "linearized")
        assert graphs.captured >= 2  # to time it, and to use it
