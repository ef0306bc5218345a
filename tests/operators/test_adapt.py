"""Everything that can be multiplied with becomes an operator; the rest is refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
import torch

import hessop
from hessop._product import Product
from hessop.operators import ProductOperator, enter

N = 5


def dense(dtype=float):
    """Small integers, symmetric, so that every dtype holds them."""
    A = np.random.default_rng(1).integers(-4, 5, (N, N))
    return (A + A.T).astype(dtype)


class Mine(Product):
    """A product of the user's own."""

    def __init__(self, dtype=torch.float64):
        super().__init__(N, dtype, torch.device("cpu"))

    def _apply(self, V):
        return V @ torch.tensor(dense(), dtype=self.dtype)


class Duck:
    """What SciPy takes for an operator: a shape and a matvec."""

    shape = (N, N)
    dtype = np.dtype("f8")

    def matvec(self, x):
        """By the dense matrix."""
        return dense() @ x


def function(V):
    """The same, as a torch function of columns."""
    return torch.tensor(dense(), dtype=V.dtype) @ V


FORMS = {
    "float64 array": (lambda: dense("f8"), "f8"),
    "float32 array": (lambda: dense("f4"), "f4"),
    "integer array": (lambda: dense("i4"), "f8"),
    "int8 array": (lambda: dense("i1"), "f8"),
    "half array": (lambda: dense("f2"), "f8"),
    "Fortran array": (lambda: np.asfortranarray(dense("f4")), "f4"),
    "reversed array": (lambda: dense()[::-1, ::-1].copy()[::-1, ::-1], "f8"),
    "big-endian array": (lambda: dense(">f8"), "f8"),
    "sparse matrix": (lambda: scipy.sparse.csr_matrix(dense()), "f8"),
    "sparse array": (lambda: scipy.sparse.csr_array(dense("f4")), "f4"),
    "csc": (lambda: scipy.sparse.csc_array(dense()), "f8"),
    "coo": (lambda: scipy.sparse.coo_array(dense()), "f8"),
    "integer sparse": (lambda: scipy.sparse.csr_array(dense("i8")), "f8"),
    "SciPy operator": (lambda: scipy.sparse.linalg.aslinearoperator(dense("f4")), "f4"),
    "composed": (
        lambda: (
            2 * scipy.sparse.linalg.aslinearoperator(dense())
            - scipy.sparse.linalg.aslinearoperator(scipy.sparse.csr_array(dense()))
        ),
        "f8",
    ),
    "callback": (
        lambda: scipy.sparse.linalg.LinearOperator((N, N), matvec=lambda x: dense() @ x),
        "f8",
    ),
    "duck": (Duck, "f8"),
    "torch": (lambda: torch.tensor(dense()), "f8"),
    "torch float32": (lambda: torch.tensor(dense("f4")), "f4"),
    "torch half": (lambda: torch.tensor(dense("f4")).bfloat16(), "f4"),
    "torch transposed": (lambda: torch.tensor(dense()).T, "f8"),
    "torch with a gradient": (lambda: torch.tensor(dense(), requires_grad=True), "f8"),
    "torch COO": (lambda: torch.tensor(dense()).to_sparse_coo(), "f8"),
    "product": (Mine, "f8"),
    "product float32": (lambda: Mine(torch.float32), "f4"),
    "itself": (lambda: hessop.TorchOperator(function, N), "f4"),
    "composed of ours": (lambda: scipy_sum(hessop.TorchOperator(function, N)), "f4"),
}


def scipy_sum(A):
    """A SciPy operator with one of ours inside: 3 A - 2 A."""
    identity = scipy.sparse.linalg.aslinearoperator(np.eye(N, dtype=A.dtype))
    return 3 * A @ identity + (-2 * A) @ identity


@pytest.mark.parametrize("form", FORMS)
class TestForms:
    def test_products_are_those_of_the_matrix(self, form):
        """By either door, for vectors and blocks; float32 stays, the rest is float64."""
        make, shown = FORMS[form]
        A = hessop.aslinearoperator(make())
        assert isinstance(A, ProductOperator)
        assert A.shape == (N, N)
        assert A.dtype == np.dtype(shown)
        V = np.arange(3.0 * N).reshape(N, 3)
        np.testing.assert_allclose(A @ V, dense() @ V, rtol=1e-6)
        np.testing.assert_allclose(A @ V[:, 1], dense() @ V[:, 1], rtol=1e-6)
        np.testing.assert_allclose(A.H @ V[:, 1:2], dense() @ V[:, 1:2], rtol=1e-6)
        rows = torch.as_tensor(V.T, dtype=A.product.dtype)
        np.testing.assert_allclose(A.product.matmat(rows).T, dense() @ V, rtol=1e-6)

    def test_no_product_carries_a_graph(self, form):
        """Also where the matrix requires a gradient."""
        product = hessop.aslinearoperator(FORMS[form][0]()).product
        V = torch.ones(2, N, dtype=product.dtype, requires_grad=True)
        assert not product.matmat(V.detach()).requires_grad

    def test_the_door_of_the_algorithms(self, form):
        """Torch for torch, NumPy for the rest."""
        A = FORMS[form][0]()
        product, leave = enter(A)
        assert isinstance(product, Product)
        result = leave(product.matmat(torch.ones(1, N, dtype=product.dtype)))
        bare = isinstance(A, (Product, torch.Tensor))
        assert isinstance(result, torch.Tensor if bare else np.ndarray)


class TestIdentity:
    def test_an_operator_is_returned_itself(self):
        """No second wrapper."""
        A = hessop.TorchOperator(function, N)
        assert hessop.aslinearoperator(A) is A

    def test_a_product_is_used_itself(self):
        """Its count goes on."""
        product = Mine()
        A = hessop.aslinearoperator(product)
        assert A.product is product
        A @ np.ones((N, 3))
        assert product.n_matvec == 3

    def test_asymmetry_is_not_hidden(self):
        """A V, not V A: the algorithms shall see that a matrix is not symmetric."""
        A = np.arange(float(N * N)).reshape(N, N)
        V = np.arange(2.0 * N).reshape(N, 2)
        for form in (A, scipy.sparse.csr_array(A), torch.tensor(A), Duck2(A)):
            np.testing.assert_allclose(hessop.aslinearoperator(form) @ V, A @ V)
            np.testing.assert_allclose(hessop.aslinearoperator(form) @ V[:, 0], A @ V[:, 0])


class Duck2(scipy.sparse.linalg.LinearOperator):
    """A subclass of SciPy's with a matvec alone."""

    def __init__(self, A):
        super().__init__(np.dtype("f8"), A.shape)
        self.A = A

    def _matvec(self, x):
        return self.A @ x


FORM_RULE = "^`A` must be an operator: a hessop, SciPy, NumPy or CuPy operator or matrix, a sparse"


class TestRefusals:
    @pytest.mark.parametrize("A", [None, "A", object(), [[1.0]], {}, len, np.array(["a"]).dtype])
    def test_nothing_to_multiply_with(self, A):
        """What would do and what came."""
        with pytest.raises(TypeError, match=f"{FORM_RULE}.*; got a {type(A).__name__}.$"):
            hessop.aslinearoperator(A)

    @pytest.mark.parametrize(
        "A",
        [
            np.ones((2, 3)),
            np.ones(3),
            np.ones((1, 3)),
            scipy.sparse.csr_array(np.ones((2, 3))),
            scipy.sparse.linalg.aslinearoperator(np.ones((2, 3))),
            torch.ones(2, 3),
            torch.ones(3),
            torch.ones(2, 2, 2),
            torch.ones(2, 3).to_sparse_coo(),
        ],
    )
    def test_not_square(self, A):
        """The shape is in the message."""
        with pytest.raises(ValueError, match=r"^`A` must be square; got shape \("):
            hessop.aslinearoperator(A)

    @pytest.mark.parametrize(
        "A",
        [
            np.eye(3, dtype="c16"),
            np.eye(3, dtype="c8"),
            scipy.sparse.csr_array(np.eye(3, dtype="c16")),
            scipy.sparse.linalg.aslinearoperator(np.eye(3, dtype="c16")),
            1j * scipy.sparse.linalg.aslinearoperator(np.eye(3)),
            torch.eye(3, dtype=torch.complex64),
            torch.eye(3, dtype=torch.complex64).to_sparse_coo(),
        ],
    )
    def test_complex(self, A):
        """Even where the imaginary part is zero."""
        with pytest.raises(TypeError, match=r"^`A` must be real symmetric; got dtype .*complex"):
            hessop.aslinearoperator(A)

    @pytest.mark.parametrize("A", [np.ones((2, 2, 2)), np.array([["a", "b"], ["c", "d"]])])
    def test_arrays_that_are_no_matrix(self, A):
        """Three axes, or text."""
        with pytest.raises((TypeError, ValueError), match=r"^`A` must be"):
            hessop.aslinearoperator(A)


class TestTorchOperator:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_it_multiplies(self, dtype):
        """Columns in, columns out."""
        A = hessop.TorchOperator(function, N, dtype=dtype)
        np.testing.assert_allclose(A @ np.eye(N), dense(), rtol=1e-6)
        assert A.product.dtype == dtype
        assert A.product.device == torch.device("cpu")

    def test_the_default_is_single_precision(self):
        """As torch's own."""
        assert hessop.TorchOperator(function, N).dtype == np.float32

    def test_the_function_sees_columns(self):
        """(n, k), also for one vector."""
        shapes = []
        A = hessop.TorchOperator(lambda V: shapes.append(tuple(V.shape)) or V, N)
        A @ np.ones(N)
        A @ np.ones((N, 1))
        A @ np.ones((N, 3))
        assert shapes == [(N, 1), (N, 1), (N, 3)]

    @pytest.mark.parametrize(
        "function",
        [
            lambda V: V,
            lambda V: V[:],
            lambda V: V.T.contiguous().T,
            lambda V: V.double(),
            lambda V: V * torch.ones((), requires_grad=True),
            lambda V: V[:, :1].expand(-1, V.shape[1]),
        ],
    )
    def test_the_identity_in_many_guises_is_copied(self, function):
        """No alias of the argument, in the operator's dtype, contiguous, without a graph."""
        product = hessop.TorchOperator(function, N).product
        V = torch.ones(3, N)
        W = product.matmat(V)
        assert torch.equal(W, V)
        assert W.dtype == torch.float32
        assert W.is_contiguous()
        assert not W.requires_grad
        W.zero_()
        assert torch.equal(V, torch.ones(3, N))

    def test_a_buffer_that_is_used_again_is_copied(self):
        """The function owns what it returns."""
        buffer = torch.zeros(N, 1)
        A = hessop.TorchOperator(lambda V: torch.mul(V, 2, out=buffer), N)
        first = A @ np.ones(N)
        A @ np.full(N, 5.0)
        np.testing.assert_array_equal(first, np.full(N, 2.0))

    @pytest.mark.parametrize(
        ("function", "got"),
        [
            (lambda V: V[:-1], r"shape \(4, 2\)"),
            (lambda V: V.T, r"shape \(2, 5\)"),
            (lambda V: V[:, 0], r"shape \(5,\)"),
            (lambda V: V.sum(), r"shape \(\)"),
            (lambda V: V.numpy(), "a ndarray"),
            (lambda V: None, "a NoneType"),
        ],
    )
    def test_functions_that_return_something_else(self, function, got):
        """What is expected and what came."""
        A = hessop.TorchOperator(function, N)
        text = r"^`matmat\(X\)` must be a tensor of shape \(5, 2\); got "
        with pytest.raises(ValueError, match=f"{text}{got}.$"):
            A @ np.ones((N, 2))

    @pytest.mark.parametrize("matmat", [None, 3, torch.eye(N)])
    def test_not_callable(self, matmat):
        """A matrix goes to aslinearoperator."""
        with pytest.raises(TypeError, match=r"^`matmat` must be callable; got "):
            hessop.TorchOperator(matmat, N)

    @pytest.mark.parametrize("n", [0, -1])
    def test_no_size(self, n):
        """At least one row."""
        with pytest.raises(ValueError, match=f"^`n` must be an integer >= 1; got {n}.$"):
            hessop.TorchOperator(function, n)

    def test_size_of_another_type(self):
        """An integer."""
        with pytest.raises(TypeError, match=r"^`n` must be an integer >= 1; got 5.0.$"):
            hessop.TorchOperator(function, 5.0)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.complex64, np.float32, "float32", None])
    def test_dtypes(self, dtype):
        """What SciPy knows, by torch's name."""
        with pytest.raises(
            ValueError, match=r"^`dtype` must be one of torch.float32, torch.float6"
        ):
            hessop.TorchOperator(function, N, dtype=dtype)

    def test_device_by_name(self):
        """As torch takes it."""
        assert hessop.TorchOperator(function, N, device="cpu").product.device.type == "cpu"
