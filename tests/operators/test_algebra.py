"""Sums, multiples and deflation: the dense matrix is the oracle, and nothing leaves the device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hessop
from hessop import synthetic
from hessop.operators import ProductOperator, algebra
from hessop.operators.adapt import FunctionProduct, MatrixProduct

N = 7


def dense():
    """A symmetric matrix."""
    A = np.random.default_rng(2).standard_normal((N, N))
    return A + A.T


def pairs(k):
    """Eigenpairs of it, the largest k."""
    w, v = np.linalg.eigh(dense())
    return w[N - k :], v[:, N - k :]


class TestDeflate:
    @pytest.mark.parametrize("k", [0, 1, 3, N])
    @pytest.mark.parametrize("make", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
    @pytest.mark.parametrize(
        ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-13)]
    )
    def test_it_is_the_dense_formula(self, k, make, dtype, tolerance):
        """A - v diag(w) v^T, for any k orthonormal columns of either library."""
        w, v = pairs(k)
        A = hessop.aslinearoperator(torch.tensor(dense(), dtype=dtype))
        B = hessop.deflate(A, make(w), make(v))
        assert isinstance(B, ProductOperator)
        assert B.product.dtype == dtype
        expected = dense() - (v * w) @ v.T
        np.testing.assert_allclose(B @ np.eye(N), expected, atol=tolerance * 10)
        np.testing.assert_allclose(B @ np.ones(N), expected @ np.ones(N), atol=tolerance * 10)

    def test_any_vectors_serve(self):
        """The formula does not need eigenvectors."""
        v = np.random.default_rng(3).standard_normal((N, 2))
        B = hessop.deflate(dense(), [2.0, -1.0], v)
        np.testing.assert_allclose(B @ np.eye(N), dense() - (v * [2.0, -1.0]) @ v.T, atol=1e-13)

    def test_the_spectrum_moves_to_zero(self):
        """Exactly the pairs given, and no other."""
        A = synthetic.operator(np.arange(1.0, 11.0), rng=0)
        B = hessop.deflate(A, A.eigenvalues[[0, 9]], A.eigenvectors([0, 9]))
        expected = np.sort(np.r_[0, 0, np.arange(2.0, 10.0)])
        np.testing.assert_allclose(np.linalg.eigvalsh(B @ np.eye(10)), expected, atol=1e-13)

    def test_twice_is_both(self):
        """Deflated operators are operators."""
        w, v = pairs(2)
        once = hessop.deflate(dense(), w, v)
        twice = hessop.deflate(hessop.deflate(dense(), w[:1], v[:, :1]), w[1:], v[:, 1:])
        np.testing.assert_allclose(twice @ np.eye(N), once @ np.eye(N), atol=1e-13)

    @pytest.mark.parametrize("shape", [(N,), (N, 1)])
    def test_one_vector(self, shape):
        """A vector is one column."""
        w, v = pairs(1)
        B = hessop.deflate(dense(), list(w), v.reshape(shape))
        np.testing.assert_allclose(B @ np.eye(N), dense() - w * v @ v.T, atol=1e-13)

    @pytest.mark.parametrize("make", [np.array, torch.tensor], ids=["numpy", "torch"])
    def test_what_came_in_is_copied(self, make):
        """Results of an algorithm may be written to by their owner."""
        w, v = (make(x) for x in pairs(2))
        A = hessop.aslinearoperator(dense())
        B = hessop.deflate(A, w, v)
        expected = B @ np.eye(N)
        w[:] = 0
        v[:] = float("nan")
        np.testing.assert_array_equal(B @ np.eye(N), expected)
        np.testing.assert_array_equal(A @ np.eye(N), dense())

    @pytest.mark.parametrize("order", ["C", "F"])
    def test_any_layout_of_the_vectors(self, order):
        """Also a reversed view."""
        w, v = pairs(3)
        v = np.array(v, order=order)
        B = hessop.deflate(dense(), w[::-1], v[:, ::-1])
        np.testing.assert_allclose(B @ np.eye(N), dense() - (v * w) @ v.T, atol=1e-13)

    @pytest.mark.parametrize(
        ("w", "v", "name"),
        [
            ([1.0], np.ones((N + 1, 1)), "v"),
            ([1.0], np.ones((1, N)), "v"),
            ([1.0, 2.0], np.ones((N, 1)), "w"),
            (1.0, np.ones((N, 1)), "w"),
            ([np.nan], np.ones((N, 1)), "w"),
            ([1.0], np.full((N, 1), np.inf), "v"),
            (np.ones(N + 1), np.ones((N, N + 1)), "v"),
        ],
    )
    def test_wrong_pairs(self, w, v, name):
        """The argument is named."""
        with pytest.raises(ValueError, match=f"^`{name}` must (have shape|be finite)"):
            hessop.deflate(dense(), w, v)

    @pytest.mark.parametrize(
        ("w", "v", "name"),
        [([1j], np.ones((N, 1)), "w"), ([1.0], np.ones((N, 1), complex), "v")],
    )
    def test_complex_pairs(self, w, v, name):
        """A symmetric operator has real ones."""
        with pytest.raises(TypeError, match=f"^`{name}` must be real; got complex128.$"):
            hessop.deflate(dense(), w, v)

    def test_its_products_are_counted_on_both(self):
        """The product behind it does the work."""
        A = hessop.aslinearoperator(dense())
        B = hessop.deflate(A, *pairs(1))
        B @ np.ones((N, 4))
        assert A.product.n_matvec == B.product.n_matvec == 4


class TestSums:
    def test_devices_must_agree(self):
        """Both are in the message."""
        here = hessop.aslinearoperator(dense())
        there = hessop.TorchOperator(lambda V: V, N, device="meta")
        text = r"^`A \+ B` must be of operators on one device; got cpu and meta.$"
        with pytest.raises(ValueError, match=text):
            here + there

    def test_the_function_of_a_sum_is_called_once_for_a_block(self):
        """Blocks stay blocks."""
        shapes = []
        device = torch.device("cpu")
        noting = FunctionProduct(
            lambda V: shapes.append(tuple(V.shape)) or V, N, torch.float64, device
        )
        matrix = MatrixProduct(torch.tensor(dense()))
        total = algebra.SumProduct(noting, matrix)
        V = torch.ones(3, N, dtype=torch.float64)
        np.testing.assert_allclose(total.matmat(V), np.ones((3, N)) @ (np.eye(N) + dense()))
        assert shapes == [(N, 3)]

    def test_a_sum_with_itself(self):
        """One product on both sides."""
        A = hessop.aslinearoperator(dense())
        np.testing.assert_allclose((A + A) @ np.eye(N), 2 * dense())
        np.testing.assert_allclose((A - A) @ np.eye(N), np.zeros((N, N)))

    @pytest.mark.parametrize("factor", [0, -1, 2, 1e-300, 1e300, True])
    def test_any_finite_factor(self, factor):
        """In float64."""
        A = hessop.aslinearoperator(dense())
        np.testing.assert_allclose((factor * A) @ np.eye(N), float(factor) * dense())
