"""What drawn cases and large ones found wrong once."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import hessop
from hessop import synthetic
from hessop._space import LocalSpace
from hessop.krylov.basis import Basis, orthonormal
from hessop.krylov.storage import OnDisk
from tests.spectra import assert_wanted, distances, orthonormality

CPU = torch.device("cpu")
ALTERNATING = 0.99 ** np.arange(49) * (-1) ** np.arange(49)


@pytest.mark.parametrize("rng", [0, 8, 10])
@pytest.mark.parametrize(("which", "start"), [("BE", 0), ("LM", 0), ("SA", -1)])
def test_a_check_after_an_exact_start_ends(which, start, rng):
    """With room for few vectors, where not all values outside the set can ever settle."""
    A = synthetic.operator(ALTERNATING, reflections=0, rng=0)
    v0 = A.eigenvectors([start % len(ALTERNATING)])[:, 0]
    result = hessop.lanczos(A, 1, which=which, ncv=2, v0=v0, rng=rng)
    assert result.complete
    assert_wanted(result.eigenvalues, ALTERNATING, which, 1, 1e-13)


def test_an_exact_start_within_a_cluster():
    """Its neighbour lies 3e-8 beyond it: a check whose values have all but settled goes on."""
    half = [0.96875 + i * 1e-7 / 3 for i in range(4)] + [0.96875] * 2
    half += [0.75 - i * 1e-5 / 3 for i in range(4)] + [0.625] * 4
    half += [0.53125 - i * 1e-14 / 3 for i in range(4)] + [0.46875] * 4
    half += [0.375, 0.3749999, 0.25, 0.15625, 0.15625, 0.15625]
    spectrum = 1000 * np.sort(np.concatenate([half, np.negative(half)]))
    A = synthetic.operator(spectrum, reflections=0, rng=2)
    for rng in range(12):
        result = hessop.lanczos(A, 1, which="SA", v0=A.eigenvectors([2])[:, 0], rng=rng)
        assert_wanted(result.eigenvalues, spectrum, "SA", 1, 1e-10)


def test_the_end_may_come_where_a_check_would_open():
    """The basis is restarted to make room for it: not when nothing follows."""
    A = synthetic.operator("hessian_like", 80, rng=0)
    for maxiter in range(3, 70):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", hessop.ConvergenceWarning)
            result = hessop.lanczos(A, 3, ncv=4, tol=1e-3, maxiter=maxiter, rng=0)
        assert orthonormality(result.eigenvectors) <= 1e-13


def test_no_quadratic_bound_for_what_lies_at_the_border():
    """A value within a cluster as narrow as what counts as equal is no eigenvalue to rounding."""
    spectrum = np.concatenate([np.linspace(-0.9, 0.75, 20), 0.9375 + np.arange(4) * 1e-12])
    result = hessop.lanczos(synthetic.operator(spectrum, rng=0), 1, which="LA", tol=1e-5, rng=158)
    assert distances(result.eigenvalues, spectrum)[0] <= result.error_bounds[0]


@pytest.mark.parametrize("reorth", ["double", "none"])
def test_no_error_bound_is_below_the_noise(reorth):
    """Relative to the largest eigenvalue, which a few products with unit vectors need not show."""
    bulk = np.random.default_rng(0).uniform(-1, 1, 490)
    A = synthetic.operator(np.append(bulk, np.linspace(2, 6, 10)), dtype=torch.float32, rng=0)
    result = hessop.lanczos(A, k=1, which="LA", reorth=reorth, rng=0)
    assert result.scale == pytest.approx(6.0, rel=1e-5)
    assert (result.error_bounds >= result.noise * result.scale).all()


def test_rounding_of_restarts_is_noise():
    """It adds up at random."""
    result = hessop.lanczos(synthetic.operator("gaussian", 400, rng=0), 6, ncv=21, rng=0)
    assert result.n_restart > 5
    assert result.noise == (10 + 5 * np.sqrt(result.n_restart)) * 2.0**-52


def test_a_vector_of_millions_of_entries_is_not_nothing():
    """Of norm one, where the unit of rounding times the length is more."""
    n = 1 << 24
    space = LocalSpace(n, torch.float32, CPU)
    assert n * space.eps > 1
    found = orthonormal(space, torch.ones(n), Basis(space))
    assert found is not None
    assert float(space.norm(found)) == pytest.approx(1.0, rel=1e-6)


def test_a_basis_on_disk_is_no_larger_than_what_is_cached(tmp_path, monkeypatch):
    """Unless `ncv` says so: each step reads all of it."""
    monkeypatch.setattr("hessop._memory.available_bytes", lambda device: 8000)
    assert OnDisk(torch.float32, tmp_path).room(100) == 10
