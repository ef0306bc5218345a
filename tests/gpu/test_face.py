"""The face of CuPy with real arrays, and CuPy's own solvers on it, beside dense NumPy."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

import hessop
from tests import oracles
from tests.cupy_problems import PRECISIONS, N, Solvers, symmetric, vectors
from tests.models import PROBLEMS, cut

cupy = pytest.importorskip("cupy")
pytestmark = pytest.mark.gpu


def start(*how, **more):
    """A start vector, or a block of them, on the device."""
    return cupy.asarray(vectors(*how, **more))


def accuracy(dtype):
    """What may be asked of a product."""
    return 1e-4 if dtype == torch.float32 else 1e-12


class TestContract:
    @PRECISIONS
    def test_it_is_cupys_class(self, solvers, operator, dtype):
        """With the true dtype and shape, and as it is after a pickle."""
        A = operator(symmetric(), dtype)
        assert isinstance(A, solvers.LinearOperator)
        assert solvers.aslinearoperator(A) is A
        for B in (A, pickle.loads(pickle.dumps(A))):
            assert B.shape == (N, N)
            assert B.dtype == np.dtype("f4" if dtype == torch.float32 else "f8")
            assert type(B) is type(A)
            cupy.testing.assert_array_equal(B @ start(), A @ start())

    @pytest.mark.parametrize("shape", [(N,), (N, 1), (N, 3)])
    @PRECISIONS
    def test_what_comes_out(self, operator, shape, dtype):
        """New, contiguous memory in the operator's dtype and the shape of what came in."""
        A = operator(symmetric(), dtype)
        x = start(*shape[1:])
        before = x.get()
        first, second = A @ x, A @ x
        assert type(first) is cupy.ndarray
        assert first.shape == shape
        assert first.dtype == A.dtype
        assert first.flags.c_contiguous
        assert first.data.ptr not in (second.data.ptr, x.data.ptr)
        first += 1e6
        for y in (second, A.H @ x, A.T @ x):
            np.testing.assert_allclose(y.get(), symmetric() @ before, atol=accuracy(dtype))
        np.testing.assert_array_equal(x.get(), before)

    @pytest.mark.parametrize("given", ["i1", "i8", "f2", "f4", "f8", "?"])
    @pytest.mark.parametrize(
        "layout",
        [
            lambda x: x,
            lambda x: cupy.repeat(x, 2)[::2],
            lambda x: cupy.stack([x, x], axis=1)[:, 1],
            lambda x: x[::-1].copy()[::-1],
        ],
        ids=["whole", "every other", "column", "backwards"],
    )
    def test_every_layout_and_dtype(self, operator, given, layout):
        """int8 probes a dtype, lobpcg sends columns."""
        x = (10 * start()).astype(given)
        y = operator(symmetric(), torch.float32) @ layout(x)
        assert y.dtype == np.float32
        expected = symmetric() @ x.get().astype("f8")
        np.testing.assert_allclose(y.get(), expected, atol=1e-3)

    @PRECISIONS
    def test_algebra_on_the_device(self, operator, dtype):
        """Of the same class and dtype, with an adjoint."""
        A = operator(symmetric(), dtype)
        for B, times in (
            (A + A, 2),
            (A - 3 * A, -2),
            ((2 * A).H, 2),
            (np.float64(2) * A, 2),
            (-(A / 4).T, -0.25),
        ):
            assert type(B) is type(A)
            assert B.dtype == A.dtype
            image = (B @ start(2)).get()
            expected = times * symmetric() @ start(2).get()
            np.testing.assert_allclose(image, expected, atol=3 * accuracy(dtype))

    def test_composed_by_cupy(self, solvers, operator):
        """Products, powers, and sums with operators of its own."""
        D, x = symmetric(), start()
        A, theirs = operator(D), solvers.aslinearoperator(cupy.asarray(symmetric()))
        for B, expected in (
            (A @ (2 * A), 2 * D @ D),
            (A**2, D @ D),
            (A + theirs, 2 * D),
            (theirs - A / 2, D / 2),
        ):
            assert isinstance(B, solvers.LinearOperator)
            np.testing.assert_allclose((B @ x).get(), expected @ x.get(), atol=1e-10)

    def test_refusals(self, operator):
        """Complex, another library, NaN, a wrong shape."""
        A = operator(symmetric())
        with pytest.raises(TypeError, match=r"^`x` must be real; got complex128."):
            A @ start().astype("c16")
        with pytest.raises(TypeError, match=r"^`x` must be a CuPy array; got a ndarray. Use cupy"):
            A @ np.ones(N)
        with pytest.raises(TypeError, match=r"^`x` must be a CuPy array; got a Tensor. Use cupy"):
            A @ torch.ones(N, device="cuda")
        with pytest.raises(FloatingPointError, match=r"^`A` must give finite products"):
            operator(np.full((N, N), np.inf)) @ start()
        with pytest.raises(ValueError, match="dimension mismatch"):
            A @ cupy.ones(N + 1)

    def test_memory_does_not_grow(self, operator):
        """Neither library's pool, over hundreds of products."""
        A, x, pool = operator(symmetric(), torch.float32), start(4), cupy.get_default_memory_pool()

        def held():
            torch.cuda.synchronize()
            return (
                pool.used_bytes(),
                pool.total_bytes(),
                torch.cuda.memory_allocated(),
                torch.cuda.memory_reserved(),
            )

        for _ in range(10):
            y = A @ x
        before = held()
        for _ in range(200):
            y = A @ x
        assert held() == before
        assert y.shape == (N, 4)


class TestSolvers(Solvers):
    """With their compiled kernels, and cuBLAS by address."""

    @PRECISIONS
    def test_the_hessian_of_a_network(self, solvers, dtype):
        """What the face is for."""
        model, loss_fn, data = PROBLEMS["mlp"](dtype)
        w = np.linalg.eigvalsh(oracles.dense_hessian(model, loss_fn, data))
        batches = [tuple(t.cuda() for t in batch) for batch in cut(data, 3)]
        H = hessop.HessianOperator(model.cuda(), loss_fn, batches).to_cupy()
        v0 = cupy.asarray(np.random.default_rng(0).standard_normal(len(w)).astype(H.dtype))
        eps = float(torch.finfo(dtype).eps)
        values = solvers.eigsh(
            H, k=2, which="LA", v0=v0, tol=100 * eps * np.abs(w).max(), return_eigenvectors=False
        )
        np.testing.assert_allclose(values.get(), w[-2:], atol=2000 * eps * np.abs(w).max())
