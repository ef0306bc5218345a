"""SciPy's `eigsh` to the letter."""

from __future__ import annotations

import inspect
import warnings
from unittest.mock import Mock, patch

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import ArpackNoConvergence

import hessop
from hessop import synthetic
from hessop.krylov.sweep import Sweep
from hessop.krylov.wanted import WHICH
from tests.spectra import assert_among, assert_wanted, measured, orthonormality, wanted
from tests.strategies import problems, seeds, starts

SCIPY = scipy.sparse.linalg.eigsh
# No two of equal magnitude, both signs, and the wanted ones mixed in sign.
SPECTRUM = np.array([-7.0, -6.0, -3.0, -2.0, -1.0, 0.2, 0.5, 1.5, 2.5, 4.0, 5.0, 6.5, 8.0])


def test_signature_is_scipys():
    """The same names in the same order, of the same kind, with the same defaults."""

    def parameters(function):
        return [
            (p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()
        ]

    assert parameters(hessop.eigsh) == parameters(SCIPY)


def quietly(*args, **kwargs):
    """`eigsh` without the warning that all eigenvalues are asked for."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`k` must satisfy k < n")
        return hessop.eigsh(*args, **kwargs)


@settings(max_examples=80)
@given(st.data())
def test_set_is_complete_or_it_raises(data):
    """On hostile spectra: the exact set in SciPy's form, or NoConvergence with what there is."""
    problem = data.draw(problems())
    k = data.draw(st.integers(1, problem.n), label="k")
    which = data.draw(st.sampled_from(WHICH), label="which")
    ncv = data.draw(st.sampled_from([None, k + 1, 2 * k + 5]), label="ncv")
    v0 = data.draw(starts(problem), label="v0")
    maxiter = data.draw(st.sampled_from([None, 1, 1000]), label="maxiter")
    A = problem.operator()
    restarts = Mock(side_effect=Sweep.restart)
    raised = None
    with patch.object(Sweep, "restart", lambda *arguments: restarts(*arguments)):
        try:
            w, v = quietly(
                A,
                k,
                which=which,
                ncv=None if ncv is None else min(ncv, problem.n),
                v0=v0,
                maxiter=maxiter,
                rng=data.draw(seeds, label="rng"),
            )
        except ArpackNoConvergence as caught:
            raised = caught
    # 10 eps ends the search, 10 more are a tie in the check; the rest is the noise of products.
    # Each restart rounds all rows, which adds up at random: `Rounding` has the rule.
    atol = (200 + 5 * np.sqrt(restarts.call_count)) * problem.eps * problem.scale
    if raised is not None:
        assert maxiter is not None or ncv is not None
        w, v = raised.eigenvalues, raised.eigenvectors
        unchecked = "without a check for completeness" in str(raised)
        assert len(w) < k or unchecked
        assert_among(w, problem.exact, atol)
    else:
        assert_wanted(w.astype(np.float64), problem.exact, which, k, atol)
    assert w.dtype == v.dtype == A.dtype
    assert v.shape == (problem.n, len(w))
    assert (np.diff(w) >= 0).all()
    if len(w):
        assert orthonormality(v) <= (500 + 2 * restarts.call_count) * problem.eps
        assert (measured(A, w, v) <= atol).all()


@pytest.mark.parametrize("return_eigenvectors", [True, False])
@pytest.mark.parametrize("k", [2, 5, 8])
@pytest.mark.parametrize("which", WHICH)
def test_order_is_scipys(which, k, return_eigenvectors):
    """Value by value, with and without eigenvectors."""
    A = np.diag(np.random.default_rng(0).permutation(SPECTRUM))
    kwargs = {"which": which, "return_eigenvectors": return_eigenvectors}
    ours, theirs = hessop.eigsh(A, k, rng=0, **kwargs), SCIPY(A, k, rng=0, **kwargs)
    if return_eigenvectors:
        (ours, v), (theirs, v_theirs) = ours, theirs
        np.testing.assert_allclose(np.abs(v), np.abs(v_theirs), rtol=0, atol=1e-10)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("name", ["gaussian", "uniform", "hessian_like", "graded"])
def test_against_scipy(name, which):
    """The same numbers on the same operator."""
    A = synthetic.operator(name, 90, rng=2)
    w, v = hessop.eigsh(A, 4, which=which, rng=0)
    w_scipy, v_scipy = SCIPY(A, 4, which=which, rng=0)
    scale = np.abs(A.eigenvalues).max()
    np.testing.assert_allclose(w, w_scipy, rtol=0, atol=1e-13 * scale)
    gaps = np.sort(np.abs(w[:, None] - A.eigenvalues), axis=1)[:, 1]
    sines = np.sqrt(np.maximum(1 - np.sum(v * v_scipy, axis=0) ** 2, 0))
    assert (sines <= 1e-7 + 1e-12 * scale / gaps).all()  # residual over gap, for either


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [(np.float64, np.float64), (np.float32, np.float32), (np.int64, np.float64)],
)
def test_dtypes(dtype, expected):
    """Of the operator, for values and vectors; integers go up."""
    A = np.diag(SPECTRUM * 10).astype(dtype)
    w, v = hessop.eigsh(A, 2, rng=0)
    assert w.dtype == v.dtype == expected
    assert hessop.eigsh(A, 2, return_eigenvectors=False, rng=0).dtype == expected


def test_result_is_a_plain_tuple():
    """`w, v = eigsh(...)`, and one array without eigenvectors."""
    result = hessop.eigsh(np.diag(SPECTRUM), 3, rng=0)
    assert type(result) is tuple
    assert [type(x) for x in result] == [np.ndarray, np.ndarray]
    assert type(hessop.eigsh(np.diag(SPECTRUM), 3, return_eigenvectors=False)) is np.ndarray


def test_positional_arguments():
    """A call in SciPy's order means the same."""
    v0 = np.ones(13)
    w, _ = hessop.eigsh(
        np.diag(SPECTRUM), 2, None, None, "SA", v0, 10, 500, 1e-10, True, None, None, "normal", 0
    )
    np.testing.assert_allclose(w, [-7.0, -6.0], rtol=1e-9)


def test_all_eigenvalues():
    """k >= n, which SciPy's leaves to `eigh`, with the same kind of warning."""
    for k in (13, 20):
        with pytest.warns(RuntimeWarning, match=f"got k={k}, n=13. All n are computed"):
            w, v = hessop.eigsh(np.diag(SPECTRUM), k, rng=0)
    np.testing.assert_allclose(w, SPECTRUM, rtol=1e-12)
    assert orthonormality(v) <= 1e-14


def test_default_k():
    """Six, as SciPy."""
    assert len(hessop.eigsh(np.diag(SPECTRUM), rng=0)[0]) == 6


class TestNoConvergence:
    @pytest.fixture
    def hard(self):
        """Two large eigenvalues that converge in no time, over a dense bulk that does not."""
        w = np.concatenate([[90.0, 100.0], np.linspace(-1.0, 1.0, 498)])
        return synthetic.operator(w, rng=0)

    def test_scipys_clause_catches_it(self, hard):
        """And it carries the pairs that have converged, ascending, in columns."""
        with pytest.raises(ArpackNoConvergence, match="2 of 6 eigenvalues converged") as caught:
            hessop.eigsh(hard, 6, which="LA", maxiter=2, rng=0)
        error = caught.value
        assert isinstance(error, hessop.NoConvergence)
        np.testing.assert_allclose(error.eigenvalues, [90.0, 100.0], rtol=1e-12)
        assert error.eigenvectors.shape == (500, 2)
        assert (measured(hard, error.eigenvalues, error.eigenvectors) <= 1e-11).all()

    def test_message(self, hard):
        """Name, rule, what came, remedy."""
        with pytest.raises(
            hessop.NoConvergence,
            match=r"^`maxiter` must allow for convergence; 2 of 6 .* in \d+ products. Raise maxi",
        ):
            hessop.eigsh(hard, 6, which="LA", maxiter=2, rng=0)

    def test_no_warning_beside_the_exception(self, hard):
        """The exception says it; nothing is said twice."""
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            with pytest.raises(hessop.NoConvergence):
                hessop.eigsh(hard, 6, which="LA", maxiter=2, rng=0)
        assert not seen

    def test_none_converged(self):
        """Then the arrays are empty, of the right shapes."""
        A = synthetic.operator("uniform", 400, dtype=torch.float32, rng=0)
        with pytest.raises(ArpackNoConvergence) as caught:
            hessop.eigsh(A, 3, maxiter=1, rng=0)
        assert caught.value.eigenvalues.shape == (0,)
        assert caught.value.eigenvectors.shape == (400, 0)
        assert caught.value.eigenvalues.dtype == np.float32

    @pytest.mark.parametrize("maxiter", [1, 3, 10])
    @pytest.mark.parametrize("ncv", [None, 25])
    def test_maxiter_counts_restarts_as_scipy(self, maxiter, ncv):
        """The first basis is free, each restart may multiply ncv - k vectors."""
        A = synthetic.operator("uniform", 2000, reflections=1, rng=0)
        A.product.n_matvec = 0
        with pytest.raises(hessop.NoConvergence):
            hessop.eigsh(A, 6, maxiter=maxiter, ncv=ncv, rng=0)
        width = 20 if ncv is None else ncv
        assert A.product.n_matvec == width + maxiter * (width - 6)


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ({"OPinv": np.eye(13)}, "`OPinv` must be None without sigma; got an operator"),
            ({"Minv": np.eye(13)}, "`Minv` must be None without M, and with sigma; got an"),
            (
                {"Minv": np.eye(13), "M": np.eye(13), "sigma": 0.1},
                "`Minv` must be None without M, and with sigma; got an",
            ),
            ({"mode": "cayley"}, '`mode` must be "normal" without sigma, or with sigma=0; got'),
            ({"mode": "other", "sigma": 1.0}, "`mode` must be one of 'normal', 'buckling', 'cayle"),
            ({"sigma": 4.0}, "`sigma` must not be an eigenvalue, .* got sigma=4.0, where that is"),
        ],
    )
    def test_what_does_not_go_together(self, arguments, text):
        """As SciPy refuses it, by name."""
        with pytest.raises(ValueError, match=text):
            hessop.eigsh(np.diag(SPECTRUM), 2, **arguments)

    @pytest.mark.parametrize("which", ["LR", "XX", "", None, "lm"])
    def test_unknown_which(self, which):
        """With the list of what is known."""
        with pytest.raises(ValueError, match=r"`which` must be one of 'LM', .*, 'BE', 'SM'; got"):
            hessop.eigsh(np.diag(SPECTRUM), 2, which=which)

    @pytest.mark.parametrize("k", [0, -1])
    def test_k_out_of_range(self, k):
        """At least 1."""
        with pytest.raises(ValueError, match=f"`k` must satisfy 0 < k <= n; got k={k}, n=13"):
            hessop.eigsh(np.diag(SPECTRUM), k)

    @pytest.mark.parametrize("maxiter", [None, 5])
    @pytest.mark.parametrize("ncv", [3, 2, 14])
    def test_ncv_out_of_range(self, ncv, maxiter):
        """More than k, at most n, whether or not `maxiter` is counted in it."""
        with pytest.raises(
            ValueError, match=f"`ncv` must satisfy k < ncv <= n; got ncv={ncv}, k=3"
        ):
            hessop.eigsh(np.diag(SPECTRUM), 3, ncv=ncv, maxiter=maxiter)

    @pytest.mark.parametrize("maxiter", [None, 5])
    @pytest.mark.parametrize("ncv", ["ten", 5.5])
    def test_ncv_of_the_wrong_kind(self, ncv, maxiter):
        """Refused by name."""
        with pytest.raises(TypeError, match="`ncv` must be an integer >= 1; got"):
            hessop.eigsh(np.diag(SPECTRUM), 3, ncv=ncv, maxiter=maxiter)

    @pytest.mark.parametrize("maxiter", [0, -3])
    def test_maxiter_out_of_range(self, maxiter):
        """At least 1."""
        with pytest.raises(ValueError, match=f"`maxiter` must be an integer >= 1; got {maxiter}"):
            hessop.eigsh(np.diag(SPECTRUM), 3, maxiter=maxiter)


@pytest.mark.parametrize("maxiter", range(1, 4))
def test_a_check_that_was_cut_short_is_no_silent_success(maxiter):
    """Where `maxiter` ends the search for further copies, the set is complete or it raises."""
    bulk = np.random.default_rng(0).uniform(-1.0, 1.0, 500)
    A = synthetic.operator(np.concatenate([bulk, [50.0, 70.0, 70.0]]), rng=0)
    try:
        w, _ = hessop.eigsh(A, 2, which="LA", tol=1e-3, ncv=4, maxiter=maxiter, rng=0)
    except ArpackNoConvergence:
        return
    np.testing.assert_allclose(w, wanted(A.eigenvalues, "LA", 2), atol=1.0)


def test_a_check_that_was_cut_short_is_named():
    """All pairs have converged and are carried, and the text says what is not known."""
    A = synthetic.operator(np.concatenate([np.linspace(-1, 1, 500), [300.0, 500.0]]), rng=0)
    with pytest.raises(ArpackNoConvergence, match=r"2 of 2 .* without a check for compl") as caught:
        hessop.eigsh(A, 2, which="LA", tol=1e-4, ncv=3, maxiter=6, rng=0)
    np.testing.assert_allclose(caught.value.eigenvalues, [300.0, 500.0], rtol=1e-6)
    assert caught.value.eigenvectors.shape == (502, 2)


def test_drop_in_for_scipys_idioms():
    """Sparse matrix, float32 operator, k given by name."""
    M = scipy.sparse.diags_array(SPECTRUM).tocsr()
    w = hessop.eigsh(M, k=3, which="LA", return_eigenvectors=False, rng=0)
    np.testing.assert_allclose(w, [5.0, 6.5, 8.0], rtol=1e-12)
    w, _ = hessop.eigsh(hessop.TorchOperator(lambda X: 2 * X, 20), k=3, rng=0)
    np.testing.assert_allclose(w, 2.0, rtol=1e-6)
