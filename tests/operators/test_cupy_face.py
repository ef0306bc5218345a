"""
What CuPy asks of a LinearOperator, shown with the installed class over a stand-in for its arrays.

No GPU takes part: `tests/gpu` has what only one can show.
"""

from __future__ import annotations

import copy
import pickle
import sys
import weakref

import numpy as np
import pytest
import torch

import hessop
from hessop import _cupy
from hessop._product import Product
from tests.cupy_arrays import ndarray
from tests.cupy_on_numpy import Stream, installed

N = 6
X = np.array([1, -2, 3, 0, 5, -1])
PRECISIONS = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


@pytest.fixture(autouse=True)
def world():
    """CuPy's class, and arrays over NumPy."""
    with installed() as world:
        yield world


def symmetric(n=N, seed=0):
    """A dense symmetric matrix of float64, with entries that float32 can hold."""
    A = np.random.default_rng(seed).integers(-8, 9, (n, n)).astype(float)
    return A + A.T


@pytest.fixture
def operator(world):
    """Makes the same matrix an operator of CuPy's."""

    def make(dtype=torch.float64, n=N):
        matrix = torch.tensor(symmetric(n), dtype=dtype)
        return world.CupyOperator(hessop.aslinearoperator(matrix).product)

    return make


def host(x):
    """The numbers of an array that has to be CuPy's."""
    assert type(x) is ndarray
    return x.get()


class Lender(Product):
    """Gives back what it was given, as a careless function would."""

    def __init__(self, number=None):
        place = torch.device("cpu") if number is None else torch.device("cpu", number)
        super().__init__(N, torch.float64, place)

    def _apply(self, V):
        return V.clone()


class TestConstruction:
    @PRECISIONS
    def test_it_is_cupys_class(self, world, operator, dtype):
        """With the true dtype and shape."""
        A = operator(dtype)
        assert isinstance(A, world.solvers.LinearOperator)
        assert world.solvers.aslinearoperator(A) is A
        assert A.dtype == np.dtype("f4" if dtype == torch.float32 else "f8")
        assert A.shape == (N, N)

    def test_that_class_is_the_installed_one(self, world):
        """Not one that was written for the test."""
        source = sys.modules[world.solvers.LinearOperator.__module__].__file__
        assert source.endswith("cupyx/scipy/sparse/linalg/_interface.py")
        assert "hessop" not in source.partition("site-packages")[2]

    @pytest.mark.parametrize("copier", [copy.copy, lambda A: pickle.loads(pickle.dumps(A))])
    def test_copies_multiply_alike(self, operator, copier):
        """With the same shape, dtype and type."""
        A = operator(torch.float32)
        B = copier(A)
        assert type(B) is type(A)
        assert (B.shape, B.dtype) == (A.shape, A.dtype)
        np.testing.assert_array_equal(host(B @ ndarray(X)), host(A @ ndarray(X)))


class TestVectors:
    @pytest.mark.parametrize("method", ["matvec", "rmatvec", "__matmul__", "__mul__", "dot"])
    @pytest.mark.parametrize("shape", [(N,), (N, 1)])
    @PRECISIONS
    def test_every_way_to_multiply(self, operator, method, shape, dtype):
        """Shape in is shape out; the dtype is the operator's."""
        y = host(getattr(operator(dtype), method)(ndarray(X.reshape(shape))))
        assert y.shape == shape
        assert y.dtype == operator(dtype).dtype
        np.testing.assert_array_equal(y, (symmetric() @ X).reshape(shape))

    @pytest.mark.parametrize("method", ["matmat", "rmatmat", "__matmul__", "__call__"])
    @pytest.mark.parametrize("k", [1, 2, 5])
    @PRECISIONS
    def test_blocks(self, operator, method, k, dtype):
        """A block of columns, in either order, gives a block in C order."""
        block = np.arange(float(N * k)).reshape(N, k)
        for given in (block, np.asfortranarray(block)):
            Y = getattr(operator(dtype), method)(ndarray(given))
            assert Y.flags.c_contiguous
            assert Y.dtype == operator(dtype).dtype
            np.testing.assert_array_equal(host(Y), symmetric() @ block)

    @pytest.mark.parametrize("given", ["i1", "i8", "f2", "f4", "f8", "?"])
    @pytest.mark.parametrize("layout", ["whole", "column", "every other", "backwards"])
    @PRECISIONS
    def test_every_layout_and_dtype(self, operator, given, layout, dtype):
        """What comes in may be strided, reversed, and of any real dtype."""
        x = X.astype(given)
        wide = np.zeros((N, 3), given)
        wide[:, 1] = x
        twice = np.repeat(x, 2)
        views = {"whole": x, "column": wide[:, 1], "every other": twice[::2]}
        view = views.get(layout, x[::-1].copy()[::-1])
        y = operator(dtype).matvec(ndarray(view))
        assert y.dtype == operator(dtype).dtype
        np.testing.assert_array_equal(host(y), symmetric() @ x)

    @pytest.mark.parametrize("shape", [(N,), (N, 1), (N, 3)])
    def test_fresh_contiguous_memory(self, world, shape):
        """Solvers write into what they get, by its address: it is theirs alone."""
        A = world.CupyOperator(Lender())
        x = ndarray(np.ones(shape))
        first, second = A @ x, A @ x
        assert first.flags.c_contiguous
        first += 7.0
        np.testing.assert_array_equal(host(x), np.ones(shape))
        np.testing.assert_array_equal(host(second), np.ones(shape))

    @pytest.mark.parametrize("shape", [(N + 1,), (1, N), (N, 2, 2)])
    def test_other_shapes_are_refused_by_cupy(self, operator, shape):
        """A mismatch is a ValueError."""
        with pytest.raises(ValueError, match=r"dimension mismatch|expected 1-d or 2-d"):
            operator() @ ndarray(np.ones(shape))

    def test_more_axes_are_refused_by_the_face(self, operator):
        """Where CuPy lets them through."""
        with pytest.raises(ValueError, match=r"^`X` must have shape \(n, k\); got shape \(6, 2, "):
            operator()._matmat(ndarray(np.ones((N, 2, 2))))


class TestRefusals:
    @pytest.mark.parametrize("shape", [(N,), (N, 1), (N, 3)])
    def test_complex_vectors(self, operator, shape):
        """Parts one by one."""
        text = r"^`x` must be real; got complex128. Apply to x.real and x.imag.$"
        with pytest.raises(TypeError, match=text):
            operator() @ ndarray(np.ones(shape, complex))

    @pytest.mark.parametrize("shape", [(N,), (N, 1), (N, 3)])
    @pytest.mark.parametrize(("kind", "make"), [("ndarray", np.ones), ("Tensor", torch.ones)])
    def test_arrays_of_other_libraries(self, operator, shape, kind, make):
        """Copies to and from the device are the user's to ask for."""
        remedy = r"Use cupy.asarray\(x\), or the operator that to_cupy\(\) was called on.$"
        with pytest.raises(TypeError, match=f"^`x` must be a CuPy array; got a {kind}. {remedy}"):
            operator() @ make(shape)

    def test_another_device(self, world):
        """Both numbers are in the message."""
        A = world.CupyOperator(Lender(0))
        np.testing.assert_array_equal(host(A @ ndarray(np.ones(N), 0)), np.ones(N))
        for shape in ((N,), (N, 1), (N, 3)):
            with pytest.raises(ValueError, match=r"^`x` must be on GPU 0; got one on GPU 1.$"):
                A @ ndarray(np.ones(shape), 1)

    @pytest.mark.parametrize("shape", [(N,), (N, 1), (N, 3)])
    def test_products_that_are_not_finite(self, world, shape):
        """Of a vector that is."""
        nothing = hessop.TorchOperator(lambda V: V / 0, N, dtype=torch.float64)
        A = world.CupyOperator(nothing.product)
        with pytest.raises(FloatingPointError, match=r"^`A` must give finite products; got NaN or"):
            A @ ndarray(np.ones(shape))

    def test_what_came_in_without_being_finite(self, operator):
        """Is the user's own, and comes out likewise."""
        x = ndarray(np.full(N, np.nan))
        assert np.isnan(host(operator() @ x)).all()

    def test_streams_of_each_thread(self, world, operator):
        """torch has no name for them, and could not wait."""
        world.theirs = Stream(2)
        text = r"^`CuPy's current stream` must not be a per-thread default stream.*Stream\(\):"
        with pytest.raises(ValueError, match=text):
            operator() @ ndarray(X)


class TestDoor:
    def test_a_model_on_a_gpu(self, world, monkeypatch):
        """The same product, counted where it is counted."""
        A = hessop.aslinearoperator(symmetric())
        with monkeypatch.context() as there:
            there.setattr(A.product, "device", torch.device("cuda", 0))
            B = A.to_cupy()
        assert type(B) is world.CupyOperator
        assert B.product is A.product
        B @ ndarray(np.ones((N, 3)))
        assert A.product.n_matvec == 3


class TestStreams:
    def test_one_stream_waits_for_nobody(self, world, operator):
        """As by default: both libraries use the same."""
        operator() @ ndarray(X)
        assert world.theirs is world.ours
        assert world.ours.waited_for == []

    def test_memory_that_cupy_computes_with(self, world):
        """Goes back when torch's stream waits for CuPy's, which is held until then."""
        world.theirs = Stream(77)
        t = torch.ones(3)
        y = _cupy.give(t)
        assert y.data.ptr == t.data_ptr()
        assert world.ours.waited_for == []
        stream = weakref.ref(world.theirs)
        world.theirs = Stream(78)
        assert stream() is not None
        del y
        assert world.ours.waited_for == [77]
        assert stream() is None

    def test_a_product_in_another_stream(self, world, operator):
        """Is right, whoever waits for whom."""
        expected = host(operator() @ ndarray(X))
        world.theirs = Stream(77)
        np.testing.assert_array_equal(host(operator() @ ndarray(X)), expected)

    def test_settling(self, world):
        """CuPy's stream waits for torch's where they are two."""
        world.theirs, world.ours = Stream(77), Stream(5)
        _cupy.settle(None)
        assert world.theirs.waited_for == [5]
        world.ours = world.theirs
        _cupy.settle(None)
        assert world.theirs.waited_for == [5]
