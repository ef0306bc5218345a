"""
Arithmetic with operators behind CuPy's class, and CuPy's own solvers, which take them.

The solvers are the installed ones over a stand-in for arrays and cuBLAS, which refuses what a
routine that sees an address alone would misread: other strides, other dtypes.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hessop
from tests import oracles
from tests.cupy_arrays import ndarray
from tests.cupy_on_numpy import installed
from tests.cupy_problems import PRECISIONS, N, Solvers, definite, symmetric, vectors
from tests.models import PROBLEMS, cut


@pytest.fixture(autouse=True)
def world():
    """CuPy's solvers, and arrays over NumPy."""
    with installed() as world:
        yield world


def start(*how, **more):
    """A start vector, or a block of them, on the device."""
    return ndarray(vectors(*how, **more))


@pytest.fixture
def solvers(world):
    """CuPy's."""
    return world.solvers


@pytest.fixture
def put():
    """Makes an array of NumPy one of the stand-in's."""
    return ndarray


@pytest.fixture
def operator(world):
    """Makes a dense matrix an operator of CuPy's."""

    def make(matrix, dtype=torch.float64):
        tensor = torch.tensor(matrix, dtype=dtype)
        return world.CupyOperator(hessop.aslinearoperator(tensor).product)

    return make


# What is computed, and how many times the operator that is.
ALGEBRA = {
    "sum": (lambda A: A + A, 2),
    "difference": (lambda A: A - 3 * A, -2),
    "multiple": (lambda A: 2 * A, 2),
    "multiple from the right": (lambda A: A * 0.5, 0.5),
    "multiple by a number of NumPy's": (lambda A: np.float64(2) * A, 2),
    "negative": (lambda A: -A, -1),
    "fraction": (lambda A: A / 4, 0.25),
    "adjoint": (lambda A: A.H, 1),
    "adjoint of a multiple": (lambda A: (2 * A).H, 2),
    "transpose of a fraction": (lambda A: (A / 3).T.H, 1 / 3),
    "all at once": (lambda A: (2 * A - A.T / 3 + (-A)).H, 2 / 3),
}


class TestAlgebra:
    @pytest.mark.parametrize("name", ALGEBRA)
    @PRECISIONS
    def test_on_the_device(self, world, operator, name, dtype):
        """CuPy's own multiples change their dtype and have no adjoint; these are of its class."""
        work, times = ALGEBRA[name]
        A = work(operator(symmetric(), dtype))
        assert type(A) is world.CupyOperator
        assert A.dtype == np.dtype("f4" if dtype == torch.float32 else "f8")
        expected = times * symmetric()
        for x in (start(), start(1), start(3)):
            for image in (A @ x, A.H @ x, A.T @ x):
                assert image.dtype == A.dtype
                tolerance = 1e-4 if dtype == torch.float32 else 1e-12
                np.testing.assert_allclose(image.get(), expected @ x.get(), atol=tolerance)

    def test_why(self, world):
        """What CuPy's own do; where this fails, it no longer does."""
        A = world.solvers.aslinearoperator(ndarray(np.eye(3, dtype="f4")))
        assert (2 * A).dtype == np.float64
        with pytest.raises(ValueError, match="expected 1-d or 2-d"):
            (2 * A).H @ ndarray(np.ones(3, dtype="f4"))

    @pytest.mark.parametrize(
        ("work", "expected"),
        [
            (lambda A: A @ A, lambda D: D @ D),
            (lambda A: A * A, lambda D: D @ D),
            (lambda A: A**3, lambda D: D @ D @ D),
            (lambda A: A.H @ (2 * A) + A, lambda D: 2 * D @ D + D),
        ],
    )
    def test_products_are_cupys(self, world, operator, work, expected):
        """Products and powers are composed by CuPy, with adjoints."""
        A, x = work(operator(symmetric())), start()
        assert isinstance(A, world.solvers.LinearOperator)
        assert type(A) is not world.CupyOperator
        for image in (A @ x, A.H @ x):
            np.testing.assert_allclose(image.get(), expected(symmetric()) @ x.get(), atol=1e-10)

    def test_with_a_foreign_operator(self, world, operator):
        """A sum with an operator of CuPy's own is CuPy's, from either side."""
        D = symmetric()
        theirs = world.solvers.aslinearoperator(ndarray(D.copy()))
        x = start()
        for A in (operator(D) + theirs, theirs + operator(D)):
            np.testing.assert_allclose((A @ x).get(), 2 * D @ x.get(), atol=1e-12)
        for A in (operator(2 * D) - theirs, theirs - operator(0 * D)):
            np.testing.assert_allclose((A @ x).get(), D @ x.get(), atol=1e-12)

    @pytest.mark.parametrize("work", [lambda A: A + 1.0, lambda A: A @ 2, lambda A: A / A])
    def test_what_cupy_refuses_is_refused(self, operator, work):
        """By CuPy, or by Python."""
        with pytest.raises((TypeError, ValueError)):
            work(operator(symmetric()))

    @pytest.mark.parametrize("other", [np.ones(N), ndarray(np.ones(N))])
    def test_an_array_from_the_left(self, operator, other):
        """Is no product, and no array of operators."""
        with pytest.raises(TypeError):
            other * operator(symmetric())


class TestSolvers(Solvers):
    """The installed ones, over NumPy."""

    def test_of_a_multiple(self, world, operator):
        """In single precision throughout: their gemv reads float32."""
        A = operator(definite(), torch.float32) / 2
        x, info = world.solvers.gmres(A, start(dtype="f4"), rtol=1e-4)
        assert info == 0
        np.testing.assert_allclose(
            definite() @ x.get() / 2, start(dtype="f4").get(), rtol=0, atol=1e-2
        )

    @pytest.mark.parametrize("name", ["mlp", "regression"])
    def test_the_hessian_of_a_network(self, world, name):
        """What the face is for."""
        model, loss_fn, data = PROBLEMS[name]()
        H = hessop.HessianOperator(model, loss_fn, cut(data, 3))
        w = np.linalg.eigvalsh(oracles.dense_hessian(model, loss_fn, data))
        v0 = ndarray(np.random.default_rng(0).standard_normal(len(w)))
        A = world.CupyOperator(H.product)
        values = world.solvers.eigsh(A, k=2, which="LA", v0=v0, return_eigenvectors=False)
        np.testing.assert_allclose(values.get(), w[-2:], atol=1e-10 * np.abs(w).max())
