"""What a product costs: forward passes, memory, and nothing left behind."""

from __future__ import annotations

import copy
import gc
import weakref
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import hessop
from hessop.curvature.local import HessianLocal
from tests import oracles
from tests.models import PROBLEMS, cut, mlp


class Token:
    """Something that lives as long as the graph that holds it."""

    alive: ClassVar[weakref.WeakSet] = weakref.WeakSet()

    def __init__(self):
        Token.alive.add(self)


class Square(torch.autograd.Function):
    """A square whose graph holds a `Token`."""

    @staticmethod
    def forward(ctx, x):
        """Save the input."""
        ctx.save_for_backward(x)
        ctx.token = Token()
        return x**2

    @staticmethod
    def backward(ctx, g):
        """Differentiable operations, so it can be differentiated again."""
        return 2 * ctx.saved_tensors[0] * g


class Marked(nn.Module):
    """Squares, of which each forward pass that is still held is counted."""

    def forward(self, x):
        """The square of each entry."""
        return Square.apply(x)


def problem(batches=3):
    """Model, loss, batches and a list that grows by one at each forward pass."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), Marked(), nn.Linear(5, 3)).double()
    _, loss_fn, data = mlp()
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    points = {1: (), 3: (4, 9)}[batches]
    return model, loss_fn, cut(data, *points), calls


@pytest.fixture(autouse=True)
def _own_tokens():
    """Each test counts its own graphs."""
    Token.alive = weakref.WeakSet()


class TestForwardPasses:
    def test_kept_graphs_need_no_forward_pass(self):
        """One pass over the data for the first product, of any width; none after it."""
        model, loss_fn, batches, calls = problem()
        H = hessop.HessianOperator(model, loss_fn, batches, check=False)
        n = H.shape[0]
        assert not calls
        for _ in range(2):
            H @ np.ones(n)
            H @ np.ones((n, 4))
            H.gradient()
            H.loss()
        assert len(calls) == H.product.n_forward == 3

    def test_without_memory_each_product_is_one_pass(self):
        """A block of vectors shares it."""
        model, loss_fn, batches, calls = problem()
        H = hessop.HessianOperator(model, loss_fn, batches, check=False, memory=0)
        n = H.shape[0]
        for number, work in enumerate(
            [
                lambda: H @ np.ones(n),
                lambda: H @ np.ones((n, 7)),
                H.gradient,
                H.loss,
                lambda: H @ np.ones((n, 1)),
            ]
        ):
            work()
            assert len(calls) == H.product.n_forward == 3 * (number + 1)

    def test_the_checks_cost_two_forward_passes(self):
        """Both over the first batch; not counted as the product's."""
        model, loss_fn, batches, calls = problem()
        H = hessop.HessianOperator(model, loss_fn, batches)
        assert len(calls) == 2
        assert H.product.n_forward == 0

    @pytest.mark.parametrize("container", ["list", "loader"])
    def test_a_partial_budget_keeps_some(self, container):
        """As many as fit; the rest is recomputed, and the results agree."""
        model, loss_fn, data, calls = problem()
        if container == "loader":
            x, y = (torch.cat(t) for t in zip(*data, strict=True))
            indices = [[*range(4)], [*range(4, 9)], [9, 10]]
            data = DataLoader(TensorDataset(x, y), batch_sampler=indices)
        whole = hessop.HessianOperator(model, loss_fn, data, check=False)
        expected = oracles.matrix(whole)
        sizes = [held.nbytes for held in whole.product._store.held.values()]
        assert len(sizes) == 3
        largest = max(sizes)  # below it, batches are cut
        budgets = (0, largest, sizes[0] + sizes[1], sum(sizes) - 1, sum(sizes))
        for budget, kept in zip(budgets, (0, 1, 2, 2, 3), strict=True):
            H = hessop.HessianOperator(model, loss_fn, data, check=False, memory=budget)
            v = np.ones(H.shape[0])
            H @ v
            calls.clear()
            np.testing.assert_allclose(oracles.matrix(H), expected, atol=1e-13)
            np.testing.assert_allclose(H.gradient(), whole.gradient(), atol=1e-14)
            assert H.loss() == pytest.approx(whole.loss(), rel=1e-14)
            assert len(calls) == 3 * (3 - kept)

    def test_a_small_batch_fits_where_a_big_one_did_not(self):
        """The budget is filled as far as it goes."""
        model, loss_fn, (x, y) = mlp()
        batches = [(x.clone(), y), (x[:2].clone(), y[:2])]
        H = hessop.HessianOperator(model, loss_fn, batches, check=False)
        H @ np.ones(H.shape[0])
        big, small = (held.nbytes for held in H.product._store.held.values())
        assert small < big
        H = hessop.HessianOperator(model, loss_fn, batches, check=False, memory=big - 1)
        H @ np.ones(H.shape[0])
        assert list(H.product._store.held) == [1]

    def test_slices_of_one_tensor_count_as_what_they_show(self):
        """``X.split(b)``: the tensor behind them is the user's, and not held once per batch."""
        model, loss_fn, (x, y) = mlp()
        x, y = torch.cat([x] * 40), torch.cat([y] * 40)
        slices = list(zip(x.split(44), y.split(44), strict=True))
        copies = [(a.clone(), b.clone()) for a, b in slices]
        H = hessop.HessianOperator(model, loss_fn, copies, check=False)
        H @ np.ones(H.shape[0])
        budget = sum(held.nbytes for held in H.product._store.held.values())
        H = hessop.HessianOperator(model, loss_fn, slices, check=False, memory=budget)
        for _ in range(2):
            H @ np.ones(H.shape[0])
        assert H.product.n_forward == len(slices)

    def test_a_changed_model_is_gone_through_once(self):
        """And kept again."""
        model, loss_fn, batches, calls = problem()
        H = hessop.HessianOperator(model, loss_fn, batches, check=False)
        v = np.ones(H.shape[0])
        H @ v
        with torch.no_grad():
            model[0].weight.add_(0.1)
        for _ in range(3):
            H @ v
        assert len(calls) == 6

    def test_products_are_counted(self):
        """One for each vector of a block; gradients and losses are none."""
        model, loss_fn, batches, _ = problem()
        H = hessop.HessianOperator(model, loss_fn, batches)
        assert H.product.n_matvec == 0
        H @ np.ones(H.shape[0])
        H @ np.ones((H.shape[0], 5))
        H.gradient()
        assert H.product.n_matvec == 6

    @pytest.mark.parametrize("factor", [1.0, 2.0])
    def test_an_error_half_way_does_not_count_as_a_pass(self, factor):
        """What was kept of it is neither taken for the whole nor, later, for another model's."""
        model, loss_fn, batches, _ = problem()
        H = hessop.HessianOperator(model, loss_fn, batches, check=False)
        v = np.ones(H.shape[0])
        broken = batches[2]
        batches[2] = (broken[0] * float("nan"), broken[1])
        with pytest.raises(FloatingPointError, match="return a finite loss"):
            H @ v
        batches[2] = broken
        model[0].weight.data.mul_(factor)
        expected = hessop.HessianOperator(model, loss_fn, batches, check=False) @ v
        np.testing.assert_array_equal(H @ v, expected)
        np.testing.assert_array_equal(H @ v, expected)

    def test_the_reduction_is_the_divisor(self):
        """Sum over N is mean."""
        model, loss_fn, batches, _ = problem()
        mean, total = (
            hessop.HessianOperator(model, loss_fn, batches, reduction=r) for r in ("mean", "sum")
        )
        v = np.ones(mean.shape[0])
        np.testing.assert_allclose(total @ v, 11 * (mean @ v), rtol=1e-13)
        np.testing.assert_allclose(total.gradient(), 11 * mean.gradient(), rtol=1e-13)
        assert total.loss() == pytest.approx(11 * mean.loss(), rel=1e-14)


def live_tensors():
    """How many tensors Python holds."""
    gc.collect()
    # type(), not isinstance: torch has lazy objects that warn when they are looked at.
    return sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects())


class TestMemory:
    def test_graphs_live_as_long_as_the_operator(self):
        """One for each batch, gone with it."""
        model, loss_fn, batches, _ = problem()
        H = hessop.HessianOperator(model, loss_fn, batches)
        assert not Token.alive
        result = H @ np.ones(H.shape[0])
        assert len(Token.alive) == 3
        graphs = [weakref.ref(graph) for graph in H.product._store.held.values()]
        del H
        gc.collect()
        assert not Token.alive
        assert all(graph() is None for graph in graphs)
        assert np.isfinite(result).all()

    def test_graphs_go_without_the_garbage_collector(self):
        """No reference cycle keeps them: device memory comes back at once."""
        model, loss_fn, batches, _ = problem()
        gc.collect()
        gc.disable()
        try:
            H = hessop.HessianOperator(model, loss_fn, batches)
            H @ np.ones(H.shape[0])
            del H
            assert not Token.alive
        finally:
            gc.enable()

    @pytest.mark.parametrize("memory", [0, 10])
    def test_without_memory_nothing_stays(self, memory):
        """Not even until the next product."""
        model, loss_fn, batches, _ = problem()
        H = hessop.HessianOperator(model, loss_fn, batches, memory=memory)
        for work in (lambda: H @ np.ones(H.shape[0]), H.gradient, H.loss):
            work()
            gc.collect()
            assert not Token.alive

    def test_without_memory_one_graph_at_a_time(self):
        """A batch's graph is gone before the next is built."""
        model, loss_fn, batches, _ = problem()
        most = []
        model.register_forward_pre_hook(lambda *_: most.append(len(Token.alive)))
        H = hessop.HessianOperator(model, loss_fn, batches, memory=0, check=False)
        H @ np.ones(H.shape[0])
        assert most == [0, 0, 0]

    def test_old_graphs_go_when_the_model_changes(self):
        """Before new ones are built."""
        model, loss_fn, batches, _ = problem()
        H = hessop.HessianOperator(model, loss_fn, batches, check=False)
        H @ np.ones(H.shape[0])
        most = []
        model.register_forward_pre_hook(lambda *_: most.append(len(Token.alive)))
        model[0].weight.data.mul_(1.1)
        H @ np.ones(H.shape[0])
        assert most == [0, 1, 2]
        del H

    @pytest.mark.parametrize("memory", ["auto", 0])
    @pytest.mark.parametrize("name", ["mlp", "transformer", "lstm"])
    def test_products_do_not_pile_up_tensors(self, name, memory):
        """Fifty products leave no more than the first two."""
        model, loss_fn, data = PROBLEMS[name]()
        H = hessop.HessianOperator(model, loss_fn, cut(data, 2), memory=memory)
        x = np.ones(H.shape[0])
        for _ in range(2):
            x = H @ x
        before = live_tensors()
        for _ in range(50):
            x = H @ (x / np.linalg.norm(x))
        H.gradient()
        assert live_tensors() <= before

    def test_an_error_leaves_no_graph(self):
        """Also of the batches before it."""
        model, loss_fn, batches, _ = problem()
        bad = [*batches, (batches[0][0] * float("nan"), batches[0][1])]
        H = hessop.HessianOperator(model, loss_fn, bad, memory=0)
        with pytest.raises(FloatingPointError, match="finite loss"):
            H @ np.ones(H.shape[0])
        gc.collect()
        assert not Token.alive

    @pytest.mark.parametrize("name", PROBLEMS)
    def test_the_size_of_a_graph_is_what_it_holds(self, name):
        """Within a factor of three of all that autograd saves, parameters aside."""
        model, loss_fn, (x, y) = PROBLEMS[name]()
        x, y = (torch.cat([t] * 8) for t in (x, y))
        objective = hessop.HessianOperator(model, loss_fn, (x, y)).product.objective
        leaves = objective.leaves()
        own = {p.untyped_storage().data_ptr() for p in model.parameters()}
        saved = {}

        def note(tensor):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                saved[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            local = HessianLocal(objective, (x, y), leaves)
            assert local.gradient
        size = HessianLocal(objective, (x, y), leaves).nbytes()
        assert sum(saved.values()) / 3 <= size <= 3 * sum(saved.values())
        del local

    def test_the_size_of_a_graph_grows_with_the_batch(self):
        """Twice the examples, about twice the memory; the parameters are not counted."""
        model, loss_fn, (x, y) = mlp()
        objective = hessop.HessianOperator(model, loss_fn, (x, y)).product.objective

        def size(copies):
            leaves = objective.leaves()
            batch = torch.cat([x] * copies), torch.cat([y] * copies)
            return HessianLocal(objective, batch, leaves).nbytes()

        assert size(200) == pytest.approx(2 * size(100), rel=0.1)

    def test_the_size_of_a_graph_does_not_count_parameters(self):
        """They are there anyway; nor does it reach below the lowest chosen layer."""
        wide = nn.Sequential(nn.Linear(4000, 10), nn.Tanh(), nn.Linear(10, 5)).double()
        batch = torch.randn(2, 4000).double(), torch.randn(2, 5).double()

        def size(params):
            H = hessop.HessianOperator(wide, nn.MSELoss(), batch, params=params)
            leaves = H.product.objective.leaves()
            return HessianLocal(H.product.objective, batch, leaves).nbytes()

        assert batch[0].nbytes < size(None) < wide[0].weight.nbytes
        assert size("2") < batch[0].nbytes / 10


class TestCopies:
    def test_a_deep_copy_has_a_model_of_its_own(self):
        """Training goes on, the copy stays."""
        model, loss_fn, data = mlp()
        H = hessop.HessianOperator(model, loss_fn, data)
        v = np.ones(H.shape[0])
        before = H @ v
        twin = copy.deepcopy(H)
        model[0].weight.data.mul_(2.0)
        np.testing.assert_array_equal(twin @ v, before)
        assert np.abs(H @ v - before).max() > 1e-6

    def test_a_copied_product_starts_without_graphs(self):
        """They are built at its first product, and its counts go on."""
        model, loss_fn, data = mlp()
        product = hessop.HessianOperator(model, loss_fn, data).product
        V = torch.ones(1, product.n, dtype=torch.float64)
        expected = product.matmat(V)
        twin = copy.deepcopy(product)
        assert twin.n_forward == 1
        assert torch.equal(twin.matmat(V), expected)
        assert twin.n_forward == 2
        product.matmat(V)
        assert product.n_forward == 1
