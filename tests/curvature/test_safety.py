"""Models as people have them, in every mode: right numbers or a clear refusal, and no trace."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

import hessop
from tests import oracles
from tests.curvature.test_checks import TWICE, Lambda, Once, network
from tests.curvature.test_objective import Breaking, Snapshot, exercise
from tests.models import cut, mlp, tied
from tests.operators.test_ggn import KINDS, MODES, tolerance

EVERY_MODE = pytest.mark.parametrize("mode", MODES)
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)
DIFFERENTIATED = pytest.mark.parametrize("mode", [m for m in MODES if m != "finite-difference"])
X, Y = mlp()[2]
LOSS = nn.CrossEntropyLoss()


def build(model, mode="auto", kind="Hessian", **options):
    """An operator on the data of `mlp`."""
    data = options.pop("data", (X, Y))
    return KINDS[kind](model, LOSS, data, mode=mode, **options)


def check(H, expected, mode="auto"):
    """Products of a few vectors, at first and from what is kept."""
    V = np.random.default_rng(0).standard_normal((len(expected), 3))
    for _ in range(2):
        np.testing.assert_allclose(H @ V, expected @ V, atol=100 * tolerance(mode))


def outcome(work):
    """What comes back, be it an error that torch or hessop raises on purpose."""
    try:
        return work()
    except RuntimeError as error:
        return error


@functools.cache
def expected(kind="Hessian"):
    """The matrix of the classifier."""
    if kind == "Hessian":
        return oracles.dense_hessian(*mlp())
    return oracles.matrix(build(mlp()[0], kind=kind))


def untouched(model):
    """A context in which nothing of the user's may change."""
    return Untouched(model)


class Untouched:
    """What was is compared with what is at the end, also after an exception."""

    def __init__(self, model):
        self.model = model

    def __enter__(self):
        self.before = Snapshot(self.model)

    def __exit__(self, *_):
        self.before.check()


def parallel(model):
    """In DataParallel, which computes on one CPU as if it were not there."""
    return nn.DataParallel(model)


def compiled(model):
    """By torch.compile, from outside."""
    return torch.compile(model, backend="eager")


def compiled_in_place(model):
    """By the method of the module."""
    model.compile(backend="eager")
    return model


def compiled_inside(model):
    """A submodule alone."""
    model[0] = torch.compile(model[0], backend="eager")
    return model


def compiled_inside_in_place(model):
    """A submodule alone, by its method."""
    model[2].compile(backend="eager")
    return model


WRAPPERS = {
    f.__name__: f
    for f in (
        parallel,
        compiled,
        compiled_in_place,
        compiled_inside,
        compiled_inside_in_place,
    )
} | {
    "parallel and compiled": lambda model: parallel(compiled(model)),
    "compiled twice": lambda model: compiled(compiled_inside(model)),
}


class TestWrappers:
    @EVERY_MODE
    @pytest.mark.parametrize("wrapper", WRAPPERS)
    def test_they_are_looked_through(self, wrapper, mode):
        """The numbers are those of the bare model; nothing is compiled on the way."""
        model = WRAPPERS[wrapper](mlp()[0])
        with untouched(model):
            check(build(model, mode), expected(), mode)

    @pytest.mark.parametrize("wrapper", WRAPPERS)
    def test_by_their_own_names(self, wrapper):
        """Parameters go by the names in the user's own module."""
        H = build(WRAPPERS[wrapper](mlp()[0]))
        names = [n.replace("_orig_mod.", "") for n in H.names]
        assert names == ["0.weight", "0.bias", "2.weight", "2.bias"]
        if wrapper in ("parallel", "compiled", "parallel and compiled", "compiled_in_place"):
            assert list(H.names) == names

    def test_nothing_is_compiled(self):
        """The compiler is not called, and works as before afterwards."""
        calls = []

        def backend(graph, _):
            calls.append(1)
            return graph.forward

        model = mlp()[0]
        model[0] = torch.compile(model[0], backend=backend)
        H = build(model)
        exercise(H)
        assert not calls
        model(X)
        assert calls

    @EVERY_KIND
    def test_every_operator(self, kind):
        """Of a model in DataParallel with a compiled part."""
        model = parallel(compiled_inside(mlp()[0]))
        check(build(model, kind=kind), expected(kind))


class TestParameters:
    @EVERY_MODE
    def test_those_that_play_no_part(self, mode):
        """Zero rows and columns, gradient and all."""
        model = mlp()[0]
        model[1].register_parameter("idle", nn.Parameter(torch.ones(3).double()))
        H = build(model, mode)
        index = H.flatten({n: np.full(p.shape, "idle" in n) for n, p in model.named_parameters()})
        idle = index.astype(bool)
        A = oracles.matrix(H)
        assert idle.sum() == 3
        assert not A[idle].any()
        assert not A[:, idle].any()
        np.testing.assert_allclose(A[~idle][:, ~idle], expected(), atol=tolerance(mode))
        assert not H.gradient()[idle].any()
        assert not (H.block("1") @ np.ones(3)).any()

    @EVERY_MODE
    def test_only_those_that_play_no_part(self, mode):
        """There is no graph at all: the message says where to look."""
        model = mlp()[0]
        model[1].register_parameter("idle", nn.Parameter(torch.ones(3).double()))
        text = (
            "`loss_fn` must depend on the chosen parameters through differentiable operations; got "
            "a loss without a graph. Look for .detach(), .item() or torch.no_grad() on the way."
        )
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            build(model, mode, params="1")

    @EVERY_MODE
    def test_tied(self, mode):
        """Both uses count, in every mode."""
        model, loss_fn, data = tied()
        H = hessop.HessianOperator(model, loss_fn, data, mode=mode)
        check(H, oracles.dense_hessian(model, loss_fn, data), mode)

    @EVERY_MODE
    @pytest.mark.parametrize("kind", ["orthogonal", "spectral_norm"])
    def test_parametrizations(self, kind, mode):
        """The parameters are the originals behind them."""
        model = mlp()[0]
        if kind == "orthogonal":
            parametrizations.orthogonal(model[2], orthogonal_map="matrix_exp")
        else:
            parametrizations.spectral_norm(model[2])
        model.eval()
        with untouched(model):
            H = build(model, mode)
            assert "2.parametrizations.weight.original" in H.names
            exact = oracles.dense_hessian(model, LOSS, (X, Y))
            np.testing.assert_allclose(
                exact, oracles.difference_hessian(model, LOSS, (X, Y), 1e-5), atol=1e-8
            )
            check(H, exact, mode)

    def test_spectral_norm_in_train_mode(self):
        """Its power iteration writes to copies."""
        model = mlp()[0]
        parametrizations.spectral_norm(model[2])
        model.train()
        with untouched(model):
            exercise(build(model))

    @pytest.mark.parametrize("norm", [parametrizations.weight_norm])
    def test_weight_norm(self, norm):
        """torch 2.13 has a wrong second derivative of its fused form: right or refused."""
        model = mlp()[0]
        norm(model[0])
        exact = oracles.difference_hessian(model, LOSS, (X, Y), 1e-5)
        found = outcome(lambda: oracles.matrix(build(model)))
        if isinstance(found, NotImplementedError):
            assert re.match(TWICE, str(found))
        else:
            np.testing.assert_allclose(found, exact, atol=1e-8)
        A = oracles.matrix(build(model, "finite-difference"))
        np.testing.assert_allclose(A, exact, atol=1e-8)

    @EVERY_MODE
    def test_a_frozen_base(self, mode):
        """A head to train on a base that is not: the block of the head."""
        model = mlp()[0]
        model[0].requires_grad_(False)
        with untouched(model):
            H = build(model, mode)
            assert H.names == ("2.weight", "2.bias")
            check(H, expected()[30:, 30:], mode)

    def test_complex_parameters(self):
        """Refused by name; left out, or frozen, they do no harm."""
        model = mlp()[0]
        phase = nn.Parameter(torch.ones(2, dtype=torch.complex128))
        model[1].register_parameter("phase", phase)
        text = "`params` must be real and floating; got 1.phase of torch.complex128."
        for kind in KINDS:
            with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
                build(model, kind=kind)
        with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
            hessop.NTKOperator(model, X)
        check(build(model, params=["0", "2"]), expected())
        phase.requires_grad_(False)
        check(build(model), expected())


class Bag(nn.Module):
    """A classifier of tokens, or of bags of them, by torch's layer or written out."""

    def __init__(self, bag, sparse):
        super().__init__()
        kind = nn.EmbeddingBag if bag else nn.Embedding
        self.embedding = kind(6, 4, sparse=sparse, **({"mode": bag} if bag else {}))
        self.head = nn.Linear(4, 3)
        self.bag = bag
        self.plain = False
        self.broken = False

    def forward(self, tokens):
        """Logits."""
        if self.plain:
            x = F.embedding(tokens, self.embedding.weight)
            x = {"sum": x.sum, "mean": x.mean}[self.bag](1) if self.bag else x
        else:
            x = self.embedding(tokens)
        if self.broken:
            raise RuntimeError("broken on purpose")
        return self.head(torch.tanh(x))


def tokens(bag):
    """Some for each of the 11 examples."""
    return torch.randint(
        0, 6, (11, 3) if bag else (11,), generator=torch.Generator().manual_seed(0)
    )


class TestSparseEmbeddings:
    @EVERY_MODE
    @pytest.mark.parametrize("bag", [None, "sum", "mean"])
    def test_the_hessian_is_right(self, bag, mode):
        """Of a bag too, which torch itself cannot differentiate twice; the flag is as it was."""
        model = Bag(bag, sparse=True).double()
        plain = copy.deepcopy(model)
        plain.plain = True
        data = tokens(bag), Y
        exact = oracles.dense_hessian(plain, LOSS, data)
        assert np.abs(exact[:24, :24]).max() > 1e-3
        with untouched(model):
            check(build(model, mode, data=data), exact, mode)
        assert model.embedding.sparse

    @pytest.mark.parametrize("kind", ["GGN", "type2", "empirical"])
    def test_other_operators(self, kind):
        """The gradient is dense for the length of a product."""
        model = Bag(None, sparse=True).double()
        plain = copy.deepcopy(model)
        plain.plain = True
        A = build(model, kind=kind, data=(tokens(None), Y))
        exact = oracles.matrix(build(plain, kind=kind, data=(tokens(None), Y)))
        np.testing.assert_allclose(oracles.matrix(A), exact, atol=1e-14)
        K = hessop.NTKOperator(model, tokens(None))
        exact = oracles.matrix(hessop.NTKOperator(plain, tokens(None)))
        np.testing.assert_allclose(oracles.matrix(K), exact, atol=1e-13)
        assert model.embedding.sparse

    @EVERY_MODE
    def test_asked_for_in_functional_form(self, mode):
        """No module says so beforehand."""

        class Functional(nn.Module):
            def __init__(self):
                super().__init__()
                self.plain = False
                self.table = nn.Parameter(torch.randn(6, 4, dtype=torch.float64))
                self.last = nn.Linear(4, 3, dtype=torch.float64)

            def forward(self, x):
                if self.plain:
                    rows = self.table[x]
                    return self.last(rows if x.ndim == 1 else rows.mean(1))
                if x.ndim > 1:
                    return self.last(nn.functional.embedding_bag(x, self.table, sparse=True))
                return self.last(nn.functional.embedding(x, self.table, sparse=True))

        torch.manual_seed(0)
        model = Functional()
        for x in (torch.arange(11) % 6, torch.arange(22).reshape(11, 2) % 6):
            plain = copy.deepcopy(model)
            plain.plain = True
            exact = oracles.dense_hessian(plain, LOSS, (x, Y))
            assert np.abs(exact[:24, 24:]).max() > 1e-3
            check(build(model, mode, data=(x, Y)), exact, mode)

    def test_after_an_exception(self):
        """The flag is put back whatever happens in the forward pass."""
        model = Bag(None, sparse=True).double()
        H = build(model, data=(tokens(None), Y), memory=0)
        model.broken = True
        for work in (lambda: H @ np.ones(H.shape[0]), H.gradient, H.loss):
            with pytest.raises(RuntimeError, match="broken on purpose"):
                work()
            assert model.embedding.sparse
        LOSS(Bag(None, sparse=True).double()(tokens(None)), Y).backward()


class InPlace(nn.Module):
    """Operations that write over what they read."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 6)
        self.last = nn.Linear(6, 3)
        self.register_buffer("shift", torch.linspace(-1, 1, 6))
        self.in_place = True

    def forward(self, x):
        """The same numbers in either way."""
        h = self.first(x)
        if self.in_place:
            h.add_(self.shift).relu_()
            g = h * h
            g[:, 0] = h[:, 1].sin()
            g[:, 2:4].add_(h[:, :2]).mul_(0.5)
            return self.last(g)
        h = torch.relu(h + self.shift)
        g = h * h
        g = torch.cat([h[:, 1:2].sin(), g[:, 1:2], 0.5 * (g[:, 2:4] + h[:, :2]), g[:, 4:]], 1)
        return self.last(g)


class TestInPlace:
    @EVERY_MODE
    def test_operations_on_what_the_model_made(self, mode):
        """As the same operations out of place; the tapes do not depend on what was written over."""
        torch.manual_seed(0)
        model = InPlace().double()
        plain = copy.deepcopy(model)
        plain.in_place = False
        exact = oracles.dense_hessian(plain, LOSS, (X, Y))
        with untouched(model):
            check(build(model, mode), exact, mode)

    @EVERY_KIND
    def test_every_operator(self, kind):
        """On kept graphs."""
        torch.manual_seed(0)
        model = InPlace().double()
        plain = copy.deepcopy(model)
        plain.in_place = False
        check(build(model, kind=kind), oracles.matrix(build(plain, kind=kind)))

    def test_data_are_not_written_to(self):
        """Of what the model does to its own tensors the user's batches see nothing."""
        torch.manual_seed(0)
        x = X.clone()
        exercise(build(InPlace().double(), data=(x, Y)))
        assert torch.equal(x, X)


def square_once():
    """A model with a function of its own that says it has no second derivative."""
    torch.manual_seed(0)
    return network(Lambda(Once.apply)).double()


def square():
    """The same model by torch's own square."""
    torch.manual_seed(0)
    return network(Lambda(torch.square)).double()


class TestOnceDifferentiable:
    @DIFFERENTIATED
    @pytest.mark.parametrize("kind", ["Hessian", "GGN", "type2", "mc"])
    def test_it_is_refused(self, kind, mode):
        """With what to do in the message."""
        with pytest.raises(NotImplementedError, match=TWICE) as caught:
            build(square_once(), mode, kind)
        assert 'use mode="finite-difference"' in str(caught.value)

    @EVERY_KIND
    def test_by_finite_differences_it_works(self, kind):
        """The remedy."""
        exact = oracles.matrix(build(square(), kind=kind))
        check(build(square_once(), "finite-difference", kind), exact, "finite-difference")


class Checkpointed(nn.Module):
    """A part whose activations are computed again in the backward pass."""

    def __init__(self, inner, reentrant=False):
        super().__init__()
        self.inner = inner
        self.reentrant = reentrant
        self.on = True

    def forward(self, x):
        """With torch's checkpoint, or without."""
        if not self.on:
            return self.inner(x)
        return checkpoint(self.inner, x, use_reentrant=self.reentrant)


class SelfAttention(nn.Module):
    """Attention between features, with torch's default choice of kernel."""

    def __init__(self):
        super().__init__()
        self.project = nn.Linear(1, 2)

    def forward(self, x):
        """As many features."""
        q = self.project(x.unsqueeze(-1)).unsqueeze(1)
        return F.scaled_dot_product_attention(q, q, q)[:, 0].sum(-1)


def with_checkpoint(inner=None, reentrant=False):
    """A model with a checkpointed part in the middle, and the same without."""
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(6, 6), nn.Tanh()) if inner is None else inner
    model = network(Checkpointed(inner, reentrant)).double()
    plain = copy.deepcopy(model)
    plain[2].on = False
    return model, plain


class TestCheckpointing:
    @EVERY_MODE
    def test_without_reentrance(self, mode):
        """It works; where forward mode does not know it by reverse mode, as the report says."""
        model, plain = with_checkpoint()
        exact = oracles.dense_hessian(plain, LOSS, (X, Y))
        H = build(model, mode)
        with untouched(model):
            check(H, exact, mode)
        stage = H.report().stage
        if stage != mode and mode != "auto":
            assert any(f"{mode} not used" in note for note in H.report().notes)

    @EVERY_MODE
    @pytest.mark.parametrize("kind", ["GGN", "type2", "empirical"])
    def test_other_operators(self, kind, mode):
        """Likewise."""
        model, plain = with_checkpoint()
        V = np.random.default_rng(0).standard_normal((93, 3))
        exact = build(plain, kind=kind) @ V
        np.testing.assert_allclose(build(model, mode, kind) @ V, exact, atol=1e2 * tolerance(mode))

    @EVERY_MODE
    def test_kernels(self, mode):
        """Likewise."""
        model, plain = with_checkpoint()
        V = np.random.default_rng(0).standard_normal((33, 3))
        exact = hessop.NTKOperator(plain, X) @ V
        found = hessop.NTKOperator(model, X, mode=mode) @ V
        np.testing.assert_allclose(found, exact, atol=1e4 * tolerance(mode))

    @pytest.mark.parametrize(
        "params", ["0", ["0.weight"], "2", ["2.inner.0.weight"], ["2.inner.0.bias"], "3"]
    )
    def test_of_some_parameters(self, params):
        """What is computed again is computed from the same stand-ins."""
        model, plain = with_checkpoint()
        H = build(model, params=params)
        check(H, oracles.dense_hessian(plain, LOSS, (X, Y), H.names))

    def test_of_frozen_parameters(self):
        """Chosen by a predicate."""
        model, plain = with_checkpoint()
        exact = oracles.dense_hessian(plain, LOSS, (X, Y))
        check(build(model.requires_grad_(False), params=lambda n, p: True), exact)

    def test_with_batch_normalisation(self):
        """What is computed again writes its statistics to copies, too."""
        inner = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Tanh())
        model, plain = with_checkpoint(inner)
        plain[2].inner[1] = nn.BatchNorm1d(6, track_running_stats=False).double()
        exact = oracles.dense_hessian(plain.train(), LOSS, (X, Y))
        with untouched(model.train()):
            check(build(model), exact)

    def test_with_attention(self):
        """What is computed again takes the kernels that can be differentiated twice, too."""
        model, plain = with_checkpoint(SelfAttention())
        check(build(model), oracles.dense_hessian(plain, LOSS, (X, Y)))

    @EVERY_MODE
    def test_with_reentrance(self, mode):
        """torch cannot take such gradients: a clear error, or, computed without it, the numbers."""
        model, plain = with_checkpoint(reentrant=True)
        V = np.random.default_rng(0).standard_normal((93, 2))
        found = outcome(lambda: build(model, mode) @ V)
        if isinstance(found, RuntimeError):
            text = "`model` must be twice differentiable; got activation checkpointing with use_ree"
            assert str(found).startswith(text)
            assert "use_reentrant=False" in str(found)
        else:
            exact = oracles.dense_hessian(plain, LOSS, (X, Y)) @ V
            np.testing.assert_allclose(found, exact, atol=100 * tolerance(mode))


class Autocast(nn.Module):
    """A model that computes in half precision and gives what it likes."""

    def __init__(self, inner, dtype):
        super().__init__()
        self.inner = inner
        self.dtype = dtype

    def forward(self, x):
        """Logits."""
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.inner(x).to(self.dtype)


class TestAutocast:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    @pytest.mark.parametrize(
        "mode", ["auto", "kept", "recorded", "forward-over-reverse", "reverse-over-reverse"]
    )
    @pytest.mark.parametrize("kind", ["Hessian", "GGN", "type2"])
    def test_inside_the_model(self, kind, mode, dtype):
        """A float32 operator with the precision of bfloat16, which `noise` shows."""
        model, _, (x, y) = mlp(torch.float32)
        A = build(Autocast(model, dtype), mode, kind, data=(x, y))
        assert A.dtype == np.float32
        found, exact = oracles.matrix(A), expected(kind)
        error = np.linalg.norm(found - exact, 2) / np.linalg.norm(exact, 2)
        assert 1e-4 < error < 30 * 2**-8
        plain = build(model, mode, kind, data=(x, y))
        assert plain.noise < 1e-5 < A.noise < 0.1

    def test_precision_of_eigenvalues(self):
        """Lanczos says that it cannot go below the noise."""
        model, _, (x, y) = mlp(torch.float32)
        A = build(Autocast(model, torch.float32), data=(x, y))
        with pytest.warns(hessop.PrecisionWarning, match="`tol` must not lie below the noise of t"):
            w, _ = hessop.lanczos(A, k=1, which="LA", tol=1e-6, rng=0)
        assert w[0] == pytest.approx(np.linalg.eigvalsh(expected())[-1], rel=0.05)


class TestNoise:
    @DIFFERENTIATED
    @EVERY_KIND
    def test_of_exact_products(self, kind, mode):
        """A few units of the dtype, whether measured by the checks or when asked for."""
        for dtype in (torch.float64, torch.float32):
            model, _, data = mlp(dtype)
            eps = torch.finfo(dtype).eps
            for check in (True, False):
                noise = build(model, mode, kind, data=data, check=check).noise
                assert type(noise) is float
                assert 0 <= noise < 30 * eps

    @EVERY_KIND
    def test_of_finite_differences(self, kind):
        """Far above rounding, and of the size of the error, which is of eps^(2/3)."""
        for dtype in (torch.float64, torch.float32):
            model, _, data = mlp(dtype)
            A = build(model, "finite-difference", kind, data=data)
            exact = expected(kind)
            error = np.linalg.norm(oracles.matrix(A) - exact, 2) / np.linalg.norm(exact, 2)
            eps = torch.finfo(dtype).eps
            assert eps < A.noise < 100 * eps ** (2 / 3)
            assert error < 30 * eps ** (2 / 3)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_of_kinks(self, dtype):
        """A network of ReLU: the step shrinks, and what error there is, is told."""
        model, data = kinked(dtype)
        exact = np.float64(oracles.matrix(build(model, data=data)))
        A = build(model, "finite-difference", data=data)
        V = np.random.default_rng(1).standard_normal((len(exact), 4)).astype(A.dtype)
        errors = np.linalg.norm(A @ V - exact @ V, axis=0) / np.linalg.norm(exact @ V, axis=0)
        assert errors.max() < (0.03 if dtype == torch.float32 else 1e-4)
        assert errors.max() < 30 * A.noise
        assert any("differences by" in note for note in A.report().notes)

    def test_it_is_measured_once(self):
        """In two products, when first asked for."""
        H = build(mlp()[0], "finite-difference")
        assert H.product.n_matvec == 0
        first = H.noise
        assert H.product.n_matvec == 2
        assert H.noise == first
        assert H.product.n_matvec == 2

    def test_lanczos_does_not_go_below(self):
        """A tolerance below the noise of finite differences is not reached, and that is said."""
        H = build(mlp()[0], "finite-difference")
        exact = np.linalg.eigvalsh(expected())[-2:]
        with pytest.warns(hessop.PrecisionWarning, match="`tol` must not lie below the noise") as w:
            values, _ = hessop.lanczos(H, k=2, which="LA", tol=1e-14, rng=0)
        assert f"{H.noise:.1e} was used" in str(w[0].message)
        np.testing.assert_allclose(values, exact, rtol=1e-6)
        # By exact products that tolerance lies above the noise.
        values, _ = hessop.lanczos(build(mlp()[0]), k=2, which="LA", tol=1e-14, rng=0)
        np.testing.assert_allclose(values, exact, rtol=1e-12)

    def test_blocks_have_the_noise_of_the_whole(self):
        """Lanczos knows of it."""
        H = build(mlp()[0], "finite-difference")
        block = H.block("0")
        assert block.product.floor() == H.noise
        with pytest.warns(hessop.PrecisionWarning, match="`tol` must not lie below the noise of t"):
            hessop.lanczos(block, k=1, which="LA", tol=1e-14, rng=0)


def kinked(dtype):
    """A network with many ReLUs, and many examples near their kinks."""
    torch.manual_seed(0)
    layers = [nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3)]
    data = torch.randn(500, 20, dtype=dtype), torch.randint(0, 3, (500,))
    return nn.Sequential(*layers).to(dtype), data


class Augmented:
    """Batches with noise of their own at every pass."""

    def __iter__(self):
        yield X + 0.1 * torch.randn_like(X), Y


def everything(model, data=None, **options):
    """Each operator there is, to be built."""
    data = (X, Y) if data is None else data
    builders = {
        kind: functools.partial(build, model, kind=kind, data=data, **options) for kind in KINDS
    }
    return builders | {"NTK": functools.partial(hessop.NTKOperator, model, data, **options)}


DATA = dict.fromkeys(KINDS, "data") | {"NTK": "inputs"}


class TestRandomness:
    @pytest.mark.parametrize("kind", [*KINDS, "NTK"])
    def test_a_shuffled_loader(self, kind):
        """Before anything is computed."""
        loader = DataLoader(TensorDataset(X, Y), batch_size=4, shuffle=True)
        text = (
            f"`{DATA[kind]}` must visit the same batches in the same order at every pass; got a "
            "DataLoader "
            "with a RandomSampler. Use shuffle=False, or pass list(loader) to freeze one pass."
        )
        model = mlp()[0]
        with untouched(model), pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            everything(model, loader)[kind]()

    @pytest.mark.parametrize("kind", [*KINDS, "NTK"])
    def test_augmentation(self, kind):
        """By two looks at the first batch."""
        text = (
            f"`{DATA[kind]}` must visit the same batches in the same order at every pass; got a "
            "first batch "
            "that differs between two passes. Turn shuffling and augmentation off, or pass "
            "list(data) to freeze one pass."
        )
        model = mlp()[0]
        with untouched(model), pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            everything(model, Augmented())[kind]()

    @pytest.mark.parametrize("kind", [*KINDS, "NTK"])
    def test_dropout(self, kind):
        """By name and kind of the layer, and no longer in eval mode."""
        model = network(nn.Dropout(0.5)).double().train()
        text = (
            "`model` must compute the same function at every call; got 2 (Dropout) with dropout in "
            "train mode. Call model.eval() first. check=False skips this check."
        )
        with untouched(model), pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            everything(model)[kind]()
        everything(model.eval())[kind]()

    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize(
        "function", [lambda x: F.dropout(x, 0.5), lambda x: x + 0.1 * torch.randn_like(x)]
    )
    @pytest.mark.parametrize("kind", [*KINDS, "NTK"])
    def test_functional_dropout_and_noise(self, kind, function, training):
        """By two evaluations with other random numbers."""
        model = network(Lambda(function)).double().train(training)
        text = r"`model` must give the same loss at every evaluation of one batch; got \S+ and \S+ "
        with (
            untouched(model),
            pytest.raises(ValueError, match=f"^{text}Look for functional dropout or noise, which"),
        ):
            everything(model)[kind]()

    @pytest.mark.parametrize("kind", [*KINDS, "NTK"])
    def test_a_model_that_changes_by_itself(self, kind):
        """State in Python."""
        calls = []

        def drift(x):
            calls.append(1)
            return x * (1 + len(calls))

        with pytest.raises(ValueError, match=r"^`model` must give the same loss at every evaluati"):
            everything(network(Lambda(drift)).double())[kind]()


class Everything(nn.Module):
    """Batch normalisation, a sparse embedding, dropout, noise, buffers; an LSTM if wanted."""

    def __init__(self, recurrent=False):
        super().__init__()
        self.embedding = nn.Embedding(6, 4, sparse=True)
        self.first = nn.Linear(4, 6)
        self.norm = nn.BatchNorm1d(6)
        self.dropout = nn.Dropout(0.3)
        self.last = nn.LSTM(6, 3) if recurrent else nn.Linear(6, 3)
        self.breaks_at = 0
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        """Logits."""
        self.calls += 1
        x = x + self.embedding(torch.arange(len(x)) % 6)
        x = self.dropout(torch.tanh(self.norm(self.first(x)))) + 0.1 * torch.rand(1)
        if len(x) == self.breaks_at:
            raise RuntimeError("broken on purpose")
        x = self.last(x)
        return x[0] if isinstance(x, tuple) else x


class Seeded(Sequence):
    """Batches that are drawn when they are asked for, each from its own seed."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        if not 0 <= index < 2:
            raise IndexError(index)
        torch.manual_seed(index)
        return torch.randn(5, 4).double(), torch.randint(0, 3, (5,))


class TestNoTrace:
    @pytest.mark.parametrize(
        ("kind", "mode", "recurrent"),
        [
            *((kind, mode, False) for kind in ("Hessian", "mc") for mode in MODES),
            *((kind, "kept", True) for kind in KINDS),
        ],
    )
    def test_after_every_product(self, kind, mode, recurrent):
        """Modes, random state, .grad, buffers, flags: as before, whatever was computed."""
        torch.manual_seed(0)
        model = Everything(recurrent).double()
        LOSS(model(X), Y).backward()
        model.embedding.weight.grad = model.embedding.weight.grad.to_dense()
        model.last.eval()
        with untouched(model):
            H = build(model, mode, kind, data=cut((X, Y), 5), check=False)
            for work in (
                lambda: H @ np.ones(H.shape[0]),
                lambda: H @ np.ones((H.shape[0], 3)),
                H.gradient,
                H.loss,
                lambda: H.block("first") @ np.ones(30),
                lambda: H.noise,
            ):
                with untouched(model):
                    work()
        assert model.embedding.sparse

    @EVERY_MODE
    @pytest.mark.parametrize("kind", ["Hessian", "mc"])
    def test_after_an_exception(self, kind, mode):
        """In the first batch, of 5, or in the second, of 6; the operator works afterwards."""
        torch.manual_seed(0)
        model = Everything().double()
        model.dropout.p = 0.0
        data = cut((X, Y), 5)
        H = build(model, mode, kind, data=data, check=False)
        for size in (5, 6):
            for work in (lambda: H @ np.ones(H.shape[0]), H.gradient, H.loss):
                model.breaks_at = size
                with untouched(model), pytest.raises(RuntimeError, match="broken on purpose"):
                    work()
                assert model.embedding.sparse
        model.breaks_at = 0
        torch.manual_seed(0)
        found = H @ np.ones(H.shape[0])
        torch.manual_seed(0)
        fresh = build(model, "reverse-over-reverse", kind, data=data, check=False)
        exact = fresh @ np.ones(H.shape[0])
        np.testing.assert_allclose(found, exact, atol=1e-6 if "finite" in mode else 1e-12)

    @EVERY_MODE
    def test_after_an_exception_in_the_backward_pass(self, mode):
        """From a hook of the model's own."""
        model = mlp()[0]
        fail = []

        def hook(grad):
            if fail:
                raise RuntimeError("broken on purpose")
            return grad

        model[1].register_forward_hook(
            lambda m, i, o: o.register_hook(hook) and None if o.requires_grad else None
        )
        H = build(model, mode, check=False, memory=0)
        fail.append(1)
        with untouched(model), pytest.raises(RuntimeError, match="broken on purpose"):
            H @ np.ones(51)
        fail.clear()
        check(build(model, mode), expected(), mode)

    @pytest.mark.parametrize("memory", ["auto", 0])
    def test_data_that_draw_random_numbers(self, memory):
        """Each batch from its own seed: the caller's random state is as it was."""
        model = mlp()[0]
        with untouched(model):
            H = build(model, data=Seeded(), memory=memory)
        for work in (lambda: H @ np.ones(51), H.gradient, H.loss):
            with untouched(model):
                work()

    def test_data_that_fail_half_way(self):
        """The random state is put back, too."""

        class Failing:
            def __init__(self):
                self.broken = False

            def __iter__(self):
                torch.manual_seed(1)
                yield X[:5], Y[:5]
                if self.broken:
                    raise OSError("disk gone")
                yield X[5:], Y[5:]

        model, data = mlp()[0], Failing()
        H = build(model, data=data, memory=0)
        data.broken = True
        for work in (lambda: H @ np.ones(51), H.gradient, H.loss):
            with untouched(model), pytest.raises(OSError, match="disk gone"):
                work()
        data.broken = False
        check(H, expected())

    @EVERY_MODE
    def test_grad_mode_of_the_caller(self, mode):
        """Under no_grad and inference mode, which stay."""
        model = mlp()[0]
        for context in (torch.no_grad, torch.inference_mode):
            with context():
                H = build(model, mode)
                check(H, expected(), mode)
                assert not torch.is_grad_enabled()
                assert torch.is_inference_mode_enabled() == (context is torch.inference_mode)

    @pytest.mark.parametrize("kind", [*KINDS, "NTK"])
    def test_of_a_refusal(self, kind):
        """An error in the checks."""
        model = Breaking().double().train()
        model.broken = True
        with untouched(model), pytest.raises(RuntimeError, match="broken on purpose"):
            everything(model)[kind]()
