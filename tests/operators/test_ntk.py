"""The tangent kernel against ``J J^T``, J by one backward pass for each output."""

from __future__ import annotations

import copy
import functools
import pickle
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import eigsh
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import hessop
from hessop.operators import ProductOperator
from tests import oracles
from tests.curvature.test_checks import TWICE, Lambda, Once, OutsideTorch, network
from tests.curvature.test_objective import Snapshot
from tests.models import PROBLEMS, cut, mlp, tied
from tests.operators.test_ggn import MODES, by_rows, tolerance

EVERY_MODE = pytest.mark.parametrize("mode", MODES)


def jacobian(model, x, names=None):
    """All outputs of all inputs, example by example, by the parameters."""
    parameters = [p for n, p in model.named_parameters() if names is None or n in names]
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        return torch.cat([by_rows(model(row), parameters) for row in x.split(1)]).numpy()


def kernel(model, x, names=None):
    """The whole kernel."""
    J = jacobian(model, x, names)
    return J @ J.T


@functools.cache
def expected():
    """The kernel of the classifier on its 11 inputs."""
    model, _, (x, _) = mlp()
    return kernel(model, x)


class Again:
    """A re-iterable that is no sequence."""

    def __init__(self, *batches):
        self.batches = batches

    def __iter__(self):
        yield from self.batches


X, Y = mlp()[2]
PIECES = [X[:4], X[4:5], X[5:]]
FORMS = {
    "tensor": X,
    "list of tensors": PIECES,
    "pair": (X, Y),
    "pair without targets": (X, None),
    "pair of inputs alone": (X,),
    "list of pairs": cut((X, Y), 4, 5),
    "list of lists": [[x] for x in PIECES],
    "loader": DataLoader(TensorDataset(X, Y), batch_size=4),
    "loader of inputs": DataLoader(TensorDataset(X), batch_size=3),
    "re-iterable of tensors": Again(*PIECES),
    "re-iterable of pairs": Again(*cut((X, Y), 2)),
}


class TestForms:
    @pytest.mark.parametrize("memory", ["auto", 0])
    @pytest.mark.parametrize("form", FORMS)
    def test_every_form_of_inputs(self, form, memory):
        """In the order of the inputs, whatever they come in; targets play no part."""
        K = hessop.NTKOperator(mlp()[0], FORMS[form], memory=memory)
        assert isinstance(K, ProductOperator)
        assert K.shape == (33, 33)
        assert K.dtype == np.float64
        for _ in range(2):
            np.testing.assert_allclose(oracles.matrix(K), expected(), atol=1e-13)

    @settings(max_examples=8)
    @given(points=st.sets(st.integers(1, 10)), memory=st.sampled_from(["auto", 0, 3000]))
    def test_whatever_the_cut(self, points, memory):
        """Unequal batches, some kept, some not."""
        K = hessop.NTKOperator(mlp()[0], cut((X, Y), *points), memory=memory)
        V = np.random.default_rng(0).standard_normal((33, 2))
        for _ in range(2):
            np.testing.assert_allclose(K @ V, expected() @ V, atol=1e-12)

    @pytest.mark.parametrize("batches", [1, 2])
    def test_forward(self, batches):
        """For mappings, for part of the outputs, for anything else."""
        model, _, _ = mlp()
        data = [{"x": x, "name": "a batch"} for x in X.split(11 if batches == 1 else 6)]
        K = hessop.NTKOperator(
            model,
            data[0] if batches == 1 else data,
            forward=lambda m, batch: m(batch["x"])[:, 1],
        )
        rows = np.arange(11) * 3 + 1
        np.testing.assert_allclose(oracles.matrix(K), expected()[np.ix_(rows, rows)], atol=1e-13)

    @pytest.mark.parametrize("name", PROBLEMS)
    def test_every_kind_of_layer(self, name):
        """Rows are flattened outputs, example by example, in any number of axes."""
        model, _, (x, _) = PROBLEMS[name]()
        K = hessop.NTKOperator(model, list(x.split([2, len(x) - 2])))
        np.testing.assert_allclose(oracles.matrix(K), kernel(model, x), rtol=1e-9, atol=1e-12)

    def test_several_outputs(self):
        """Of each batch, one output after the other; what does not float is left out."""
        model, _, _ = mlp()
        K = hessop.NTKOperator(
            model,
            [(X[:4],), (X[4:],)],
            forward=lambda m, b: {"a": m(b[0])[:, :2], "b": (m(b[0])[:, 2], torch.ones(1).long())},
        )
        index = np.arange(33).reshape(11, 3)
        order = np.concatenate(
            [part.ravel() for b in (index[:4], index[4:]) for part in (b[:, :2], b[:, 2])]
        )
        np.testing.assert_allclose(oracles.matrix(K), expected()[np.ix_(order, order)], atol=1e-13)

    def test_sequences_of_unequal_length(self):
        """Batches of unequal numbers of outputs for each example."""
        model, _, (x, _) = PROBLEMS["transformer"]()
        batches = [x[:1, :3], x[1:3], x[3:, :2]]
        J = np.concatenate([jacobian(model, batch) for batch in batches])
        K = hessop.NTKOperator(model, batches)
        assert K.shape == (15 + 50 + 10, 75)
        np.testing.assert_allclose(oracles.matrix(K), J @ J.T, atol=1e-12)

    def test_single_precision(self):
        """To rounding."""
        model, _, (x, _) = mlp(torch.float32)
        K = hessop.NTKOperator(model, x)
        assert K.dtype == (K @ np.ones(33)).dtype == np.float32
        np.testing.assert_allclose(oracles.matrix(K), expected(), rtol=1e-5, atol=1e-5)


class TestProduct:
    @pytest.mark.parametrize("block_size", ["auto", 4])
    @EVERY_MODE
    def test_whatever_the_mode(self, mode, block_size):
        """Single vectors and blocks, in either layout of memory."""
        K = hessop.NTKOperator(mlp()[0], list(X.split([4, 7])), mode=mode, block_size=block_size)
        V = np.random.default_rng(0).standard_normal((33, 7))
        for _ in range(2):
            for order in "FC":
                found = K @ np.asarray(V, order=order)
                np.testing.assert_allclose(found, expected() @ V, atol=100 * tolerance(mode))
        np.testing.assert_allclose(K @ V[:, 0], expected() @ V[:, 0], atol=100 * tolerance(mode))
        if mode != "auto":
            assert K.report().stage == mode

    def test_symmetric_and_semidefinite(self):
        """To rounding."""
        A = oracles.matrix(hessop.NTKOperator(mlp()[0], X))
        assert np.abs(A - A.T).max() <= 1e-14 * np.abs(A).max()
        assert np.linalg.eigvalsh(A)[0] > -1e-13 * np.abs(A).max()

    def test_its_eigenvalues_are_those_of_the_gauss_newton_matrix(self):
        """``J^T J`` of squared errors, which is twice the size: the rest are zeros."""
        model, _, _ = mlp()
        G = hessop.GGNOperator(
            model, lambda o, t: 0.5 * (o**2).sum(), X_WITH_ZEROS, weight=lambda b: 1.0
        )
        ours = np.linalg.eigvalsh(oracles.matrix(hessop.NTKOperator(model, X)))
        theirs = np.linalg.eigvalsh(oracles.matrix(G))
        np.testing.assert_allclose(theirs[-33:], ours, atol=1e-12)

    def test_eigenvalues(self):
        """By Lanczos and by SciPy."""
        K = hessop.NTKOperator(mlp()[0], X)
        exact = np.linalg.eigvalsh(expected())
        w, _ = hessop.lanczos(K, k=4, which="LA", rng=0)
        np.testing.assert_allclose(w, exact[-4:], rtol=1e-12)
        w = eigsh(K, k=4, which="LA", return_eigenvectors=False, v0=np.ones(33))
        np.testing.assert_allclose(np.sort(w), exact[-4:], rtol=1e-12)

    def test_the_operator_follows_its_model(self):
        """After any change."""
        model, _, _ = mlp()
        K = hessop.NTKOperator(model, list(X.split(4)))
        K @ np.ones(33)
        for factor in (1.5, 0.5):
            model[0].weight.data.mul_(factor)
            np.testing.assert_allclose(K @ np.ones(33), kernel(model, X).sum(1), atol=1e-12)

    def test_forward_passes(self):
        """One to find the outputs, one to keep; without memory two for each product."""
        model, _, _ = mlp()
        calls = []
        model.register_forward_hook(lambda *_: calls.append(1))
        for memory, each in (("auto", 0), (0, 6)):
            calls.clear()
            K = hessop.NTKOperator(model, list(X.split(4)), check=False, memory=memory)
            assert len(calls) == 3
            K @ np.ones(33)
            first = len(calls) - 3
            assert first == (each or 3)
            K @ np.ones((33, 2))
            assert len(calls) == K.product.n_forward + 3 == 3 + first + each

    def test_a_product_leaves_no_trace(self):
        """Nor does the construction."""
        model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)).double()
        before = Snapshot(model)
        for mode in MODES:
            K = hessop.NTKOperator(model, list(X.split(6)), mode=mode)
            K @ np.ones((22, 2))
            before.check()

    @pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
    def test_any_grad_mode_of_the_caller(self, context):
        """Products are made under no_grad too."""
        model, _, _ = mlp()
        with context():
            K = hessop.NTKOperator(model, list(X.split(4)))
            np.testing.assert_allclose(oracles.matrix(K), expected(), atol=1e-13)

    def test_a_parameter_that_plays_no_part(self):
        """Adds nothing."""
        model, _, _ = mlp()
        model.register_module("idle", None)
        model.idle = nn.Identity()
        model.idle.weight = nn.Parameter(torch.ones(2).double())
        K = hessop.NTKOperator(model, X)
        np.testing.assert_allclose(oracles.matrix(K), expected(), atol=1e-13)
        np.testing.assert_array_equal(K.block("idle") @ np.ones(33), np.zeros(33))

    def test_outputs_without_a_graph(self):
        """A constant model has the kernel zero."""
        K = hessop.NTKOperator(nn.Linear(4, 3).double(), X, forward=lambda m, b: b[0] * 2)
        np.testing.assert_array_equal(oracles.matrix(K), np.zeros((44, 44)))


X_WITH_ZEROS = (X, torch.zeros(11, 3, dtype=torch.float64))


class TestBlocks:
    @pytest.mark.parametrize("by", ["layer", "parameter"])
    @pytest.mark.parametrize("mode", ["kept", "recorded", "linearized", "finite-difference"])
    def test_they_add_up_to_the_whole(self, mode, by):
        """Each the kernel of its parameters."""
        model, _, _ = mlp()
        K = hessop.NTKOperator(model, list(X.split(6)), mode=mode)
        total = 0.0
        for _ in range(2):
            total = 0.0
            for name, block in K.blocks(by=by).items():
                assert name in {"0", "2"} if by == "layer" else block.names == (name,)
                assert block.shape == (33, 33)
                A = oracles.matrix(block)
                exact = kernel(model, X, block.names)
                np.testing.assert_allclose(A, exact, atol=100 * tolerance(mode))
                total = total + A
            np.testing.assert_allclose(total, expected(), atol=100 * tolerance(mode))
            K @ np.ones(33)

    @pytest.mark.parametrize(
        ("name", "names"),
        [
            ("0", ("0.weight", "0.bias")),
            ("*bias", ("0.bias", "2.bias")),
            (["2.bias", "0.weight"], ("0.weight", "2.bias")),
            (lambda n, p: p.ndim == 2, ("0.weight", "2.weight")),
        ],
    )
    def test_patterns(self, name, names):
        """As in `params`, which gives the same kernel."""
        model, _, _ = mlp()
        block = hessop.NTKOperator(model, X).block(name)
        assert block.names == names
        np.testing.assert_allclose(oracles.matrix(block), kernel(model, X, names), atol=1e-13)
        K = hessop.NTKOperator(model, X, params=name)
        assert K.names == names
        np.testing.assert_allclose(oracles.matrix(K), kernel(model, X, names), atol=1e-13)

    def test_blocks_of_vectors(self):
        """Several in one pass."""
        K = hessop.NTKOperator(mlp()[0], X, mode="recorded", block_size=4)
        V = np.random.default_rng(0).standard_normal((33, 7))
        K @ V
        total = sum(block @ V for block in K.blocks().values())
        np.testing.assert_allclose(total, expected() @ V, atol=1e-12)

    def test_nothing_to_cut(self):
        """Vectors of a block are over outputs, as those of the whole."""
        K = hessop.NTKOperator(mlp()[0], X)
        for operator in (K, K.block("0")):
            assert not hasattr(operator, "flatten")
            assert not hasattr(operator, "unflatten")

    def test_a_tied_parameter(self):
        """Both uses in one block."""
        model, _, (x, _) = tied()
        K = hessop.NTKOperator(model, x)
        assert list(K.blocks()) == ["embedding", "hidden"]
        np.testing.assert_allclose(
            oracles.matrix(K.block("head")), kernel(model, x, ("embedding.weight",)), atol=1e-13
        )

    def test_names_that_there_are_not(self):
        """As for the other operators."""
        K = hessop.NTKOperator(mlp()[0], X, params="0")
        text = (
            "`name` must match a chosen parameter by name, glob or module name; got '2'. "
            "The parameters are ['0.weight', '0.bias']."
        )
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            K.block("2")
        with pytest.raises(ValueError, match="must match a parameter by name, glob or module name"):
            K.block("1")
        with pytest.raises(ValueError, match=r"^`by` must be one of 'layer', 'parameter'; got 'x'"):
            K.blocks(by="x")


class TestCopies:
    @pytest.mark.parametrize("used", [False, True])
    @pytest.mark.parametrize("mode", ["kept", "recorded"])
    @pytest.mark.parametrize(
        "copier",
        [copy.copy, copy.deepcopy, lambda A: pickle.loads(pickle.dumps(A))],
        ids=["copy", "deepcopy", "pickle"],
    )
    def test_copies_multiply_alike(self, copier, mode, used):
        """Before and after graphs were built, blocks too."""
        K = hessop.NTKOperator(mlp()[0], list(X.split(6)), mode=mode)
        v = np.ones(33)
        if used:
            K @ v
        twin, block = copier(K), copier(K.block("0"))
        assert type(twin) is hessop.NTKOperator
        assert (twin.names, twin.shape, twin.dtype) == (K.names, K.shape, K.dtype)
        np.testing.assert_allclose(twin @ v, expected() @ v, atol=1e-13)
        np.testing.assert_allclose(block @ v, K.block("0") @ v, atol=1e-13)


class TestRefused:
    @pytest.mark.parametrize("function", [Once, OutsideTorch])
    @pytest.mark.parametrize("mode", [m for m in MODES if m != "finite-difference"])
    def test_a_function_without_a_second_derivative(self, function, mode):
        """``J w`` by reverse mode needs one; without, the kernel is another, yet symmetric."""
        model = network(Lambda(function.apply)).double()

        def make():
            K = hessop.NTKOperator(model, X, mode=mode)
            K @ np.ones(33)

        with pytest.raises(NotImplementedError, match=TWICE):
            make()

    @pytest.mark.parametrize("function", [Once, OutsideTorch])
    def test_by_finite_differences_it_works(self, function):
        """The remedy of the message."""
        model = network(Lambda(function.apply)).double()
        K = hessop.NTKOperator(model, X, mode="finite-difference")
        np.testing.assert_allclose(oracles.matrix(K), kernel(model, X), atol=1e-7)

    @pytest.mark.parametrize(
        ("inputs", "got"),
        [({"x": X}, "a dict"), ([{"x": X}], "a dict"), (["words"], "a str"), ([("a", Y)], "a str")],
    )
    def test_inputs_that_need_forward(self, inputs, got):
        """What came and what to pass."""
        text = (
            f"`inputs` must have batches that are tensors or (x, y) pairs; got {got}. "
            "Pass forward=lambda model, batch: outputs."
        )
        with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
            hessop.NTKOperator(mlp()[0], inputs)

    def test_forward_that_is_not_callable(self):
        """As for the other operators."""
        with pytest.raises(TypeError, match=r"^`forward` must be callable; got 3.$"):
            hessop.NTKOperator(mlp()[0], X, forward=3)

    def test_a_model_that_is_none(self):
        """As for the other operators."""
        with pytest.raises(TypeError, match=r"^`model` must be a torch.nn.Module; got None.$"):
            hessop.NTKOperator(None, X)

    def test_inputs_that_can_be_read_once(self):
        """As for the other operators."""
        with pytest.raises(
            TypeError, match=r"^`inputs` must be readable more than once; got a generator, wh"
        ):
            hessop.NTKOperator(mlp()[0], (x for x in PIECES))

    def test_empty_inputs(self):
        """No batch, no kernel."""
        with pytest.raises(ValueError, match=r"^`inputs` must hold at least one batch; got none"):
            hessop.NTKOperator(mlp()[0], [])

    def test_outputs_of_another_dtype(self):
        """Half precision behind autocast."""

        class Cast(nn.Linear):
            def forward(self, x):
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    return super().forward(x)

        text = (
            "`model` must give outputs of its parameters' dtype, torch.float32; got "
            "torch.bfloat16. Leave autocast out, or convert the model."
        )
        with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
            hessop.NTKOperator(Cast(4, 3), X.float())

    def test_dropout_in_train_mode(self):
        """As for the other operators."""
        model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5)).double().train()
        with pytest.raises(ValueError, match=r"got 1 \(Dropout\) with dropout in train mode"):
            hessop.NTKOperator(model, X)

    def test_randomness(self):
        """Found by two evaluations."""
        model = nn.Sequential(nn.Linear(4, 3), Lambda(lambda x: x + torch.randn_like(x))).double()
        with pytest.raises(ValueError, match=r"^`model` must give the same loss at every evaluat"):
            hessop.NTKOperator(model, X)

    def test_outputs_that_are_not_finite(self):
        """NaN in, error out."""
        with pytest.raises(FloatingPointError, match="finite"):
            hessop.NTKOperator(mlp()[0], X * float("nan"))
