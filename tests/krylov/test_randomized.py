"""Random projections, and power iteration that finds its own momentum."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hessop
from hessop import synthetic
from tests.spectra import distances, measured, orthonormality, recorded

DECAY = 2.0 ** -np.arange(60.0)
SIGNS = np.where(np.arange(60) % 2, -1.0, 1.0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("spectrum", "method"),
    [(DECAY, "rayleigh-ritz"), (DECAY * SIGNS, "rayleigh-ritz"), (DECAY, "nystrom")],
)
def test_leading_pairs(spectrum, method, dtype):
    """Of a spectrum that decays, definite or not."""
    A = synthetic.operator(spectrum, dtype=dtype, rng=0)
    result = hessop.randomized_eigh(A, 4, method=method, rng=0)
    exact = np.sort(spectrum[:4])
    tol = 1e-6 if dtype == torch.float64 else 1e-5
    np.testing.assert_allclose(result.eigenvalues, exact, atol=tol)
    np.testing.assert_allclose(measured(A, *result), result.residuals, atol=tol)
    assert (distances(result.eigenvalues, spectrum) <= result.error_bounds).all()
    assert result.converged.all()
    assert not result.complete
    assert orthonormality(result.eigenvectors) < 1e-5
    assert method in result.method


@pytest.mark.parametrize("n_power", [0, 1, 3])
@pytest.mark.parametrize(("method", "products"), [("rayleigh-ritz", 2), ("nystrom", 1)])
def test_products(method, products, n_power):
    """Wide blocks, and the residuals of Nystrom's pairs."""
    A, widths = recorded(synthetic.operator(DECAY, rng=0))
    result = hessop.randomized_eigh(A, 4, method=method, n_power=n_power, oversample=6, rng=0)
    extra = [4] if method == "nystrom" else []
    assert widths == [10] * (products + n_power) + extra
    assert result.n_matvec == sum(widths)


def test_power_iterations_sharpen():
    """And oversampling does, on a spectrum that decays slowly."""
    A = synthetic.operator(1 / np.arange(1.0, 301.0), rng=0)
    errors = [
        distances(hessop.randomized_eigh(A, 5, n_power=q, rng=0).eigenvalues, A.eigenvalues).max()
        for q in (0, 1, 4)
    ]
    assert errors[0] > 3 * errors[1] > 9 * errors[2]


@pytest.mark.parametrize("k", [1, 7])
def test_the_whole_space(k):
    """With as many vectors as there are, everything is exact."""
    A = synthetic.operator("gaussian", 7, rng=0)
    w = A.eigenvalues
    result = hessop.randomized_eigh(A, k, rng=0)
    np.testing.assert_allclose(result.eigenvalues, np.sort(w[np.argsort(-np.abs(w))[:k]]))


def test_honest_where_nothing_decays():
    """Residuals say so."""
    A = synthetic.operator("uniform", 400, rng=0)
    result = hessop.randomized_eigh(A, 5, rng=0)
    assert not result.converged.any()
    assert (distances(result.eigenvalues, A.eigenvalues) <= result.error_bounds).all()


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"k": 0}, ValueError, "`k` must satisfy"),
        ({"oversample": -1}, ValueError, "`oversample` must be an integer >= 0"),
        ({"n_power": 1.5}, TypeError, "`n_power` must be an integer >= 0"),
        ({"method": "magic"}, ValueError, "`method` must be one of 'rayleigh-ritz', 'nystrom'"),
        ({"method": "nystrom"}, ValueError, "`A` must be positive semi-definite for method="),
    ],
)
def test_bad_input(arguments, error, text):
    """By name."""
    with pytest.raises(error, match=text):
        hessop.randomized_eigh(np.diag([3.0, -2.0, 1.0]), **{"k": 1, "rng": 0, **arguments})


def test_not_finite():
    """An error."""
    A = hessop.TorchOperator(lambda X: X * float("nan"), 20, dtype=torch.float64)
    with pytest.raises(FloatingPointError, match="`A` must give finite products"):
        hessop.randomized_eigh(A, 2, rng=0)


class TestMomentum:
    A = synthetic.operator(np.concatenate([np.linspace(0, 0.97, 200), [1.0]]), rng=0)

    def test_it_finds_its_own(self):
        """Nearly as few products as with the best, far fewer than without any."""
        how = {"tol": 1e-6, "maxiter": 5000, "rng": 0}
        plain = hessop.deflated_power_iteration(self.A, **how)
        best = hessop.deflated_power_iteration(self.A, momentum=0.97**2 / 4, **how)
        own = hessop.deflated_power_iteration(self.A, momentum="auto", **how)
        for result in (plain, best, own):
            np.testing.assert_allclose(result.eigenvalues, [1.0], atol=1e-5)
        assert best.n_matvec < 0.5 * plain.n_matvec
        assert own.n_matvec < 1.6 * best.n_matvec

    @pytest.mark.parametrize("name", ["hessian_like", "graded", "rank_one"])
    def test_it_does_no_harm(self, name):
        """Several pairs, either sign: right, in no more products than without."""
        A = synthetic.operator(name, 100, rng=1)
        how = {"k": 3, "tol": 1e-5, "maxiter": 20_000, "rng": 0}
        plain = hessop.deflated_power_iteration(A, **how)
        own = hessop.deflated_power_iteration(A, momentum="auto", **how)
        np.testing.assert_allclose(
            np.abs(own.eigenvalues), np.abs(plain.eigenvalues), rtol=1e-3, atol=1e-8
        )
        assert own.n_matvec <= 1.1 * plain.n_matvec
