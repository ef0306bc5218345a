"""Operators made of what is CuPy's, and parameters as its arrays."""

from __future__ import annotations

import numpy as np
import pytest

import hessop
from hessop import plot as hessop_plot
from hessop.operators import ProductOperator
from tests.cupy_arrays import ndarray
from tests.cupy_on_numpy import installed
from tests.models import PROBLEMS, cut

N = 20


@pytest.fixture(autouse=True)
def world():
    """CuPy's class, and arrays over NumPy."""
    with installed() as world:
        yield world


def dense():
    """A symmetric matrix."""
    A = np.random.default_rng(0).standard_normal((N, N))
    return A + A.T


def given(k=None):
    """A vector, or a block."""
    return np.random.default_rng(1).standard_normal(N if k is None else (N, k))


FORMS = {
    "a face": lambda world, D: world.CupyOperator(hessop.aslinearoperator(D).product),
    "an operator": lambda world, D: world.solvers.aslinearoperator(ndarray(D)),
    "a matrix": lambda world, D: ndarray(D),
}


class TestOperators:
    @pytest.mark.parametrize("form", FORMS)
    def test_deflation(self, world, form):
        """CuPy's operator gives one of CuPy's, for pairs of either library."""
        A = FORMS[form](world, dense())
        expected = hessop.deflate(dense(), *hessop.eigsh(dense(), 2, rng=0))
        x = given(3)
        for pairs in (hessop.eigsh(A, 2, rng=0), hessop.lanczos(A, 2, rng=0)):
            B = hessop.deflate(A, *pairs)
            assert type(B) is world.CupyOperator
            np.testing.assert_allclose((B @ ndarray(x)).get(), expected @ x, atol=1e-12)
        assert type(expected) is ProductOperator

    @pytest.mark.parametrize("form", FORMS)
    def test_scipys_face(self, world, form):
        """`aslinearoperator` is SciPy's by name: NumPy in and out, computed where `A` lies."""
        A = hessop.aslinearoperator(FORMS[form](world, dense()))
        assert type(A) is ProductOperator
        np.testing.assert_allclose(A @ given(), dense() @ given(), atol=1e-12)

    def test_what_is_no_operator(self, world):
        """Three axes, or not square, also on the device."""
        with pytest.raises(TypeError, match=r"^`A` must be an operator: "):
            hessop.aslinearoperator(ndarray(np.ones((2, 2, 2))))
        for shape in ((2, 3), (3,)):
            with pytest.raises(ValueError, match=r"^`A` must be square; got shape \("):
                hessop.aslinearoperator(ndarray(np.ones(shape)))


class TestElsewhere:
    @pytest.mark.parametrize("form", ["values", "by name"])
    def test_pictures(self, world, form):
        """Eigenvalues may be on the device."""
        pyplot = pytest.importorskip("matplotlib.pyplot")
        w = np.array([3.0, 1.0, 2.0])
        values = ndarray(w) if form == "values" else {"here": ndarray(w), "there": w}
        ax = hessop_plot.spectrum(values)
        for line in ax.lines:
            np.testing.assert_array_equal(line.get_ydata(), np.sort(w))
        pyplot.close(ax.figure)

    def test_a_complex_problem_from_a_start_on_the_device(self, world):
        """The problem is the host's, and so is the result."""
        A = dense() + 1j * (np.triu(dense(), 1) - np.tril(dense(), -1))
        w, v = hessop.eigsh(A, 2, v0=ndarray(given()), rng=0)
        expected, vectors = hessop.eigsh(A, 2, v0=given(), rng=0)
        np.testing.assert_array_equal(w, expected)
        np.testing.assert_array_equal(v, vectors)


class TestParameters:
    def test_there_and_back(self, world):
        """CuPy in, CuPy out: views one way, one vector the other."""
        model, loss_fn, data = PROBLEMS["mlp"]()
        H = hessop.HessianOperator(model, loss_fn, cut(data, 2))
        v = np.random.default_rng(0).standard_normal(H.shape[0])
        there = ndarray(v)
        tree = H.unflatten(there)
        for name, piece in H.unflatten(v).items():
            assert type(tree[name]) is ndarray
            assert np.shares_memory(tree[name].host, there.host)
            np.testing.assert_array_equal(tree[name].get(), piece)
        for given_as in (tree, list(tree.values())):
            back = H.flatten(given_as)
            assert type(back) is ndarray
            np.testing.assert_array_equal(back.get(), v)
