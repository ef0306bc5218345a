"""Expectations over targets, against the enumeration (or integral) of all targets there are."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import hessop
from hessop.curvature import weights
from hessop.curvature.likelihoods import Bernoulli, Categorical, Gaussian, likelihood_of

CLASS_WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 4.0], dtype=torch.float64)
GRID = torch.linspace(-12, 12, 81, dtype=torch.float64)


def second_moment(loss, z, targets):
    """
    The mean and the second moment of the score of one datum, over all its targets.

    Nothing is known of the loss but that ``exp(-loss)`` is a density up to a factor: the score is
    differentiated, the density summed. `loss` takes rows of outputs and of targets.
    """
    Z = z.expand(len(targets), -1).clone().requires_grad_()
    losses = loss(Z, targets)
    (scores,) = torch.autograd.grad(losses.sum(), Z)
    p = (-losses.detach()).softmax(0)
    return p @ scores, torch.einsum("t,ti,tj->ij", p, scores, scores)


def cross_entropy(Z, y):
    """Of logits, row by row."""
    return Z.logsumexp(1) - Z.gather(1, y[:, None])[:, 0]


def likelihood_of_classes(Z, y):
    """Of log-probabilities, row by row."""
    return -Z.gather(1, y[:, None])[:, 0]


def binary(Z, y):
    """Of one logit in each row."""
    return F.softplus(Z[:, 0]) - y * Z[:, 0]


def squares(Z, y, mean=True):
    """Mean, or sum, over a row."""
    return ((Z - y) ** 2).mean(1) if mean else ((Z - y) ** 2).sum(1)


def classes(z):
    """Rows of one datum each, for outputs with the classes in dimension 1."""
    return z.movedim(1, -1).reshape(-1, z.shape[1]) if z.ndim > 1 else z[None]


def elements(z):
    """Each element a row."""
    return z.reshape(-1, 1)


def examples(z):
    """Each example a row."""
    return z.reshape(z.shape[0], -1)


LABELS = torch.arange(4)
BITS = torch.tensor([0.0, 1.0], dtype=torch.float64)
PLANE = torch.cartesian_prod(GRID, GRID)

# The loss, the shape of outputs, its data as rows, the loss of rows, all targets of a row.
CASES = {
    "cross entropy": (nn.CrossEntropyLoss(), (3, 4), classes, cross_entropy, LABELS),
    "one example": (nn.CrossEntropyLoss(), (4,), classes, cross_entropy, LABELS),
    "sequences": (nn.CrossEntropyLoss(), (2, 4, 3), classes, cross_entropy, LABELS),
    "images": (nn.CrossEntropyLoss(), (2, 4, 2, 1), classes, cross_entropy, LABELS),
    "ignored": (nn.CrossEntropyLoss(ignore_index=1), (3, 4), classes, cross_entropy, LABELS),
    "class weights": (
        nn.CrossEntropyLoss(weight=CLASS_WEIGHTS),
        (3, 4),
        classes,
        cross_entropy,
        LABELS,
    ),
    "smoothed": (nn.CrossEntropyLoss(label_smoothing=0.2), (3, 4), classes, cross_entropy, LABELS),
    "summed": (nn.CrossEntropyLoss(reduction="sum"), (2, 4, 3), classes, cross_entropy, LABELS),
    "cross entropy, function": (F.cross_entropy, (3, 4), classes, cross_entropy, LABELS),
    "log-probabilities": (nn.NLLLoss(), (3, 4), classes, likelihood_of_classes, LABELS),
    "log-probabilities, function": (F.nll_loss, (2, 4, 3), classes, likelihood_of_classes, LABELS),
    "binary": (nn.BCEWithLogitsLoss(), (3, 2), elements, binary, BITS),
    "binary, one axis": (nn.BCEWithLogitsLoss(), (5,), elements, binary, BITS),
    "binary, function": (F.binary_cross_entropy_with_logits, (2, 2, 2), elements, binary, BITS),
    "binary, summed": (nn.BCEWithLogitsLoss(reduction="sum"), (3, 2), elements, binary, BITS),
    "binary, weights": (
        nn.BCEWithLogitsLoss(weight=torch.tensor([1.0, 3.0])),
        (3, 2),
        elements,
        binary,
        BITS,
    ),
    "squares": (nn.MSELoss(), (3, 2), examples, squares, PLANE),
    "squares, one axis": (nn.MSELoss(), (4,), examples, squares, GRID[:, None]),
    "squares, three axes": (nn.MSELoss(), (2, 1, 2), examples, squares, PLANE),
    "squares, function": (F.mse_loss, (3, 2), examples, squares, PLANE),
    "squares, summed": (
        nn.MSELoss(reduction="sum"),
        (3, 2),
        examples,
        partial(squares, mean=False),
        PLANE,
    ),
}
EVERY = pytest.mark.parametrize("name", CASES)


def draw(name):
    """Likelihood, outputs, a tangent, and the exact moments of each datum."""
    loss_fn, shape, rows, loss, targets = CASES[name]
    g = torch.Generator().manual_seed(3)
    z, t = (1.5 * torch.randn(shape, generator=g, dtype=torch.float64) for _ in range(2))
    if loss is likelihood_of_classes:
        z = z.log_softmax(1)
    moments = [second_moment(loss, row, targets) for row in rows(z)]
    return likelihood_of(loss_fn), z, t, moments


@EVERY
def test_expected_is_the_sum_over_all_targets(name):
    """Datum by datum: E[score score^T] t, from the loss and nothing else."""
    likelihood, z, t, moments = draw(name)
    rows = CASES[name][2]
    expected = torch.stack([M @ row for (_, M), row in zip(moments, rows(t), strict=True)])
    np.testing.assert_allclose(rows(likelihood.expected(z, t)), expected, rtol=1e-9, atol=1e-12)


@EVERY
def test_samples_have_these_moments(name):
    """
    First and second, of 3000 draws.

    The mean of M draws of spread s errs by s / sqrt(M): six of these for up to a hundred numbers,
    of which one in a thousand million lies beyond.
    """
    likelihood, z, _, moments = draw(name)
    rows = CASES[name][2]
    g = torch.Generator().manual_seed(0)
    shape, M = likelihood.draws(z), 3000
    scores = torch.stack(
        [
            rows(likelihood.sampled_score(z, torch.rand(shape, generator=g, dtype=torch.float64)))
            for _ in range(M)
        ]
    )
    outer = torch.einsum("mri,mrj->mrij", scores, scores)
    for found, exact in (
        (scores, torch.stack([first for first, _ in moments])),
        (outer, torch.stack([second for _, second in moments])),
    ):
        error, spread = (found.mean(0) - exact).abs(), found.std(0)
        assert bool((error <= 6 * spread / M**0.5 + 1e-9).all())
    # They are draws, not the mean: something is spread.
    assert float(outer.std(0).max()) > 1e-3


@EVERY
def test_data_are_drawn_one_by_one(name):
    """The number of one datum moves its own score alone."""
    likelihood, z, _, _ = draw(name)
    rows = CASES[name][2]
    shape = likelihood.draws(z)
    low = torch.full(shape, 0.01, dtype=torch.float64)
    first = low.clone()
    first.view(-1)[0] = 0.99
    before, after = (rows(likelihood.sampled_score(z, u)) for u in (low, first))
    changed = (before != after).any(1)
    assert changed[0]
    assert not changed[1:].any()


@EVERY
def test_inner_products_are_of_each_datum(name):
    """In a shape that broadcasts with the output."""
    likelihood, z, t, _ = draw(name)
    rows = CASES[name][2]
    found = rows(likelihood.inner(z, t) * torch.ones_like(z))
    expected = (rows(z) * rows(t)).sum(1, keepdim=True).expand_as(found)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("uniform", [0.0, 2.0**-53, 1 - 2.0**-53])
def test_the_ends_of_the_unit_interval(uniform, dtype):
    """Rounding of the cumulative sum leaves no room beyond the last class."""
    z = torch.zeros(1, 1000, dtype=dtype)
    likelihood = likelihood_of(nn.CrossEntropyLoss())
    score = likelihood.sampled_score(z, torch.tensor([uniform], dtype=torch.float64))
    assert score.dtype == dtype
    assert int(score.argmin()) == (999 if uniform > 0.5 else 0)


def target_for(name, z):
    """Targets of a case."""
    g = torch.Generator().manual_seed(5)
    loss, targets = CASES[name][3:]
    if loss in (cross_entropy, likelihood_of_classes):
        shape = z.select(1 if z.ndim > 1 else 0, 0).shape
        labels = torch.randint(0, 4, shape, generator=g)
        if name == "ignored":
            labels[0] = 1
        return labels
    if targets is BITS:
        return torch.randint(0, 2, z.shape, generator=g).double()
    return torch.randn(z.shape, generator=g, dtype=torch.float64)


def type_two(loss_fn, z, target):
    """What a batch's type-2 middle adds up to: data times their weights, over what torch does."""
    likelihood = likelihood_of(loss_fn)
    w = likelihood.weights(z, target)
    natural = 1.0 if weights.is_sum(loss_fn) else weights.batch_count(loss_fn, z, target)
    identity = torch.eye(z.numel(), dtype=z.dtype)
    columns = [(w * likelihood.expected(z, e.view_as(z))).flatten() / natural for e in identity]
    return torch.stack(columns, 1)


def loss_hessian(loss_fn, z, target):
    """By differentiating torch's own loss twice."""
    return torch.autograd.functional.hessian(lambda u: loss_fn(u.view_as(z), target), z.flatten())


@EVERY
def test_type_two_is_the_hessian_of_the_loss(name):
    """For all but log-probabilities, of which the loss is linear; weights, means and all."""
    _, z, _, _ = draw(name)
    loss_fn, target = CASES[name][0], target_for(name, z)
    middle, hessian = type_two(loss_fn, z, target), loss_hessian(loss_fn, z, target)
    if CASES[name][3] is likelihood_of_classes:
        assert not hessian.any()
        assert float(torch.linalg.eigvalsh(middle).min()) > 0
    else:
        np.testing.assert_allclose(middle, hessian, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 4, 3)])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_probabilities_as_targets(shape, smoothing):
    """A mixture of labels has the Hessian of each: every datum counts once."""
    g = torch.Generator().manual_seed(8)
    axis = 1 if len(shape) > 1 else 0
    z, target = (torch.randn(shape, generator=g, dtype=torch.float64) for _ in range(2))
    loss_fn, target = nn.CrossEntropyLoss(label_smoothing=smoothing), target.softmax(axis)
    np.testing.assert_allclose(
        type_two(loss_fn, z, target), loss_hessian(loss_fn, z, target), rtol=1e-10, atol=1e-13
    )


def test_log_probabilities_behind_a_softmax_are_logits():
    """The chain rule from logits to log-probabilities, whose curvature has expectation zero."""
    logits = torch.randn(3, 4, dtype=torch.float64)
    target = torch.tensor([0, 3, 1])
    J = torch.autograd.functional.jacobian(lambda u: u.log_softmax(1).flatten(), logits)
    J = J.reshape(12, 12)
    M = type_two(nn.NLLLoss(weight=CLASS_WEIGHTS), logits.log_softmax(1), target)
    expected = loss_hessian(nn.CrossEntropyLoss(weight=CLASS_WEIGHTS), logits, target)
    np.testing.assert_allclose(J.T @ M @ J, expected, atol=1e-14)


def test_ignored_targets_count_nothing():
    """And their class weight is not looked up: -100 is no class."""
    for ignored in (-100, 1, 7):
        loss_fn = nn.CrossEntropyLoss(weight=CLASS_WEIGHTS, ignore_index=ignored)
        w = likelihood_of(loss_fn).weights(
            torch.zeros(2, 4, 2, dtype=torch.float64), torch.tensor([[0, ignored], [ignored, 3]])
        )
        np.testing.assert_array_equal(w, [[[0.5, 0.0]], [[0.0, 4.0]]])


class TestLookUp:
    @pytest.mark.parametrize(
        ("loss_fn", "kind"),
        [
            (nn.CrossEntropyLoss(), Categorical),
            (nn.NLLLoss(), Categorical),
            (F.cross_entropy, Categorical),
            (F.nll_loss, Categorical),
            (nn.BCEWithLogitsLoss(), Bernoulli),
            (F.binary_cross_entropy_with_logits, Bernoulli),
            (nn.MSELoss(), Gaussian),
            (F.mse_loss, Gaussian),
            (type("Mine", (nn.MSELoss,), {})(), Gaussian),
        ],
    )
    def test_known(self, loss_fn, kind):
        """Modules, what is derived from them, and functions."""
        assert type(likelihood_of(loss_fn)) is kind

    @pytest.mark.parametrize(
        "loss_fn",
        [
            nn.HuberLoss(),
            nn.L1Loss(),
            nn.BCELoss(),
            nn.KLDivLoss(),
            nn.CrossEntropyLoss,
            partial(F.cross_entropy, ignore_index=0),
            lambda o, t: F.mse_loss(o, t),
        ],
    )
    def test_unknown(self, loss_fn):
        """No guess at what cannot be looked into."""
        assert likelihood_of(loss_fn) is None


def fisher(loss_fn, y, outputs=2, **options):
    """A Fisher operator of a linear model."""
    torch.manual_seed(0)
    model = nn.Linear(3, outputs).double()
    x = torch.randn(len(y), 3, dtype=torch.float64)
    return hessop.FisherOperator(model, loss_fn, (x, y), **options)


class Both(nn.MSELoss):
    """The error of two outputs."""

    def forward(self, output, target):
        """Added up."""
        return super().forward(output[0], target) + super().forward(output[1], target)


BITS_OF_TWO = torch.tensor([[0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)


class TestRefused:
    @pytest.mark.parametrize("kind", ["type2", "mc", "empirical"])
    def test_pos_weight(self, kind):
        """It weighs one of two targets, and leaves no likelihood."""
        loss_fn = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0, 1.0]))
        text = (
            "`loss_fn` must be a negative log-likelihood; got a BCEWithLogitsLoss with pos_weight. "
            "Use GGNOperator, or no pos_weight."
        )
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            fisher(loss_fn, BITS_OF_TWO, kind=kind)

    @pytest.mark.parametrize("kind", ["type2", "mc", "empirical"])
    def test_class_weights_with_probabilities(self, kind):
        """They weigh the classes within one target."""
        loss_fn = nn.CrossEntropyLoss(weight=torch.tensor([2.0, 1.0]).double())
        text = (
            "`loss_fn` must be a negative log-likelihood; got class weights with targets that are "
            "probabilities. Use GGNOperator, or no class weights."
        )
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            fisher(loss_fn, BITS_OF_TWO.softmax(1), kind=kind)

    @pytest.mark.parametrize("check", [True, False])
    @pytest.mark.parametrize("kind", ["type2", "mc"])
    @pytest.mark.parametrize(
        ("loss_fn", "name"),
        [(nn.HuberLoss(), "HuberLoss"), (lambda o, t: F.mse_loss(o, t), "function")],
    )
    def test_unknown_losses(self, loss_fn, name, kind, check):
        """At construction, or at the first product."""
        text = (
            "`loss_fn` must be CrossEntropyLoss, NLLLoss, BCEWithLogitsLoss or MSELoss, whose "
            f"distribution of targets is known; got a {name}. "
            'Use kind="empirical", or GGNOperator.'
        )

        def make():
            A = fisher(loss_fn, BITS_OF_TWO, kind=kind, check=check)
            A @ np.ones(A.shape[0])

        with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
            make()

    @pytest.mark.parametrize("kind", ["type2", "mc", "empirical"])
    def test_several_outputs(self, kind):
        """Which of them has the distribution is not known."""
        text = (
            "`forward` must give one tensor as output, for a Fisher matrix; got 2 tensors. "
            "Pass forward=lambda model, batch: (output, target)."
        )
        with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
            fisher(
                Both(),
                BITS_OF_TWO,
                kind=kind,
                forward=lambda model, batch: ((model(batch[0]), model(batch[0])), batch[1]),
            )
