"""What a close reading of the other ways to a result found wrong once."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import aslinearoperator

import hessop
from hessop import synthetic

UNIFORM = np.random.default_rng(0).uniform(-1, 1, 200)


def nearest(spectrum, sigma, k):
    """The k values nearest to a number, ascending."""
    return np.sort(spectrum[np.argsort(np.abs(spectrum - sigma))[:k]])


class TestHermitian:
    def test_an_odd_number_from_both_ends(self):
        """In real form there are twice as many, and half of an odd number cuts through a pair."""
        w, _ = hessop.eigsh(np.diag(np.arange(1.0, 31)).astype(complex), 5, which="BE", rng=0)
        np.testing.assert_allclose(w, [1, 2, 28, 29, 30], rtol=1e-12)

    @pytest.mark.parametrize("seed", range(8))
    def test_a_tie_at_the_border(self, seed):
        """Then the real set spans more than k complex vectors: the most wanted are returned."""
        spectrum = np.r_[7, -7, 6, -6, np.linspace(-4, 4, 26)]
        w, _ = hessop.eigsh(np.diag(spectrum).astype(complex), 3, rng=seed)
        np.testing.assert_allclose(np.sort(np.abs(w)), [6, 7, 7], rtol=1e-12)

    def test_what_has_converged_is_carried(self):
        A = np.diag(np.r_[np.linspace(0, 1, 200), 2, 3]).astype(complex)
        with pytest.raises(hessop.NoConvergence, match="2 of 4") as caught:
            hessop.eigsh(A, 4, ncv=9, maxiter=10, rng=0)
        np.testing.assert_allclose(caught.value.eigenvalues, [2, 3], rtol=1e-10)

    def test_messages_speak_of_the_complex_problem(self):
        A = np.eye(30, dtype=complex)
        with pytest.raises(ValueError, match=r"`v0` must have shape \(30,\); got shape \(7,\)"):
            hessop.eigsh(A, 3, v0=np.ones(7))
        with pytest.raises(ValueError, match="got ncv=3, k=4, n=30"):
            hessop.eigsh(A, 4, ncv=3)


class TestInverses:
    def dense(self):
        """A matrix, and its spectrum."""
        rng = np.random.default_rng(0)
        Q, w = np.linalg.qr(rng.standard_normal((100, 100)))[0], np.sort(rng.uniform(size=100))
        return (Q * w) @ Q.T, w

    def test_solutions_that_are_none_are_refused(self):
        """A shift next to an eigenvalue, which MINRES cannot solve with."""
        A, w = self.dense()
        with pytest.raises(ValueError, match=r"`sigma` must not be .* nearly \(MINRES leaves"):
            hessop.eigsh(aslinearoperator(A), 3, sigma=w[50] + 1e-12, rng=0)

    @pytest.mark.parametrize("off", [1e-9, 1e-7, 1e-5])
    def test_what_is_returned_is_right(self, off):
        """Or it is not returned: pairs are measured."""
        A, w = self.dense()
        try:
            found, _ = hessop.eigsh(aslinearoperator(A), 3, sigma=w[50] + off, rng=0)
        except hessop.NoConvergence as caught:
            found = caught.eigenvalues
        exact = nearest(w, w[50] + off, 3)
        assert (np.abs(found[:, None] - exact).min(axis=1, initial=np.inf) < 1e-8).all()

    def test_a_mass_that_cannot_be_inverted_is_named(self):
        """Not the operator beside it."""
        with pytest.raises(ValueError, match=r"as M has, without sigma"):
            hessop.eigsh(
                np.diag(np.arange(1.0, 61)),
                3,
                M=aslinearoperator(np.diag(np.logspace(0, 8, 60))),
                rng=0,
            )

    def test_default_tolerance(self):
        """What MINRES can give is what is asked for."""
        w, _ = hessop.eigsh(np.diag(np.arange(1.0, 301)), 3, which="SM", ncv=20, rng=0)
        np.testing.assert_allclose(w, [1, 2, 3], rtol=1e-9)
        result = hessop.lanczos(np.diag(UNIFORM), 4, sigma=0.3, ncv=30, rng=0)
        assert result.converged.all()
        assert result.complete
        np.testing.assert_allclose(result.eigenvalues, nearest(UNIFORM, 0.3, 4), atol=1e-12)

    @pytest.mark.parametrize("zeros", [1, 3])
    def test_a_singular_operator_is_named(self, zeros):
        A = np.diag(np.r_[np.zeros(zeros), np.arange(1.0, 98)])
        with pytest.raises(ValueError, match="`sigma` must not be an eigenvalue"):
            hessop.lanczos(A, 3, which="SM", ncv=30, rng=0)

    def test_locked_vectors_need_not_be_eigenvectors(self):
        """The inverse is that of the operator on their complement, as the search without."""
        rng = np.random.default_rng(1)
        A, lock = rng.standard_normal((60, 60)), rng.standard_normal((60, 2))
        A = A + A.T
        inverted = hessop.lanczos(A, 2, sigma=0.3, ncv=30, lock=lock, rng=0)
        searched = hessop.lanczos(A, 2, sigma=0.3, lock=lock, rng=0)
        assert inverted.method != searched.method
        np.testing.assert_allclose(inverted.eigenvalues, searched.eigenvalues, atol=1e-10)

    def test_inside_with_a_mass(self):
        """A restart would forget what was found inside the spectrum."""
        rng = np.random.default_rng(2)
        A, m = rng.standard_normal((80, 80)), rng.uniform(1, 2, 80)
        A = A + A.T
        w, _ = hessop.eigsh(A, 3, M=np.diag(m), which="SM", ncv=25, rng=0)
        exact = np.linalg.eigvalsh(A / np.sqrt(np.outer(m, m)))
        np.testing.assert_allclose(w, nearest(exact, 0.0, 3), atol=1e-12)

    def test_no_checkpoint(self, tmp_path):
        """The file would hold a basis of the inverse."""
        with pytest.raises(ValueError, match=r"`checkpoint` must be None where A - sigma is inv"):
            hessop.lanczos(np.diag(UNIFORM), 4, sigma=0.3, ncv=30, checkpoint=tmp_path / "c")

    def test_a_callback_sees_eigenvalues_of_the_operator(self):
        seen = []
        hessop.lanczos(
            np.diag(UNIFORM), 4, sigma=0.3, ncv=30, rng=0, callback=lambda s: seen.append(s)
        )
        np.testing.assert_allclose(seen[-1].ritz_values, nearest(UNIFORM, 0.3, 4), atol=1e-10)


class TestSelective:
    @pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
    @pytest.mark.parametrize("seed", range(3))
    def test_in_a_coarse_basis(self, dtype, seed):
        """Its own rounding is what can be asked of its orthogonality."""
        w = np.random.default_rng(seed).uniform(-1, 1, 200)
        result = hessop.lanczos(
            np.diag(w), 4, which="LA", reorth="selective", basis_dtype=dtype, rng=seed
        )
        assert result.converged.all()
        np.testing.assert_allclose(result.eigenvalues, np.sort(w)[-4:], rtol=0, atol=1e-13)

    @pytest.mark.parametrize("seed", range(5))
    def test_what_it_says_is_true(self, seed):
        """What has been lost of orthogonality is in residuals, and counts as noise."""
        A = np.diag(np.random.default_rng(seed).uniform(-1, 1, 300))
        result = hessop.lanczos(A, 6, which="LA", reorth="selective", rng=seed)
        w, v = result
        measured = np.linalg.norm(A @ v - w * v, axis=0)
        assert (measured <= result.error_bounds).all()
        assert measured.max() > 10 * 2.0**-52  # so that it is a statement


class TestWithoutBasis:
    def test_more_steps_than_dimensions(self):
        """Ghosts take some of them."""
        result = hessop.lanczos(
            np.diag(np.arange(1.0, 60)), 3, reorth="none", maxiter=10_000, rng=0
        )
        assert result.converged.all()
        assert result.n_matvec > 2 * 59
        np.testing.assert_allclose(result.eigenvalues, [57, 58, 59], rtol=1e-12)

    @pytest.mark.parametrize(
        "given",
        [
            {"ncv": 20},
            {"block_size": 2},
            {"basis": "host"},
            {"basis_dtype": "float16"},
            {"progress": True},
        ],
    )
    def test_what_it_has_no_use_for_is_refused(self, given):
        (name,) = given
        with pytest.raises(ValueError, match=f'`{name}` must be .* with reorth="none"'):
            hessop.lanczos(np.diag(UNIFORM), 3, reorth="none", **given)


class TestStopping:
    def test_a_refined_search_ends_where_it_is_told_to(self):
        """Before the second search begins."""
        seen = []

        def stop(state):
            seen.append(state.n_matvec)
            return state.n_matvec >= 30

        hessop.lanczos(np.diag(UNIFORM), 4, basis_dtype="float16", callback=stop, rng=0)
        assert seen == list(range(1, 31))

    def test_products_of_both_searches_are_counted(self):
        seen = []
        result = hessop.lanczos(
            np.diag(UNIFORM),
            4,
            basis_dtype="float16",
            rng=0,
            callback=lambda s: seen.append(s.n_matvec),
        )
        assert seen == sorted(seen)
        assert "refined" in result.method
        assert seen[-1] <= result.n_matvec

    def test_a_refined_search_keeps_its_file_to_the_end(self, tmp_path):
        """A call after a kill in the second search does not begin anew."""
        file, calls = tmp_path / "c", []
        A, options = np.diag(UNIFORM), {"basis_dtype": "float16", "rng": 0, "checkpoint": file}

        class Killed(Exception):
            pass

        def kill(state):
            calls.append(state.n_matvec)
            if len(calls) > 1 and calls[-1] > calls[-2] + 1:  # the second search has begun
                raise Killed

        with pytest.raises(Killed):
            hessop.lanczos(A, 4, callback=kill, **options)
        assert file.exists()
        again = []
        result = hessop.lanczos(A, 4, callback=lambda s: again.append(s.n_matvec), **options)
        assert result.converged.all()
        assert again[0] > 30
        assert not file.exists()

    def test_a_trajectory_ends_with_its_search(self):
        A = np.diag(UNIFORM)
        path = hessop.track([A, A, A], 4, callback=lambda s: s.n_matvec >= 2, rng=0)
        assert path.eigenvalues.shape == (1, 4)
        assert np.isnan(path.eigenvalues[0, 2:]).all()
        assert not path.converged.any()
        with pytest.raises(ValueError, match="`checkpoint` must be None"):
            hessop.track([A], 4, checkpoint="file")


class TestMessages:
    @pytest.mark.parametrize("sigma", [1j, "a", np.nan])
    def test_sigma(self, sigma):
        with pytest.raises((TypeError, ValueError), match="`sigma` must be a finite number"):
            hessop.eigsh(np.eye(30), 3, sigma=sigma)

    @pytest.mark.parametrize("mode", ["buckling", "cayley"])
    def test_modes_that_need_a_shift(self, mode):
        with pytest.raises(ValueError, match=r'`mode` must be "normal" .* sigma=0'):
            hessop.eigsh(np.eye(30), 3, sigma=0, mode=mode)

    @pytest.mark.parametrize(
        ("M", "message"),
        [
            (np.eye(29), r"`M` must have the shape of A, \(30, 30\)"),
            (-np.eye(30), "`M` must be positive semi-definite"),
            (np.triu(np.random.default_rng(0).standard_normal((30, 30))), "`M` must be symmetric"),
        ],
    )
    def test_mass(self, M, message):
        with pytest.raises(ValueError, match=message):
            hessop.eigsh(np.eye(30), 3, M=M)

    def test_start_and_callback(self):
        with pytest.raises(ValueError, match="`v0` must have a column"):
            hessop.lanczos(np.eye(30), 3, v0=np.ones((30, 0)))
        with pytest.raises(TypeError, match="`callback` must be a function; got 3"):
            hessop.lanczos(np.eye(30), 3, callback=3)

    def test_a_tensor_with_a_shift_and_a_list_to_start_from(self):
        A = torch.diag(torch.arange(1.0, 31, dtype=torch.float64))
        w, _ = hessop.eigsh(A, 3, sigma=2.2, rng=0)
        np.testing.assert_allclose(w, [1, 2, 3])
        w, _ = hessop.lanczos(A, 3, v0=[1.0] * 30, rng=0)
        np.testing.assert_allclose(w, [28, 29, 30])

    def test_warnings_name_the_callers_line(self):
        """Of `lanczos` and of `eigsh`."""
        A = np.diag(np.arange(1.0, 31)).astype(np.float32)
        for call in (hessop.lanczos, hessop.eigsh):
            with warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                call(A, 3, tol=1e-12, rng=0)
            assert [w.category for w in seen] == [hessop.PrecisionWarning]
            assert seen[0].filename == __file__

    def test_another_function_is_another_call(self, tmp_path):
        """A search for the largest does not go on as one for the smallest."""
        file = tmp_path / "c"
        options = {"checkpoint": file, "rng": 0, "callback": lambda s: s.n_matvec >= 12}
        hessop.lanczos(np.diag(UNIFORM), 3, which=lambda w: w, **options)
        with pytest.raises(ValueError, match=r"`checkpoint` must be a new file.*which was"):
            hessop.lanczos(np.diag(UNIFORM), 3, which=lambda w: -w, **options)


class TestOthers:
    def test_converged_means_the_same_when_measured(self):
        """Relative to the largest Ritz value, in the set or not."""
        A = np.diag([0.3, 0.6, -0.2, -0.1, 0, 0, 0, 0])
        result = hessop.lanczos(A, 4, which="SM", verify=True, rng=0)
        assert result.converged.all()
        assert result.scale == pytest.approx(0.6)

    def test_nystrom_of_nothing_and_of_large_numbers(self):
        """Zero is positive semi-definite; squares of 1e300 are not formed."""
        zero = hessop.randomized_eigh(np.zeros((5, 5)), 2, method="nystrom", rng=0)
        np.testing.assert_array_equal(zero.eigenvalues, 0)
        big = 1e300 * np.diag([4.0, 2, 1, 0, 0])
        found = hessop.randomized_eigh(big, 2, method="nystrom", rng=0)
        np.testing.assert_allclose(found.eigenvalues, [2e300, 4e300], rtol=1e-12)

    @pytest.mark.parametrize(("scale", "dtype"), [(1e200, np.float64), (1e30, np.float32)])
    def test_momentum_whose_square_does_not_fit(self, scale, dtype):
        A = (scale * np.diag([3.0, 2, 1])).astype(dtype)
        result = hessop.deflated_power_iteration(A, momentum="auto", rng=0)
        np.testing.assert_allclose(result.eigenvalues, [3 * scale], rtol=1e-3)
        assert result.method == "power iteration"

    def test_exact_spectrum_of_a_synthetic_operator_inside(self):
        """The door for nearest values, of an operator without a matrix."""
        A = synthetic.operator("uniform", 120, rng=0)
        result = hessop.lanczos(A, 3, sigma=0.1, ncv=40, rng=0)
        np.testing.assert_allclose(result.eigenvalues, nearest(A.eigenvalues, 0.1, 3), atol=1e-9)
