"""Batches of every form, and objectives that have no output and target to tell apart."""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
import re
import types
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
from tests.models import cut, mlp, regression
from tests.operators.test_ggn import MODES, tolerance

EVERY_MODE = pytest.mark.parametrize("mode", MODES)
X, Y = mlp()[2]


@dataclasses.dataclass
class Batch:
    """A batch as a dataclass, with something that is no tensor."""

    x: torch.Tensor
    y: torch.Tensor
    name: str = "a batch"
    more: Any = None


@dataclasses.dataclass(frozen=True)
class Frozen:
    """A batch that cannot be written to."""

    x: torch.Tensor
    y: torch.Tensor


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    """A batch without a dictionary."""

    x: torch.Tensor
    y: torch.Tensor


@dataclasses.dataclass
class Derived:
    """A batch whose constructor takes something else."""

    pair: dataclasses.InitVar[Any]
    x: torch.Tensor = dataclasses.field(init=False)
    y: torch.Tensor = dataclasses.field(init=False)

    def __post_init__(self, pair):
        self.x, self.y = pair


Named = collections.namedtuple("Named", "x y")


class Mapping(collections.UserDict):
    """A mapping that is no dict."""


def by_name(model, batch):
    """Output and target of what has attributes."""
    return model(batch.x), batch.y


def by_key(model, batch):
    """Output and target of a mapping."""
    return model(batch["x"]), batch["y"]


# How a pair of tensors becomes a batch, and how a batch is taken apart.
FORMS = {
    "dict": (lambda x, y: {"x": x, "y": y}, by_key),
    "ordered dict": (lambda x, y: collections.OrderedDict(x=x, y=y), by_key),
    "default dict": (lambda x, y: collections.defaultdict(list, x=x, y=y), by_key),
    "read-only mapping": (lambda x, y: types.MappingProxyType({"x": x, "y": y}), by_key),
    "mapping": (lambda x, y: Mapping(x=x, y=y), by_key),
    "dataclass": (lambda x, y: Batch(x, y), by_name),
    "frozen": (lambda x, y: Frozen(x, y), by_name),
    "slots": (lambda x, y: Slotted(x, y), by_name),
    "derived": (lambda x, y: Derived((x, y)), by_name),
    "named tuple": (lambda x, y: Named(x, y), by_name),
    "named tuple, as a pair": (lambda x, y: Named(x, y), None),
    "pair": (lambda x, y: (x, y), None),
    "list": (lambda x, y: [x, y], None),
    "triple": (lambda x, y: (x, torch.zeros(len(y)), y), lambda m, b: (m(b[0]), b[2])),
    "nested dict": (
        lambda x, y: {"inputs": {"x": [x]}, "rest": (y, "text", 3, None)},
        lambda m, b: (m(b["inputs"]["x"][0]), b["rest"][0]),
    ),
    "nested dataclass": (
        lambda x, y: Batch(x[:, :2], y, more={"rest": Named(x[:, 2:], None)}),
        lambda m, b: (m(torch.cat([b.x, b.more["rest"].x], 1)), b.y),
    ),
}
ONE_BATCH = [name for name in FORMS if name != "list"]  # a list holds batches


@functools.cache
def expected():
    """Loss, gradient and Hessian of the classifier."""
    problem = mlp()
    return oracles.loss(*problem), oracles.gradient(*problem), oracles.dense_hessian(*problem)


def check(H, atol=1e-13):
    """Products, gradient and loss are those of the classifier, twice."""
    loss, gradient, hessian = expected()
    V = np.random.default_rng(0).standard_normal((51, 2))
    for _ in range(2):
        np.testing.assert_allclose(H @ V, hessian @ V, atol=10 * atol)
        np.testing.assert_allclose(H.gradient(), gradient, atol=1e-14)
        assert H.loss() == pytest.approx(loss, rel=1e-14)


class TestBatches:
    @pytest.mark.parametrize("memory", ["auto", 0, 3000])
    @pytest.mark.parametrize("form", FORMS)
    def test_lists_of_batches(self, form, memory):
        """Kept, recomputed, cut into pieces."""
        make, forward = FORMS[form]
        model, loss_fn, _ = mlp()
        batches = [make(x, y) for x, y in cut((X, Y), 7)]
        check(hessop.HessianOperator(model, loss_fn, batches, forward=forward, memory=memory))

    @pytest.mark.parametrize("form", ONE_BATCH)
    def test_one_batch_alone(self, form):
        """Needs no list around it."""
        make, forward = FORMS[form]
        model, loss_fn, _ = mlp()
        check(hessop.HessianOperator(model, loss_fn, make(X, Y), forward=forward))

    @pytest.mark.parametrize("kind", [hessop.GGNOperator, hessop.FisherOperator])
    @pytest.mark.parametrize("form", ["dict", "frozen", "nested dict"])
    def test_other_operators(self, form, kind):
        """The same forms."""
        make, forward = FORMS[form]
        model, loss_fn, data = mlp()
        batches = [make(x, y) for x, y in cut((X, Y), 7)]
        A = kind(model, loss_fn, batches, forward=forward)
        exact = oracles.matrix(kind(model, loss_fn, data))
        np.testing.assert_allclose(oracles.matrix(A), exact, atol=1e-14)

    @pytest.mark.parametrize("memory", ["auto", 300])
    @pytest.mark.parametrize("form", FORMS)
    def test_what_the_user_gave_is_as_it_was(self, form, memory):
        """The same values; what is cut into pieces is a copy, of a frozen batch, too."""
        make, forward = FORMS[form]
        model, loss_fn, _ = mlp()
        x, y = X.clone(), Y.clone()
        batch = make(x, y)
        before = repr(batch)
        H = hessop.HessianOperator(model, loss_fn, [batch], forward=forward, memory=memory)
        check(H)
        assert H.product.n_forward > 5 or memory == "auto"
        assert repr(batch) == before
        assert torch.equal(x, X)
        assert x.grad is None
        assert not x.requires_grad

    def test_the_output_of_a_tokenizer(self):
        """BatchEncoding is a mapping of its own kind, and stays one."""
        transformers = pytest.importorskip("transformers")
        model, loss_fn, _ = mlp()
        kinds = []

        def forward(m, batch):
            kinds.append(type(batch))
            return m(batch["x"]), batch.y

        batches = [transformers.BatchEncoding({"x": x, "y": y}) for x, y in cut((X, Y), 7)]
        for data in (batches, transformers.BatchEncoding({"x": X, "y": Y})):
            for memory in ("auto", 3000):
                check(hessop.HessianOperator(model, loss_fn, data, forward=forward, memory=memory))
        assert set(kinds) == {transformers.BatchEncoding}

    def test_the_output_of_a_model_of_transformers(self):
        """ModelOutput is a mapping too: all its floating tensors are outputs."""
        pytest.importorskip("transformers")
        from transformers.modeling_outputs import SequenceClassifierOutput

        model, _, data = mlp()

        def forward(m, batch):
            return SequenceClassifierOutput(logits=m(batch[0])), batch[1]

        def loss_fn(output, target):
            return F.cross_entropy(output.logits, target)

        H = hessop.HessianOperator(model, loss_fn, cut(data, 7), forward=forward)
        check(H)
        G = hessop.GGNOperator(model, loss_fn, cut(data, 7), forward=forward)
        exact = oracles.matrix(hessop.GGNOperator(model, F.cross_entropy, data))
        np.testing.assert_allclose(oracles.matrix(G), exact, atol=1e-14)

    def test_a_pair_of_a_mapping_and_a_tensor(self):
        """One batch: a tuple of batches would hold no bare tensor."""

        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner, _, _ = mlp()

            def forward(self, inputs):
                return self.inner(inputs["x"])

        model, loss_fn = Model(), nn.CrossEntropyLoss()
        check(hessop.HessianOperator(model, loss_fn, [({"x": x}, y) for x, y in cut((X, Y), 7)]))
        check(hessop.HessianOperator(model, loss_fn, ({"x": X}, Y)))

    @pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
    def test_a_loader_with_a_worker(self):
        """Its batches come from another process, anew at every pass, in the same order."""
        model, loss_fn, data = mlp()
        loader = DataLoader(
            TensorDataset(*data), batch_size=6, num_workers=1, multiprocessing_context="fork"
        )
        H = hessop.HessianOperator(model, loss_fn, loader, check=False)
        before = torch.get_rng_state()
        check(H)
        assert torch.equal(before, torch.get_rng_state())
        assert H.product.n_forward == 2

    def test_a_loader_of_mappings(self):
        """As `default_collate` makes them."""
        model, loss_fn, _ = mlp()
        loader = DataLoader([{"x": x, "y": y} for x, y in zip(X, Y, strict=True)], batch_size=4)
        for memory in ("auto", 0):
            check(hessop.HessianOperator(model, loss_fn, loader, forward=by_key, memory=memory))

    def test_inputs_of_another_dtype(self):
        """Integers, booleans and half precision reach the model as they are."""
        model, loss_fn, _ = mlp()
        bits = X > 0

        def forward(m, batch):
            assert batch["bits"].dtype == torch.bool
            assert batch["half"].dtype == torch.float16
            assert batch["index"].dtype == torch.int32
            x = batch["bits"].double() + batch["half"].double()
            return m(x), batch["index"].long()

        batch = {"bits": bits, "half": X.half(), "index": Y.int()}
        H = hessop.HessianOperator(model, loss_fn, batch, forward=forward)
        x = bits.double() + X.half().double()
        exact = oracles.dense_hessian(model, loss_fn, (x, Y))
        np.testing.assert_allclose(oracles.matrix(H), exact, atol=1e-14)

    def test_inputs_that_do_not_fit_the_model(self):
        """float32 inputs of a float64 model: torch's own words."""
        model, loss_fn, _ = mlp()
        with pytest.raises(RuntimeError, match="must have the same dtype"):
            hessop.HessianOperator(model, loss_fn, (X.float(), Y))

    @pytest.mark.parametrize(
        ("batch", "got"),
        [
            ((X, X, Y), "a tuple of 3"),
            ({"x": X, "y": Y}, "a dict of 2"),
            (Batch(X, Y), "a Batch"),
            ([Batch(X, Y)], "a Batch"),
            ([X], "a Tensor"),
        ],
    )
    def test_batches_that_need_forward(self, batch, got):
        """What came and what to pass."""
        model, loss_fn, _ = mlp()
        if got == "a Tensor":
            text = "`data` must be a tuple (x, y) or a list of batches; got a list of tensors."
        else:
            text = (
                f"`data` must have batches that are (x, y) pairs; got {got}. "
                "Pass forward=lambda model, batch: (output, target)."
            )
        with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
            hessop.HessianOperator(model, loss_fn, batch)

    @pytest.mark.parametrize("data", [Batch, Named, dict])
    def test_a_class_is_no_batch(self, data):
        """What was meant is one of its objects."""
        model, loss_fn, _ = mlp()
        with pytest.raises(TypeError, match=r"^`data` must be an \(x, y\) pair of tensors, a list"):
            hessop.HessianOperator(model, loss_fn, data)


def supervised(model, batch):
    """The classifier's loss as one scalar."""
    x, y = batch
    return F.cross_entropy(model(x), y)


class Field(nn.Module):
    """A function of the plane."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1))

    def forward(self, x):
        """A number for each point."""
        return self.inner(x)[:, 0]


@functools.cache
def physics():
    """A field, and points inside and on the boundary, with the values there."""
    torch.manual_seed(4)
    field = Field().double()
    inside, boundary = torch.rand(12, 2).double(), torch.rand(12, 2).double()
    return field, inside, boundary, torch.sin(boundary.sum(1))


def residual(model, batch):
    """
    A mean over points of ``(laplacian u + u^2)^2``, and of the error on the boundary.

    The derivatives by the points are part of the graph, as in training.
    """
    x = batch["inside"].detach().clone().requires_grad_()
    u = model(x)
    (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    laplacian = sum(
        torch.autograd.grad(slope[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(2)
    )
    boundary = (model(batch["boundary"]) - batch["values"]) ** 2
    return ((laplacian + u**2) ** 2).mean() + boundary.mean()


def plain_residual(model, batch):
    """The same with derivatives of the network written out: tanh has known ones."""
    first, _, last = model.inner
    h = torch.tanh(first(batch["inside"]))
    second = -2 * h * (1 - h**2)
    laplacian = (second * (first.weight**2).sum(1)) @ last.weight[0]
    u = model(batch["inside"])
    boundary = (model(batch["boundary"]) - batch["values"]) ** 2
    return ((laplacian + u**2) ** 2).mean() + boundary.mean()


class Autoencoder(nn.Module):
    """A variational autoencoder whose noise comes with the batch."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(4, 4)
        self.decoder = nn.Linear(2, 4)


def evidence(model, batch):
    """The negative evidence lower bound, a mean over examples."""
    x, noise = batch
    mean, log_scale = model.encoder(torch.tanh(x)).chunk(2, 1)
    z = mean + noise * log_scale.exp()
    error = ((model.decoder(torch.tanh(z)) - x) ** 2).sum(1)
    divergence = (0.5 * (mean**2 + (2 * log_scale).exp() - 1) - log_scale).sum(1)
    return (error + divergence).mean()


class Evaluated(nn.Module):
    """A model whose output is a scalar objective of another."""

    def __init__(self, objective, model, batch):
        super().__init__()
        self.objective = objective
        self.model = model
        self.batch = batch

    def forward(self, x):
        """Whatever the input."""
        return self.objective(self.model, self.batch)


def dense(objective, model, batch):
    """Loss, gradient and Hessian of a scalar objective over one batch."""
    nothing = torch.zeros(1)
    problem = Evaluated(objective, model, batch), lambda o, t: o, (nothing, nothing)
    return oracles.loss(*problem), oracles.gradient(*problem), oracles.dense_hessian(*problem)


class TestObjectives:
    @EVERY_MODE
    def test_a_supervised_loss(self, mode):
        """The same operator as by loss and output."""
        model, _, data = mlp()
        H = hessop.HessianOperator(model, None, cut(data, 7), objective=supervised, mode=mode)
        check(H, tolerance(mode))

    @settings(max_examples=6)
    @given(points=st.sets(st.integers(1, 10)), memory=st.sampled_from(["auto", 0, 3000]))
    def test_whatever_the_cut(self, points, memory):
        """Examples are counted by the first dimension that all tensors share."""
        model, _, data = mlp()
        check(
            hessop.HessianOperator(
                model, None, cut(data, *points), objective=supervised, memory=memory
            )
        )

    @EVERY_MODE
    @pytest.mark.parametrize("batches", [1, 2])
    def test_physics(self, batches, mode):
        """Derivatives of the model by its input, differentiated twice by the parameters."""
        field, inside, boundary, values = physics()
        batch = {"inside": inside, "boundary": boundary, "values": values}
        loss, gradient, hessian = dense(plain_residual, field, batch)
        data = [{k: t[a:b] for k, t in batch.items()} for a, b in ((0, 5), (5, 12))]
        H = hessop.HessianOperator(
            field, None, batch if batches == 1 else data, objective=residual, mode=mode
        )
        assert H.loss() == pytest.approx(loss, rel=1e-12)
        np.testing.assert_allclose(H.gradient(), gradient, rtol=1e-10, atol=1e-13)
        size = np.abs(hessian).max()
        for _ in range(2):
            np.testing.assert_allclose(
                oracles.matrix(H), hessian, atol=1e3 * tolerance(mode) * size
            )

    @EVERY_MODE
    def test_a_variational_autoencoder(self, mode):
        """With noise that belongs to the data, the objective is one function."""
        torch.manual_seed(2)
        model = Autoencoder().double()
        x, noise = torch.randn(9, 4).double(), torch.randn(9, 2).double()
        loss, gradient, hessian = dense(evidence, model, (x, noise))
        H = hessop.HessianOperator(model, None, cut((x, noise), 2), objective=evidence, mode=mode)
        assert H.loss() == pytest.approx(loss, rel=1e-13)
        np.testing.assert_allclose(H.gradient(), gradient, atol=1e-13)
        size = np.abs(hessian).max()
        np.testing.assert_allclose(oracles.matrix(H), hessian, atol=100 * tolerance(mode) * size)

    def test_noise_of_its_own_is_refused(self):
        """The objective would be another at every pass."""
        torch.manual_seed(2)
        model = Autoencoder().double()

        def noisy(m, batch):
            return evidence(m, (batch[0], torch.randn(len(batch[0]), 2).double()))

        with pytest.raises(ValueError, match=r"^`model` must give the same loss at every evaluati"):
            hessop.HessianOperator(model, None, [(torch.ones(3, 4).double(),)], objective=noisy)

    def test_blocks_and_choices(self):
        """As of any Hessian."""
        field, inside, boundary, values = physics()
        batch = {"inside": inside, "boundary": boundary, "values": values}
        hessian = dense(plain_residual, field, batch)[2]
        H = hessop.HessianOperator(field, None, batch, objective=residual)
        np.testing.assert_allclose(
            oracles.matrix(H.block("inner.2")), hessian[15:, 15:], rtol=1e-9, atol=1e-11
        )
        H = hessop.HessianOperator(field, None, batch, objective=residual, params="inner.0")
        np.testing.assert_allclose(oracles.matrix(H), hessian[:15, :15], rtol=1e-9, atol=1e-11)

    def test_a_penalty_on_the_parameters(self):
        """The objective sees the stand-ins through the model."""
        model, _, data = mlp()

        def penalised(m, batch):
            return supervised(m, batch) + 0.25 * sum((p**2).sum() for p in m.parameters())

        H = hessop.HessianOperator(model, None, cut(data, 7), objective=penalised)
        np.testing.assert_allclose(oracles.matrix(H), expected()[2] + 0.5 * np.eye(51), atol=1e-13)

    def test_a_direct_reference_is_refused(self):
        """The other model is not the one that is differentiated."""
        model, _, data = mlp()
        weight = model[0].weight
        with pytest.raises(
            ValueError, match=r"reach the parameters through the model; got a direc"
        ):
            hessop.HessianOperator(
                model,
                None,
                data,
                objective=lambda m, b: supervised(m, b) + weight.pow(2).sum(),
            )


class TestWeights:
    @settings(max_examples=6)
    @given(points=st.sets(st.integers(1, 11)))
    def test_batches_of_unequal_kinds(self, points):
        """Points inside and on the boundary in unequal numbers: `weight` counts them."""
        field, inside, _, _ = physics()
        edges = [0, *sorted(points), 12]
        data = [
            {"inside": inside[a:b], "extra": torch.zeros(3)} for a, b in itertools.pairwise(edges)
        ]

        def objective(m, batch):
            return (m(batch["inside"]) ** 2).mean()

        H = hessop.HessianOperator(
            field, None, data, objective=objective, weight=lambda b: len(b["inside"])
        )
        whole = hessop.HessianOperator(field, None, {"inside": inside}, objective=objective)
        v = np.ones(21)
        np.testing.assert_allclose(H @ v, whole @ v, atol=1e-12)
        assert H.loss() == pytest.approx(whole.loss(), rel=1e-13)

    def test_sum(self):
        """The mean times the number of examples, or the weights."""
        model, _, data = mlp()
        H = hessop.HessianOperator(model, None, cut(data, 7), objective=supervised, reduction="sum")
        np.testing.assert_allclose(oracles.matrix(H), 11 * expected()[2], atol=1e-12)
        assert H.loss() == pytest.approx(11 * expected()[0])
        H = hessop.HessianOperator(
            model, None, data, objective=supervised, reduction="sum", weight=lambda b: 2.5
        )
        np.testing.assert_allclose(oracles.matrix(H), 2.5 * expected()[2], atol=1e-12)

    def test_weight_overrides_the_count(self):
        """Batches as the user weighs them, seen as they came."""
        model, _, data = mlp()
        batches, seen = cut(data, 3), []
        H = hessop.HessianOperator(
            model,
            None,
            batches,
            objective=supervised,
            weight=lambda b: seen.append(b) or len(b[1]) ** 2,
        )
        first, second = (supervised(model, b).item() for b in batches)
        assert H.loss() == pytest.approx((9 * first + 64 * second) / 73, rel=1e-13)
        assert all(any(b is batch for batch in batches) for b in seen)

    @pytest.mark.parametrize(
        "batch",
        [
            {"x": X, "extra": torch.zeros(3)},
            {"x": X, "scale": torch.tensor(1.0)},
            {"x": X.T, "y": Y},
            [{"name": "no tensor at all"}],
        ],
    )
    def test_batches_that_need_a_weight(self, batch):
        """The tensors share no first dimension, or there are none."""
        model, _, _ = mlp()
        text = (
            "`weight` must be given where the tensors of a batch share no first dimension; got "
            "none. Pass weight=lambda batch: <how many examples the batch holds>."
        )

        def objective(m, b):
            return m(X).pow(2).mean()

        with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
            hessop.HessianOperator(model, None, batch, objective=objective)
        H = hessop.HessianOperator(model, None, batch, objective=objective, weight=lambda b: 4)
        assert H.loss() == pytest.approx(model(X).pow(2).mean().item())

    @pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
    def test_weights_out_of_range(self, value):
        """As for any loss."""
        model, _, data = mlp()
        text = f"`weight(batch)` must be a finite number >= 0; got {float(value)}."
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            hessop.HessianOperator(model, None, data, objective=supervised, weight=lambda b: value)

    def test_a_batch_of_no_weight(self):
        """Counts nothing, even where its loss is no number."""
        model, _, data = mlp()
        batches = [(X[:2] * float("nan"), Y[:2]), data]
        H = hessop.HessianOperator(
            model,
            None,
            batches,
            objective=supervised,
            weight=lambda b: 0 if len(b[1]) == 2 else len(b[1]),
        )
        check(H)


class TestArguments:
    @pytest.mark.parametrize("name", ["loss_fn", "forward"])
    def test_an_objective_stands_alone(self, name):
        """Beside it there is neither loss nor forward."""
        model, loss_fn, data = mlp()
        options = {"loss_fn": None, name: loss_fn}
        text = (
            "`objective` must stand alone; got a loss_fn or forward beside it. "
            "Pass None for loss_fn, and no forward."
        )
        with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
            hessop.HessianOperator(model, data=data, objective=supervised, **options)

    @pytest.mark.parametrize("name", ["objective", "weight"])
    @pytest.mark.parametrize("value", [3, "loss", (), torch.tensor(1.0)])
    def test_callables(self, name, value):
        """What is called must be callable."""
        model, _, data = mlp()
        options = {"objective": supervised, name: value}
        text = f"`{name}` must be callable; got {value!r}."
        with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
            hessop.HessianOperator(model, None, data, **options)

    @pytest.mark.parametrize("value", [0.5, None, [torch.tensor(1.0)]])
    def test_objectives_that_are_no_tensor(self, value):
        """The name in the message is that of the objective."""
        model, _, data = mlp()
        text = (
            f"return a real scalar tensor, the mean over the batch; got a {type(value).__name__}."
        )
        with pytest.raises(TypeError, match=f"^`objective` must {re.escape(text)}$"):
            hessop.HessianOperator(model, None, data, objective=lambda m, b: value)

    def test_objectives_that_are_no_scalar(self):
        """Shape and dtype are in the message."""
        model, _, data = mlp()
        text = (
            "`objective` must return a real scalar tensor, the mean over the batch; got "
            'torch.float64 of shape (11, 3). Use reduction="mean" in the loss.'
        )
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            hessop.HessianOperator(model, None, data, objective=lambda m, b: m(b[0]))


class TestLossAndGradient:
    @EVERY_MODE
    @pytest.mark.parametrize("memory", ["auto", 0])
    @pytest.mark.parametrize("make", [mlp, regression])
    def test_in_every_mode(self, make, memory, mode):
        """Before and after products, kept or not; no product changes them."""
        model, loss_fn, data = make()
        loss, gradient = oracles.loss(*make()), oracles.gradient(*make())
        for kind in (hessop.HessianOperator, hessop.GGNOperator):
            A = kind(model, loss_fn, cut(data, 2, 7), mode=mode, memory=memory)
            for _ in range(3):
                assert A.loss() == pytest.approx(loss, rel=1e-13)
                np.testing.assert_allclose(A.gradient(), gradient, atol=1e-14)
                A @ np.ones((A.shape[0], 2))

    @EVERY_MODE
    def test_of_a_choice_of_parameters(self, mode):
        """The gradient by these alone."""
        model, loss_fn, data = mlp()
        H = hessop.HessianOperator(model, loss_fn, cut(data, 2), mode=mode, params="2")
        H @ np.ones(21)
        np.testing.assert_allclose(H.gradient(), expected()[1][30:], atol=1e-14)
        assert H.loss() == pytest.approx(expected()[0], rel=1e-13)
