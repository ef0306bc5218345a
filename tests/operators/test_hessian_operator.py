"""The Hessian of a loss as an operator, against the dense one, for every kind of layer."""

from __future__ import annotations

import copy
import functools
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import hessop
from hessop.operators import ProductOperator
from tests import oracles
from tests.models import PROBLEMS, cut, mlp, tied

EVERY = pytest.mark.parametrize("name", PROBLEMS)


@functools.cache
def expected(name):
    """Dense Hessian, gradient and loss in float64."""
    problem = PROBLEMS[name]()
    return oracles.dense_hessian(*problem), oracles.gradient(*problem), oracles.loss(*problem)


@EVERY
def test_the_oracle_itself(name):
    """Its Hessian is the difference quotient of its gradient, and that of its loss."""
    problem = PROBLEMS[name]()
    hessian, gradient, _ = expected(name)
    quotient = oracles.difference_hessian(*problem, step=1e-5)
    np.testing.assert_allclose(hessian, quotient, atol=1e-8)
    objective, theta = oracles.flat_objective(*problem)
    d = torch.from_numpy(np.random.default_rng(0).standard_normal(len(theta)))
    slope = (objective(theta + 1e-5 * d) - objective(theta - 1e-5 * d)) / 2e-5
    assert float(slope) == pytest.approx(float(gradient @ d.numpy()), abs=1e-8)


class TestAgainstTheDenseHessian:
    @pytest.mark.parametrize("points", [(), (2,), (1, 3, 4)], ids=["one", "two", "four"])
    @EVERY
    def test_float64(self, name, points):
        """To rounding, however the data are cut."""
        model, loss_fn, data = PROBLEMS[name]()
        H = hessop.HessianOperator(model, loss_fn, cut(data, *points))
        assert H.shape == expected(name)[0].shape
        assert H.dtype == np.float64
        scale = np.abs(expected(name)[0]).max()
        np.testing.assert_allclose(oracles.matrix(H), expected(name)[0], atol=1e-14 * scale * 10)

    @EVERY
    def test_float32(self, name):
        """To a few units of single precision, relative to the norm."""
        model, loss_fn, data = PROBLEMS[name](torch.float32)
        H = hessop.HessianOperator(model, loss_fn, cut(data, 3))
        assert H.dtype == np.float32
        A = oracles.matrix(H)
        assert A.dtype == np.float32
        error = np.linalg.norm(A - expected(name)[0], 2) / np.linalg.norm(expected(name)[0], 2)
        assert error < 20 * np.finfo(np.float32).eps

    @EVERY
    def test_symmetry(self, name):
        """To rounding in float64: u . H v is v . H u."""
        model, loss_fn, data = PROBLEMS[name]()
        A = oracles.matrix(hessop.HessianOperator(model, loss_fn, data))
        assert np.abs(A - A.T).max() <= 1e-14 * np.abs(A).max()

    @EVERY
    def test_gradient_and_loss(self, name):
        """Those of torch over all data, in the operator's dtype, whatever the cut."""
        for dtype, tolerance in ((torch.float64, 1e-14), (torch.float32, 1e-6)):
            model, loss_fn, data = PROBLEMS[name](dtype)
            H = hessop.HessianOperator(model, loss_fn, cut(data, 1, 3))
            g = H.gradient()
            assert type(g) is np.ndarray
            assert g.dtype == H.dtype
            assert g.shape == (H.shape[0],)
            np.testing.assert_allclose(g, expected(name)[1], atol=tolerance)
            assert type(H.loss()) is float
            assert H.loss() == pytest.approx(expected(name)[2], rel=tolerance)
            loss_fn(model(data[0]), data[1]).backward()
            ours = H.flatten({n: p.grad for n, p in model.named_parameters()})
            np.testing.assert_allclose(ours, g, atol=tolerance)

    @EVERY
    def test_sum(self, name):
        """The Hessian of the summed loss, by torch's own sum."""
        model, loss_fn, data = PROBLEMS[name]()
        whole = copy.copy(loss_fn)
        whole.reduction = "sum"
        # The mean of squares is also one over the two outputs of each example.
        outputs = 2 if name == "regression" else 1
        H = hessop.HessianOperator(model, loss_fn, cut(data, 2), reduction="sum")
        v = np.ones(H.shape[0])
        total = oracles.dense_hessian(model, whole, data) / outputs
        np.testing.assert_allclose(H @ v, total @ v, rtol=1e-11, atol=1e-12)

    @EVERY
    def test_blocks_and_single_vectors_agree(self, name):
        """A block is its columns."""
        model, loss_fn, data = PROBLEMS[name]()
        H = hessop.HessianOperator(model, loss_fn, data)
        V = np.random.default_rng(0).standard_normal((H.shape[0], 3))
        columns = np.stack([H @ v for v in V.T], axis=1)
        np.testing.assert_array_equal(H @ V, columns)
        np.testing.assert_array_equal(H.product.matmat(torch.from_numpy(V).T).T, columns)

    @pytest.mark.parametrize(("dtype", "eps"), [(torch.bfloat16, 2**-8), (torch.float16, 2**-11)])
    def test_half_precision_parameters(self, dtype, eps):
        """A float32 operator with the accuracy of its parameters."""
        model, loss_fn, data = mlp(dtype)
        H = hessop.HessianOperator(model, loss_fn, data)
        assert H.dtype == np.float32
        A = oracles.matrix(H)
        reference = oracles.dense_hessian(model, loss_fn, data)
        assert np.linalg.norm(A - reference, 2) < 30 * eps * np.linalg.norm(reference, 2)
        assert H.gradient().dtype == np.float32


class TestParameterChoice:
    @pytest.mark.parametrize(
        ("name", "params", "names"),
        [
            ("mlp", "0", ("0.weight", "0.bias")),
            ("mlp", ["2.bias", "0.weight"], ("0.weight", "2.bias")),
            ("cnn", "*weight", ("0.weight", "1.weight", "5.weight")),
            ("cnn", lambda n, p: p.ndim == 1, ("0.bias", "1.weight", "1.bias", "5.bias")),
            ("transformer", "attention", ("attention.qkv.weight", "attention.out.weight")),
            ("transformer", "tokens", ("tokens.weight",)),
            ("lstm", "*_ih_l0", ("lstm.weight_ih_l0", "lstm.bias_ih_l0")),
            ("tied", "head", ("embedding.weight",)),
            ("tied", "embedding", ("embedding.weight",)),
            ("tied", "hidden", ("hidden.weight", "hidden.bias")),
        ],
    )
    def test_diagonal_blocks(self, name, params, names):
        """A choice of parameters gives that block of the whole Hessian."""
        model, loss_fn, data = PROBLEMS[name]()
        H = hessop.HessianOperator(model, loss_fn, cut(data, 2), params=params)
        assert H.names == names
        every = hessop.HessianOperator(model, loss_fn, data)
        places = every.unflatten(np.arange(every.shape[0]))
        index = np.concatenate([places[n].ravel() for n in names])
        whole, gradient, loss = expected(name)
        np.testing.assert_allclose(oracles.matrix(H), whole[np.ix_(index, index)], atol=1e-13)
        np.testing.assert_allclose(H.gradient(), gradient[index], atol=1e-14)
        assert H.loss() == pytest.approx(loss)

    def test_frozen_parameters(self):
        """Left out by default, taken by full name; frozen they stay."""
        model, loss_fn, data = mlp()
        model[0].requires_grad_(False)
        H = hessop.HessianOperator(model, loss_fn, data)
        assert H.names == ("2.weight", "2.bias")
        whole = hessop.HessianOperator(model, loss_fn, data, params=lambda n, p: True)
        np.testing.assert_allclose(oracles.matrix(whole), expected("mlp")[0], atol=1e-15)
        np.testing.assert_allclose(oracles.matrix(H), expected("mlp")[0][30:, 30:], atol=1e-15)
        assert not model[0].weight.requires_grad

    def test_a_whole_model_frozen(self):
        """Named in full, it has a Hessian all the same."""
        model, loss_fn, data = mlp()
        model.requires_grad_(False)
        names = [n for n, _ in model.named_parameters()]
        H = hessop.HessianOperator(model, loss_fn, data, params=names)
        np.testing.assert_allclose(oracles.matrix(H), expected("mlp")[0], atol=1e-15)

    def test_tied_parameters_feel_both_uses(self):
        """The block of a tied parameter is that of the sum of its uses, not of one."""
        model, loss_fn, data = tied()
        block = oracles.matrix(hessop.HessianOperator(model, loss_fn, data, params="head"))
        untied = copy.deepcopy(model)
        untied.head.weight = nn.Parameter(untied.head.weight.detach().clone())
        single = oracles.matrix(hessop.HessianOperator(untied, loss_fn, data, params="head"))
        assert np.abs(block - single).max() > 0.1
        both = oracles.dense_hessian(untied, loss_fn, data, ["embedding.weight", "head.weight"])
        total = both[:24, :24] + both[:24, 24:] + both[24:, :24] + both[24:, 24:]
        np.testing.assert_allclose(block, total, atol=1e-13)


class TestFlattening:
    @EVERY
    def test_round_trip(self, name):
        """Parameters to vector and back, in either library."""
        model, loss_fn, data = PROBLEMS[name]()
        H = hessop.HessianOperator(model, loss_fn, data)
        parameters = {n: p.detach() for n, p in model.named_parameters()}
        v = H.flatten(parameters)
        assert type(v) is torch.Tensor
        assert v.shape == (H.shape[0],)
        for n, piece in H.unflatten(v).items():
            assert torch.equal(piece, parameters[n])
        w = H.flatten({n: p.numpy() for n, p in parameters.items()})
        assert type(w) is np.ndarray
        np.testing.assert_array_equal(w, v)
        pieces = H.unflatten(w)
        assert tuple(pieces) == H.names
        for n, piece in pieces.items():
            assert type(piece) is np.ndarray
            np.testing.assert_array_equal(piece, parameters[n])
        np.testing.assert_array_equal(H.flatten(pieces.values()), w)

    def test_the_order_is_that_of_the_hessian(self):
        """A step along one parameter is seen in its rows."""
        model, loss_fn, data = mlp()
        H = hessop.HessianOperator(model, loss_fn, data)
        direction = {n: np.zeros(p.shape) for n, p in model.named_parameters()}
        direction["2.bias"][1] = 1.0
        before = H.gradient()
        Hv = H @ H.flatten(direction)
        with torch.no_grad():
            model[2].bias[1] += 1e-6
        np.testing.assert_allclose((H.gradient() - before) / 1e-6, Hv, atol=1e-6)


class TestProduct:
    def test_the_operator_is_a_face(self):
        """Of a product that speaks torch."""
        H = hessop.HessianOperator(*mlp())
        assert isinstance(H, ProductOperator)
        assert H.product.n == 51
        assert H.product.dtype == torch.float64
        assert H.product.device == torch.device("cpu")

    def test_blocks_that_do_not_fit_the_product(self):
        """No silent cast inside."""
        product = hessop.HessianOperator(*mlp()).product
        with pytest.raises(
            ValueError, match=r"^`V` must have shape \(k, 51\); got shape \(51, 1\)"
        ):
            product.matmat(torch.ones(51, 1, dtype=torch.float64))
        with pytest.raises(
            ValueError, match=r"^`V` must be torch.float64 on cpu; got torch.float32"
        ):
            product.matmat(torch.ones(1, 51))
        assert product.n_matvec == 0

    @pytest.mark.parametrize("memory", ["auto", 0])
    def test_results_are_nobody_elses(self, memory):
        """Fresh, contiguous, not written to by later products; the input is as it was."""
        H = hessop.HessianOperator(*mlp(), memory=memory)
        workspace = np.random.default_rng(0).standard_normal((3, 51))
        before = workspace.copy()
        y, Y, g = H.matvec(workspace[1]), H.matmat(workspace.T), H.gradient()
        kept = y.copy(), Y.copy(), g.copy()
        np.testing.assert_array_equal(workspace, before)
        workspace[...] = np.nan
        for x in (np.ones(51), np.ones((51, 2))):
            (H @ x)[...] = np.nan
        H.gradient()[...] = np.nan
        for result, copied in zip((y, Y, g), kept, strict=True):
            assert result.flags.writeable
            assert result.flags.forc
            np.testing.assert_array_equal(result, copied)
        np.testing.assert_array_equal(H.matvec(before[1]), kept[0])

    @pytest.mark.parametrize("given", ["i1", "f2", "f8", ">f4"])
    def test_other_dtypes_are_cast(self, given):
        """A float32 operator gets float64 blocks from half of SciPy."""
        model, loss_fn, data = mlp(torch.float32)
        H = hessop.HessianOperator(model, loss_fn, data)
        v = (np.arange(51) % 5 - 2).astype(given)
        for x in (v, v[::-1], np.stack([v, v])[1], np.broadcast_to(v[3], (51,))):
            y = H @ x
            assert y.dtype == np.float32
            # Not bit for bit: BLAS may add in another order for another alignment.
            np.testing.assert_allclose(y, H @ np.ascontiguousarray(x, "f4"), rtol=1e-5, atol=1e-6)

    def test_scaling_stays_in_single_precision(self):
        """On the device."""
        H = hessop.HessianOperator(*mlp(torch.float32))
        for A in (2.0 * H, -H, H / 3, H + H):
            assert isinstance(A, ProductOperator)
            assert A.dtype == (A @ np.ones(51)).dtype == np.float32


class TestCopies:
    @pytest.mark.parametrize("used", [False, True])
    @pytest.mark.parametrize(
        "copier",
        [copy.copy, copy.deepcopy, lambda H: pickle.loads(pickle.dumps(H))],
        ids=["copy", "deepcopy", "pickle"],
    )
    @EVERY
    def test_copies_multiply_alike(self, name, copier, used):
        """Before and after its graphs were built."""
        model, loss_fn, data = PROBLEMS[name]()
        H = hessop.HessianOperator(model, loss_fn, cut(data, 2))
        v = np.ones(H.shape[0])
        if used:
            H @ v
        twin = copier(H)
        assert type(twin) is hessop.HessianOperator
        assert (twin.names, twin.shape, twin.dtype) == (H.names, H.shape, H.dtype)
        np.testing.assert_array_equal(twin @ v, H @ v)
        np.testing.assert_array_equal(twin.gradient(), H.gradient())
        assert twin.loss() == H.loss()

    def test_a_pickle_holds_no_graphs(self):
        """They are rebuilt at the other end."""
        H = hessop.HessianOperator(*mlp())
        before = len(pickle.dumps(H))
        H @ np.ones((51, 3))
        assert len(pickle.dumps(H)) == pytest.approx(before, abs=50)
