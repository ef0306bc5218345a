"""How often vectors are orthogonalised, and whether that is enough."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings

import hessop
from hessop import synthetic
from hessop.krylov.basis import Basis
from hessop.krylov.reorthogonalization import METHODS, Constant, Selective, policy
from tests.spectra import orthonormality
from tests.strategies import problems


def unread():
    """Coefficients that nobody should ask for: each reading is a transfer from the device."""
    raise AssertionError("the coefficients were read")


@pytest.mark.parametrize(("reorth", "passes"), [("none", 0), ("full", 1), ("double", 2)])
def test_constant_policies(reorth, passes):
    """None, one or two passes at every step, without a look at the step."""
    chosen = policy(reorth, 1e-16, 100)
    assert isinstance(chosen, Constant)
    assert [chosen.passes(unread) for _ in range(5)] == [passes] * 5


def test_names():
    """Four there are."""
    assert METHODS == ("none", "full", "double", "selective")
    assert isinstance(policy("selective", 1e-16, 100), Selective)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", [*synthetic.REPORT, "graded", "clustered", "plus_minus"])
def test_selective_keeps_semiorthogonality_with_few_passes(name, dtype, monkeypatch):
    """The level stays near sqrt(eps), at a fraction of the work, where "none" loses it all."""
    A = synthetic.operator(name, 300, dtype=dtype, rng=0)
    projections = []
    project = Basis.project
    monkeypatch.setattr(
        Basis, "project", lambda self, w: projections.append(len(self)) or project(self, w)
    )

    def run(reorth):
        projections.clear()
        basis = hessop.tridiagonalize(A, None, 120, reorth=reorth, rng=0).basis
        return orthonormality(basis), sum(projections)

    level, work = run("selective")
    sharp, half = run("double")
    full_work = 2 * sum(range(1, 121))  # two passes over all rows, each step
    eps = torch.finfo(dtype).eps
    # The recurrence estimates; the true level may exceed the estimate by a small factor.
    assert level <= 4 * np.sqrt(eps)
    assert work <= full_work
    if dtype == torch.float64:
        assert work <= 0.6 * full_work
    # The second pass is left out where the first found rounding; nothing is lost by that.
    assert half <= 0.7 * full_work
    assert sharp <= 30 * eps
    lost, no_work = run("none")
    assert no_work <= 6  # the start vector alone
    assert lost > 100 * level or name == "uniform"


@settings(max_examples=60)
@given(problems())
def test_selective_on_hostile_spectra(problem):
    """To the last step, through breakdowns: semi-orthogonal, and T is the projection."""
    A, n = problem.operator(), problem.n
    t = hessop.tridiagonalize(A, None, n, reorth="selective", rng=1)
    # In exact semi-orthogonality T is V^T A V to rounding; here to its level.
    assert orthonormality(t.basis) <= 10 * np.sqrt(problem.eps)
    theta = t.eigh()[0]
    np.testing.assert_allclose(
        theta, problem.exact, rtol=0, atol=10 * np.sqrt(problem.eps) * problem.scale
    )


class TestRecurrence:
    def test_first_step_needs_none(self):
        """One vector is orthogonal to itself alone."""
        assert Selective(2e-16, 100).passes(lambda: (1.0, 1.0, 0.0)) == 0

    def test_passes_come_in_pairs(self):
        """The recurrence mixes the levels of two neighbours: the vector after is purged too."""
        chosen = Selective(2.0**-52, 1000)
        rng = np.random.default_rng(0)
        passes = []
        coupling = 0.0
        for _ in range(200):
            alpha, beta = rng.uniform(-1, 1), rng.uniform(0.1, 1)
            passes.append(chosen.passes(lambda c=(alpha, beta, coupling): c))
            coupling = beta
        assert set(passes) == {0, 2}
        runs = "".join("x" if p else "." for p in passes).split(".")
        assert all(len(run) % 2 == 0 for run in runs)

    def test_coefficients_are_read_once_a_step(self):
        """A reading is a transfer."""
        reads = []

        def coefficients():
            reads.append(1)
            return (0.5, 0.25, 0.25)

        chosen = Selective(2.0**-52, 10)
        for _ in range(7):
            chosen.passes(coefficients)
        assert len(reads) == 7

    def test_nothing_left_over_is_always_purged(self):
        """A zero beta makes any level possible."""
        chosen = Selective(2.0**-52, 10)
        chosen.passes(lambda: (1.0, 1.0, 0.0))
        assert chosen.passes(lambda: (1.0, 0.0, 1.0)) == 2
