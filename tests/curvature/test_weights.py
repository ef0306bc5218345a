"""The objective is a mean over examples: however the data are cut, the Hessian is the same."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import hessop
from hessop.curvature import weights
from tests import oracles
from tests.models import IGNORED, cut

N = 9  # examples, of three positions each where the target is a sequence
CLASS_WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 4.0], dtype=torch.float64)


def draw(kind):
    """Model, x and y of a small problem, the same at every call."""
    g = torch.Generator().manual_seed(7)

    def numbers(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 4)).double()
    for p in model.parameters():
        p.data.copy_(numbers(*p.shape))
    labels = torch.randint(0, 4, (N,), generator=g)
    if kind == "labels":
        return model, numbers(N, 2), labels
    if kind == "values":
        return model, numbers(N, 2), numbers(N, 4)
    if kind == "probabilities":
        return model, numbers(N, 2), numbers(N, 4).softmax(1)
    y = torch.randint(0, 4, (N, 3), generator=g)
    y[torch.randint(0, 2, (N, 3), generator=g).bool()] = IGNORED
    # No example is without a token that counts; that case has a test of its own.
    y[:, 1] = labels
    model.append(nn.Unflatten(1, (4, 1)))
    return nn.Sequential(*model, Repeat()), numbers(N, 2), y


class Repeat(nn.Module):
    """Logits (b, 4, 1) for each of three positions, scaled so that they differ."""

    def forward(self, logits):
        """To (b, 4, 3)."""
        return logits * torch.tensor([1.0, -0.5, 2.0], dtype=logits.dtype)


def log_likelihood(output, target):
    """NLLLoss of log-probabilities: a function of the user's own."""
    return F.nll_loss(output.log_softmax(1), target)


# Loss of the user, kind of data, and the same objective example by example.
OBJECTIVES = {
    "cross entropy": (nn.CrossEntropyLoss(), "labels", oracles.PerExample("labels")),
    "cross entropy, function": (F.cross_entropy, "labels", oracles.PerExample("labels")),
    "class weights": (
        nn.CrossEntropyLoss(weight=CLASS_WEIGHTS),
        "labels",
        oracles.PerExample("labels", CLASS_WEIGHTS),
    ),
    "ignored tokens": (nn.CrossEntropyLoss(), "tokens", oracles.PerExample("labels")),
    "ignored tokens, function": (F.cross_entropy, "tokens", oracles.PerExample("labels")),
    "ignored tokens and class weights": (
        nn.CrossEntropyLoss(weight=CLASS_WEIGHTS),
        "tokens",
        oracles.PerExample("labels", CLASS_WEIGHTS),
    ),
    "likelihood": (log_likelihood, "labels", oracles.PerExample("labels")),
    "squares": (nn.MSELoss(), "values", oracles.PerExample("squares")),
    "squares, function": (F.mse_loss, "values", oracles.PerExample("squares")),
    # A sum over each batch is a sum over all, which hessop divides by the number of examples,
    # or of tokens that count.
    "summed cross entropy": (
        nn.CrossEntropyLoss(reduction="sum"),
        "labels",
        oracles.PerExample("labels"),
    ),
    "summed cross entropy with class weights": (
        nn.CrossEntropyLoss(reduction="sum", weight=CLASS_WEIGHTS),
        "tokens",
        oracles.PerExample("labels", CLASS_WEIGHTS),
    ),
}


class Again:
    """A re-iterable that is no sequence."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        yield from self.batches


def containers(data, points):
    """The same cut, as a list, a loader and a re-iterable."""
    batches = cut(data, *points)
    edges = np.cumsum([0, *(len(y) for _, y in batches)])
    indices = [list(range(a, b)) for a, b in itertools.pairwise(edges)]
    return {
        "list": batches,
        "loader": DataLoader(TensorDataset(*data), batch_sampler=indices),
        "re-iterable": Again(batches),
    }


@functools.cache
def expected(name):
    """Loss, gradient and Hessian of an objective, example by example."""
    _, kind, naive = OBJECTIVES[name]
    model, *data = draw(kind)
    return (
        oracles.loss(model, naive, data),
        oracles.gradient(model, naive, data),
        oracles.dense_hessian(model, naive, data),
    )


@pytest.mark.parametrize("name", OBJECTIVES)
@settings(max_examples=15)
@given(
    points=st.sets(st.integers(1, N - 1)),
    container=st.sampled_from(["list", "loader", "re-iterable"]),
    memory=st.sampled_from(["auto", 0, 5000]),
)
def test_the_result_does_not_depend_on_the_cut(name, points, container, memory):
    """Any ragged cut, in any container, kept or recomputed: the mean over all examples."""
    loss_fn, kind, _ = OBJECTIVES[name]
    model, *data = draw(kind)
    data = containers(data, points)[container]
    H = hessop.HessianOperator(model, loss_fn, data, memory=memory)
    loss, gradient, hessian = expected(name)
    X = np.random.default_rng(0).standard_normal((H.shape[0], 2))
    for _ in range(2):
        np.testing.assert_allclose(H @ X, hessian @ X, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(H.gradient(), gradient, rtol=1e-11, atol=1e-12)
    assert H.loss() == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize("name", OBJECTIVES)
@settings(max_examples=5)
@given(points=st.sets(st.integers(1, N - 1)))
def test_the_sum_does_not_depend_on_the_cut(name, points):
    """reduction="sum" is the mean times what it is divided by."""
    loss_fn, kind, naive = OBJECTIVES[name]
    model, x, y = draw(kind)
    H = hessop.HessianOperator(model, loss_fn, cut((x, y), *points), reduction="sum")
    total = oracles.PerExample(naive.kind, naive.weight, naive.ignore_index, divisor=1.0)
    v = np.ones(H.shape[0])
    hessian = oracles.dense_hessian(model, total, (x, y))
    np.testing.assert_allclose(H @ v, hessian @ v, rtol=1e-11, atol=1e-11)
    assert H.loss() == pytest.approx(oracles.loss(model, total, (x, y)), rel=1e-12)


def test_summed_squares():
    """MSELoss(reduction="sum") adds over outputs too; the mean is over examples."""
    model, x, y = draw("values")
    H = hessop.HessianOperator(model, nn.MSELoss(reduction="sum"), cut((x, y), 2, 7))
    assert H.loss() == pytest.approx(F.mse_loss(model(x), y, reduction="sum").item() / N)


@pytest.mark.parametrize("memory", ["auto", 0])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_batch_of_ignored_targets_counts_nothing(memory, reduction):
    """torch's mean over such a batch is 0/0; over all data it is a number, and so is it here."""
    loss_fn = nn.CrossEntropyLoss(ignore_index=IGNORED)
    model, x, y = draw("labels")
    y[2:4] = IGNORED
    whole = hessop.HessianOperator(model, loss_fn, (x, y), reduction=reduction)
    pieces = hessop.HessianOperator(
        model, loss_fn, cut((x, y), 2, 4), reduction=reduction, memory=memory
    )
    v = np.ones(whole.shape[0])
    np.testing.assert_allclose(pieces @ v, whole @ v, rtol=1e-12, atol=1e-13)
    assert pieces.loss() == pytest.approx(whole.loss(), rel=1e-13)


def test_no_target_that_counts():
    """Everything ignored: there is no mean."""
    model, x, y = draw("labels")
    loss_fn = nn.CrossEntropyLoss(ignore_index=IGNORED, reduction="sum")
    H = hessop.HessianOperator(model, loss_fn, (x, torch.full_like(y, IGNORED)))
    with pytest.raises(ValueError, match=r"^`data` must hold at least one example; got none.$"):
        H @ np.ones(H.shape[0])


def divisor_of_torch(loss_fn, output, target):
    """What torch's mean divides its sum by."""
    total = type(loss_fn)(
        reduction="sum",
        weight=loss_fn.weight,
        ignore_index=loss_fn.ignore_index,
        **(
            {"label_smoothing": loss_fn.label_smoothing}
            if hasattr(loss_fn, "label_smoothing")
            else {}
        ),
    )
    return float(total(output, target) / loss_fn(output, target))


class TestCount:
    @pytest.mark.parametrize("shape", [(5,), (5, 3), (5, 3, 2)])
    @pytest.mark.parametrize("options", [{}, {"weight": CLASS_WEIGHTS}, {"ignore_index": 1}])
    @pytest.mark.parametrize("kind", [nn.CrossEntropyLoss, nn.NLLLoss])
    def test_labels_count_as_torch_counts_them(self, shape, options, kind):
        """Classes second, any number of further axes."""
        target = torch.randint(0, 4, shape)
        target.view(-1)[:2] = torch.tensor([1, 2])
        output = torch.randn(5, 4, *shape[1:]).double().log_softmax(1)
        loss_fn = kind(**options)
        expected = divisor_of_torch(loss_fn, output, target)
        assert weights.batch_count(loss_fn, output, target) == pytest.approx(expected)

    @pytest.mark.parametrize("options", [{}, {"weight": CLASS_WEIGHTS}, {"ignore_index": 1}])
    def test_smoothed_labels(self, options):
        """Label smoothing does not change the divisor."""
        loss_fn = nn.CrossEntropyLoss(label_smoothing=0.2, **options)
        output, target = torch.randn(5, 4).double(), torch.tensor([0, 1, 2, 3, 1])
        expected = divisor_of_torch(loss_fn, output, target)
        assert weights.batch_count(loss_fn, output, target) == pytest.approx(expected)

    @pytest.mark.parametrize("shape", [(4,), (5, 4), (5, 4, 3)])
    @pytest.mark.parametrize("options", [{}, {"weight": CLASS_WEIGHTS}])
    def test_probabilities_count_as_torch_counts_them(self, shape, options):
        """Every position once, whatever the class weights."""
        loss_fn = nn.CrossEntropyLoss(**options)
        axis = 1 if len(shape) > 1 else 0
        output = torch.randn(shape).double()
        target = torch.randn(shape).double().softmax(axis)
        expected = divisor_of_torch(loss_fn, output, target)
        assert weights.batch_count(loss_fn, output, target) == pytest.approx(expected)

    def test_a_single_example_without_batch_axis(self):
        """A 0-d target is one label."""
        count = weights.batch_count(nn.CrossEntropyLoss(), torch.randn(4), torch.tensor(2))
        assert count == 1.0

    @pytest.mark.parametrize("loss_fn", [F.cross_entropy, F.nll_loss])
    def test_functions_ignore_minus_hundred(self, loss_fn):
        """As torch does by default."""
        target = torch.tensor([0, IGNORED, 2])
        assert weights.batch_count(loss_fn, torch.randn(3, 4), target) == 2.0

    @pytest.mark.parametrize("loss_fn", [nn.MSELoss(), F.mse_loss, nn.BCEWithLogitsLoss(), max])
    def test_other_losses_count_the_first_axis(self, loss_fn):
        """Examples, not entries."""
        assert weights.batch_count(loss_fn, torch.zeros(5, 2), torch.zeros(5, 2)) == 5.0

    @pytest.mark.parametrize("target", [None, {"y": 1}, [1, 2], torch.tensor(1.0), 3])
    def test_other_targets_need_a_weight(self, target):
        """The remedy is in the message."""
        text = "`weight` must be given where the target is not a tensor of examples; got a target"
        with pytest.raises(TypeError, match=f"^{text} of type {type(target).__name__}. Pass we"):
            weights.batch_count(nn.MSELoss(), torch.zeros(2), target)

    def test_is_sum(self):
        """By torch's attribute; a function takes the mean."""
        assert weights.is_sum(nn.MSELoss(reduction="sum"))
        assert not weights.is_sum(nn.MSELoss())
        assert not weights.is_sum(F.mse_loss)


def weighted_mean(output, target):
    """A mean over tokens that count, in a loss that hessop cannot look into."""
    return F.cross_entropy(output, target["labels"], ignore_index=IGNORED)


def dictionary_forward(model, batch):
    """A batch as a dictionary, a target as one."""
    return model(batch["x"]), {"labels": batch["labels"]}


def tokens_that_count(batch):
    """The weight of a batch."""
    return (batch["labels"] != IGNORED).sum()


class TestForwardAndWeight:
    @pytest.mark.parametrize("points", [(), (4,), (1, 2, 8)])
    def test_dictionaries_with_weights(self, points):
        """Batches of unequal numbers of tokens, of any form, counted by hand."""
        model, x, y = draw("tokens")
        batches = [{"x": a, "labels": b} for a, b in cut((x, y), *points)]
        data = batches if points else batches[0]
        H = hessop.HessianOperator(
            model, weighted_mean, data, forward=dictionary_forward, weight=tokens_that_count
        )
        np.testing.assert_allclose(
            oracles.matrix(H), expected("ignored tokens")[2], rtol=1e-11, atol=1e-12
        )
        assert H.loss() == pytest.approx(expected("ignored tokens")[0], rel=1e-13)

    def test_weight_overrides_the_count(self):
        """Batches as the user weighs them."""
        model, x, y = draw("values")
        batches = cut((x, y), 3)
        H = hessop.HessianOperator(
            model, nn.MSELoss(), batches, weight=lambda batch: len(batch[1]) ** 2
        )
        first, second = (nn.MSELoss()(model(a), b).item() for a, b in batches)
        assert H.loss() == pytest.approx((9 * first + 36 * second) / 45, rel=1e-13)

    def test_weight_sees_the_batch_as_it_came(self):
        """The very object that the data gave."""
        model, x, y = draw("values")
        batch, seen = (x, y), []
        hessop.HessianOperator(model, nn.MSELoss(), batch, weight=lambda b: seen.append(b) or 1)
        assert seen
        assert all(b is batch for b in seen)

    @pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
    def test_weights_out_of_range(self, value):
        """A negative weight would be no mean."""
        model, x, y = draw("values")
        with pytest.raises(ValueError, match=r"^`weight\(batch\)` must be a finite number >= 0; g"):
            hessop.HessianOperator(model, nn.MSELoss(), (x, y), weight=lambda batch: value)

    def test_weights_that_are_no_numbers(self):
        """A list of per-example weights, for instance."""
        model, x, y = draw("values")
        with pytest.raises(TypeError, match=r"^`weight\(batch\)` must be a finite number >= 0; g"):
            hessop.HessianOperator(model, nn.MSELoss(), (x, y), weight=lambda batch: [1.0])

    def test_all_weights_zero(self):
        """Nothing to take the mean over."""
        model, x, y = draw("values")
        H = hessop.HessianOperator(model, nn.MSELoss(), (x, y), weight=lambda batch: 0)
        with pytest.raises(ValueError, match="hold at least one example; got none"):
            H.loss()

    @pytest.mark.parametrize(
        ("batch", "got"),
        [
            ({"x": 1, "y": 2}, "a dict of 2"),
            ([(1, 2, 3)], "a tuple of 3"),
            ([["x"]], "a list of 1"),
            (["xy"], "a str"),
        ],
    )
    def test_batches_that_need_forward(self, batch, got):
        """What came and what to pass."""
        text = f"have batches that are (x, y) pairs; got {got}. Pass forward=lambda model, batch: "
        with pytest.raises(TypeError) as caught:
            hessop.HessianOperator(nn.Linear(1, 1), nn.MSELoss(), batch)
        assert text in str(caught.value)
