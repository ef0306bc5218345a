"""One batch becomes a scalar, and nothing of the user's is touched on the way."""

from __future__ import annotations

import copy
import re

import numpy as np
import pytest
import torch
from torch import nn

import hessop
from tests import oracles
from tests.models import PROBLEMS, Ridge, mlp


class Noisy(nn.Module):
    """A model with everything that a forward pass can move: statistics, dropout, noise."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 6)
        self.norm = nn.BatchNorm1d(6, momentum=0.5)
        self.dropout = nn.Dropout(0.5)
        self.last = nn.Linear(6, 3)

    def forward(self, x):
        x = self.dropout(torch.tanh(self.norm(self.first(x))))
        return self.last(x + torch.randn_like(x))


class Breaking(nn.Module):
    """Batch normalisation, then an error on demand."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
        self.broken = False

    def forward(self, x):
        out = self.inner(x)
        if self.broken:
            raise RuntimeError("broken on purpose")
        return out


class Snapshot:
    """All that belongs to the user, to be compared later."""

    def __init__(self, model):
        self.model = model
        self.parameters = {n: (id(p), p.data_ptr()) for n, p in model.named_parameters()}
        self.buffers = {n: (id(b), b.data_ptr()) for n, b in model.named_buffers()}
        self.values = copy.deepcopy(model.state_dict())
        self.grads = {
            n: None if p.grad is None else p.grad.clone() for n, p in model.named_parameters()
        }
        self.requires = {n: p.requires_grad for n, p in model.named_parameters()}
        self.modes = [m.training for m in model.modules()]
        self.random = torch.get_rng_state()
        self.flags = (
            torch.is_grad_enabled(),
            torch.backends.cuda.flash_sdp_enabled(),
            torch.backends.cuda.mem_efficient_sdp_enabled(),
            torch.backends.cudnn.enabled,
            torch.get_default_dtype(),
        )

    def check(self):
        """Everything is what it was."""
        now = Snapshot(self.model)
        for name in ("parameters", "buffers", "requires", "modes", "flags"):
            assert getattr(now, name) == getattr(self, name), name
        for name, value in now.values.items():
            assert torch.equal(value, self.values[name]), name
        for name, grad in now.grads.items():
            assert (grad is None) == (self.grads[name] is None), name
            assert grad is None or torch.equal(grad, self.grads[name]), name
        assert torch.equal(now.random, self.random)


def exercise(H):
    """Everything that an operator does with its model."""
    H @ np.ones(H.shape[0])
    H @ np.ones((H.shape[0], 3))
    H.gradient()
    H.loss()


@pytest.mark.parametrize("memory", ["auto", 0])
@pytest.mark.parametrize("name", PROBLEMS)
def test_a_product_leaves_no_trace(name, memory):
    """Parameters, buffers, .grad, requires_grad, modes, random state, flags."""
    model, loss_fn, (x, y) = PROBLEMS[name]()
    loss_fn(model(x), y).backward()
    first = next(model.parameters())
    first.requires_grad_(False)
    before = Snapshot(model)
    exercise(hessop.HessianOperator(model, loss_fn, (x, y), memory=memory))
    before.check()


@pytest.mark.parametrize("memory", ["auto", 0])
@pytest.mark.parametrize("training", [True, False])
def test_statistics_dropout_and_noise_leave_no_trace(training, memory):
    """Batch normalisation in train mode writes to copies; random numbers are put back."""
    model = Noisy().double().train(training)
    _, loss_fn, data = mlp()
    before = Snapshot(model)
    exercise(hessop.HessianOperator(model, loss_fn, data, check=False, memory=memory))
    before.check()


def test_the_checks_leave_no_trace():
    """Neither when they pass nor when they refuse."""
    _, loss_fn, data = mlp()
    model = Breaking().double()
    before = Snapshot(model)
    hessop.HessianOperator(model, loss_fn, data)
    before.check()
    noisy = Noisy().double().eval()
    before = Snapshot(noisy)
    with pytest.raises(ValueError, match="the same loss at every evaluation"):
        hessop.HessianOperator(noisy, loss_fn, data)
    before.check()


@pytest.mark.parametrize("memory", ["auto", 0])
def test_an_error_leaves_no_trace(memory):
    """An exception in the middle of a pass, and the operator works afterwards."""
    model = Breaking().double().train()
    _, loss_fn, (x, y) = mlp()
    batches = [(x[:5], y[:5]), (x[5:], y[5:])]
    H = hessop.HessianOperator(model, loss_fn, batches, memory=memory)
    v = np.ones(H.shape[0])
    expected = hessop.HessianOperator(model, loss_fn, batches) @ v
    before = Snapshot(model)
    model.broken = True
    with pytest.raises(RuntimeError, match="broken on purpose"):
        H @ v
    before.check()
    model.broken = False
    np.testing.assert_array_equal(H @ v, expected)
    before.check()


class Counting(nn.Module):
    """A module that counts its calls in a buffer, in either mode, in place or not."""

    def __init__(self, in_place):
        super().__init__()
        self.inner = nn.Linear(4, 3)
        self.in_place = in_place
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        if self.in_place:
            self.calls += 1
        else:
            self.calls = self.calls + 1
        return self.inner(x)


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_buffers_written_by_hand_leave_no_trace(training, in_place):
    """A buffer belongs to the user in eval mode too."""
    model = Counting(in_place).double().train(training)
    _, loss_fn, data = mlp()
    before = Snapshot(model)
    exercise(hessop.HessianOperator(model, loss_fn, data))
    before.check()


def test_train_mode_uses_the_statistics_of_the_batch():
    """Batch normalisation in train mode is differentiated through its statistics."""
    model = Breaking().double().train()
    _, loss_fn, data = mlp()
    H = hessop.HessianOperator(model, loss_fn, data)
    twin = copy.deepcopy(model)
    # Without running statistics the oracle has nothing to write to.
    twin.inner[1] = nn.BatchNorm1d(5, track_running_stats=False).double()
    np.testing.assert_allclose(
        oracles.matrix(H), oracles.dense_hessian(twin, loss_fn, data), atol=1e-12
    )


def test_gradient_hooks_of_the_user_do_not_fire():
    """Hooks on parameters and their accumulation belong to the user's training."""
    model, loss_fn, data = mlp()
    fired = []
    for p in model.parameters():
        p.register_hook(fired.append)
        p.register_post_accumulate_grad_hook(fired.append)
    exercise(hessop.HessianOperator(model, loss_fn, data))
    assert not fired


def test_training_goes_on_as_if_nothing_had_been():
    """A recurrent network keeps a list of its weights: it is good for training afterwards."""
    model, loss_fn, (x, y) = PROBLEMS["lstm"]()
    loss_fn(model(x), y).backward()
    expected = [p.grad.clone() for p in model.parameters()]
    exercise(hessop.HessianOperator(model, loss_fn, (x, y)))
    model.zero_grad()
    loss_fn(model(x), y).backward()
    for p, grad in zip(model.parameters(), expected, strict=True):
        assert torch.equal(p.grad, grad)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_any_grad_mode_of_the_caller(context):
    """Products are made under no_grad and inference_mode too, and leave the mode alone."""
    model, loss_fn, data = mlp()
    expected = oracles.dense_hessian(model, loss_fn, data)
    with context():
        H = hessop.HessianOperator(model, loss_fn, data)
        mode = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        np.testing.assert_allclose(oracles.matrix(H), expected, atol=1e-14)
        V = torch.eye(H.shape[0], dtype=torch.float64)
        np.testing.assert_allclose(H.product.matmat(V), expected, atol=1e-14)
        np.testing.assert_allclose(H.gradient(), oracles.gradient(model, loss_fn, data), atol=1e-15)
        assert mode == (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
    np.testing.assert_allclose(oracles.matrix(H), expected, atol=1e-14)


def test_results_carry_no_graph():
    """Neither products nor gradients nor losses."""
    model, loss_fn, data = mlp()
    product = hessop.HessianOperator(model, loss_fn, data).product
    V = torch.ones(2, product.n, dtype=torch.float64, requires_grad=True)
    for result in (product.matmat(V), product.gradient(), product.loss()):
        assert not result.requires_grad


@pytest.mark.parametrize("names", [None, ["0.weight", "2.bias"]])
def test_a_penalty_on_the_parameters_is_seen(names):
    """Looked up in the model at every call, as contract has it; also those not chosen."""
    model, loss_fn, data = mlp()
    H = hessop.HessianOperator(model, Ridge(model, loss_fn, 0.25), data, params=names)
    expected = oracles.dense_hessian(model, loss_fn, data, names)
    np.testing.assert_allclose(
        oracles.matrix(H), expected + 0.25 * np.eye(len(expected)), atol=1e-14
    )


class TestTrickyLosses:
    @pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
    def test_one_number_of_any_shape(self, shape):
        """One entry is a scalar."""
        model, loss_fn, data = mlp()
        H = hessop.HessianOperator(model, lambda o, t: loss_fn(o, t).reshape(shape), data)
        assert H.loss() == pytest.approx(oracles.loss(model, loss_fn, data))
        np.testing.assert_allclose(
            oracles.matrix(H), oracles.dense_hessian(model, loss_fn, data), atol=1e-14
        )

    def test_linear_loss_has_a_zero_hessian(self):
        """No second derivative anywhere: zeros, not an error."""
        model = nn.Linear(4, 1).double()
        H = hessop.HessianOperator(model, lambda o, t: o.mean(), mlp()[2])
        np.testing.assert_array_equal(oracles.matrix(H), np.zeros((5, 5)))

    def test_parameters_that_play_no_part_have_zero_rows(self):
        """Zero rows and columns, for a layer that is never called."""
        model, loss_fn, data = mlp()
        model[0].register_module("idle", nn.Linear(2, 2).double())
        H = hessop.HessianOperator(model, loss_fn, data)
        A = oracles.matrix(H)
        idle = H.flatten(
            {n: np.full(p.shape, "idle" in n) for n, p in model.named_parameters()}
        ).astype(bool)
        assert idle.sum() == 6
        assert not A[idle].any()
        assert not A[:, idle].any()
        expected = oracles.dense_hessian(model, loss_fn, data)
        np.testing.assert_allclose(A, expected, atol=1e-14)
        assert not H.gradient()[idle].any()

    def test_a_part_that_is_linear(self):
        """A parameter whose gradient is constant has zero rows."""
        model = nn.ModuleDict({"a": nn.Linear(4, 1, bias=False), "b": nn.Linear(4, 1, bias=False)})
        model.double().forward = lambda x: model["a"](x) ** 2 + model["b"](x)
        H = hessop.HessianOperator(model, lambda o, t: o.mean(), mlp()[2])
        A = oracles.matrix(H)
        assert np.linalg.matrix_rank(A[:4, :4]) == 4
        assert not A[4:].any()
        assert not A[:, 4:].any()

    @pytest.mark.parametrize(
        ("loss_fn", "got"),
        [
            (nn.CrossEntropyLoss(reduction="none"), "torch.float64 of shape (11,)"),
            (lambda o, t: o, "torch.float64 of shape (11, 3)"),
            (lambda o, t: o.sum() * 1j, "torch.complex128 of shape ()"),
            (lambda o, t: o[:0], "torch.float64 of shape (0, 3)"),
        ],
    )
    def test_losses_that_are_no_real_scalar(self, loss_fn, got):
        """Dtype and shape are in the message."""
        model, _, data = mlp()
        text = f"return a real scalar tensor, the mean over the batch; got {got}. Use reduction="
        with pytest.raises(ValueError, match=f"^`loss_fn` must {re.escape(text)}"):
            hessop.HessianOperator(model, loss_fn, data)

    @pytest.mark.parametrize("value", [0.5, None, "loss", [torch.tensor(1.0)]])
    def test_losses_that_are_no_tensor(self, value):
        """.item() loses the graph."""
        model, _, data = mlp()
        text = f"return a real scalar tensor, the mean over the batch; got a {type(value).__name__}"
        with pytest.raises(TypeError, match=f"^`loss_fn` must {text}"):
            hessop.HessianOperator(model, lambda o, t: value, data)

    @pytest.mark.parametrize("check", [True, False])
    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
    def test_losses_that_are_not_finite(self, bad, check):
        """At construction, or at the first product."""
        model, loss_fn, data = mlp()

        def make():
            H = hessop.HessianOperator(model, lambda o, t: loss_fn(o, t) + bad, data, check=check)
            H @ np.ones(H.shape[0])

        with pytest.raises(FloatingPointError, match=f"return a finite loss; got {bad}. Check the"):
            make()

    def test_a_loss_without_a_graph(self):
        """Where to look is in the message."""
        model, loss_fn, data = mlp()
        text = "depend on the chosen parameters through differentiable operations; got a loss with"
        with pytest.raises(ValueError, match=f"^`loss_fn` must {text}out a graph. Look for .detac"):
            hessop.HessianOperator(model, lambda o, t: loss_fn(o.detach(), t), data)
