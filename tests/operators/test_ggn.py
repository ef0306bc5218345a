"""The Gauss-Newton matrix against a loop over examples; blocks and copies of every curvature."""

from __future__ import annotations

import collections
import copy
import functools
import pickle
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import eigsh
from torch import nn

import hessop
from hessop.operators import ProductOperator
from tests import oracles
from tests.models import IGNORED, PROBLEMS, Ridge, cut, mlp, regression, tied

MODES = (
    "auto",
    "kept",
    "recorded",
    "linearized",
    "forward-over-reverse",
    "reverse-over-reverse",
    "finite-difference",
)
EVERY_MODE = pytest.mark.parametrize("mode", MODES)


def tolerance(mode):
    """What a mode promises in float64, for matrices of about unit size."""
    return 1e-8 if mode == "finite-difference" else 1e-13


def agree(A, exact, mode="auto"):
    """Products of three vectors are those of a dense matrix, to what a mode promises."""
    V = np.random.default_rng(0).standard_normal((len(exact), 3))
    np.testing.assert_allclose(A @ V, exact @ V, atol=100 * tolerance(mode))


def by_rows(z, parameters):
    """The derivative of each entry of z by the parameters, by one backward pass each."""
    rows = []
    for entry in z.flatten():
        found = torch.autograd.grad(entry, parameters, retain_graph=True, allow_unused=True)
        pieces = zip(found, parameters, strict=True)
        rows.append(
            torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pieces])
        )
    return torch.stack(rows)


def gauss_newton(model, loss_of_one, data, weigh=lambda y: 1.0, names=None):
    """
    ``sum_i w_i J_i^T H_i J_i`` and ``sum_i w_i``, example by example.

    `loss_of_one` takes the output and the target of a batch of one, and gives its mean; `weigh`
    says over how many it is.
    """
    parameters = [p for n, p in model.named_parameters() if names is None or n in names]
    total, count = 0.0, 0.0
    for i in range(len(data[1])):
        x, y = data[0][i : i + 1], data[1][i : i + 1]
        w = float(weigh(y))
        if w == 0:
            continue
        z = model(x)
        J = by_rows(z, parameters)
        H = torch.autograd.functional.hessian(
            lambda u, y=y, z=z: loss_of_one(u.view_as(z), y), z.detach().flatten()
        )
        total, count = total + w * J.T @ H @ J, count + w
    return total.numpy(), count


def classifier(kind=None):
    """The classifier with other targets: positions of sequences, or bits."""
    model, _, (x, y) = mlp()
    if kind == "tokens":
        with torch.random.fork_rng():
            torch.manual_seed(1)
            model[2] = nn.Linear(6, 8).double()
        model.append(nn.Unflatten(1, (4, 2)))
        y = (torch.arange(22).view(11, 2) * 7) % 4
        y[1, 0] = y[4, 1] = y[8] = IGNORED
    elif kind == "bits":
        y = F.one_hot(y, 3).double()
    return model, (x, y)


CLASS_WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 4.0], dtype=torch.float64)


def log_cosh(output, target):
    """A convex loss of the user's own."""
    return (output - target).cosh().log().mean()


def examples_of(make):
    """Model and data of a problem of `tests.models`."""
    model, _, data = make()
    return model, data


# Model and data, the loss, and what each example weighs in the mean (the first axis if None).
CASES = {
    "cross entropy": (functools.partial(examples_of, mlp), nn.CrossEntropyLoss(), None),
    "smoothed": (
        functools.partial(examples_of, mlp),
        nn.CrossEntropyLoss(label_smoothing=0.2),
        None,
    ),
    "ignored tokens": (
        functools.partial(classifier, "tokens"),
        nn.CrossEntropyLoss(ignore_index=IGNORED),
        lambda y: (y != IGNORED).sum(),
    ),
    "ignored tokens and class weights": (
        functools.partial(classifier, "tokens"),
        nn.CrossEntropyLoss(weight=CLASS_WEIGHTS),
        lambda y: CLASS_WEIGHTS[y[y != IGNORED]].sum(),
    ),
    "bits": (functools.partial(classifier, "bits"), nn.BCEWithLogitsLoss(), None),
    "bits, pos_weight": (
        functools.partial(classifier, "bits"),
        nn.BCEWithLogitsLoss(pos_weight=CLASS_WEIGHTS[:3]),
        None,
    ),
    "squares": (functools.partial(examples_of, regression), nn.MSELoss(), None),
    "Huber": (functools.partial(examples_of, regression), nn.HuberLoss(delta=0.7), None),
    "log cosh": (functools.partial(examples_of, regression), log_cosh, None),
}
EVERY = pytest.mark.parametrize("name", CASES)


@functools.cache
def expected(name):
    """The mean over all examples, and over how many it is."""
    make, loss_fn, weigh = CASES[name]
    total, count = gauss_newton(*_model_first(make, loss_fn), weigh or (lambda y: 1.0))
    return total / count, count


def _model_first(make, loss_fn):
    model, data = make()
    return model, loss_fn, data


def build(name, points=(), **options):
    """The operator of a case, with the data cut at some points."""
    make, loss_fn, _ = CASES[name]
    model, data = make()
    return hessop.GGNOperator(model, loss_fn, cut(data, *points), **options)


class TestAgainstTheLoop:
    @EVERY
    @settings(max_examples=4)
    @given(points=st.sets(st.integers(1, 8)), memory=st.sampled_from(["auto", 0, 3000]))
    def test_whatever_the_cut(self, name, points, memory):
        """Any ragged cut, kept or not: the mean over all that counts."""
        G = build(name, points, memory=memory)
        V = np.random.default_rng(0).standard_normal((G.shape[0], 2))
        for _ in range(2):
            np.testing.assert_allclose(G @ V, expected(name)[0] @ V, rtol=1e-11, atol=1e-13)

    @EVERY_MODE
    @pytest.mark.parametrize("name", ["cross entropy", "ignored tokens and class weights", "Huber"])
    def test_whatever_the_mode(self, name, mode):
        """Three vectors in one block."""
        G = build(name, (2, 5), mode=mode)
        agree(G, expected(name)[0], mode)
        if mode != "auto":
            assert G.report().stage == mode

    @EVERY
    def test_sum(self, name):
        """The mean times what it is divided by."""
        G = build(name, (4,), reduction="sum")
        matrix, count = expected(name)
        v = np.ones(G.shape[0])
        np.testing.assert_allclose(G @ v, count * matrix @ v, rtol=1e-11, atol=1e-12)

    @pytest.mark.parametrize("name", ["cross entropy", "ignored tokens and class weights"])
    def test_a_summed_loss(self, name):
        """Divided by the number that counts."""
        make, loss_fn, _ = CASES[name]
        summed = copy.copy(loss_fn)
        summed.reduction = "sum"
        model, data = make()
        G = hessop.GGNOperator(model, summed, cut(data, 3, 4))
        np.testing.assert_allclose(oracles.matrix(G), expected(name)[0], atol=1e-13)

    @pytest.mark.parametrize("name", PROBLEMS)
    def test_every_kind_of_layer(self, name):
        """Against the loop, where examples do not mix; loss and gradient are those of the loss."""
        model, loss_fn, data = PROBLEMS[name]()
        weigh = {
            "transformer": lambda y: (y != IGNORED).sum(),
            "lstm": lambda y: loss_fn.weight[y].sum(),
        }.get(name, lambda y: 1.0)
        G = hessop.GGNOperator(model, loss_fn, cut(data, 2))
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            total, count = gauss_newton(model, loss_fn, data, weigh)
        np.testing.assert_allclose(oracles.matrix(G), total / count, atol=1e-13)
        np.testing.assert_allclose(G.gradient(), oracles.gradient(model, loss_fn, data), atol=1e-13)
        assert G.loss() == pytest.approx(oracles.loss(model, loss_fn, data), rel=1e-13)

    def test_float32(self):
        """To a few units of single precision."""
        model, loss_fn, data = mlp(torch.float32)
        G = hessop.GGNOperator(model, loss_fn, cut(data, 3))
        assert G.dtype == np.float32
        A, exact = oracles.matrix(G), expected("cross entropy")[0]
        assert np.linalg.norm(A - exact, 2) < 20 * np.finfo(np.float32).eps * np.linalg.norm(
            exact, 2
        )

    def test_weights_of_the_user(self):
        """Batches as the user weighs them."""
        model, loss_fn, data = regression()
        batches = cut(data, 3)
        G = hessop.GGNOperator(model, loss_fn, batches, weight=lambda b: len(b[1]) ** 2)
        parts = [gauss_newton(model, loss_fn, batch)[0] / len(batch[1]) for batch in batches]
        np.testing.assert_allclose(
            oracles.matrix(G), (9 * parts[0] + 36 * parts[1]) / 45, atol=1e-14
        )

    @pytest.mark.parametrize("params", ["0", "2.bias", ["0.bias", "2.weight"]])
    def test_a_choice_of_parameters(self, params):
        """Other columns of the Jacobian play no part."""
        model, loss_fn, data = mlp()
        G = hessop.GGNOperator(model, loss_fn, data, params=params)
        total, count = gauss_newton(model, loss_fn, data, names=G.names)
        np.testing.assert_allclose(oracles.matrix(G), total / count, atol=1e-14)

    @pytest.mark.parametrize("memory", ["auto", 0])
    @pytest.mark.parametrize("first", [True, False])
    def test_a_batch_of_ignored_targets_counts_nothing(self, first, memory):
        """torch's mean over it is 0/0, wherever it stands."""
        model, _, (x, y) = mlp()
        y = y.clone()
        y[:4] = IGNORED
        if not first:
            x, y = x.flip(0), y.flip(0)
        loss_fn = nn.CrossEntropyLoss()
        whole = hessop.GGNOperator(model, loss_fn, (x, y))
        pieces = hessop.GGNOperator(model, loss_fn, cut((x, y), 4, 7), memory=memory)
        v = np.ones(whole.shape[0])
        for _ in range(2):
            np.testing.assert_allclose(pieces @ v, whole @ v, rtol=1e-12, atol=1e-14)


class TestProperties:
    @EVERY
    def test_symmetric_and_semidefinite(self, name):
        """The losses are convex."""
        A = oracles.matrix(build(name))
        assert np.abs(A - A.T).max() <= 1e-14 * np.abs(A).max()
        assert np.linalg.eigvalsh(A)[0] > -1e-13 * np.abs(A).max()

    @pytest.mark.parametrize("loss_fn", [nn.CrossEntropyLoss(), nn.NLLLoss(), None])
    def test_a_model_without_curvature(self, loss_fn):
        """Of a linear model it is the Hessian; a loss linear in the output has none."""
        _, (x, y) = classifier()
        model = nn.Linear(4, 3).double()
        if loss_fn is None:
            loss_fn = lambda o, t: o.mean()  # noqa: E731
        G, H = (
            oracles.matrix(kind(model, loss_fn, (x, y)))
            for kind in (hessop.GGNOperator, hessop.HessianOperator)
        )
        np.testing.assert_allclose(G, H, atol=1e-15)
        assert bool(G.any()) == isinstance(loss_fn, nn.CrossEntropyLoss)

    @EVERY_MODE
    def test_a_loss_linear_in_the_output(self, mode):
        """Log-probabilities: all curvature is that of the model, and the matrix is zero."""
        model, data = classifier()
        model.append(nn.LogSoftmax(1))
        G = hessop.GGNOperator(model, nn.NLLLoss(), cut(data, 4), mode=mode)
        for _ in range(2):
            assert not (G @ np.ones((G.shape[0], 2))).any()

    def test_at_zero_residual_it_is_the_hessian(self):
        """Squared errors that vanish leave no curvature of the model."""
        model, loss_fn, (x, _) = regression()
        data = (x, model(x).detach())
        G, H = (kind(model, loss_fn, data) for kind in (hessop.GGNOperator, hessop.HessianOperator))
        np.testing.assert_allclose(oracles.matrix(G), oracles.matrix(H), atol=1e-14)

    def test_a_penalty_on_the_parameters_does_not_enter(self):
        """The loss is differentiated by the output alone."""
        model, loss_fn, data = mlp()
        G = hessop.GGNOperator(model, Ridge(model, loss_fn, 0.5), data)
        np.testing.assert_allclose(oracles.matrix(G), expected("cross entropy")[0], atol=1e-14)

    def test_the_operator_follows_its_model(self):
        """After a change it gives the new matrix."""
        model, loss_fn, data = mlp()
        G = hessop.GGNOperator(model, loss_fn, data)
        v = np.ones(G.shape[0])
        before = G @ v
        model[0].weight.data.mul_(1.5)
        total, count = gauss_newton(model, loss_fn, data)
        np.testing.assert_allclose(G @ v, total @ v / count, atol=1e-13)
        assert np.abs(G @ v - before).max() > 1e-3

    def test_one_forward_pass_for_all_products(self):
        """Kept like the Hessian."""
        G = build("cross entropy", (3, 7), check=False)
        for _ in range(3):
            G @ np.ones((G.shape[0], 2))
        assert G.product.n_forward == 3


class Heads(nn.Module):
    """Two outputs, a constant and an integer, in any container."""

    def __init__(self, container):
        super().__init__()
        self.body = nn.Linear(3, 4)
        self.mean = nn.Linear(4, 2)
        self.log_scale = nn.Linear(4, 2)
        self.container = container

    def forward(self, x):
        """All of them."""
        h = torch.tanh(self.body(x))
        mean, log_scale = self.mean(h), self.log_scale(h)
        constant, index = torch.ones(2, dtype=x.dtype), torch.arange(2)
        return {
            "tuple": lambda: (mean, log_scale, constant, index, None),
            "list": lambda: [mean, log_scale, constant, index, "name"],
            "dict": lambda: {"a": mean, "b": log_scale, "c": constant, "d": index},
            "nested": lambda: {"a": mean, "rest": (log_scale, [constant, index])},
            "named tuple": lambda: Output(mean, log_scale, constant, index),
        }[self.container]()


Output = collections.namedtuple("Output", "mean log_scale constant index")


def gaussian(output, target):
    """The likelihood of a mean and a scale, from any container."""
    if isinstance(output, dict) and "rest" in output:
        mean, (log_scale, (constant, _)) = output["a"], output["rest"]
    else:
        parts = output.values() if isinstance(output, dict) else output
        mean, log_scale, constant = list(parts)[:3]
    return (0.5 * ((target - mean) / log_scale.exp()) ** 2 + constant * log_scale).mean()


class WithScale(nn.Module):
    """An output that is itself a parameter."""

    def __init__(self):
        super().__init__()
        self.mean = nn.Linear(3, 2)
        self.log_scale = nn.Parameter(torch.tensor([0.1, -0.3]))

    def forward(self, x):
        """Mean and scale."""
        return self.mean(x), self.log_scale


class TestSeveralOutputs:
    @pytest.mark.parametrize(
        ("container", "mode"),
        [
            *(("nested", mode) for mode in MODES),
            *((container, "auto") for container in ("tuple", "list", "dict", "named tuple")),
        ],
    )
    def test_containers(self, container, mode):
        """All floating tensors are outputs, with the loss's mixed derivatives between them."""
        torch.manual_seed(3)
        model = Heads(container).double()
        _, _, data = regression()
        flat = Heads("tuple").double()
        flat.load_state_dict(model.state_dict())

        class Joined(nn.Module):
            """The two outputs side by side."""

            def __init__(self):
                super().__init__()
                self.heads = flat

            def forward(self, x):
                return torch.cat(self.heads(x)[:2], 1)

        def joined(u, t):
            return gaussian((u[:, :2], u[:, 2:], 1.0), t)

        total, count = gauss_newton(Joined(), joined, data)
        G = hessop.GGNOperator(model, gaussian, cut(data, 4), mode=mode)
        np.testing.assert_allclose(oracles.matrix(G), total / count, atol=10 * tolerance(mode))
        mixed = total[-6:, -16:-6] / count
        assert np.abs(mixed).max() > 1e-3

    @EVERY_MODE
    def test_a_parameter_as_output(self, mode):
        """Shared by all examples of a batch."""
        torch.manual_seed(3)
        model = WithScale().double()
        _, _, (x, y) = regression()

        def loss_fn(output, target):
            return gaussian((*output, 1.0), target)

        G = hessop.GGNOperator(model, loss_fn, cut((x, y), 5), mode=mode)
        z = torch.cat([model.mean(x).flatten(), model.log_scale]).detach()
        J = by_rows(torch.cat([model.mean(x).flatten(), model.log_scale]), list(model.parameters()))
        H = torch.autograd.functional.hessian(lambda u: loss_fn((u[:-2].view(9, 2), u[-2:]), y), z)
        np.testing.assert_allclose(oracles.matrix(G), J.T @ H @ J, atol=10 * tolerance(mode))

    @pytest.mark.parametrize("output", [None, 3.0, "logits", torch.arange(3), object()])
    def test_outputs_without_floating_tensors(self, output):
        """What came, and what to pass."""
        model, _, data = mlp()
        text = (
            "`forward` must give an output that holds floating tensors; got a "
            f"{type(output).__name__}. Pass forward=lambda model, batch: (output, target)."
        )
        G = hessop.GGNOperator(
            model, nn.MSELoss(), data, forward=lambda m, b: (output, b[1]), check=False
        )
        with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
            G @ np.ones(G.shape[0])


KINDS = {
    "Hessian": hessop.HessianOperator,
    "GGN": hessop.GGNOperator,
    "type2": functools.partial(hessop.FisherOperator, kind="type2"),
    "mc": functools.partial(hessop.FisherOperator, kind="mc", rng=3),
    "empirical": functools.partial(hessop.FisherOperator, kind="empirical"),
}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


@functools.cache
def whole(kind, problem="mlp"):
    """All of a matrix."""
    model, loss_fn, data = PROBLEMS[problem]()
    return oracles.matrix(KINDS[kind](model, loss_fn, data))


def places(A, names):
    """Where some parameters lie in the flat vector."""
    index = A.unflatten(np.arange(A.shape[0], dtype=float))
    return np.concatenate([index[n].ravel() for n in names]).astype(int)


class TestBlocks:
    @pytest.mark.parametrize(
        ("kind", "mode"),
        [
            (kind, mode)
            for kind in KINDS
            for mode in MODES
            if kind in ("Hessian", "GGN") or mode in ("kept", "linearized")
        ],
    )
    def test_each_is_a_block_of_the_whole(self, kind, mode):
        """Before and after a product with the whole, alone and in blocks of vectors."""
        model, loss_fn, data = mlp()
        A = KINDS[kind](model, loss_fn, cut(data, 4) if mode == "kept" else data, mode=mode)
        for _ in range(2):
            for name, block in A.blocks(by="parameter").items():
                assert isinstance(block, ProductOperator)
                assert block.names == (name,)
                index = places(A, [name])
                exact = whole(kind)[np.ix_(index, index)]
                assert (block.shape, block.dtype) == (exact.shape, A.dtype)
                agree(block, exact, mode)
            agree(A, whole(kind), mode)

    @pytest.mark.parametrize("mode", ["recorded", "linearized"])
    @pytest.mark.parametrize("kind", ["Hessian", "GGN", "mc"])
    def test_blocks_of_vectors(self, kind, mode):
        """Several vectors in one pass, and a rest, in either layout of memory."""
        A = KINDS[kind](*mlp(), mode=mode, block_size=4)
        A @ np.ones(A.shape[0])
        for block in [*A.blocks().values(), A]:
            index = places(A, block.names)
            V = np.random.default_rng(0).standard_normal((len(index), 7))
            exact = whole(kind)[np.ix_(index, index)] @ V
            for order in "FC":
                np.testing.assert_allclose(block @ np.asarray(V, order=order), exact, atol=1e-13)

    @pytest.mark.parametrize(
        ("name", "names"),
        [
            ("0", ("0.weight", "0.bias")),
            ("2.bias", ("2.bias",)),
            ("*weight", ("0.weight", "2.weight")),
            (["2.bias", "0.weight"], ("0.weight", "2.bias")),
            (lambda n, p: p.ndim == 1, ("0.bias", "2.bias")),
            (None, ("0.weight", "0.bias", "2.weight", "2.bias")),
        ],
    )
    @EVERY_KIND
    def test_patterns(self, kind, name, names):
        """As in `params`; the order is that of the flat vector."""
        model, loss_fn, data = mlp()
        A = KINDS[kind](model, loss_fn, data)
        block = A.block(name)
        assert block.names == names
        index = places(A, names)
        np.testing.assert_allclose(
            oracles.matrix(block), whole(kind)[np.ix_(index, index)], atol=1e-14
        )

    @pytest.mark.parametrize("problem", PROBLEMS)
    @EVERY_KIND
    def test_partitions(self, kind, problem):
        """By what owns the parameters, or each alone: all of them, once, in order."""
        model, loss_fn, data = PROBLEMS[problem]()
        A = KINDS[kind](model, loss_fn, data)
        for by in ("layer", "parameter"):
            blocks = A.blocks(by=by)
            assert sorted(n for b in blocks.values() for n in b.names) == sorted(A.names)
            assert sum(b.shape[0] for b in blocks.values()) == A.shape[0]
        assert tuple(blocks) == A.names
        owners = [n.rpartition(".")[0] or n for n in A.names]
        assert list(A.blocks()) == list(dict.fromkeys(owners))
        # the largest, to save time
        block = max(A.blocks().values(), key=lambda b: b.shape[0])
        v = np.random.default_rng(0).standard_normal(block.shape[0])
        full = np.zeros(A.shape[0])
        index = places(A, block.names)
        full[index] = v
        np.testing.assert_allclose(block @ v, (A @ full)[index], rtol=1e-10, atol=1e-14)

    def test_layers_of_a_model(self):
        """Names of modules; a parameter of the model's own goes by its name."""
        A = hessop.GGNOperator(*PROBLEMS["transformer"]())
        assert list(A.blocks())[:3] == ["positions", "tokens", "norm"]
        assert A.blocks()["attention.qkv"].names == ("attention.qkv.weight",)
        assert A.block("attention").names == ("attention.qkv.weight", "attention.out.weight")

    @EVERY_KIND
    def test_a_tied_parameter_is_in_one_block(self, kind):
        """Asked for by any of its names."""
        A = KINDS[kind](*tied())
        assert A.block("head").names == A.block("embedding.weight").names == ("embedding.weight",)
        np.testing.assert_array_equal(
            oracles.matrix(A.block("head")), oracles.matrix(A.block("embedding"))
        )

    @pytest.mark.parametrize("by", ["layers", None, 0])
    def test_partitions_that_there_are_not(self, by):
        """The two are in the message."""
        A = hessop.GGNOperator(*mlp())
        text = f"`by` must be one of 'layer', 'parameter'; got {by!r}."
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            A.blocks(by=by)

    def test_parameters_that_are_not_chosen(self):
        """What there is is in the message."""
        model, loss_fn, data = mlp()
        A = hessop.HessianOperator(model, loss_fn, data, params="0")
        text = (
            "`name` must match a chosen parameter by name, glob or module name; got '2'. "
            "The parameters are ['0.weight', '0.bias']."
        )
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            A.block("2")

    @pytest.mark.parametrize("name", ["1", "weight", "0.weights", "", ["0", "nothing"]])
    def test_parameters_that_there_are_not(self, name):
        """A pattern that matches nothing is an error, also beside one that does."""
        A = hessop.HessianOperator(*mlp())
        wrong = name if isinstance(name, str) else name[1]
        text = f"must match a parameter by name, glob or module name; got {wrong!r}. The parameters"
        with pytest.raises(ValueError, match=re.escape(text)):
            A.block(name)

    @pytest.mark.parametrize("name", [3, [3], [None]])
    def test_names_of_another_type(self, name):
        """Neither a name nor a predicate."""
        A = hessop.HessianOperator(*mlp())
        with pytest.raises(TypeError, match=re.escape(f"or None; got {name!r}.")):
            A.block(name)

    def test_vectors_are_cut_by_name(self):
        """As the whole cuts its own: the pieces of a block are those of the whole."""
        A = hessop.HessianOperator(*mlp())
        v = np.random.default_rng(0).standard_normal(A.shape[0])
        pieces, block = A.unflatten(v), A.block("*bias")
        part = block.flatten(pieces)
        assert part.shape == (block.shape[0],)
        cut = block.unflatten(part)
        assert tuple(cut) == block.names == ("0.bias", "2.bias")
        for name, piece in cut.items():
            np.testing.assert_array_equal(piece, pieces[name])
        text = f"`v` must have shape ({block.shape[0]},)"
        with pytest.raises(ValueError, match=re.escape(text)):
            block.unflatten(v)

    def test_frozen_parameters_that_were_chosen(self):
        """By what was chosen, not by what is trained."""
        model, loss_fn, data = mlp()
        model.requires_grad_(False)
        A = hessop.HessianOperator(model, loss_fn, data, params=lambda n, p: True)
        assert A.block("0").names == ("0.weight", "0.bias")
        assert A.block("*bias").names == ("0.bias", "2.bias")
        assert A.block(None).names == A.names

    @EVERY_KIND
    def test_graphs_are_shared(self, kind):
        """All blocks together need the forward passes of one product."""
        model, loss_fn, data = mlp()
        A = KINDS[kind](model, loss_fn, cut(data, 4), check=False)
        for _ in range(2):
            for block in A.blocks().values():
                block @ np.ones(block.shape[0])
            A @ np.ones(A.shape[0])
        assert A.product.n_forward == 2

    @EVERY_KIND
    def test_eigenvalues(self, kind):
        """By SciPy and by hessop, as of the dense block."""
        model, loss_fn, data = mlp()
        A = KINDS[kind](model, loss_fn, cut(data, 4))
        block = A.block("0")
        index = places(A, block.names)
        exact = np.linalg.eigvalsh(whole(kind)[np.ix_(index, index)])
        w, _ = hessop.lanczos(block, k=3, which="LA", rng=0)
        np.testing.assert_allclose(w, exact[-3:], atol=1e-12)
        w = eigsh(block, k=3, which="LA", return_eigenvectors=False, v0=np.ones(30))
        np.testing.assert_allclose(np.sort(w), exact[-3:], atol=1e-12)

    def test_they_follow_the_model(self):
        """As the whole does."""
        model, loss_fn, data = mlp()
        A = hessop.GGNOperator(model, loss_fn, data)
        block = A.block("2")
        block @ np.ones(21)
        model[0].weight.data.mul_(0.5)
        total, count = gauss_newton(model, loss_fn, data, names=block.names)
        np.testing.assert_allclose(oracles.matrix(block), total / count, atol=1e-14)

    def test_single_precision(self):
        """The dtype is that of the whole."""
        model, loss_fn, data = mlp(torch.float32)
        block = hessop.GGNOperator(model, loss_fn, data).block("2")
        assert block.dtype == (block @ np.ones(21)).dtype == np.float32


class TestCopies:
    @pytest.mark.parametrize(
        "copier",
        [copy.copy, copy.deepcopy, lambda A: pickle.loads(pickle.dumps(A))],
        ids=["copy", "deepcopy", "pickle"],
    )
    @pytest.mark.parametrize(
        ("kind", "mode"),
        [*((kind, "kept") for kind in KINDS), ("GGN", "recorded"), ("mc", "linearized")],
    )
    def test_copies_multiply_alike(self, kind, mode, copier):
        """Before and after graphs were built, blocks too; a sampled matrix keeps its samples."""
        model, loss_fn, data = mlp()
        for used in (False, True):
            A = KINDS[kind](model, loss_fn, data, mode=mode)
            v = np.ones(A.shape[0])
            if used:
                A @ v
            twin = copier(A)
            assert type(twin) is type(A)
            assert (twin.names, twin.shape, twin.dtype) == (A.names, A.shape, A.dtype)
            np.testing.assert_allclose(twin @ v, A @ v, rtol=1e-13, atol=1e-15)
            assert twin.loss() == A.loss()
            block = copier(A.block("0"))
            assert block.names == ("0.weight", "0.bias")
            np.testing.assert_allclose(
                block @ np.ones(30), A.block("0") @ np.ones(30), rtol=1e-13, atol=1e-15
            )

    @EVERY_KIND
    def test_a_pickle_holds_no_graphs(self, kind):
        """They are rebuilt at the other end."""
        A = KINDS[kind](*mlp(), mode="recorded")
        before = len(pickle.dumps(A))
        A @ np.ones((51, 3))
        assert len(pickle.dumps(A)) == pytest.approx(before, abs=400)
