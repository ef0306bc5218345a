"""What would make an operator that is not one symmetric matrix is refused, and the rest is not."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

import hessop
from tests import oracles
from tests.models import PROBLEMS, mlp

X, Y = mlp()[2]


def build(model, loss_fn=None, data=None, **options):
    """An operator on the data of `mlp`."""
    loss_fn = nn.CrossEntropyLoss() if loss_fn is None else loss_fn
    return hessop.HessianOperator(
        model.double(), loss_fn, (X, Y) if data is None else data, **options
    )


def product(H):
    """One product, so that what is checked late is checked."""
    return H @ np.ones(H.shape[0])


class Lambda(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        """Call it."""
        return self.function(x)


def network(middle):
    """Two linear layers with something between them."""
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), middle, nn.Linear(6, 3))


class Attentive(nn.Module):
    """Self-attention over the six features, with dropout."""

    def __init__(self, dropout):
        super().__init__()
        self.attention = nn.MultiheadAttention(1, 1, dropout=dropout, batch_first=True)

    def forward(self, x):
        """Features as positions."""
        x = x.unsqueeze(-1)
        return self.attention(x, x, x)[0].squeeze(-1)


class Recurrent(nn.Module):
    """Two recurrent layers with dropout between them."""

    def __init__(self, dropout):
        super().__init__()
        self.lstm = nn.LSTM(6, 6, num_layers=2, dropout=dropout)

    def forward(self, x):
        """The batch as a sequence."""
        return self.lstm(x)[0]


WITH_DROPOUT = {
    "Dropout": lambda p: nn.Dropout(p),
    "AlphaDropout": lambda p: nn.AlphaDropout(p),
    "FeatureAlphaDropout": lambda p: nn.FeatureAlphaDropout(p),
    "MultiheadAttention": Attentive,
    "LSTM": Recurrent,
}


class TestDropout:
    @pytest.mark.parametrize("kind", WITH_DROPOUT)
    def test_in_train_mode_it_is_refused(self, kind):
        """By name and kind of the layer."""
        text = rf"got 2\S* \({kind}\) with dropout in train mode. Call model.eval\(\) first."
        with pytest.raises(ValueError, match=f"^`model` must compute the same .*; {text}"):
            build(network(WITH_DROPOUT[kind](0.5)).train())

    @pytest.mark.parametrize("kind", WITH_DROPOUT)
    def test_in_eval_mode_it_is_fine(self, kind):
        """No layer is refused for its name."""
        product(build(network(WITH_DROPOUT[kind](0.5)).eval()))

    @pytest.mark.parametrize("kind", WITH_DROPOUT)
    def test_of_nothing_it_is_fine(self, kind):
        """p=0 drops nothing."""
        product(build(network(WITH_DROPOUT[kind](0.0)).train()))

    def test_one_layer_in_train_mode_is_enough(self):
        """The mode of the layer counts, not that of the model."""
        model = network(nn.Dropout(0.5)).eval()
        model[2].train()
        with pytest.raises(ValueError, match=r"got 2 \(Dropout\) with dropout in train mode"):
            build(model)

    @pytest.mark.parametrize(
        "mode", ["auto", "kept", "recorded", "reverse-over-reverse", "finite-difference"]
    )
    def test_switched_on_later_it_is_refused(self, mode):
        """As by a training loop between two measurements; back in eval mode all is as before."""
        model = network(nn.Dropout(0.5)).eval()
        H = build(model, mode=mode)
        kernel = hessop.NTKOperator(model, X, mode=mode)
        before = product(H), product(kernel)
        asked = [H.loss, H.gradient, lambda: product(H), lambda: product(kernel)]
        asked.append(lambda: product(H.block("0")))
        for ask in asked:
            model.train()
            with pytest.raises(ValueError, match=r"with dropout in train mode"):
                ask()
            model.eval()
            ask()
        np.testing.assert_allclose(product(H), before[0], rtol=1e-12)
        np.testing.assert_allclose(product(kernel), before[1], rtol=1e-12)
        unchecked = build(model, mode=mode, check=False)
        model.train()
        product(unchecked)

    def test_a_model_that_is_dropout(self):
        """A model without a name."""
        model = nn.Dropout(0.5)
        model.weight = nn.Parameter(torch.ones(4))
        with pytest.raises(ValueError, match=r"got a model \(Dropout\) with dropout"):
            build(model)

    @pytest.mark.parametrize(
        "function",
        [
            lambda x: F.dropout(x, 0.5),
            lambda x: F.dropout1d(x, 0.5),
            lambda x: x + 0.1 * torch.randn_like(x),
            lambda x: F.rrelu(x, training=True),
            lambda x: F.gumbel_softmax(x),
        ],
    )
    @pytest.mark.parametrize("training", [True, False])
    def test_functional_randomness_is_found(self, function, training):
        """By two evaluations with other random numbers."""
        text = "give the same loss at every evaluation of one batch; got"
        with pytest.raises(
            ValueError, match=f"^`model` must {text} .* Look for functional dropout"
        ):
            build(network(Lambda(function)).train(training))

    def test_a_model_that_counts_is_found(self):
        """State in Python that a forward pass changes."""
        calls = []

        def drift(x):
            calls.append(1)
            return x * len(calls)

        with pytest.raises(ValueError, match="give the same loss at every evaluation"):
            build(network(Lambda(drift)))

    def test_randomness_in_the_loss_is_found(self):
        """Label noise, for instance."""
        with pytest.raises(ValueError, match="give the same loss at every evaluation"):
            build(network(nn.Tanh()), lambda o, t: F.cross_entropy(o + torch.randn_like(o), t))

    def test_check_false_skips_it(self):
        """Each product then sees the noise of its time, or that of the kept graph."""
        H = build(network(nn.Dropout(0.5)).train(), check=False)
        np.testing.assert_array_equal(product(H), product(H))


class Shuffled:
    """A re-iterable that shuffles itself."""

    def __init__(self, seed=0):
        self.generator = torch.Generator().manual_seed(seed)

    def __iter__(self):
        order = torch.randperm(len(Y), generator=self.generator)
        for part in order.split(4):
            yield X[part], Y[part]


class Alternating:
    """Two kinds of batches, in turn from pass to pass."""

    def __init__(self, *batches):
        self.batches = batches
        self.passes = 0

    def __iter__(self):
        self.passes += 1
        yield self.batches[self.passes % len(self.batches)]


class Copies:
    """Fresh tensors of equal values at every pass, as a loader makes them."""

    def __init__(self, *batch):
        self.batch = batch

    def __iter__(self):
        yield tuple(t.clone() for t in self.batch)


SAME = "^`data` must visit the same batches in the same order at every pass; got a first batch that"


class TestData:
    def test_a_re_iterable_that_shuffles_is_found(self):
        """By two looks at the first batch."""
        with pytest.raises(ValueError, match=SAME):
            build(network(nn.Tanh()), data=Shuffled())

    def test_augmentation_from_torchs_generator_is_found(self):
        """The second look sees other random numbers."""

        class Augmented:
            def __iter__(self):
                yield X + torch.randn_like(X), Y

        with pytest.raises(ValueError, match=SAME):
            build(network(nn.Tanh()), data=Augmented())

    @pytest.mark.parametrize(
        "other",
        [
            (X + 1e-9, Y),
            (X, Y.flip(0)),
            (X[:5], Y[:5]),
            (X.float(), Y),
            (X, Y, Y),
            ((X, X), Y),
        ],
    )
    def test_any_difference_is_found(self, other):
        """Values, shapes, dtypes, how many tensors."""
        with pytest.raises(ValueError, match=SAME):
            build(network(nn.Tanh()), data=Alternating((X, Y), other))

    def test_fresh_copies_are_fine(self):
        """Equal values are the same batch."""
        product(build(network(nn.Tanh()), data=Copies(X, Y)))

    def test_nan_in_the_data_is_not_taken_for_shuffling(self):
        """NaN is not equal to itself; what is wrong with it is the loss."""
        bad = X.clone()
        bad[0, 0] = float("nan")
        with pytest.raises(FloatingPointError, match="return a finite loss; got nan"):
            build(network(nn.Tanh()), data=Copies(bad, Y))

    def test_empty(self):
        """Whether checked or not."""
        for check in (True, False):
            with pytest.raises(ValueError, match=r"^`data` must hold at least one batch; got none"):
                product(build(network(nn.Tanh()), data=Empty(), check=check))


class Empty(Copies):
    """No batch at all."""

    def __iter__(self):
        return iter(())


def direct(form):
    """A loss that holds on to a parameter instead of looking it up."""
    model = network(nn.Tanh())
    weight = model.double()[0].weight

    def loss_fn(output, target):
        if form == "factor":
            return F.cross_entropy(output, target) * (1 + weight.pow(2).sum())
        if form == "in the output":
            return F.cross_entropy(output + weight.sum() ** 2, target) + F.mse_loss(
                output, weight[0, :3].expand_as(output)
            )
        return F.cross_entropy(output, target) + 0.5 * weight.pow(2).sum()

    return model, loss_fn


class TestStrangers:
    @pytest.mark.parametrize("form", ["factor", "in the output", "penalty"])
    def test_a_direct_reference_is_refused(self, form):
        """Weight decay over a list of parameters is the commonest: its curvature would be lost."""
        model, loss_fn = direct(form)
        text = "reach the parameters through the model; got a direct reference to 0.weight. Look it"
        with pytest.raises(ValueError, match=f"^`loss_fn or objective` must {text}"):
            build(model, loss_fn)

    @pytest.mark.parametrize("form", ["factor", "penalty"])
    def test_of_a_parameter_that_is_not_chosen_it_is_fine(self, form):
        """A constant is a constant."""
        model, loss_fn = direct(form)
        H = build(model, loss_fn, params="3")
        A = oracles.matrix(H)
        names = ["3.weight", "3.bias"]
        expected = oracles.dense_hessian(model, loss_fn, (X, Y), names)
        np.testing.assert_allclose(A, expected, atol=1e-13)

    def test_other_tensors_with_gradients_are_fine(self):
        """A learnt temperature of the user's, for instance."""
        temperature = torch.ones((), requires_grad=True)
        H = build(network(nn.Tanh()), lambda o, t: F.cross_entropy(o * temperature, t))
        product(H)
        assert temperature.grad is None


class Once(torch.autograd.Function):
    """A square that says itself that it can be differentiated once."""

    @staticmethod
    def forward(ctx, x):
        """Save the input."""
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        """Without a graph."""
        return 2 * ctx.saved_tensors[0] * g


class OutsideTorch(torch.autograd.Function):
    """A square whose backward pass leaves torch: its graph ends there, without a word."""

    @staticmethod
    def forward(ctx, x):
        """Save the input."""
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx, g):
        """By way of NumPy."""
        x = ctx.saved_tensors[0].detach().numpy()
        return torch.from_numpy(2 * x * g.detach().numpy())


TWICE = "^`model` must be twice differentiable; got "


class TestTwiceDifferentiable:
    def test_a_layer_without_a_second_derivative(self):
        """Fused attention where the user forces it; torch's own words are in the message."""

        def fused(x):
            q = x.reshape(1, 1, -1, 6)
            with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.FLASH_ATTENTION):
                return F.scaled_dot_product_attention(q, q, q).reshape(x.shape)

        with pytest.raises(NotImplementedError, match=f"{TWICE}a layer that torch .* not implem"):
            product(build(network(Lambda(fused))))

    def test_a_function_without_a_second_derivative(self):
        """
        torch.autograd.grad prunes the node that would complain.

        What is left is a wrong Hessian that is not even symmetric.
        """
        with pytest.raises(NotImplementedError, match=TWICE):
            product(build(network(Lambda(Once.apply))))

    @pytest.mark.parametrize("share", [1e-1, 1e-3, 1e-6])
    def test_a_small_part_without_a_second_derivative(self, share):
        """Its own word is enough, however little it adds to the Hessian."""
        with pytest.raises(NotImplementedError, match=TWICE):
            product(build(network(Lambda(lambda x: x + share * Once.apply(x)))))

    def test_a_function_that_hides_that_it_has_no_second_derivative(self):
        """Nothing but the asymmetry of the Hessian shows it."""
        with pytest.raises((NotImplementedError, ValueError), match=r"differentiable|symmetric"):
            product(build(network(Lambda(OutsideTorch.apply))))

    def test_behind_the_chosen_parameters_it_does_no_harm(self):
        """The remedy of the message works: leave the parameters before that layer out."""
        model = network(Lambda(Once.apply))
        names = ["3.weight", "3.bias"]
        A = oracles.matrix(build(model, params="3"))
        plain = network(Lambda(torch.square)).double()
        plain.load_state_dict(model.state_dict())
        expected = oracles.dense_hessian(plain, nn.CrossEntropyLoss(), (X, Y), names)
        np.testing.assert_allclose(A, expected, atol=1e-13)

    def test_other_errors_of_the_user_pass_unchanged(self):
        """A wrong shape in the model is not about derivatives."""
        with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
            build(network(nn.Linear(5, 5)))


class TestArguments:
    @pytest.mark.parametrize("model", [None, 3, nn.Linear, lambda x: x])
    def test_model(self, model):
        """A module, not its class nor a function."""
        text = f"`model` must be a torch.nn.Module; got {model!r}."
        with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
            hessop.HessianOperator(model, nn.MSELoss(), (X, Y))

    @pytest.mark.parametrize("name", ["loss_fn", "forward", "weight"])
    @pytest.mark.parametrize("value", ["mse", 3, ()])
    def test_callables(self, name, value):
        """What is called must be callable."""
        options = {"loss_fn": nn.MSELoss(), name: value}
        text = f"`{name}` must be callable; got {value!r}."
        with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
            hessop.HessianOperator(mlp()[0], data=(X, Y), **options)

    def test_loss_is_not_optional(self):
        """None is no loss."""
        with pytest.raises(TypeError, match=r"^`loss_fn` must be callable; got None.$"):
            hessop.HessianOperator(mlp()[0], None, (X, Y))

    @pytest.mark.parametrize("reduction", ["none", "average", None, 1])
    def test_reduction(self, reduction):
        """The mean or the sum."""
        text = f"`reduction` must be one of 'mean', 'sum'; got {reduction!r}."
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            build(mlp()[0], reduction=reduction)

    @pytest.mark.parametrize("memory", [1.5, "1GB", "all", None, [1]])
    def test_memory_of_another_type(self, memory):
        """Bytes, or "auto"."""
        with pytest.raises(TypeError, match=r"^`memory` must be an integer >= 0; got "):
            build(mlp()[0], memory=memory)

    def test_memory_below_zero(self):
        """There is no debt."""
        with pytest.raises(ValueError, match=r"^`memory` must be an integer >= 0; got -1.$"):
            build(mlp()[0], memory=-1)

    @pytest.mark.parametrize("name", PROBLEMS)
    def test_none_of_the_problems_is_refused(self, name):
        """The checks have no false alarms here, in either precision."""
        for dtype in (torch.float32, torch.float64):
            model, loss_fn, data = PROBLEMS[name](dtype)
            product(hessop.HessianOperator(model, loss_fn, data))


class TestNotFinite:
    def test_a_product_that_is_not_finite(self):
        """A loss can be finite where its curvature is not: the root at zero."""
        model = nn.Linear(4, 1, bias=False)
        nn.init.zeros_(model.weight)
        H = build(model, lambda o, t: o.abs().sqrt().mean())
        text = "`A` must give finite products; got NaN or Inf for a finite vector. Look for an ov"
        with pytest.raises(FloatingPointError, match=f"^{text}"):
            product(H)
        with pytest.raises(FloatingPointError, match=f"^{text}"):
            H @ np.ones((4, 2))

    def test_a_gradient_that_is_not_finite(self):
        """Not handed out in silence either."""
        model = nn.Linear(4, 1, bias=False)
        nn.init.zeros_(model.weight)
        H = build(model, lambda o, t: o.abs().sqrt().mean())
        with pytest.raises(FloatingPointError, match="finite"):
            H.gradient()

    def test_a_vector_that_is_not_finite(self):
        """NaN in is NaN out: that is the caller's."""
        H = build(mlp()[0])
        v = np.ones(H.shape[0])
        v[0] = np.nan
        assert np.isnan(H @ v).any()
