"""What SciPy and its callers ask of a LinearOperator: shapes, dtypes, strides, fresh memory."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import hessop
from hessop.operators import ProductOperator
from hessop.operators.symmetric import SymmetricFace

N = 6


def symmetric(n=N, seed=0):
    """A dense symmetric matrix of float64, with entries that float32 can hold."""
    A = np.random.default_rng(seed).integers(-8, 9, (n, n)).astype(float)
    return A + A.T


def operator(dtype=torch.float64, n=N):
    """The same matrix behind a face."""
    return hessop.aslinearoperator(torch.tensor(symmetric(n), dtype=dtype))


class Borrower(hessop.operators.face.Product):
    """Looks at what comes in, remembers where it lay, and returns it times two."""

    def __init__(self, n=N, dtype=torch.float64):
        super().__init__(n, dtype, torch.device("cpu"))
        self.seen = []

    def _apply(self, V):
        self.seen.append((V.data_ptr(), V.dtype, tuple(V.shape)))
        return V * 2


class TestConstruction:
    @pytest.mark.parametrize(("dtype", "shown"), [(torch.float32, "f4"), (torch.float64, "f8")])
    def test_it_is_scipys_class(self, dtype, shown):
        """With the true dtype and a shape of plain ints, found out without a product."""
        product = Borrower(dtype=dtype)
        A = ProductOperator(product)
        assert isinstance(A, LinearOperator)
        assert A.dtype == np.dtype(shown)
        assert A.shape == (N, N)
        assert all(type(s) is int for s in A.shape)
        assert not product.seen

    def test_scipy_takes_it_as_it_is(self):
        """No wrapper around it."""
        A = operator()
        assert aslinearoperator(A) is A

    def test_it_is_its_own_transpose(self):
        """Real symmetric."""
        A = operator()
        for other in (A.T, A.H, A.transpose(), A.adjoint(), A.T.H):
            np.testing.assert_array_equal(other @ np.eye(N), symmetric())

    def test_printing_it(self):
        """Shape and dtype, as SciPy says them."""
        assert "6x6" in repr(operator())
        assert "float64" in repr(operator())

    def test_a_column_is_no_way_around_real(self):
        """A base class without a library has no doors."""
        bare = SymmetricFace()
        for door in (bare._take, bare._give, bare._again):
            with pytest.raises(NotImplementedError):
                door(np.ones(2))


def vector_layouts(x):
    """The same numbers in every layout."""
    n = len(x)
    block = np.zeros((n, 3), x.dtype)
    block[:, 1] = x
    twice = np.zeros(2 * n, x.dtype)
    twice[::2] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    return {
        "contiguous": x.copy(),
        "negative stride": x[::-1].copy()[::-1],
        "column of a C matrix": block[:, 1],
        "every other": twice[::2],
        "read-only": frozen,
        "read-only, negative stride": np.broadcast_to(x[::-1].copy(), (1, n))[0][::-1],
        "Fortran matrix": np.asfortranarray(block)[:, 1],
        "other byte order": x.astype(x.dtype.newbyteorder()),
        "list": x.tolist(),
    }


X = np.array([1, -2, 3, 0, 5, -1])


class TestVectors:
    @pytest.mark.parametrize(
        "method", ["matvec", "rmatvec", "__matmul__", "__mul__", "__call__", "dot"]
    )
    @pytest.mark.parametrize("shape", [(N,), (N, 1)])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_every_way_to_multiply(self, method, shape, dtype):
        """Shape in is shape out; the dtype is the operator's."""
        y = getattr(operator(dtype), method)(X.reshape(shape))
        assert isinstance(y, np.ndarray)
        assert y.shape == shape
        assert y.dtype == operator(dtype).dtype
        np.testing.assert_array_equal(y, (symmetric() @ X).reshape(shape))

    @pytest.mark.parametrize("layout", vector_layouts(X))
    @pytest.mark.parametrize("given", ["i1", "i8", "f2", "f4", "f8", "?"])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_every_layout_and_dtype(self, layout, given, dtype):
        """int8 probes a dtype, float64 comes to float32 operators, ARPACK passes columns."""
        x = X.astype(given)
        y = operator(dtype).matvec(vector_layouts(x)[layout])
        assert y.dtype == operator(dtype).dtype
        np.testing.assert_array_equal(y, symmetric() @ x)

    def test_zero_stride(self):
        """One number, seen N times."""
        x = np.broadcast_to(2.0, (N,))
        np.testing.assert_array_equal(operator().matvec(x), symmetric() @ x)

    @pytest.mark.parametrize("n", [1, 2])
    def test_tiny_operators(self, n):
        """Where (n,), (n, 1) and (1, n) are nearly the same."""
        A, D = operator(n=n), symmetric(n)
        np.testing.assert_array_equal(A @ np.ones(n), D @ np.ones(n))
        np.testing.assert_array_equal(A @ np.ones((n, 1)), D @ np.ones((n, 1)))
        np.testing.assert_array_equal(A @ np.ones((n, 3)), D @ np.ones((n, 3)))

    def test_rows_of_later_scipys(self):
        """SciPy 1.18 hands a batch of rows to `_matvec`."""
        rows = np.arange(2.0 * N).reshape(2, N)
        np.testing.assert_array_equal(operator()._matvec(rows), rows @ symmetric())
        batch = np.arange(6.0 * N).reshape(2, 3, N)
        np.testing.assert_array_equal(operator()._matvec(batch), batch @ symmetric())

    @pytest.mark.parametrize("shape", [(N + 1,), (1, N), (N, 2, 2), ()])
    def test_other_shapes_are_refused_by_scipy(self, shape):
        """A mismatch is a ValueError."""
        with pytest.raises(ValueError, match=r"mismatch|expected|Scalar"):
            operator().matvec(np.zeros(shape))


class TestBlocks:
    @pytest.mark.parametrize("method", ["matmat", "rmatmat", "__matmul__", "dot"])
    @pytest.mark.parametrize("k", [1, 2, N, N + 3])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_every_way_to_multiply(self, method, k, dtype):
        """Any number of columns."""
        V = np.arange(float(N * k)).reshape(N, k)
        Y = getattr(operator(dtype), method)(V)
        assert Y.shape == (N, k)
        assert Y.dtype == operator(dtype).dtype
        np.testing.assert_array_equal(Y, symmetric() @ V)

    def test_no_column(self):
        """An empty block gives an empty block."""
        assert operator().matmat(np.zeros((N, 0))).shape == (N, 0)

    @pytest.mark.parametrize(
        "layout",
        [
            np.ascontiguousarray,
            np.asfortranarray,
            lambda V: V[::-1, ::-1].copy()[::-1, ::-1],
            lambda V: np.repeat(V, 2, axis=1)[:, ::2],
            lambda V: np.broadcast_to(V[:, :1], V.shape),
            lambda V: V.astype("i1"),
            lambda V: V.astype(">f4"),
        ],
    )
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_every_layout(self, layout, dtype):
        """As for vectors."""
        V = layout(np.arange(4.0 * N).reshape(N, 4))
        np.testing.assert_array_equal(operator(dtype).matmat(V), symmetric() @ V)

    def test_a_block_is_one_product(self):
        """The product sees all columns at once, as rows."""
        product = Borrower()
        ProductOperator(product) @ np.ones((N, 5))
        assert [shape for _, _, shape in product.seen] == [(5, N)]
        assert product.n_matvec == 5

    def test_more_axes_are_refused(self):
        """In our words where SciPy lets them pass."""
        text = r"`X` must have shape \(n, k\); got shape \(6, 2, 2\). Loop over it."
        with pytest.raises(ValueError, match=f"^{text}$"):
            operator()._matmat(np.zeros((N, 2, 2)))


def results(A, x):
    """Every kind of result of multiplying with x."""
    block = np.stack([x, 2 * x], axis=1)
    column = x.reshape(-1, 1)
    return [A.matvec(x), A.rmatvec(x), A.matvec(column), A.matmat(block), A.rmatmat(block), A @ x]


OPERATORS = {
    "identity function": lambda dtype: hessop.TorchOperator(lambda V: V, N, dtype=dtype),
    "matrix": operator,
    "scaled": lambda dtype: operator(dtype) * 2.0,
    "scaled by one": lambda dtype: operator(dtype) * 1.0,
    "sum": lambda dtype: operator(dtype) + operator(dtype),
    "deflated": lambda dtype: hessop.deflate(operator(dtype), [1.0], np.ones((N, 1))),
    "deflated by nothing": lambda dtype: hessop.deflate(operator(dtype), [], np.ones((N, 0))),
    "host": lambda dtype: hessop.aslinearoperator(
        aslinearoperator(symmetric().astype(str(dtype).split(".")[1]))
    ),
    "host identity": lambda dtype: hessop.aslinearoperator(
        LinearOperator((N, N), matvec=lambda x: x, matmat=lambda V: V, dtype=str(dtype)[6:])
    ),
    "synthetic": lambda dtype: hessop.synthetic.operator(np.ones(N), dtype=dtype, rng=0),
    "diagonal synthetic": lambda dtype: hessop.synthetic.operator(
        np.ones(N), dtype=dtype, reflections=0
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
class TestFreshMemory:
    def test_results_are_fresh_contiguous_and_of_the_dtype(self, name, dtype):
        """Writable, owned by nobody else, never the input."""
        A = OPERATORS[name](dtype)
        x = np.arange(1.0, N + 1, dtype=A.dtype)
        for y in results(A, x):
            assert y.dtype == A.dtype
            assert y.flags.writeable
            assert y.flags.c_contiguous or y.flags.f_contiguous
            assert not np.shares_memory(y, x)

    def test_no_result_is_written_to_later(self, name, dtype):
        """Solvers write into what they get, and keep it."""
        A = OPERATORS[name](dtype)
        x = np.arange(1.0, N + 1, dtype=A.dtype)
        first = results(A, x)
        kept = [y.copy() for y in first]
        for y in results(A, x[::-1]):
            y[...] = np.nan
        for y, expected in zip(first, kept, strict=True):
            np.testing.assert_array_equal(y, expected)
        for y, expected in zip(results(A, x), kept, strict=True):
            np.testing.assert_array_equal(y, expected)

    def test_the_input_is_neither_kept_nor_written(self, name, dtype):
        """ARPACK passes views of its workspace, which it writes over."""
        A = OPERATORS[name](dtype)
        workspace = np.arange(3.0 * N, dtype=A.dtype).reshape(3, N)
        before = workspace.copy()
        y = A.matvec(workspace[1])
        Y = A.matmat(workspace.T)
        kept = y.copy(), Y.copy()
        np.testing.assert_array_equal(workspace, before)
        workspace[...] = np.nan
        np.testing.assert_array_equal(y, kept[0])
        np.testing.assert_array_equal(Y, kept[1])
        assert np.isfinite(A.matvec(before[1])).all()

    def test_products_of_torch_follow_the_same_rule(self, name, dtype):
        """Fresh and contiguous, the input as it was."""
        product = OPERATORS[name](dtype).product
        V = torch.arange(2.0 * N, dtype=dtype).reshape(N, 2).T
        before = V.clone()
        W = product.matmat(V)
        assert W.is_contiguous()
        assert W.dtype == dtype
        assert W.untyped_storage().data_ptr() != V.untyped_storage().data_ptr()
        assert torch.equal(V, before)
        kept = W.clone()
        product.matmat(V + 1).fill_(float("nan"))
        assert torch.equal(W, kept)


class TestComplex:
    @pytest.mark.parametrize("dtype", ["c8", "c16"])
    def test_complex_vectors_are_refused(self, dtype):
        """What to do instead is in the message."""
        x = np.ones(N, dtype)
        text = f"`x` must be real; got {x.dtype}. Apply to x.real and x.imag."
        for work in (lambda: operator() @ x, lambda: operator().rmatvec(x)):
            with pytest.raises(TypeError, match=f"^{text}$"):
                work()
        with pytest.raises(TypeError, match=f"^{text}$"):
            operator() @ np.ones((N, 2), dtype)


class TestNotFinite:
    def test_a_product_of_finite_vectors_is_finite(self):
        """Or an error that says where to look."""
        A = hessop.TorchOperator(lambda V: V * float("nan"), N)
        for x in (np.ones(N), np.ones((N, 2))):
            with pytest.raises(
                FloatingPointError, match=r"^`A` must give finite products; got NaN"
            ):
                A @ x

    def test_overflow_of_a_cast_is_seen(self):
        """1e300 is no float32 number."""
        with pytest.raises(FloatingPointError, match="must give finite products"):
            operator(torch.float32) @ np.full(N, 1e300)

    def test_what_came_in_not_finite_goes_out(self):
        """SciPy's own operators let NaN pass through too."""
        assert np.isnan(operator() @ np.full(N, np.nan)).all()


def plain(x):
    """The same operator as SciPy has it, to compare its algebra with."""
    return aslinearoperator(symmetric().astype(x))


ALGEBRA = {
    "A + A": lambda A: A + A,
    "A + scipy": lambda A: A + plain(A.dtype),
    "scipy + A": lambda A: plain(A.dtype) + A,
    "A - scipy": lambda A: A - plain(A.dtype) * 3,
    "scipy - A": lambda A: plain(A.dtype) * 3 - A,
    "A - A": lambda A: A - 3 * A,
    "-A": lambda A: -A,
    "2 A": lambda A: 2 * A,
    "A 2.5": lambda A: A * 2.5,
    "numpy scalar": lambda A: np.float32(2) * A * np.int64(3),
    "A / 4": lambda A: A / 4,
    "A @ A": lambda A: A @ A,
    "A * A": lambda A: A * A,
    "A ** 2": lambda A: A**2,
    "A ** 0": lambda A: A**0,
    "A @ scipy": lambda A: A @ plain(A.dtype),
    "scipy @ A": lambda A: plain(A.dtype) @ A,
    "A.T": lambda A: A.T,
    "A.H": lambda A: A.H,
    "(2 A).H": lambda A: (2 * A).H,
    "(A @ A).T": lambda A: (A @ A).T,
    "polynomial": lambda A: 2 * A @ A - A / 2 + 3 * A**0,
    "dot": lambda A: A.dot(A),
    "dot scalar": lambda A: A.dot(2.0),
}


class TestAlgebra:
    @pytest.mark.parametrize("name", ALGEBRA)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_as_scipy_gives_it(self, name, dtype):
        """The same numbers by every method, in the operator's dtype or at least in SciPy's."""
        A = operator(dtype)
        ours, theirs = ALGEBRA[name](A), ALGEBRA[name](plain(A.dtype))
        assert ours.shape == theirs.shape
        tolerance = {"rtol": 1e-5 if dtype == torch.float32 else 1e-12}
        for method, x in (
            ("matvec", X),
            ("rmatvec", X),
            ("matvec", X.reshape(-1, 1)),
            ("matmat", np.eye(N)),
            ("rmatmat", np.eye(N)),
        ):
            expected = getattr(theirs, method)(x.astype(A.dtype))
            result = getattr(ours, method)(x.astype(A.dtype))
            np.testing.assert_allclose(result, expected, **tolerance)
            # SciPy 1.17 shows a scaled float32 operator of its own as float64.
            assert result.dtype in (A.dtype, expected.dtype)

    @pytest.mark.parametrize(
        "work",
        [
            lambda A: 2.0 * A,
            lambda A: A * 2.0,
            lambda A: -A,
            lambda A: A / 3.0,
            lambda A: np.float64(2) * A,
            lambda A: A * np.float64(2),
            lambda A: A / np.float64(3),
            lambda A: A + A,
            lambda A: A - 2 * A,
        ],
    )
    def test_float32_stays_float32_on_the_device(self, work):
        """SciPy 1.17 calls a scaled float32 operator float64; its blocks then cost a cast."""
        B = work(operator(torch.float32))
        assert isinstance(B, ProductOperator)
        assert B.dtype == np.float32
        assert B.product.dtype == torch.float32
        assert (B @ X).dtype == np.float32

    def test_mixed_precision_is_the_higher(self):
        """As NumPy has it."""
        A = operator(torch.float32) + operator(torch.float64)
        assert A.dtype == np.float64
        np.testing.assert_array_equal(A @ X, 2 * symmetric() @ X)

    def test_complex_multiples_are_scipys(self):
        """Complex arithmetic is left to SciPy, which has it."""
        for B in (2j * operator(), operator() * 2j, operator() / 2j):
            assert np.iscomplexobj(B @ X)
        np.testing.assert_allclose((2j * operator()) @ X, 2j * (symmetric() @ X))

    @pytest.mark.parametrize("work", [lambda A: A / 0, lambda A: A / 0.0])
    def test_division_by_zero(self, work):
        """As for numbers."""
        with pytest.raises(ZeroDivisionError):
            work(operator())

    @pytest.mark.parametrize(
        "work",
        [
            lambda A: A + 1.0,
            lambda A: 1.0 + A,
            lambda A: A - 1.0,
            lambda A: A + None,
            lambda A: A / None,
            lambda A: A / A,
        ],
    )
    def test_what_scipy_refuses_is_refused(self, work):
        """Unsupported operands are a TypeError or ValueError, of SciPy's or of Python's."""
        with pytest.raises((TypeError, ValueError)):
            work(plain("f8"))
        with pytest.raises((TypeError, ValueError)):
            work(operator())

    @pytest.mark.parametrize("work", [lambda A, B: A + B, lambda A, B: A @ B, lambda A, B: A - B])
    def test_shapes_that_do_not_fit(self, work):
        """As SciPy says it."""
        with pytest.raises(ValueError, match=r"shape mismatch|cannot add|dimension mismatch"):
            work(operator(n=N), operator(n=N + 1))

    def test_arguments_are_not_changed(self):
        """An operator is a value."""
        A = operator()
        _ = 2 * A + A - A / 3
        np.testing.assert_array_equal(A @ X, symmetric() @ X)


class TestCopies:
    @pytest.mark.parametrize("name", ["matrix", "scaled", "sum", "deflated", "host", "synthetic"])
    @pytest.mark.parametrize(
        "copier",
        [copy.copy, copy.deepcopy, lambda A: pickle.loads(pickle.dumps(A))],
        ids=["copy", "deepcopy", "pickle"],
    )
    def test_copies_multiply_alike(self, name, copier):
        """With the same shape, dtype and type."""
        A = OPERATORS[name](torch.float32)
        B = copier(A)
        assert type(B) is type(A)
        assert (B.shape, B.dtype) == (A.shape, A.dtype)
        np.testing.assert_array_equal(B @ X, A @ X)
        np.testing.assert_array_equal((2 * B).H @ X, (2 * A).H @ X)
