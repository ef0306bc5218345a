"""Eigenpairs by Lanczos: the right set, and honest about itself."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hessop
from hessop import synthetic
from hessop.krylov.wanted import WHICH
from tests.spectra import (
    assert_among,
    assert_wanted,
    distances,
    global_states,
    measured,
    orthonormality,
    recorded,
    wanted,
)
from tests.strategies import dtypes, problems, seeds, starts

EPS = {torch.float64: 2.0**-52, torch.float32: 2.0**-23}


def quietly(*args, **kwargs):
    """The result, and the categories of the warnings."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        result = hessop.lanczos(*args, **kwargs)
    return result, [w.category for w in seen]


def assert_honest(result, A, exact, eps, *, tol=0.0):
    """Everything a result says of itself is true."""
    scale = np.abs(exact).max()
    assert np.isfinite(result.eigenvalues).all()
    assert np.isfinite(np.asarray(result.eigenvectors)).all()
    assert (np.diff(result.eigenvalues) >= 0).all()
    # A row is orthonormal to rounding after two passes; a restart multiplies rows by a matrix
    # that is orthogonal to rounding, so that the error grows with the number of restarts.
    assert orthonormality(result.eigenvectors) <= (50 + 2 * result.n_restart) * eps
    # The Lanczos relation holds to the rounding of a product (about 10 eps ||A|| here) and of
    # the Ritz vector, and to that of restarts, which the noise states.
    noise = result.noise * scale
    slack = 20 * eps * scale + noise
    residuals = measured(A, *result)
    assert np.abs(residuals - result.residuals).max() <= slack
    assert (distances(result.eigenvalues, exact) <= result.error_bounds + 10 * eps * scale).all()
    # of a clean operator, it is a multiple of rounding
    assert noise <= (50 + 5 * np.sqrt(result.n_restart)) * eps * scale
    limit = max(tol * scale, noise)
    assert (result.residuals[result.converged] <= limit * (1 + 1e-6)).all()
    return limit, noise


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_set_is_complete_and_honest_on_hostile_spectra(data):
    """Any spectrum, dtype, `which`, k, basis size and start: the exact set, or a warning."""
    problem = data.draw(problems())
    n = problem.n
    k = data.draw(st.integers(1, n), label="k")
    which = data.draw(st.sampled_from(WHICH), label="which")
    ncv = data.draw(st.sampled_from([None, k + 1, 2 * k + 5]), label="ncv")
    tol = data.draw(st.sampled_from([0.0, 0.0, 1e-5]), label="tol")
    v0 = data.draw(starts(problem), label="v0")
    before = None if v0 is None else v0.tobytes()
    A = problem.operator()
    result, seen = quietly(
        A,
        k,
        which=which,
        ncv=None if ncv is None else min(ncv, n),
        tol=tol,
        v0=v0,
        rng=data.draw(seeds, label="rng"),
    )
    assert v0 is None or v0.tobytes() == before
    limit, noise = assert_honest(result, A, problem.exact, problem.eps, tol=tol)
    assert (hessop.ConvergenceWarning in seen) == (not (result.converged.all() and result.complete))
    if ncv is None:  # with room for all n vectors the Krylov space is exhausted at the latest
        assert result.complete
        assert result.n_matvec <= n + 15
    if result.complete:
        # Members of a cluster nearer to each other than the limit are one to the solver, and
        # what the audit takes for a tie is 10 times the noise.
        assert_wanted(result.eigenvalues, problem.exact, which, k, limit + 12 * noise)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("name", synthetic.SPECTRA)
def test_named_spectra(name, which, dtype):
    """Every named spectrum, every `which`, either dtype: complete and converged by default."""
    A = synthetic.operator(name, 50, dtype=dtype, rng=3)
    result = hessop.lanczos(A, 7, which=which, rng=0)
    limit, noise = assert_honest(result, A, A.eigenvalues, EPS[dtype])
    assert result.converged.all()
    assert_wanted(result.eigenvalues, A.eigenvalues, which, 7, limit + 12 * noise)


@pytest.mark.parametrize("n", [1, 2, 3, 17])
@pytest.mark.parametrize("which", WHICH)
def test_all_eigenvalues(n, which):
    """k = n, from n = 1 on, gives the whole spectrum and a full orthogonal matrix."""
    A = synthetic.operator("gaussian", n, rng=n)
    result = hessop.lanczos(A, n, which=which, rng=0)
    np.testing.assert_allclose(result.eigenvalues, A.eigenvalues, rtol=0, atol=1e-13)
    assert result.eigenvectors.shape == (n, n)
    assert orthonormality(result.eigenvectors) <= 50 * EPS[torch.float64]
    assert result.n_matvec == n


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, 1e-300, 1e300])
def test_one_by_one(value):
    """The smallest matrix, on any scale."""
    result = hessop.lanczos(np.array([[value]]), 1, rng=0)
    np.testing.assert_allclose(result.eigenvalues, [value], rtol=1e-15)
    assert result.converged.all()
    assert abs(result.eigenvectors[0, 0]) == pytest.approx(1.0, abs=1e-15)


@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("matrix", [[[2.0, 0], [0, 2]], [[0.0, 1], [1, 0]], [[1.0, 2], [2, 4]]])
def test_two_by_two(matrix, which):
    """A multiple of the identity, a plus-minus pair, a singular matrix."""
    A = np.array(matrix)
    for k in (1, 2):
        result = hessop.lanczos(A, k, which=which, rng=0)
        assert_wanted(result.eigenvalues, np.linalg.eigvalsh(A), which, k, 1e-14)


def test_order_and_sides():
    """ "BE" takes half from each end, and the odd one from the high end; all come ascending."""
    w = np.array([-9.0, -7, -5, -3, 2, 4, 6, 8])
    A = synthetic.operator(w, rng=0)
    expected = {
        "LM": [-9, -7, 8],
        "LA": [4, 6, 8],
        "SA": [-9, -7, -5],
        "BE": [-9, 6, 8],
    }
    for which, values in expected.items():
        got, v = hessop.lanczos(A, 3, which=which, rng=0)
        np.testing.assert_allclose(got, values, rtol=0, atol=1e-12)
        assert (measured(A, got, v) <= 1e-12).all()


@pytest.mark.parametrize("multiplicity", [2, 3, 6])
@pytest.mark.parametrize("tol", [0, 1e-6])
def test_every_copy_of_a_multiple_eigenvalue(multiplicity, tol):
    """A start vector sees one copy; all are found, and the next eigenvalue after them."""
    bulk = np.random.default_rng(1).uniform(-1.0, 1.0, 300)
    A = synthetic.operator(np.concatenate([bulk, [4.0], [5.0] * multiplicity]), rng=2)
    result = hessop.lanczos(A, multiplicity + 1, which="LA", tol=tol, rng=0)
    np.testing.assert_allclose(
        result.eigenvalues, [4.0] + [5.0] * multiplicity, rtol=0, atol=max(10 * tol, 1e-12)
    )


# scipy#26112: ARPACK reports success without some of the copies.
QUADRUPLE = [9.85, 9.9, 10.0, 10.0, 10.0, 10.0], (-1.0, 9.8), 4
TRIPLE = [9.2, 9.3, 9.4, 9.5, 10.0, 10.0 + 1e-6, 10.0 + 2e-6], (-1.0, 9.0), 3


@pytest.mark.parametrize("ncv", [20, 40])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("top", "bulk", "k"), [QUADRUPLE, TRIPLE], ids=["quadruple", "triple"])
def test_no_copy_is_missed_in_twenty_thousand_dimensions(top, bulk, k, seed, ncv):
    """Copies and near copies above a dense bulk, from three all-positive start vectors."""
    n = 20_000
    w = np.concatenate([np.random.RandomState(0).uniform(*bulk, n - len(top)), top])
    A = synthetic.operator(w, reflections=0, rng=0)
    v0 = np.random.RandomState(seed).random_sample(n)
    result = hessop.lanczos(A, k, which="LA", tol=1e-6, ncv=ncv, v0=v0, rng=seed)
    # An eigenvalue is off by the square of its residual over the gap, 1e-10 / 0.1 here, and
    # never by more than the residual, 1e-5.
    np.testing.assert_allclose(result.eigenvalues, top[-k:], rtol=0, atol=3e-6)
    assert result.converged.all()
    drop_in = hessop.eigsh(
        A, k, which="LA", tol=1e-6, ncv=ncv, v0=v0, rng=seed, return_eigenvectors=False
    )
    np.testing.assert_allclose(drop_in, top[-k:], rtol=0, atol=3e-6)


@pytest.mark.parametrize(
    ("n", "position"),
    [(30, -1), (30, -2), (30, 0), (150, -1), (150, -2), (150, -3), (1000, -2), (1000, -3)],
)
def test_start_in_an_eigenvector(n, position):
    """A start vector that is an eigenvector already, wanted or not, stops nothing."""
    A = synthetic.operator(np.random.default_rng(0).uniform(-1, 1, n), reflections=0, rng=0)
    v0 = A.eigenvectors([position % n])[:, 0]
    result, seen = quietly(A, 1, which="LA", v0=v0, rng=0)
    assert hessop.ConvergenceWarning in seen or result.eigenvalues == pytest.approx(
        A.eigenvalues[-1:], abs=1e-10
    )


def test_start_in_an_invariant_subspace():
    """Three eigenvectors of the bulk span all the start sees: the top is found all the same."""
    A = synthetic.operator("hessian_like", 200, rng=0)
    v0 = A.eigenvectors([60, 90, 120]).sum(axis=1)
    result = hessop.lanczos(A, 4, which="LA", v0=v0, rng=1)
    np.testing.assert_allclose(result.eigenvalues, A.eigenvalues[-4:], rtol=0, atol=1e-10)


@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("name", ["hessian_like", "gaussian", "banded", "graded"])
def test_against_scipy(name, which):
    """Well separated simple eigenvalues: the same values and, up to sign, the same vectors."""
    A = synthetic.operator(name, 120, rng=5)
    k = 4
    w, v = hessop.lanczos(A, k, which=which, rng=0)
    w_scipy, v_scipy = scipy.sparse.linalg.eigsh(A, k, which=which, v0=np.ones(120))
    scale = np.abs(A.eigenvalues).max()
    np.testing.assert_allclose(w, w_scipy, rtol=0, atol=1e-13 * scale)
    # A vector is off by its residual over the gap to the next eigenvalue.
    gaps = np.sort(np.abs(w[:, None] - A.eigenvalues), axis=1)[:, 1]
    overlap = np.abs(np.sum(v * v_scipy, axis=0))
    assert (np.sqrt(np.maximum(1 - overlap**2, 0)) <= 1e-7 + 1e-12 * scale / gaps).all()


class TestInputs:
    @pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
    @pytest.mark.parametrize("writeable", [True, False])
    def test_v0_is_not_written(self, dtype, writeable):
        """Bytes and flags stay, also of read-only memory."""
        v0 = np.arange(1, 41).astype(dtype)
        v0.flags.writeable = writeable
        before = v0.tobytes()
        for A in (np.diag(np.arange(40.0)), np.diag(np.arange(40.0)).astype(np.float32)):
            hessop.lanczos(A, 3, v0=v0, rng=0)
            hessop.eigsh(A, 3, v0=v0, rng=0)
        assert v0.tobytes() == before
        assert v0.flags.writeable is writeable

    def test_torch_v0_is_not_written(self):
        """Nor is a tensor, which is taken in without a copy."""
        v0 = torch.arange(1.0, 41.0, dtype=torch.float64)
        before = v0.clone()
        result = hessop.lanczos(np.diag(np.arange(40.0)), 3, v0=v0, rng=0)
        assert torch.equal(v0, before)
        assert isinstance(result.eigenvectors, np.ndarray)

    def test_lock_is_not_written(self):
        """Nor are the locked columns."""
        lock = np.eye(40)[:, -2:]
        before = lock.tobytes()
        hessop.lanczos(np.diag(np.arange(40.0)), 3, lock=lock, rng=0)
        assert lock.tobytes() == before

    @pytest.mark.parametrize("magnitude", [1e-300, 1e-60, 1e60, 1e300])
    def test_length_of_v0_does_not_matter(self, magnitude):
        """Only its direction: the results are those of the unit vector, to rounding."""
        A = np.diag(np.arange(40.0))
        v0 = np.random.default_rng(0).standard_normal(40)
        near, far = (hessop.lanczos(A, 3, v0=v, rng=0) for v in (v0, magnitude * v0))
        np.testing.assert_allclose(far.eigenvalues, near.eigenvalues, rtol=1e-13)

    @pytest.mark.parametrize("magnitude", [1e-60, 1e60])
    def test_length_of_v0_does_not_matter_in_single_precision(self, magnitude):
        """Not even where float32 cannot hold its entries."""
        A = np.diag(np.arange(40.0, dtype=np.float32))
        v0 = magnitude * np.random.default_rng(0).standard_normal(40)
        result = hessop.lanczos(A, 3, v0=v0, rng=0)
        np.testing.assert_allclose(result.eigenvalues, [37, 38, 39], rtol=1e-5)

    @pytest.mark.parametrize(
        "make",
        [
            np.asarray,
            scipy.sparse.csr_array,
            scipy.sparse.linalg.aslinearoperator,
            torch.from_numpy,
            hessop.aslinearoperator,
            lambda M: hessop.aslinearoperator(M).product,
        ],
        ids=["numpy", "sparse", "LinearOperator", "torch", "operator", "product"],
    )
    def test_array_type_in_is_array_type_out(self, make):
        """Tensors for a tensor and for a bare product, NumPy for all else."""
        M = np.diag(np.arange(30.0))
        A = make(M)
        result = hessop.lanczos(A, 2, rng=0)
        w, v = result
        np.testing.assert_allclose(w, [28, 29], rtol=1e-13)
        is_torch = isinstance(A, torch.Tensor | hessop._product.Product)
        assert isinstance(v, torch.Tensor if is_torch else np.ndarray)
        assert tuple(v.shape) == (30, 2)
        assert isinstance(w, np.ndarray)
        assert w.dtype == np.float64

    def test_integer_matrix(self):
        """Computed with in float64."""
        w, v = hessop.lanczos(np.diag(np.arange(30)), 2, rng=0)
        np.testing.assert_allclose(w, [28, 29], rtol=1e-13)
        assert v.dtype == np.float64

    def test_eigenvectors_have_the_dtype_of_the_operator(self):
        """float32 for float32; what is small, eigenvalues and residuals, is float64."""
        result = hessop.lanczos(np.diag(np.arange(30, dtype=np.float32)), 2, rng=0)
        assert result.eigenvectors.dtype == np.float32
        for values in (result.eigenvalues, result.residuals, result.error_bounds):
            assert values.dtype == np.float64
        assert result.converged.dtype == bool


class TestLock:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    @pytest.mark.parametrize("name", ["hessian_like", "multiple", "clustered", "plus_minus"])
    def test_locked_vectors_do_not_appear_again(self, name, dtype):
        """What was found is locked in turn, until the whole spectrum has come, each value once."""
        A = synthetic.operator(name, 30, dtype=dtype, rng=1)
        found, lock, generator = [], np.zeros((30, 0)), np.random.default_rng(0)
        while lock.shape[1] < 30:
            k = min(7, 30 - lock.shape[1])
            w, v = hessop.lanczos(A, k, lock=lock, rng=generator)
            assert np.abs(lock.T @ v).max(initial=0.0) <= 60 * EPS[dtype]
            found += list(w)
            lock = np.hstack([lock, v])
        scale = np.abs(A.eigenvalues).max()
        np.testing.assert_allclose(
            np.sort(found), A.eigenvalues, rtol=0, atol=100 * EPS[dtype] * scale
        )

    def test_same_seed_again_with_what_it_found_locked(self):
        """The seed's start vector lies in the locked span; it was not the user's to choose."""
        A = np.diag([1.0, 1.0, 1.0, 2.0, 2.0])
        t = hessop.tridiagonalize(A, None, 2, rng=0)
        w, _ = hessop.lanczos(A, 3, which="SA", lock=t.basis, rng=0)
        np.testing.assert_allclose(w, [1.0, 1.0, 2.0], rtol=1e-12)

    def test_dependent_columns_lock_no_more_than_their_span(self):
        """A column given twice, or zero, locks nothing else."""
        A = np.diag(np.arange(1.0, 11.0))
        last = np.eye(10)[:, [9]]
        for lock in (np.hstack([last, last]), np.hstack([last, 0 * last]), 3 * last):
            w, _ = hessop.lanczos(A, 9, which="LA", lock=lock, rng=0)
            np.testing.assert_allclose(w, np.arange(1.0, 10.0), rtol=1e-12)

    def test_columns_need_not_be_orthonormal(self):
        """Their span is what counts."""
        A = np.diag(np.arange(1.0, 41.0))
        lock = np.eye(40)[:, -2:] @ np.array([[1.0, 1.0], [1.0, 1.1]])
        w, v = hessop.lanczos(A, 3, lock=lock, rng=0)
        np.testing.assert_allclose(w, [36.0, 37.0, 38.0], rtol=1e-13)
        assert np.abs(v[-2:]).max() <= 1e-14

    def test_one_dimensional_lock_is_a_column(self):
        """As for SciPy's start vectors."""
        w, _ = hessop.lanczos(np.diag(np.arange(1.0, 41.0)), 1, lock=np.eye(40)[39], rng=0)
        np.testing.assert_allclose(w, [39.0], rtol=1e-13)

    def test_residuals_are_measured_with_the_whole_operator(self):
        """`verify=True` sees what locking vectors that are no eigenvectors leaves, and says so."""
        A = np.diag(np.arange(1.0, 41.0))
        lock = np.random.default_rng(7).standard_normal((40, 1))
        result, seen = quietly(A, 2, lock=lock, verify=True, rng=0)
        np.testing.assert_allclose(result.residuals, measured(A, *result), rtol=1e-6)
        assert result.residuals.max() > 0.1  # the lock cuts through every eigenvector
        assert not result.converged.any()
        assert hessop.ConvergenceWarning in seen


class TestRandomness:
    def test_same_seed_same_bits(self):
        """Twice the same int, the same result to the last bit; another int, another vector."""
        A = synthetic.operator("gaussian", 60, rng=0)
        one, two, other = (hessop.lanczos(A, 4, rng=seed) for seed in (7, 7, 8))
        assert one.eigenvalues.tobytes() == two.eigenvalues.tobytes()
        assert one.eigenvectors.tobytes() == two.eigenvectors.tobytes()
        assert one.residuals.tobytes() == two.residuals.tobytes()
        assert one.eigenvectors.tobytes() != other.eigenvectors.tobytes()

    def test_generator_is_used_and_advanced(self):
        """A Generator is not copied: the second call draws on."""
        A = synthetic.operator("gaussian", 60, rng=0)
        generator = np.random.default_rng(7)
        one, two = (hessop.lanczos(A, 4, rng=generator) for _ in range(2))
        assert one.eigenvectors.tobytes() == hessop.lanczos(A, 4, rng=7).eigenvectors.tobytes()
        assert one.eigenvectors.tobytes() != two.eigenvectors.tobytes()

    def test_none_is_really_random(self):
        """Not a fixed seed in disguise."""
        A = synthetic.operator("gaussian", 60, rng=0)
        one, two = (hessop.lanczos(A, 4).eigenvectors.tobytes() for _ in range(2))
        assert one != two

    def test_nothing_global_is_read_or_changed(self):
        """NumPy's legacy state and torch's are left alone, and decide nothing."""
        A = synthetic.operator("multiple", 60, rng=0)
        before = global_states()
        first = hessop.lanczos(A, 5, rng=0)
        hessop.lanczos(A, 5)
        hessop.eigsh(A, 5)
        assert global_states() == before
        torch.manual_seed(99)
        again = hessop.lanczos(A, 5, rng=0)
        assert again.eigenvectors.tobytes() == first.eigenvectors.tobytes()


class TestStopping:
    def test_unconverged_pairs_are_returned_marked_and_warned_of(self):
        """At a small `maxiter` the large ones are there, the rest is marked."""
        A = synthetic.operator("hessian_like", 300, rng=0)
        with pytest.warns(hessop.ConvergenceWarning, match=r"\d+ of 8 eigenvalues did not conver"):
            result = hessop.lanczos(A, 8, which="LA", maxiter=25, tol=1e-4, rng=0)
        assert result.n_matvec == 25
        assert result.eigenvalues.shape == result.converged.shape == (8,)
        assert result.eigenvectors.shape == (300, 8)
        assert 0 < result.converged.sum() < 8
        scale = np.abs(A.eigenvalues).max()
        np.testing.assert_array_equal(result.converged, measured(A, *result) <= 1e-4 * scale)
        # by Cauchy interlacing no Ritz value lies above the eigenvalue of its rank
        assert (result.eigenvalues <= A.eigenvalues[-8:] + 1e-10).all()

    def test_as_many_products_as_eigenvalues(self):
        """The least that `maxiter` can be: k pairs come back, none of them converged."""
        A = np.diag(np.arange(30.0))
        with pytest.warns(hessop.ConvergenceWarning, match="3 of 3 eigenvalues did not converge"):
            result = hessop.lanczos(A, 3, maxiter=3, rng=0)
        assert result.n_matvec == 3
        assert result.eigenvectors.shape == (30, 3)
        assert orthonormality(result.eigenvectors) <= 1e-14
        assert not result.converged.any()
        np.testing.assert_allclose(result.residuals, measured(A, *result), rtol=1e-10)

    @pytest.mark.parametrize("maxiter", range(6, 26))
    def test_a_check_that_was_cut_short_is_no_silent_success(self, maxiter):
        """Where `maxiter` ends the search for further copies, the set is complete or it warns."""
        bulk = np.random.default_rng(0).uniform(-1.0, 1.0, 500)
        A = synthetic.operator(np.concatenate([bulk, [3.0, 5.0, 5.0]]), rng=0)
        result, seen = quietly(A, 2, which="LA", tol=1e-6, maxiter=maxiter, rng=0)
        complete = np.abs(result.eigenvalues - 5.0).max() <= 1e-4
        assert complete or hessop.ConvergenceWarning in seen

    def test_a_check_that_was_cut_short_is_named(self):
        """All pairs have converged, and still there is a warning, which says what is not known."""
        A = synthetic.operator(np.concatenate([np.linspace(-1, 1, 500), [30.0, 50.0]]), rng=0)
        with pytest.warns(
            hessop.ConvergenceWarning, match="The check that no eigenvalue is missing did not end"
        ):
            result = hessop.lanczos(A, 2, which="LA", tol=1e-6, maxiter=12, rng=0)
        assert result.converged.all()
        assert not result.complete

    @pytest.mark.parametrize("verify", ["auto", True, False])
    def test_complete_says_whether_it_was_checked(self, verify):
        """By the check, or by an exhausted space; not without either."""
        A = synthetic.operator("hessian_like", 200, rng=0)
        assert hessop.lanczos(A, 4, verify=verify, rng=0).complete is (verify is not False)
        small = synthetic.operator("gaussian", 10, rng=0)
        assert hessop.lanczos(small, 10, verify=verify, rng=0).complete is True

    @pytest.mark.parametrize("tol", [1e-2, 1e-4, 1e-8])
    def test_tolerance_is_relative_to_the_largest_value(self, tol):
        """On any scale the same products are spent, and residuals are below tol * max|w|."""
        spent = set()
        for scale in (1e-8, 1.0, 1e8):
            A = synthetic.operator(scale * synthetic.spectrum("gaussian", 200, rng=0), rng=0)
            result = hessop.lanczos(A, 4, tol=tol, rng=0)
            assert (measured(A, *result) <= 1.01 * tol * np.abs(A.eigenvalues).max()).all()
            spent.add(result.n_matvec)
        assert len(spent) == 1

    def test_a_looser_tolerance_is_cheaper(self):
        """It is what tol is for."""
        A = synthetic.operator("uniform", 300, rng=0)
        spent = [hessop.lanczos(A, 4, tol=tol, rng=0).n_matvec for tol in (1e-2, 1e-5, 1e-9)]
        assert spent == sorted(set(spent))

    def test_a_bigger_basis_is_cheaper(self):
        """And without a limit nothing is restarted."""
        A = synthetic.operator("gaussian", 400, rng=0)
        small, large, free = (hessop.lanczos(A, 4, ncv=ncv, rng=0) for ncv in (20, 40, None))
        assert small.n_matvec > large.n_matvec > free.n_matvec
        assert small.n_restart > large.n_restart > free.n_restart == 0
        for result in (small, large, free):
            assert_wanted(result.eigenvalues, A.eigenvalues, "LM", 4, 1e-13)

    def test_basis_stays_within_ncv(self, monkeypatch):
        """No more than ncv rows are multiplied before a restart: k + 15 for the check at most."""
        from hessop.krylov.sweep import Sweep

        sizes = []
        absorb = Sweep.absorb

        def watched(self, w, row=None):
            went_on = absorb(self, w, row)
            sizes.append(len(self.multiplied))
            return went_on

        monkeypatch.setattr(Sweep, "absorb", watched)
        A = synthetic.operator("gaussian", 300, rng=0)
        for ncv, most in ((8, 4 + 15), (30, 30)):
            sizes.clear()
            assert hessop.lanczos(A, 4, ncv=ncv, rng=0).n_restart > 0
            assert max(sizes) <= most


@pytest.mark.parametrize("ncv", [None, 25])
@pytest.mark.parametrize("name", synthetic.SPECTRA)
def test_one_pass(name, ncv):
    """`reorth="full"` finds the same, and takes no rounding of its own for asymmetry."""
    A = synthetic.operator(name, 100, rng=0)
    one = hessop.lanczos(A, 5, ncv=ncv, reorth="full", rng=0)
    assert one.converged.all()
    scale = np.abs(A.eigenvalues).max()
    # Orthogonality suffers where much cancels: values are right to half the digits or better.
    assert_wanted(one.eigenvalues, A.eigenvalues, "LM", 5, 1e-8 * scale)
    assert orthonormality(one.eigenvectors) <= 1e-7


class TestPrecision:
    @pytest.mark.parametrize(("dtype", "tol"), [(torch.float32, 1e-9), (torch.float64, 1e-17)])
    def test_tolerance_below_noise_is_raised_and_told(self, dtype, tol):
        """It converges to the noise instead of never."""
        A = synthetic.operator("gaussian", 100, dtype=dtype, rng=0)
        with pytest.warns(hessop.PrecisionWarning, match="`tol` must not lie below the noise"):
            result = hessop.lanczos(A, 4, tol=tol, rng=0)
        assert result.converged.all()
        assert_wanted(
            result.eigenvalues,
            A.eigenvalues,
            "LM",
            4,
            50 * EPS[dtype] * np.abs(A.eigenvalues).max(),
        )

    @pytest.mark.parametrize(("dtype", "tol"), [(torch.float32, 1e-5), (torch.float64, 1e-14)])
    def test_tolerance_above_noise_is_silent(self, dtype, tol):
        """Warnings are errors in this suite."""
        hessop.lanczos(synthetic.operator("gaussian", 100, dtype=dtype, rng=0), 4, tol=tol, rng=0)

    @pytest.mark.parametrize("which", WHICH)
    def test_noisy_products(self, which):
        """Pseudo-noise of 1e-6: tolerance clamped, bounds include it, values right within them."""
        clean = synthetic.operator("hessian_like", 150, rng=0)
        scale = np.abs(clean.eigenvalues).max()
        A = noisy(clean, 1e-6 * scale)
        with pytest.warns(hessop.PrecisionWarning, match=r"tol.*got 1\.0e-12"):
            result = hessop.lanczos(A, 5, which=which, tol=1e-12, rng=0)
        assert result.converged.all()
        noise = result.error_bounds - result.residuals
        # Seen is the component of the noise in the basis, a part of it.
        assert (noise >= 1e-7 * scale).all()
        assert (noise <= 1e-5 * scale).all()
        exact = wanted(clean.eigenvalues, which, 5)
        assert (np.abs(result.eigenvalues - exact) <= result.error_bounds).all()
        assert (measured(clean, *result) <= 10 * result.error_bounds).all()

    @pytest.mark.parametrize("noise", [0.0, 1e-6])
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    def test_no_product_is_spent_below_the_noise(self, dtype, noise):
        """A tolerance far below it costs what no tolerance costs, less than a tighter one would."""
        clean = synthetic.operator("hessian_like", 1500, dtype=dtype, rng=0)
        A = noisy(clean, noise * 60) if noise else clean
        tight = 1e-12 if noise or dtype == torch.float32 else 1e-17
        clamped, seen = quietly(A, 5, tol=tight, rng=0)
        assert seen == [hessop.PrecisionWarning]
        assert clamped.n_matvec == hessop.lanczos(A, 5, tol=0, rng=0).n_matvec
        if tight == 1e-12:
            exact = synthetic.operator("hessian_like", 1500, rng=0)
            assert clamped.n_matvec < hessop.lanczos(exact, 5, tol=tight, rng=0).n_matvec

    def test_default_tolerance_asks_for_the_noise(self):
        """tol = 0 with noisy products converges, and does not warn."""
        clean = synthetic.operator("hessian_like", 150, rng=0)
        result = hessop.lanczos(noisy(clean, 1e-5), 5, rng=0)
        assert result.converged.all()


def noisy(A, size):
    """The operator with an error of a given size in every product, the same for the same vector."""

    def matmat(X):
        out = A.product.matmat(X.T.contiguous()).T
        for j in range(X.shape[1]):
            seed = int(abs(float(X[0, j])) * 2**52) % 2**31
            error = torch.randn(len(X), dtype=X.dtype, generator=torch.manual_seed(seed))
            out[:, j] += size * error / error.norm()
        return out

    return hessop.TorchOperator(matmat, A.shape[0], dtype=A.product.dtype)


def asymmetric():
    """Matrices that are not symmetric, each in its own way."""
    rng = np.random.default_rng(0)
    symmetric = rng.standard_normal((40, 40))
    symmetric = symmetric + symmetric.T
    skew = rng.standard_normal((40, 40))
    skew = skew - skew.T
    slight = 0.1 * np.linalg.norm(symmetric, 2) / np.linalg.norm(skew, 2) * skew
    turn = np.kron(np.eye(20), np.array([[0.0, -1.0], [1.0, 0.0]]))
    return {
        "slightly": symmetric + slight,
        "triangular": np.triu(symmetric),
        "rotation": turn,
        "two": np.array([[1.0, 2.0], [0.0, 3.0]]),
        "nilpotent": np.array([[0.0, 1.0], [0.0, 0.0]]),
        "general": rng.standard_normal((40, 40)),
    }


class TestRefusals:
    @pytest.mark.parametrize("k", [1, 2])
    @pytest.mark.parametrize("kind", asymmetric())
    def test_asymmetric(self, kind, k):
        """Found out on the way, at no product more than a step or two."""
        A = asymmetric()[kind]
        for solve in (hessop.lanczos, hessop.eigsh):
            if solve is hessop.eigsh and k >= len(A):
                continue
            with pytest.raises(ValueError, match=r"`A` must be symmetric; got \|u.Av - v.Au\| of"):
                solve(A, k, rng=0)

    def test_asymmetry_from_a_right_eigenvector(self):
        """The start hides it: its Krylov space is one vector; the check's direction shows it."""
        A = np.triu(np.ones((40, 40)))
        with pytest.raises(ValueError, match="`A` must be symmetric"):
            hessop.lanczos(A, 1, v0=np.eye(40)[0], rng=0)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    def test_not_finite(self, bad, dtype):
        """NaN in a product is an error, at the first step and later."""
        for after in (0, 3):
            calls = []

            def matmat(X, after=after, calls=calls):
                calls.append(1)
                out = torch.arange(1.0, 31.0, dtype=X.dtype)[:, None] * X
                return out * bad if len(calls) > after else out

            A = hessop.TorchOperator(matmat, 30, dtype=dtype)
            with pytest.raises(FloatingPointError, match="`A` must give finite products; got NaN"):
                hessop.lanczos(A, 2, rng=0)

    def test_complex(self):
        """Refused, not cut to its real part."""
        A = np.diag(np.arange(5.0)) + 0j
        with pytest.raises(TypeError, match="`A` must be real symmetric; got dtype complex128"):
            hessop.lanczos(A, 2)

    def test_not_square(self):
        """Refused by name."""
        with pytest.raises(ValueError, match=r"`A` must be square; got shape \(3, 4\)"):
            hessop.lanczos(np.ones((3, 4)), 2)


class TestCounting:
    @pytest.mark.parametrize("ncv", [None, 12])
    def test_products_are_counted(self, ncv):
        """By an independent counter; one vector at a time."""
        A, widths = recorded(synthetic.operator("multiple", 80, rng=0))
        result = hessop.lanczos(A, 6, ncv=ncv, rng=0)
        assert result.n_matvec == sum(widths) == len(widths)

    def test_verify(self):
        """True measures, k products more than "auto", which checks, 15 or more beyond False."""
        clean = synthetic.operator("hessian_like", 200, rng=0)
        spent, results = {}, {}
        for verify in (False, "auto", True):
            A, widths = recorded(clean)
            results[verify] = hessop.lanczos(A, 5, tol=1e-6, verify=verify, rng=0)
            spent[verify] = results[verify].n_matvec
            assert spent[verify] == sum(widths)
            assert_wanted(results[verify].eigenvalues, clean.eigenvalues, "LM", 5, 1e-4)
        assert spent[True] == spent["auto"] + 5
        assert spent["auto"] - spent[False] >= 15
        np.testing.assert_allclose(
            results[True].residuals, measured(clean, *results[True]), rtol=1e-9, atol=1e-12
        )
        assert (results["auto"].residuals != results[True].residuals).any()  # not the relation

    def test_check_is_what_finds_copies(self):
        """Without it a copy is missed: what `verify=False` gives up."""
        bulk = np.random.default_rng(0).uniform(-1.0, 1.0, 300)
        A = synthetic.operator(np.concatenate([bulk, [3.0, 5.0, 5.0]]), rng=0)
        blind = hessop.lanczos(A, 2, which="LA", tol=1e-6, verify=False, rng=0)
        np.testing.assert_allclose(blind.eigenvalues, [3.0, 5.0], atol=1e-4)
        sure = hessop.lanczos(A, 2, which="LA", tol=1e-6, rng=0)
        np.testing.assert_allclose(sure.eigenvalues, [5.0, 5.0], atol=1e-4)


@settings(max_examples=40)
@given(dtype=dtypes, seed=seeds, n=st.integers(2, 40))
def test_locked_search_is_the_search_on_the_complement(dtype, seed, n):
    """Locking exact eigenvectors takes exactly their eigenvalues away."""
    rng = np.random.default_rng(seed)
    A = synthetic.operator(rng.integers(-3, 4, n).astype(float), dtype=dtype, rng=seed)
    locked = rng.choice(n, rng.integers(1, n), replace=False)
    k = int(rng.integers(1, n - len(locked) + 1))
    result = hessop.lanczos(A, k, lock=A.eigenvectors(locked), rng=seed)
    left = np.delete(A.eigenvalues, locked)
    atol = 200 * EPS[dtype] * max(np.abs(A.eigenvalues).max(), 1e-30)
    assert_wanted(result.eigenvalues, left, "LM", k, atol)
    assert_among(result.eigenvalues, left, atol)


@pytest.mark.slow
def test_nine_million_parameters():
    """In single precision, where n * eps exceeds 1: nothing in the gate scales with it."""
    n = 9_000_000
    d = torch.zeros(n)
    d[:2] = torch.tensor([2.0, -3.0])
    A = hessop.TorchOperator(lambda X: d[:, None] * X, n)
    result = hessop.lanczos(A, 1, maxiter=4, verify=False, tol=1e-3, rng=0)
    np.testing.assert_allclose(result.eigenvalues, [-3.0], rtol=1e-3)
