"""Fisher matrices against a loop over data, each with its own distribution of targets."""

from __future__ import annotations

import copy
import functools
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import hessop
from tests import oracles
from tests.curvature.test_likelihoods import (
    BITS,
    LABELS,
    PLANE,
    binary,
    cross_entropy,
    second_moment,
    squares,
)
from tests.models import IGNORED, cut, mlp, regression
from tests.operators.test_ggn import CLASS_WEIGHTS, MODES, by_rows, classifier, tolerance

KINDS = ("type2", "mc", "empirical")
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)
THREE = LABELS[:3]


@dataclass
class Datum:
    """What has a distribution of its own: its weight, outputs, Jacobian, target."""

    weight: float
    z: torch.Tensor
    J: torch.Tensor
    y: torch.Tensor


@dataclass
class Case:
    """
    A problem, and how it falls into data.

    `split` gives, for the output and the target of one example, its data: weight, which entries
    of the flattened output, target. `loss` is that of a datum, row by row, for all `targets`;
    `count` is what the sum over the data is divided by (None: the sum of the weights).
    """

    make: Callable[[], Any]
    loss_fn: Any
    split: Callable[[torch.Tensor, torch.Tensor], list[Any]]
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    targets: torch.Tensor | None
    count: float | None = None


def of_class(weight=None, ignore=IGNORED):
    """An example, or each of its positions; the classes are in dimension 1."""

    def split(z, y):
        places = torch.arange(z.numel()).view(z.shape).movedim(1, -1).reshape(-1, z.shape[1])
        return [
            (1.0 if weight is None else float(weight[label]), place, label)
            for place, label in zip(places, y.flatten(), strict=True)
            if label != ignore
        ]

    return split


def of_bit(weight):
    """Each element of an example."""

    def split(z, y):
        w = torch.as_tensor(weight, dtype=z.dtype).expand(z.shape).flatten()
        pairs = zip(w, torch.arange(z.numel())[:, None], y.flatten(), strict=True)
        return [(float(w), place, bit) for w, place, bit in pairs]

    return split


def whole_example(z, y):
    """All of an example together."""
    return [(1.0, torch.arange(z.numel()), y.flatten())]


def made(make):
    """Model and data of a problem of `tests.models`."""
    model, _, data = make()
    return model, data


def smoothed(Z, y):
    """Cross entropy with a fifth of the target spread."""
    return 0.8 * cross_entropy(Z, y) + 0.2 * (Z.logsumexp(1) - Z.mean(1))


def huber(Z, y):
    """A mean over the outputs of an example."""
    return F.huber_loss(Z, y, reduction="none", delta=0.7).mean(1)


BIT_WEIGHTS = torch.tensor([1.0, 0.5, 3.0], dtype=torch.float64)
CASES = {
    "cross entropy": Case(
        functools.partial(made, mlp), nn.CrossEntropyLoss(), of_class(), cross_entropy, THREE
    ),
    "summed": Case(
        functools.partial(made, mlp),
        nn.CrossEntropyLoss(reduction="sum"),
        of_class(),
        cross_entropy,
        THREE,
    ),
    "tokens": Case(
        functools.partial(classifier, "tokens"),
        nn.CrossEntropyLoss(),
        of_class(),
        cross_entropy,
        LABELS,
    ),
    "tokens, class weights": Case(
        functools.partial(classifier, "tokens"),
        nn.CrossEntropyLoss(weight=CLASS_WEIGHTS),
        of_class(CLASS_WEIGHTS),
        cross_entropy,
        LABELS,
    ),
    "tokens, class weights, summed": Case(
        functools.partial(classifier, "tokens"),
        nn.CrossEntropyLoss(weight=CLASS_WEIGHTS, reduction="sum"),
        of_class(CLASS_WEIGHTS),
        cross_entropy,
        LABELS,
    ),
    "another ignored": Case(
        functools.partial(made, mlp),
        nn.CrossEntropyLoss(ignore_index=2),
        of_class(ignore=2),
        cross_entropy,
        THREE,
    ),
    "bits": Case(
        functools.partial(classifier, "bits"),
        nn.BCEWithLogitsLoss(),
        of_bit(1 / 3),
        binary,
        BITS,
        11.0,
    ),
    "bits, weights": Case(
        functools.partial(classifier, "bits"),
        nn.BCEWithLogitsLoss(weight=BIT_WEIGHTS),
        of_bit(BIT_WEIGHTS / 3),
        binary,
        BITS,
        11.0,
    ),
    "bits, summed": Case(
        functools.partial(classifier, "bits"),
        nn.BCEWithLogitsLoss(reduction="sum"),
        of_bit(1.0),
        binary,
        BITS,
        11.0,
    ),
    "squares": Case(
        functools.partial(made, regression), nn.MSELoss(), whole_example, squares, PLANE
    ),
    "squares, summed": Case(
        functools.partial(made, regression),
        nn.MSELoss(reduction="sum"),
        whole_example,
        functools.partial(squares, mean=False),
        PLANE,
    ),
}
EVERY = pytest.mark.parametrize("name", CASES)

# No likelihood that is known: gradients of the loss itself, and nothing else.
EMPIRICAL = CASES | {
    "smoothed": Case(
        functools.partial(made, mlp),
        nn.CrossEntropyLoss(label_smoothing=0.2),
        of_class(),
        smoothed,
        None,
    ),
    "Huber": Case(
        functools.partial(made, regression),
        nn.HuberLoss(delta=0.7),
        whole_example,
        huber,
        None,
    ),
    "Huber, summed": Case(
        functools.partial(made, regression),
        nn.HuberLoss(delta=0.7, reduction="sum"),
        whole_example,
        lambda Z, y: 2 * huber(Z, y),
        None,
    ),
    "function": Case(
        functools.partial(made, regression),
        lambda o, t: F.huber_loss(o, t, delta=0.7),
        whole_example,
        huber,
        None,
    ),
}


@functools.cache
def data_of(name):
    """All data of a case, in their order."""
    case = EMPIRICAL[name]
    model, (xs, ys) = case.make()
    data = []
    for i in range(len(ys)):
        z = model(xs[i : i + 1])
        J = by_rows(z, list(model.parameters()))
        flat = z.detach().flatten()
        data += [Datum(w, flat[place], J[place], y) for w, place, y in case.split(z, ys[i : i + 1])]
    return data


def divisor(name):
    """What the mean divides by."""
    count = EMPIRICAL[name].count
    return sum(d.weight for d in data_of(name)) if count is None else count


@functools.cache
def expected(name, kind):
    """The matrix, datum by datum."""
    case, total = EMPIRICAL[name], 0.0
    for d in data_of(name):
        if kind == "type2":
            M = second_moment(case.loss, d.z, case.targets)[1]
        else:
            z = d.z[None].clone().requires_grad_()
            (score,) = torch.autograd.grad(case.loss(z, d.y[None]).sum(), z)
            M = score.T @ score
        total = total + d.weight * d.J.T @ M @ d.J
    return total.numpy() / divisor(name)


def build(name, kind, points=(), **options):
    """The operator of a case, with the data cut at some points."""
    case = EMPIRICAL[name]
    model, data = case.make()
    options = {"rng": 5} | options
    return hessop.FisherOperator(model, case.loss_fn, cut(data, *points), kind=kind, **options)


SOME_CUTS = settings(max_examples=3)


class TestTypeTwo:
    @EVERY
    @SOME_CUTS
    @given(points=st.sets(st.integers(1, 8)), memory=st.sampled_from(["auto", 0, 3000]))
    def test_against_the_loop(self, name, points, memory):
        """Any ragged cut, kept or not: the mean over what counts."""
        A = build(name, "type2", points, memory=memory)
        V = np.random.default_rng(0).standard_normal((A.shape[0], 2))
        for _ in range(2):
            np.testing.assert_allclose(A @ V, expected(name, "type2") @ V, rtol=1e-9, atol=1e-12)

    @EVERY
    def test_it_is_the_gauss_newton_matrix(self, name):
        """For all losses of torch's that are known, but for log-probabilities."""
        model, data = CASES[name].make()
        G = hessop.GGNOperator(model, CASES[name].loss_fn, cut(data, 5))
        V = np.random.default_rng(0).standard_normal((G.shape[0], 3))
        np.testing.assert_allclose(build(name, "type2", (2,)) @ V, G @ V, atol=1e-13)

    def test_log_probabilities(self):
        """The same matrix as of logits: here the Gauss-Newton matrix is zero."""
        model, data = classifier()
        model.append(nn.LogSoftmax(1))
        A = hessop.FisherOperator(model, nn.NLLLoss(), cut(data, 5))
        np.testing.assert_allclose(
            oracles.matrix(A), expected("cross entropy", "type2"), atol=1e-13
        )

    @pytest.mark.parametrize(
        ("name", "loss_fn"),
        [
            ("cross entropy", F.cross_entropy),
            ("tokens", F.cross_entropy),
            ("bits", F.binary_cross_entropy_with_logits),
            ("squares", F.mse_loss),
        ],
    )
    @EVERY_KIND
    def test_functions(self, name, loss_fn, kind):
        """As the modules."""
        model, data = CASES[name].make()
        A = hessop.FisherOperator(model, loss_fn, cut(data, 4), kind=kind, rng=5)
        V = np.random.default_rng(0).standard_normal((A.shape[0], 3))
        np.testing.assert_array_equal(A @ V, build(name, kind, (4,)) @ V)


class TestEmpirical:
    @pytest.mark.parametrize("name", EMPIRICAL)
    @SOME_CUTS
    @given(points=st.sets(st.integers(1, 8)), memory=st.sampled_from(["auto", 0, 3000]))
    def test_against_the_loop(self, name, points, memory):
        """Any ragged cut, kept or not."""
        A = build(name, "empirical", points, memory=memory)
        V = np.random.default_rng(0).standard_normal((A.shape[0], 2))
        for _ in range(2):
            np.testing.assert_allclose(
                A @ V, expected(name, "empirical") @ V, rtol=1e-10, atol=1e-13
            )

    @pytest.mark.parametrize("make", [mlp, regression])
    def test_outer_products_of_gradients(self, make):
        """By the parameters, of each example's own loss."""
        model, loss_fn, (x, y) = make()
        gradients = []
        for i in range(len(y)):
            loss = loss_fn(model(x[i : i + 1]), y[i : i + 1])
            found = torch.autograd.grad(loss, list(model.parameters()))
            gradients.append(torch.cat([g.flatten() for g in found]))
        g = torch.stack(gradients)
        A = hessop.FisherOperator(model, loss_fn, cut((x, y), 3), kind="empirical")
        np.testing.assert_allclose(oracles.matrix(A), g.T @ g / len(y), atol=1e-14)

    def test_a_class_of_no_weight(self):
        """Counts nothing, and is not divided by."""
        model, data = classifier()
        weight = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
        A = hessop.FisherOperator(
            model, nn.CrossEntropyLoss(weight=weight), cut(data, 3), kind="empirical"
        )
        x, y = (t[data[1] != 0] for t in data)
        B = hessop.FisherOperator(
            model, nn.CrossEntropyLoss(weight=weight), (x, y), kind="empirical"
        )
        np.testing.assert_allclose(oracles.matrix(A), oracles.matrix(B), atol=1e-14)

    def test_sums_over_all_data_are_weighted_once(self):
        """Weights of data, not their squares: twice the class weights, the same mean."""
        model, data = classifier()
        A, B = (
            hessop.FisherOperator(
                model,
                nn.CrossEntropyLoss(weight=f * torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)),
                data,
                kind="empirical",
            )
            for f in (1.0, 2.0)
        )
        np.testing.assert_allclose(oracles.matrix(A), oracles.matrix(B), atol=1e-14)


class TestSampled:
    @EVERY
    @SOME_CUTS
    @given(points=st.sets(st.integers(1, 8)), memory=st.sampled_from(["auto", 0, 3000]))
    def test_the_same_seed_is_the_same_matrix(self, name, points, memory):
        """However the data are cut, kept or not: to rounding."""
        V = np.random.default_rng(0).standard_normal((build(name, "mc").shape[0], 2))
        exact = build(name, "mc", n_samples=2) @ V
        A = build(name, "mc", points, memory=memory, n_samples=2)
        for _ in range(2):
            np.testing.assert_allclose(A @ V, exact, rtol=1e-10, atol=1e-13)

    def test_the_seed_makes_the_difference(self):
        """Another seed, another matrix; none, another each time; a generator moves on."""
        v = np.ones(51)
        g = np.random.default_rng(11)
        seeds = [1, 2, None, None, g, g, np.random.SeedSequence(7)]
        products = [build("cross entropy", "mc", rng=seed) @ v for seed in seeds]
        for a, b in itertools.combinations(products, 2):
            assert np.abs(a - b).max() > 1e-6
        for seed, again in ((1, 1), (1, np.random.default_rng(1)), (2, 2)):
            np.testing.assert_array_equal(
                build("cross entropy", "mc", rng=again) @ v,
                build("cross entropy", "mc", rng=seed) @ v,
            )

    def test_torchs_random_numbers_play_no_part(self):
        """Neither used nor moved."""
        v, products = np.ones(51), []
        for seed in (0, 1):
            torch.manual_seed(seed)
            before = torch.get_rng_state()
            products.append(build("cross entropy", "mc") @ v)
            assert torch.equal(before, torch.get_rng_state())
        np.testing.assert_array_equal(*products)

    def test_every_container_draws_alike(self):
        """A loader, a list, one batch; blocks and single vectors; again after a change."""
        model, loss_fn, (x, y) = mlp()
        loader = DataLoader(TensorDataset(x, y), batch_size=4)
        V = np.random.default_rng(0).standard_normal((51, 3))
        exact = hessop.FisherOperator(model, loss_fn, (x, y), kind="mc", rng=0) @ V
        A = hessop.FisherOperator(model, loss_fn, loader, kind="mc", rng=0, memory=4000)
        np.testing.assert_allclose(A @ V, exact, atol=1e-13)
        model[0].weight.data.add_(0.0)
        np.testing.assert_allclose(np.stack([A @ v for v in V.T], 1), exact, atol=1e-13)

    def test_an_error_half_way_does_not_move_the_stream(self):
        """The next product begins anew."""
        model, loss_fn, data = mlp()
        batches = cut(data, 3, 7)
        A = hessop.FisherOperator(model, loss_fn, batches, kind="mc", rng=0, check=False)
        good = batches[2]
        batches[2] = (good[0] * float("nan"), good[1])
        with pytest.raises(FloatingPointError, match="return a finite loss"):
            A @ np.ones(51)
        batches[2] = good
        exact = hessop.FisherOperator(model, loss_fn, data, kind="mc", rng=0) @ np.ones(51)
        np.testing.assert_allclose(A @ np.ones(51), exact, atol=1e-13)

    def test_one_sample_is_an_empirical_matrix(self):
        """That of some targets, one of all those there are."""
        model, loss_fn, (x, _) = mlp()
        x = x[:3]
        A = oracles.matrix(
            hessop.FisherOperator(model, loss_fn, (x, torch.zeros(3).long()), kind="mc", rng=4)
        )
        errors = [
            np.abs(
                oracles.matrix(
                    hessop.FisherOperator(
                        model, loss_fn, (x, torch.tensor(y)), kind="empirical", check=False
                    )
                )
                - A
            ).max()
            for y in itertools.product(range(3), repeat=3)
        ]
        assert sorted(errors)[0] < 1e-14
        assert sorted(errors)[1] > 1e-4

    @pytest.mark.parametrize("name", ["cross entropy", "tokens, class weights", "bits", "squares"])
    def test_samples_average_to_type_two(self, name):
        """
        Within five standard deviations of the mean of independent terms.

        For a vector v, each draw of each datum adds w (s . J v)^2, whose variance is summed over
        all targets here.
        """
        samples, case = 400, CASES[name]
        A = build(name, "mc", (4,), n_samples=samples)
        rng = np.random.default_rng(0)
        for v in rng.standard_normal((5, A.shape[0])):
            variance = 0.0
            for d in data_of(name):
                z = d.z.expand(len(case.targets), -1).clone().requires_grad_()
                losses = case.loss(z, case.targets)
                (scores,) = torch.autograd.grad(losses.sum(), z)
                p = (-losses.detach()).softmax(0)
                q = (scores @ (d.J @ torch.from_numpy(v))) ** 2
                variance += d.weight**2 * float(p @ q**2 - (p @ q) ** 2)
            spread = (variance / samples) ** 0.5 / divisor(name)
            error = abs(v @ (A @ v) - v @ expected(name, "type2") @ v)
            assert 0 < error < 5 * spread

    def test_samples_are_independent(self):
        """The error falls with their number: four hundred samples against ten times one."""
        exact = expected("cross entropy", "type2")
        one = [
            np.linalg.norm(oracles.matrix(build("cross entropy", "mc", rng=seed)) - exact)
            for seed in range(10)
        ]
        many = oracles.matrix(build("cross entropy", "mc", n_samples=400))
        ratio = np.sqrt(np.mean(np.square(one))) / np.linalg.norm(many - exact)
        assert 10 < ratio < 40  # the root of 400, within the spread of a single norm


class TestShared:
    @pytest.mark.parametrize(
        ("name", "mode"),
        [*(("bits, weights", mode) for mode in MODES), ("squares", "linearized")],
    )
    @EVERY_KIND
    def test_whatever_the_mode(self, name, kind, mode):
        """One matrix."""
        A = build(name, kind, mode=mode)
        V = np.random.default_rng(0).standard_normal((A.shape[0], 3))
        exact = build(name, kind, mode="reverse-over-reverse") @ V
        for _ in range(2):
            np.testing.assert_allclose(A @ V, exact, atol=100 * tolerance(mode))
        if mode != "auto":
            assert A.report().stage == mode

    @pytest.mark.parametrize("name", ["cross entropy", "tokens, class weights", "bits", "squares"])
    @EVERY_KIND
    def test_sum(self, name, kind):
        """The mean times what it is divided by."""
        v = np.random.default_rng(0).standard_normal(build(name, kind).shape[0])
        total = build(name, kind, (3, 4), reduction="sum") @ v
        np.testing.assert_allclose(total, divisor(name) * (build(name, kind) @ v), rtol=1e-10)

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            *itertools.product(
                ["cross entropy", "summed", "tokens, class weights", "bits", "squares"],
                ["type2", "empirical"],
            ),
            ("Huber", "empirical"),
        ],
    )
    def test_weights_of_the_user(self, name, kind):
        """Batches as the user weighs them, each the mean over what counts in it."""
        case = EMPIRICAL[name]
        model, data = case.make()
        batches = cut(data, 3)
        parts = [
            oracles.matrix(hessop.FisherOperator(model, case.loss_fn, b, kind=kind))
            for b in batches
        ]
        A = hessop.FisherOperator(
            model, case.loss_fn, batches, kind=kind, weight=lambda b: len(b[1]) ** 2
        )
        first, second = 9.0, (len(data[1]) - 3.0) ** 2
        if name == "summed":  # a sum is a sum: the weight is only what it is divided by
            exact = (3 * parts[0] + 8 * parts[1]) / (first + second)
        else:
            exact = (first * parts[0] + second * parts[1]) / (first + second)
        np.testing.assert_allclose(oracles.matrix(A), exact, atol=1e-13)

    @pytest.mark.parametrize("memory", ["auto", 0])
    @pytest.mark.parametrize("first", [True, False])
    @EVERY_KIND
    def test_a_batch_of_ignored_targets_counts_nothing(self, kind, first, memory):
        """Wherever it stands; a sampled matrix skips its numbers."""
        model, loss_fn, (x, y) = mlp()
        y = y.clone()
        y[:4] = IGNORED
        if not first:
            x, y = x.flip(0), y.flip(0)
        options = {"kind": kind, "rng": 2}
        whole = hessop.FisherOperator(model, loss_fn, (x, y), **options)
        pieces = hessop.FisherOperator(model, loss_fn, cut((x, y), 4, 7), memory=memory, **options)
        v = np.ones(51)
        for _ in range(2):
            np.testing.assert_allclose(pieces @ v, whole @ v, rtol=1e-12, atol=1e-14)

    @pytest.mark.parametrize("name", ["summed", "tokens, class weights", "bits", "squares"])
    @EVERY_KIND
    def test_symmetric_and_semidefinite(self, name, kind):
        """Whatever the loss."""
        A = oracles.matrix(build(name, kind))
        assert np.abs(A - A.T).max() <= 1e-14 * np.abs(A).max()
        assert np.linalg.eigvalsh(A)[0] > -1e-13 * np.abs(A).max()

    @pytest.mark.parametrize("params", ["0", "2.bias"])
    @EVERY_KIND
    def test_a_choice_of_parameters(self, kind, params):
        """A diagonal block of the whole."""
        model, loss_fn, data = mlp()
        A = hessop.FisherOperator(model, loss_fn, cut(data, 4), kind=kind, rng=5, params=params)
        block = build("cross entropy", kind).block(params)
        np.testing.assert_allclose(oracles.matrix(A), oracles.matrix(block), atol=1e-14)

    @EVERY_KIND
    def test_loss_and_gradient(self, kind):
        """Those of the data, whatever the targets of the matrix."""
        model, loss_fn, data = mlp()
        A = hessop.FisherOperator(model, loss_fn, cut(data, 4), kind=kind)
        np.testing.assert_allclose(A.gradient(), oracles.gradient(model, loss_fn, data), atol=1e-14)
        assert A.loss() == pytest.approx(oracles.loss(model, loss_fn, data), rel=1e-14)

    @EVERY_KIND
    def test_single_precision(self, kind):
        """The same matrix, samples and all, to rounding."""
        model, loss_fn, data = mlp(torch.float32)
        A = hessop.FisherOperator(model, loss_fn, data, kind=kind, rng=5)
        assert A.dtype == np.float32
        exact = oracles.matrix(build("cross entropy", kind))
        np.testing.assert_allclose(oracles.matrix(A), exact, atol=1e-6)

    @EVERY_KIND
    def test_the_operator_follows_its_model(self, kind):
        """After a change it gives the new matrix, at the same random numbers."""
        model, loss_fn, data = mlp()
        A = hessop.FisherOperator(model, loss_fn, cut(data, 4), kind=kind, rng=1)
        A @ np.ones(51)
        model[0].weight.data.mul_(1.5)
        fresh = hessop.FisherOperator(model, loss_fn, data, kind=kind, rng=1)
        np.testing.assert_allclose(A @ np.ones(51), fresh @ np.ones(51), atol=1e-13)

    @EVERY_KIND
    def test_eigenvalues(self, kind):
        """By Lanczos, without leaving torch."""
        A = build("cross entropy", kind, (3,))
        exact = np.linalg.eigvalsh(oracles.matrix(A))
        w, _ = hessop.lanczos(A, k=3, which="LA", rng=0)
        np.testing.assert_allclose(w, exact[-3:], atol=1e-12)


class TestArguments:
    @pytest.mark.parametrize("kind", ["type-2", "mcmc", None, 2])
    def test_kind(self, kind):
        """One of three."""
        text = f"`kind` must be one of 'type2', 'mc', 'empirical'; got {kind!r}."
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            build("cross entropy", kind)

    @pytest.mark.parametrize("samples", [0, -1])
    def test_number_of_samples(self, samples):
        """At least one."""
        text = f"`n_samples` must be an integer >= 1; got {samples}."
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            build("cross entropy", "mc", n_samples=samples)

    @pytest.mark.parametrize("samples", [1.5, "many", None])
    def test_number_of_samples_of_another_type(self, samples):
        """An integer."""
        text = f"`n_samples` must be an integer >= 1; got {samples!r}."
        with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
            build("cross entropy", "mc", n_samples=samples)

    def test_rng(self):
        """Whatever NumPy takes."""
        text = "`rng` must be None, an int, a SeedSequence or a numpy Generator; got 'seed'."
        with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
            build("cross entropy", "mc", rng="seed")

    def test_copies_keep_their_samples(self):
        """A seed drawn once is the operator's for good."""
        A = build("cross entropy", "mc", rng=None)
        np.testing.assert_array_equal(copy.deepcopy(A) @ np.ones(51), A @ np.ones(51))
