"""Functions of operators times vectors against eigendecompositions, and their error estimates."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hessop
from hessop import _memory, _progress, synthetic
from hessop.krylov.storage import OnDisk
from hessop.krylov.sweep import Sweep
from hessop.quadrature import iterates
from tests.spectra import global_states, recorded
from tests.strategies import problems, seeds

EPS = {torch.float64: 2.0**-52, torch.float32: 2.0**-23}
SMOOTH = {
    "exp": np.exp,
    "decay": lambda x: np.exp(-30 * x),
    "wave": lambda x: np.cos(20 * x),
    "resolvent": lambda x: 1 / (x + 1.5),
    "root": lambda x: np.sqrt(x + 1.2),
    "log": lambda x: np.log(x + 1.2),
}
HARD = {
    "inverse": lambda x: 1 / x,
    "sign": np.sign,
    "relu": lambda x: np.maximum(x, 0),
    "step": lambda x: np.where(x > 0.31, 1.0, 0.0),
    "narrow": lambda x: 1 / (1 + (50 * x) ** 2),
    "cusp": lambda x: np.sqrt(np.abs(x)),
}


def exact(A, f, b):
    """By the operator's own eigenvectors, and its eigenvalues as its dtype holds them."""
    Q = A.eigenvectors(range(A.shape[0])).astype(np.float64)
    return (Q * f(A.eigenvalues.astype(A.dtype).astype(np.float64))) @ (Q.T @ b)


def vector(n, seed=0):
    """A vector that single precision holds."""
    return np.random.default_rng(seed).standard_normal(n).astype(np.float32).astype(np.float64)


def quietly(*args, **kwargs):
    """Without the warnings of what does not converge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", (hessop.ConvergenceWarning, hessop.PrecisionWarning))
        return hessop.funm_multiply(*args, **kwargs)


@settings(max_examples=60)
@given(st.data())
def test_hostile_spectra(data):
    """What is said to have converged is within ten tolerances, for any spectrum and dtype."""
    problem = data.draw(problems())
    scale = problem.scale or 1.0
    name = data.draw(st.sampled_from(sorted(SMOOTH)), label="f")
    b = np.random.default_rng(data.draw(seeds)).standard_normal(problem.n)
    rtol = data.draw(st.sampled_from([1e-2, 1e-5, 1e-8]), label="rtol")

    def f(x):
        return SMOOTH[name](x / scale)

    A = problem.operator()
    found = quietly(
        f,
        A,
        b,
        rtol=rtol,
        ncv=data.draw(st.integers(1, 70), label="ncv"),
        reorth=data.draw(st.sampled_from(["full", "double", "selective"]), label="reorth"),
    )
    Q = problem.eigenvectors(*range(problem.n)).astype(np.float64)
    truth = (Q * f(problem.exact)) @ (Q.T @ b)
    assert np.isfinite(found.value).all()
    assert found.n_matvec <= problem.n
    missing = np.linalg.norm(found.value - truth)
    if found.converged:
        assert found.error <= rtol * np.linalg.norm(found.value) * (1 + 1e-5)
        steepest = {"decay": 30, "wave": 20}.get(name, 5)  # of f, which the truth is rounded by
        bound = np.abs(f(problem.exact)).max() * np.linalg.norm(b)
        assert missing <= 10 * rtol * np.linalg.norm(truth) + 30 * steepest * problem.eps * bound


class TestAgainstEigenvectors:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    @pytest.mark.parametrize("name", SMOOTH)
    def test_smooth_functions(self, name, dtype):
        """To the tolerance, which the error estimate keeps, and the truth below it."""
        A = synthetic.operator(np.linspace(-1, 1, 300), dtype=dtype, rng=0)
        b, rtol = vector(300), 1e-9 if dtype == torch.float64 else 3e-5
        found = hessop.funm_multiply(SMOOTH[name], A, b, rtol=rtol)
        truth = exact(A, SMOOTH[name], b)
        assert found.converged is True
        assert isinstance(found.error, float)
        assert found.value.dtype == (np.float64 if dtype == torch.float64 else np.float32)
        missing = np.linalg.norm(found.value - truth)
        assert missing <= found.error <= rtol * np.linalg.norm(truth) * 1.01
        assert found.n_matvec < 100

    @pytest.mark.parametrize("name", HARD)
    def test_hard_functions(self, name):
        """On a spectrum with a gap at zero, and more steps."""
        w = np.r_[np.linspace(-1, -0.05, 100), np.linspace(0.02, 1, 150)]
        A, b = synthetic.operator(w, rng=0), vector(250)
        found = hessop.funm_multiply(HARD[name], A, b, rtol=1e-4, ncv=250)
        truth = exact(A, HARD[name], b)
        assert found.converged
        assert np.linalg.norm(found.value - truth) <= 1e-4 * np.linalg.norm(truth)

    @pytest.mark.parametrize("t", [-5.0, 0.1, 20.0])
    def test_as_scipy(self, t):
        """`expm_multiply`, of a sparse matrix."""
        n = 200
        L = scipy.sparse.diags_array(
            [-np.ones(n - 1), 2 * np.ones(n), -np.ones(n - 1)], offsets=(-1, 0, 1)
        )
        B = np.random.default_rng(0).standard_normal((n, 3))
        found = hessop.funm_multiply(lambda x: np.exp(-t * x), L.tocsr(), B, rtol=1e-11)
        expected = scipy.sparse.linalg.expm_multiply(-t * L.tocsc(), B)
        np.testing.assert_allclose(
            found.value, expected, rtol=0, atol=1e-10 * np.abs(expected).max()
        )

    @pytest.mark.parametrize("ncv", [1, 2, 4, 7])
    def test_exact_for_polynomials(self, ncv):
        """Up to degree ``ncv - 1``, though nothing is known of the error; the next is missed."""
        A, b = synthetic.operator(np.linspace(-1, 1, 60), rng=0), vector(60)
        for degree in range(ncv + 1):
            f = np.polynomial.Polynomial.basis(degree)
            found = quietly(f, A, b, ncv=ncv)
            missing = np.linalg.norm(found.value - exact(A, f, b))
            assert missing < 1e-13 if degree < ncv else missing > 1e-4
            assert found.n_matvec == ncv

    @pytest.mark.parametrize("scale", [1e-20, 1e20])
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    def test_scale(self, scale, dtype):
        """Of the operator and of b."""
        w, b = np.linspace(-1, 1, 60), vector(60)
        one, two, three = (
            hessop.funm_multiply(
                lambda x, s=s: np.exp(x / s), synthetic.operator(s * w, dtype=dtype, rng=1), c
            )
            for s, c in ((1.0, b), (scale, b), (1.0, scale * b))
        )
        atol = 1e3 * EPS[dtype]
        np.testing.assert_allclose(two.value, one.value, rtol=0, atol=atol)
        np.testing.assert_allclose(three.value / scale, one.value, rtol=0, atol=atol)
        assert two.error == pytest.approx(one.error, rel=0.5)
        assert three.error / scale == pytest.approx(one.error, rel=0.5)


class TestError:
    def test_seldom_too_small(self):
        """In all but a few of the runs that converge; never by a factor of ten above the limit."""
        below, runs, rng = 0, 0, np.random.default_rng(0)
        for n in (60, 150):
            for w in (
                rng.uniform(-1, 1, n),
                np.linspace(1e-3, 1, n),
                10.0 ** rng.uniform(-4, 0, n),
                np.r_[1e-4, 1e-2, rng.uniform(0.5, 1, n - 2)],
                synthetic.spectrum("hessian_like", n, rng=rng) / 60 + 0.01,
            ):
                A = synthetic.operator(w, rng=1)
                Q = A.eigenvectors(range(n))
                for b in (rng.standard_normal(n), Q @ 10.0 ** rng.uniform(-6, 0, n), np.eye(n)[0]):
                    for f in (np.exp, *HARD.values()):
                        rtol = 10.0 ** rng.integers(-8, -1)
                        found = quietly(f, A, b, rtol=rtol)
                        missing = np.linalg.norm(found.value - exact(A, f, b))
                        if found.converged:
                            runs += 1
                            below += missing > found.error
                            assert missing <= 10 * rtol * np.linalg.norm(found.value)
        assert runs > 130
        assert below <= 0.05 * runs

    def test_a_pause_is_not_the_end(self):
        """An iterate that hardly moves once is looked at again."""
        c = [np.array([1.0, 0.1, 1e-9]), np.array([1.0, 0.1]), np.array([1.0]), np.zeros(1)]
        assert iterates.missing(c) >= 0.1

    @pytest.mark.parametrize("pace", [0.01, 0.4, 0.7, 0.9])
    def test_slow_convergence_is_summed(self, pace):
        """For a geometric sequence of moves not less than what is left of it."""
        moves = pace ** np.arange(4)
        points = [np.array([moves[:k].sum()]) for k in (4, 3, 2, 1)]
        rest = pace**4 / (1 - pace)
        assert rest <= iterates.missing(points) <= max(1 / pace, 1 / (1 - pace)) * pace**2 * 1.01

    @pytest.mark.parametrize(
        ("name", "distinct"), [("identity", 1), ("zero", 1), ("rank_one", 2), ("two_valued", 2)]
    )
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    def test_exhausted(self, name, distinct, dtype):
        """As many products as distinct eigenvalues; then rounding is all there is."""
        A = synthetic.operator(name, 50, dtype=dtype, rng=0)
        b = vector(50)
        found = hessop.funm_multiply(np.exp, A, b, rtol=1e-5)
        assert found.n_matvec == distinct
        missing = np.linalg.norm(found.value - exact(A, np.exp, b))
        assert missing <= found.error <= 500 * EPS[dtype] * np.linalg.norm(found.value)

    def test_nothing_is_known_after_two_steps(self):
        A, b = synthetic.operator("gaussian", 40, rng=0), vector(40)
        with pytest.warns(
            hessop.ConvergenceWarning,
            match="`rtol` and `atol` were not reached in 2 steps for 1 of 1 vectors; the error is "
            "up to inf times what they allow. Raise them, raise `ncv`",
        ):
            found = hessop.funm_multiply(np.exp, A, b, ncv=2)
        assert found.error == np.inf
        assert found.converged is False

    def test_not_converged(self):
        """What there is, its error, and which columns."""
        A = synthetic.operator(np.linspace(1e-4, 1, 200), rng=0)
        B = np.stack([vector(200), A.eigenvectors([150, 160]).sum(1)], axis=1)
        with pytest.warns(hessop.ConvergenceWarning, match="in 30 steps for 1 of 2 vectors"):
            found = hessop.funm_multiply(np.sqrt, A, B, ncv=30, rtol=1e-10)
        assert found.converged.tolist() == [False, True]
        missing = np.linalg.norm(found.value - exact(A, np.sqrt, B), axis=0)
        assert (missing <= found.error).all()
        assert found.n_matvec == 32

    def test_rounding(self):
        """Below it no tolerance is met, and no product is spent on it."""
        A = synthetic.operator(np.linspace(-1, 1, 300), dtype=torch.float32, rng=0)
        b = vector(300)
        for rtol in (1e-12, 0.0):
            with pytest.warns(
                hessop.PrecisionWarning, match=r"lie below what rounding leaves for 1 .* float64"
            ):
                found = hessop.funm_multiply(np.exp, A, b, rtol=rtol)
            assert not found.converged
            assert found.n_matvec <= 20
            assert np.linalg.norm(found.value - exact(A, np.exp, b)) <= found.error

    def test_noise_of_products(self):
        """As far as it is seen where symmetry says there is nothing."""
        M = np.diag(np.linspace(-1, 1, 100))
        K = np.random.default_rng(0).standard_normal((100, 100)) / 100
        b = vector(100)
        with pytest.warns(hessop.PrecisionWarning, match="below what rounding leaves"):
            found = hessop.funm_multiply(np.exp, M + 1e-5 * (K - K.T), b)
        assert np.linalg.norm(found.value - np.exp(np.diag(M)) * b) <= found.error
        assert found.error <= 1e-4 * np.linalg.norm(found.value)

    def test_atol(self):
        """The larger of the two tolerances."""
        A, b = synthetic.operator(np.linspace(0.01, 1, 200), rng=0), vector(200)
        tight, loose = (
            hessop.funm_multiply(np.log, A, b, atol=atol, rtol=1e-8) for atol in (0.0, 1e-2)
        )
        assert loose.n_matvec < tight.n_matvec
        assert tight.error <= 1e-8 * np.linalg.norm(tight.value)
        assert 1e-8 * np.linalg.norm(loose.value) < loose.error <= 1e-2


class TestLock:
    @pytest.fixture
    def A(self):
        """Two outliers that a sweep takes long to see, over a bulk."""
        return synthetic.operator(np.r_[-1e-6, 1e-5, np.linspace(0.5, 1, 198)], rng=0)

    def test_what_is_locked_is_exact(self, A):
        """With the eigenvalues in any order, and fewer steps."""
        b = vector(200)
        truth = exact(A, lambda x: 1 / x, b)
        plain = hessop.funm_multiply(lambda x: 1 / x, A, b, rtol=1e-9)
        assert plain.n_matvec > 20
        for order in ([0, 1], [1, 0]):
            lock = (A.eigenvalues[order], A.eigenvectors(order))
            found = hessop.funm_multiply(lambda x: 1 / x, A, b, lock=lock, atol=1e-6, rtol=0)
            assert found.n_matvec <= 20 < plain.n_matvec
            np.testing.assert_allclose(found.value, truth, rtol=1e-9)
            assert found.error <= 1e-6

    def test_a_result(self, A):
        """Of `hessop.lanczos`."""
        top, b = hessop.lanczos(A, 3, which="LA", rng=0), vector(200)
        found = hessop.funm_multiply(np.exp, A, b, lock=top)
        np.testing.assert_allclose(found.value, exact(A, np.exp, b), rtol=0, atol=1e-5)

    def test_nothing_is_left(self, A):
        """No product at all."""
        b = A.eigenvectors([0, 1]) @ [2.0, -3.0]
        lock = (A.eigenvalues[:2], A.eigenvectors([0, 1]))
        found = hessop.funm_multiply(np.cos, A, b, lock=lock)
        assert (found.n_matvec, found.error, found.converged) == (0, 0.0, True)
        np.testing.assert_allclose(found.value, b, rtol=0, atol=1e-9)

    def test_it_is_part_of_what_the_tolerance_is_relative_to(self):
        """Beside much, little is to be known of the rest."""
        A = synthetic.operator(np.r_[np.linspace(-20, 0, 200), 15.0], rng=0)
        b, lock = vector(201), (np.array([15.0]), A.eigenvectors([200]))
        found = hessop.funm_multiply(np.exp, A, b, lock=lock)
        assert found.n_matvec == 16
        b -= A.eigenvectors([200])[:, 0] * (A.eigenvectors([200])[:, 0] @ b)
        assert hessop.funm_multiply(np.exp, A, b, lock=lock).n_matvec > 16

    def test_it_does_not_come_back(self):
        """By rounding, which a large eigenvalue multiplies at every step."""
        A = synthetic.operator(np.r_[np.linspace(0, 1, 200), 1e9], rng=0)
        seen = []

        def f(x):
            seen.append(x.max())
            return np.cos(x)

        lock = (np.array([1e9]), A.eigenvectors([200]))
        quietly(f, A, vector(201), lock=lock, ncv=60, rtol=0)
        assert max(seen[1:]) < 1.1

    def test_f_at_what_is_locked(self, A):
        lock = (np.zeros(1), A.eigenvectors([0]))
        with (
            np.errstate(divide="ignore"),
            pytest.raises(ValueError, match="`f` must be finite at every node; got 0 mapped"),
        ):
            hessop.funm_multiply(lambda x: 1 / x, A, vector(200), lock=lock)
        with pytest.raises(TypeError, match=r"`lock` must be \(w, v\)"):
            hessop.funm_multiply(np.exp, A, vector(200), lock=np.eye(200))


class TestColumns:
    def test_one_block_product_per_step(self):
        """Columns drop out when they have converged, and are as alone."""
        A = synthetic.operator(np.linspace(0.01, 1, 200), rng=0)
        easy = A.eigenvectors([3, 50]) @ np.array([[1.0, 0.0], [1.0, 1.0]])
        B = np.column_stack([easy, vector(200), np.zeros(200)])
        spied, widths = recorded(A)
        found = hessop.funm_multiply(np.log, spied, B)
        assert widths[:3] == [3, 2, 1]
        assert found.n_matvec == sum(widths) == len(widths) + 3
        for j in range(4):
            alone = hessop.funm_multiply(np.log, A, B[:, j])
            np.testing.assert_allclose(found.value[:, j], alone.value, rtol=0, atol=1e-9)
            assert found.error[j] == pytest.approx(alone.error, rel=1e-3, abs=1e-12)
        assert found.converged.all()
        np.testing.assert_array_equal(found.value[:, 3], 0.0)
        assert found.error[3] == 0.0

    @pytest.mark.parametrize(("ncv", "rows"), [(30, 31), (100, 41)])
    @pytest.mark.parametrize("width", [1, 2])
    def test_as_many_as_there_is_room_for(self, width, ncv, rows, monkeypatch):
        A = synthetic.operator("gaussian", 40, rng=0)
        B = np.random.default_rng(0).standard_normal((40, 3))
        whole = hessop.funm_multiply(np.exp, A, B, ncv=ncv)
        monkeypatch.setattr(_memory, "available_bytes", lambda d: 2 * width * rows * 40 * 8)
        spied, widths = recorded(A)
        parts = hessop.funm_multiply(np.exp, spied, B, ncv=ncv)
        assert max(widths) == width
        assert parts.n_matvec == whole.n_matvec
        np.testing.assert_allclose(parts.value, whole.value, rtol=0, atol=1e-11)

    @pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 3), (6, 8)])
    def test_shapes(self, shape):
        """As b; more columns than rows are as good as fewer."""
        b = np.arange(np.prod(shape)).reshape(shape)
        before = b.copy()
        found = hessop.funm_multiply(np.exp, np.diag([1.0, 2, 3, 4, 5, 6]), b)
        expected = (np.exp([1.0, 2, 3, 4, 5, 6]) * b.T).T
        np.testing.assert_allclose(found.value, expected, rtol=1e-12, atol=1e-11)
        assert np.shape(found.error) == np.shape(found.converged) == shape[1:]
        np.testing.assert_array_equal(b, before)

    @pytest.mark.parametrize("n", [1, 2])
    def test_smallest(self, n):
        found = hessop.funm_multiply(np.exp, 2 * np.eye(n), np.ones(n))
        np.testing.assert_allclose(found.value, np.exp(2), rtol=1e-15)
        assert found.n_matvec == 1

    def test_array_types(self):
        """That of the operator, whatever b is."""
        A = synthetic.operator("gaussian", 20, dtype=torch.float32, rng=0)
        b = np.ones(20, dtype=np.float32)
        for c in (b, torch.from_numpy(b)):
            for operator, kind in ((A, np.ndarray), (A.product, torch.Tensor)):
                found = hessop.funm_multiply(np.cos, operator, c, rtol=1e-4)
                assert isinstance(found.value, kind)
                assert found.value.shape == (20,)
                assert "float32" in str(found.value.dtype)

    def test_nothing_global(self):
        """Nothing is drawn, and the same call has the same result."""
        A, before = synthetic.operator("gaussian", 40, rng=0), global_states()
        one, two = (hessop.funm_multiply(np.exp, A, vector(40)).value for _ in range(2))
        np.testing.assert_array_equal(one, two)
        assert global_states() == before


class TestBasis:
    def test_where_it_lies(self, tmp_path, monkeypatch):
        """The same, to the last bit."""
        files, allocate = [], OnDisk.allocate
        monkeypatch.setattr(
            OnDisk, "allocate", lambda self, *size: files.append(size) or allocate(self, *size)
        )
        A, b = synthetic.operator("gaussian", 100, rng=0), vector(100)
        one, *others = (
            hessop.funm_multiply(np.exp, A, b, basis=basis).value
            for basis in ("auto", "device", "host", tmp_path)
        )
        for other in others:
            np.testing.assert_array_equal(other, one)
        assert files == [(32, 100)]

    def test_it_is_let_go_of(self, monkeypatch):
        """Before other columns take the room."""
        released, release = [], Sweep.release
        monkeypatch.setattr(Sweep, "release", lambda self: released.append(self) or release(self))
        hessop.funm_multiply(np.exp, np.diag(np.arange(20.0)), np.eye(20)[:, :3] + 1)
        assert len(released) == 3

    @pytest.mark.parametrize("reorth", ["full", "selective"])
    def test_reorthogonalisation(self, reorth):
        """What a semi-orthogonal basis has lost is in the estimate."""
        A = synthetic.operator("hessian_like", 300, rng=0)
        b = vector(300)
        found = hessop.funm_multiply(lambda x: np.exp(x / 20), A, b, reorth=reorth, ncv=150)
        missing = np.linalg.norm(found.value - exact(A, lambda x: np.exp(x / 20), b))
        assert missing <= found.error <= 1e-6 * np.linalg.norm(found.value)


class TestFunction:
    def test_a_pole_in_passing(self):
        """One look at which f is not finite is passed over."""
        sizes = []

        def f(x):
            sizes.append(len(x))
            return np.exp(x) if len(x) != 16 else np.full(len(x), np.nan)

        A, b = synthetic.operator(np.linspace(-40, 0, 200), rng=0), vector(200)
        found = hessop.funm_multiply(f, A, b)
        assert 16 in sizes
        assert np.linalg.norm(found.value - exact(A, np.exp, b)) <= found.error
        assert found.converged

    def test_not_finite(self):
        """At two looks running, or when there is no other; without a warning of NumPy's."""
        A, widths = recorded(synthetic.operator(np.linspace(-1, 1, 200), rng=0))
        with pytest.raises(ValueError, match="`f` must be finite at every node; got -"):
            hessop.funm_multiply(np.log, A, vector(200))
        assert len(widths) == 12
        for M, ncv in ((-np.eye(3), 100), (np.diag([-1.0, 2, 5]), 1), (np.diag([-9.0, 2, 5]), 3)):
            with pytest.raises(ValueError, match="`f` must be finite at every node; got -"):
                hessop.funm_multiply(np.log, M, np.array([5.0, 1, 1]), ncv=ncv)

    def test_nothing_is_known_beside_a_pole(self):
        """Of an iterate that would be compared with one that is not there."""
        A, b = synthetic.operator(np.linspace(-1, 1, 200), rng=0), vector(200)
        for missing, known in ((24, False), (21, True)):
            found = quietly(
                lambda x, m=missing: np.abs(x) if len(x) != m else x * np.nan, A, b, ncv=28
            )
            assert np.isfinite(found.error) == known

    @pytest.mark.parametrize("ncv", [6, 100])
    def test_not_finite_at_the_end(self, ncv):
        """Though it was before: the sixth step is the last, or exhausts the Krylov space."""
        A = np.diag(np.arange(60.0) if ncv == 6 else np.repeat(np.arange(6.0), 2))
        with pytest.raises(ValueError, match="`f` must be finite at every node"):
            hessop.funm_multiply(
                lambda x: x * (np.nan if len(x) == 6 else 1), A, np.ones(len(A)), ncv=ncv
            )

    def test_bad_ones(self):
        A = np.diag([1.0, 2.0, 3.0])
        with pytest.raises(ValueError, match="`f` must keep the shape"):
            hessop.funm_multiply(lambda x: 1.0, A, np.ones(3))
        with pytest.raises(TypeError, match="`f` must be real"):
            hessop.funm_multiply(lambda x: np.exp(1j * x), A, np.ones(3))

    def test_zero(self):
        """Where the result is zero, so is the tolerance, and the error."""
        found = hessop.funm_multiply(lambda x: 0 * x, np.diag([1.0, 2.0, 3.0]), np.ones(3))
        np.testing.assert_array_equal(found.value, 0.0)
        assert (found.error, found.converged) == (0.0, True)


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "error", "match"),
        [
            ({"b": np.ones(4)}, ValueError, r"`b` must have shape \(3,\) or \(3, k\); got shape"),
            ({"b": np.ones((3, 0))}, ValueError, r"`b` must have shape \(3,\)"),
            ({"b": np.ones((3, 1, 1))}, ValueError, r"`b` must have shape \(3,\)"),
            ({"b": 1.0}, ValueError, r"`b` must have shape \(3,\)"),
            ({"b": np.array([1, np.nan, 0])}, ValueError, "`b` must be finite; got NaN or Inf"),
            ({"b": np.ones(3) * 1j}, TypeError, "`b` must be real"),
            ({"ncv": 0}, ValueError, "`ncv` must be an integer >= 1"),
            ({"rtol": -1}, ValueError, "`rtol` must be a finite number >= 0"),
            ({"atol": np.nan}, ValueError, "`atol` must be a finite number >= 0"),
            ({"reorth": "none"}, ValueError, "`reorth` must keep a basis, .* See `basis`"),
            ({"reorth": "twice"}, ValueError, "`reorth` must be one of 'full', 'double', 'sel"),
            ({"basis": "nowhere"}, ValueError, "`basis` must be .* folder that exists"),
        ],
    )
    def test_messages(self, options, error, match):
        arguments = {"b": np.ones(3), **options}
        with pytest.raises(error, match=match):
            hessop.funm_multiply(np.exp, np.eye(3), arguments.pop("b"), **arguments)

    def test_asymmetry(self):
        with pytest.raises(ValueError, match="`A` must be symmetric; got"):
            hessop.funm_multiply(np.exp, np.triu(np.ones((30, 30))), np.ones(30))

    def test_nan(self):
        A = hessop.TorchOperator(lambda X: X * float("nan"), 20)
        with pytest.raises(FloatingPointError, match="must give finite products"):
            hessop.funm_multiply(np.exp, A, np.ones(20))


def test_progress(capsys, monkeypatch):
    """A bar counts products, if it is asked for."""
    B = np.eye(9)[:, :4] + 1
    hessop.funm_multiply(np.exp, np.diag(np.arange(9.0)), B)
    assert capsys.readouterr().err == ""
    counts, counter = [], _progress.counter

    def spied(what, wanted):
        bar = counter(what, wanted)
        monkeypatch.setattr(bar, "update", counts.append)
        return bar

    monkeypatch.setattr(_progress, "counter", spied)
    found = hessop.funm_multiply(np.exp, np.diag(np.arange(9.0)), B, progress=True)
    assert "products" in capsys.readouterr().err
    assert sum(counts) == found.n_matvec
