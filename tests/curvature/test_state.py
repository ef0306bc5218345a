"""An operator follows its model: it sees every change, by whatever way it was made."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import hessop
from hessop.curvature.state import Snapshot
from tests import oracles
from tests.models import mlp


def network():
    """Two layers with batch normalisation between them, in eval mode."""
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))
    return model.double().eval()


def step(model):
    """One step of an optimizer."""
    _, loss_fn, (x, y) = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    loss_fn(model(x), y).backward()
    optimizer.step()


def swap_rows(model):
    """The same numbers in another place: no sum and no norm changes."""
    data = model[0].weight.data
    data.copy_(data.flip(0).clone())


def one_entry(model):
    """One coordinate of a finite difference."""
    model[0].weight.data[2, 1] += 1e-6


def by_numpy(model):
    """Memory shared with NumPy, which keeps no versions."""
    model[3].weight.detach().numpy()[0, 0] += 0.5


def new_parameter(model):
    model[3].weight = nn.Parameter(model[3].weight.detach() * 2)


def new_module(model):
    model[3] = nn.Linear(6, 3).double()


def loaded(model):
    model.load_state_dict({n: t * 2 for n, t in model.state_dict().items()})


def under_no_grad(model):
    with torch.no_grad():
        model[0].bias.add_(1.0)


CHANGES = {
    "optimizer step": step,
    "p.data.mul_": lambda model: model[0].weight.data.mul_(1.5),
    "p.data swapped": swap_rows,
    "p.data, one small change": one_entry,
    "p.data = ": lambda model: setattr(model[0].weight, "data", model[0].weight.data * 2),
    "through NumPy": by_numpy,
    "under no_grad": under_no_grad,
    "load_state_dict": loaded,
    "another parameter": new_parameter,
    "another module": new_module,
    "train mode": lambda model: model.train(),
    "train mode of one module": lambda model: model[1].train(),
    "a buffer": lambda model: model[1].running_var.mul_(4.0),
    "another buffer": lambda model: setattr(
        model[1], "running_var", torch.full((6,), 4.0).double()
    ),
    "a buffer's data = ": lambda model: setattr(
        model[1].running_var, "data", model[1].running_var * 4
    ),
    "a buffer's data": lambda model: model[1].running_var.data.mul_(4.0),
}


@pytest.fixture(params=["at hand", "far"])
def place(request, monkeypatch):
    """Values that are compared before a product, or, as on a GPU, while it is computed."""
    if request.param == "far":
        monkeypatch.setattr("hessop.curvature.state._is_far", lambda t: True)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("memory", ["auto", 0])
@pytest.mark.parametrize("change", CHANGES)
def test_the_operator_follows_its_model(change, memory):
    """After any change it gives the new Hessian, gradient and loss, with no call of the user."""
    model = network()
    _, loss_fn, data = mlp()
    H = hessop.HessianOperator(model, loss_fn, data, memory=memory)
    before = oracles.matrix(H)
    CHANGES[change](model)
    fresh = hessop.HessianOperator(model, loss_fn, data)
    expected = oracles.matrix(fresh)
    assert np.abs(expected - before).max() > 1e-9
    np.testing.assert_array_equal(oracles.matrix(H), expected)
    np.testing.assert_array_equal(H.gradient(), fresh.gradient())
    assert H.loss() == fresh.loss()


def test_a_sum_that_does_not_change_hides_nothing():
    """A change of sign of entries that add to zero."""
    model = network()
    with torch.no_grad():
        model[0].weight[0, :2] = torch.tensor([0.75, -0.75])
    _, loss_fn, data = mlp()
    H = hessop.HessianOperator(model, loss_fn, data)
    v = np.ones(H.shape[0])
    H @ v
    model[0].weight.data[0, :2].neg_()
    np.testing.assert_array_equal(H @ v, hessop.HessianOperator(model, loss_fn, data) @ v)


def test_a_small_change_of_a_big_single_precision_model_is_seen():
    """A sum in float32 over many entries would round it away."""
    model = nn.Sequential(nn.Linear(400, 100), nn.Tanh(), nn.Linear(100, 2))
    with torch.no_grad():
        model[0].weight.abs_()
    data = torch.randn(3, 400), torch.randint(0, 2, (3,))
    H = hessop.HessianOperator(model, nn.CrossEntropyLoss(), data)
    H.loss()
    for i in range(5):
        done = H.product.n_forward
        model[0].weight.data[i, i] += 1e-5
        H.loss()
        assert H.product.n_forward == done + 1


@pytest.mark.parametrize("which", ["parameter", "buffer", "batch"])
def test_writing_what_was_there_is_no_error(which):
    """An optimizer of SciPy sets the same point twice: autograd minds, the operator does not."""
    model = network()
    _, loss_fn, (x, y) = mlp()
    H = hessop.HessianOperator(model, loss_fn, (x, y))
    v = np.ones(H.shape[0])
    expected = H @ v
    written = {"parameter": model[3].weight, "buffer": model[1].running_mean, "batch": x}[which]
    with torch.no_grad():
        written.copy_(written.clone())
    np.testing.assert_array_equal(H @ v, expected)


@pytest.mark.parametrize("by", ["copy_", "data ="])
@pytest.mark.parametrize("which", [0, 1])
def test_the_operator_follows_its_data(which, by):
    """Batches changed in place give another Hessian."""
    model, loss_fn, (x, y) = mlp()
    batches = [(x[:5].clone(), y[:5].clone()), (x[5:].clone(), y[5:].clone())]
    H = hessop.HessianOperator(model, loss_fn, batches)
    v = np.ones(H.shape[0])
    before = H @ v
    t = batches[1][which]
    if by == "copy_":
        t.copy_((t + 1) % 3)
    else:
        t.data = (t + 1) % 3
    expected = hessop.HessianOperator(model, loss_fn, batches) @ v
    assert np.abs(expected - before).max() > 1e-9
    np.testing.assert_array_equal(H @ v, expected)


@pytest.mark.parametrize("by", ["another", "copy_", "data"])
def test_the_operator_follows_its_loss(by):
    """Class weights belong to the objective as much as the model's buffers do."""
    model, _, data = mlp()
    loss_fn = nn.CrossEntropyLoss(weight=torch.ones(3, dtype=torch.float64))
    H = hessop.HessianOperator(model, loss_fn, data)
    v = np.ones(H.shape[0])
    before = H @ v
    weight = torch.tensor([5.0, 1.0, 0.5], dtype=torch.float64)
    if by == "another":
        loss_fn.weight = weight
    elif by == "copy_":
        loss_fn.weight.copy_(weight)
    else:
        loss_fn.weight.data.copy_(weight)
    expected = hessop.HessianOperator(model, loss_fn, data) @ v
    assert np.abs(expected - before).max() > 1e-6
    np.testing.assert_array_equal(H @ v, expected)


def test_back_in_eval_mode_is_back_to_the_old_hessian():
    """Both ways."""
    model = network()
    _, loss_fn, data = mlp()
    H = hessop.HessianOperator(model, loss_fn, data)
    v = np.ones(H.shape[0])
    before = H @ v
    model.train()
    other = H @ v
    model.eval()
    np.testing.assert_array_equal(H @ v, before)
    assert np.abs(other - before).max() > 1e-6


class TestFar:
    """What is compared while a product is computed."""

    @pytest.fixture(autouse=True)
    def _far(self, monkeypatch):
        monkeypatch.setattr("hessop.curvature.state._is_far", lambda t: True)

    @pytest.mark.parametrize("kind", ["f2", "f4", "f8", "c8", "c16", "i1", "i8", "?"])
    def test_bit_by_bit(self, kind):
        """In every dtype, several tensors of any shape and stride, NaN and infinity included."""
        model = nn.Module()
        values = np.arange(6).reshape(2, 3).astype(kind)
        if kind[0] in "fc":
            values[0, :2] = np.nan, np.inf
        model.register_buffer("a", torch.from_numpy(values.copy()).T)
        model.register_buffer("none", torch.zeros(0))
        model.register_buffer("b", torch.from_numpy(values[0, 0:1].copy()).squeeze())
        snapshot = Snapshot(model, [])
        assert snapshot.holds()
        assert snapshot.asked()()
        model.a.data[2, 1] = 0
        assert snapshot.holds()  # as far as marks tell
        assert not snapshot.asked()()

    def test_a_change_is_seen_once(self):
        """The product that was computed for nothing is computed again, and counts once."""
        model, loss_fn, data = mlp()
        H = hessop.HessianOperator(model, loss_fn, data)
        v = torch.ones(1, H.shape[0], dtype=torch.float64)
        H.product.matmat(v)
        model[0].weight.data.mul_(2.0)
        forward = H.product.n_forward
        found = H.product.matmat(v)
        assert H.product.n_forward == forward + 1
        assert H.product.n_matvec == 2
        expected = hessop.HessianOperator(model, loss_fn, data).product.matmat(v)
        assert torch.equal(found, expected)

    @pytest.mark.parametrize("what", ["gradient", "loss"])
    def test_whatever_is_asked_first(self, what):
        """Not products alone are computed from what is kept."""
        model, loss_fn, data = mlp()
        H = hessop.HessianOperator(model, loss_fn, data)
        H @ np.ones(H.shape[0])
        model[0].weight.data.mul_(2.0)
        found = getattr(H, what)()
        fresh = hessop.HessianOperator(model, loss_fn, data)
        np.testing.assert_array_equal(found, getattr(fresh, what)())

    def test_another_shape_is_another_model(self):
        """Nothing is gathered into memory that does not fit."""
        model = nn.Linear(3, 2)
        snapshot = Snapshot(model, [])
        model.weight.data = torch.zeros(5, 3)
        assert not snapshot.holds()


class TestSnapshot:
    def test_forward_and_backward_change_nothing(self):
        """Gradients are no part of the model."""
        model = network()
        before = Snapshot(model, [torch.ones(2)])
        assert before.holds()
        _, loss_fn, (x, y) = mlp()
        loss_fn(model(x), y).backward()
        model.zero_grad()
        assert before.holds()

    @pytest.mark.parametrize("change", CHANGES)
    def test_every_change_is_seen(self, change):
        """By value or mode."""
        model = network()
        before = Snapshot(model, [])
        CHANGES[change](model)
        assert not before.holds()

    def test_other_tensors_are_watched(self):
        """By version."""
        model, t = network(), torch.ones(2)
        before = Snapshot(model, [t])
        t.add_(1)
        assert not before.holds()

    def test_inference_tensors(self):
        """They keep no version; that is no error."""
        model = network()
        with torch.inference_mode():
            t = torch.ones(2)
        assert Snapshot(model, [t]).holds()

    def test_parameters_of_other_kinds(self):
        """On another device, complex, integer, half, empty: what is not chosen is watched too."""
        model = network()
        model.register_parameter("meta", nn.Parameter(torch.ones(2, device="meta")))
        for dtype in (torch.complex64, torch.int64, torch.bool, torch.bfloat16):
            frozen = nn.Parameter(torch.ones(2, dtype=dtype), requires_grad=False)
            model.register_parameter(str(dtype).replace(".", "_"), frozen)
        model.register_parameter("empty", nn.Parameter(torch.ones(0)))
        _, loss_fn, data = mlp()
        H = hessop.HessianOperator(model, loss_fn, data, params=["0", "3"])
        H @ np.ones(H.shape[0])
        before = Snapshot(model, [])
        assert before.holds()
        model.get_parameter("torch_int64").data.add_(1)
        assert not before.holds()
