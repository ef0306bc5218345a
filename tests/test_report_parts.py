"""What the report's scripts share: counts, matrices, sweeps, and what a study keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

import hessop
from examples import matrices
from examples.report import counting, figure_3_2, figure_3_3, figure_3_5, figure_4_1
from examples.report.study import Study
from examples.report.sweeps import VARIANTS, Problem


@pytest.mark.parametrize("seed", range(20))
def test_counts_against_a_matching(seed):
    """The largest number of pairs, each eigenvalue and each Ritz value in one at most."""
    rng = np.random.default_rng(seed)
    w = np.sort(rng.integers(0, 12, 15).astype(float))  # with multiples
    theta = np.sort(rng.choice(w, 12) + rng.choice([0.0, 0.3, -0.3, 0.6], 12))
    near = np.abs(w[:, None] - theta) <= 0.5
    pairs = maximum_bipartite_matching(csr_array(near), perm_type="column")
    assert counting.found(w, theta, 0.5) == (pairs >= 0).sum()
    assert counting.seen(w, theta, 0.5) == near.any(axis=1).sum()
    assert counting.right(w, theta, 0.5) == near.any(axis=0).sum()


def test_counts_tell_ghosts_from_eigenvalues():
    """Thirty zeros, of which two are found; ghosts of both ends and of an inner eigenvalue."""
    w = np.concatenate([[-30.0], np.zeros(30), [0.5], np.arange(1.0, 21)])
    theta = np.array([-30.0, -30, 0, 1e-6, 0.5, 0.5, 1, 19, 20, 20])
    assert [way(w, theta) for way in figure_3_5.COUNTS.values()] == [7, 35, 10, 5]
    assert counting.found(w, theta + 2e-5) == 0


def test_counts_of_a_leading_block_are_those_of_a_shorter_sweep(tmp_path):
    """One sweep stands for all lengths."""
    study = Study(tmp_path, tmp_path, quick=True)
    counts = figure_3_5.counted(study, "gaussian", "full", 60, (5, 20, 60), 2)
    assert counts.pop("loss").shape == (2,)
    assert {way: c.shape for way, c in counts.items()} == dict.fromkeys(figure_3_5.COUNTS, (2, 3))
    problem = Problem("gaussian", 60, 1)
    v0 = problem.start()
    theta = hessop.tridiagonalize(problem.matrix, v0, 20, reorth="full").eigh()[0]
    for way, count in figure_3_5.COUNTS.items():
        assert counts[way][1, 1] == count(problem.eigenvalues, theta) > 0


def test_arrival_is_when_a_value_stays():
    """One that passes by does not count; copies are those of the last step."""
    ritz = [np.array([1.0]), np.array([0.5, 2.0]), np.array([0.5, 1.0, 1.0])]
    assert figure_3_3.arrival(1.0, ritz) == (3, 2)
    assert figure_3_3.arrival(0.5, ritz) == (2, 1)
    assert figure_3_3.arrival(7.0, ritz) == (4, 0)


def test_variants_of_a_run_are_given_the_same():
    """Matrix and start vector; another run has others."""
    one, same, other = Problem("banded", 20), Problem("banded", 20), Problem("banded", 20, 1)
    first = {one.tridiagonalize(reorth).alpha[0] for reorth in VARIANTS}
    assert first == {same.tridiagonalize("none").alpha[0]}
    v0 = torch.from_numpy(one.start())
    assert first.pop() == pytest.approx(float(v0 @ one.matrix @ v0 / (v0 @ v0)), rel=1e-12)
    assert (one.eigenvalues != other.eigenvalues).any()
    assert (one.start() != other.start()).any()
    np.testing.assert_allclose(np.linalg.eigvalsh(one.matrix), one.eigenvalues, atol=1e-12)


def test_eigenbases_are_dense():
    """Little of a random matrix lies on its diagonal, two of n parts in the mean."""
    w = np.random.default_rng(0).standard_normal(60)
    A = matrices.dense(w, np.random.default_rng(1))
    np.testing.assert_array_equal(A, A.T)
    np.testing.assert_allclose(np.linalg.eigvalsh(A), np.sort(w), atol=1e-13)
    assert np.square(np.diag(A)).sum() < 6 / 60 * np.square(A).sum()


def test_runtimes_are_taken_in_turns():
    """The first round warms up and is not kept."""
    order = []
    laps = figure_3_2.laps({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3)
    assert order == 4 * ["a", "b"]
    assert {name: len(seconds) for name, seconds in laps.items()} == {"a": 3, "b": 3}
    assert all((seconds > 0).all() for seconds in laps.values())


def test_what_failed_leaves_no_file(tmp_path):
    """The next call computes, and the one after that reads."""
    study, calls = Study(tmp_path, tmp_path), []

    def compute():
        calls.append(1)
        return {"x": np.array(6 // (len(calls) - 1))}

    with pytest.raises(ZeroDivisionError):
        study.once("a", compute)
    assert list(study.work.iterdir()) == []
    assert [int(study.once("a", compute)["x"]) for _ in range(2)] == [6, 6]
    assert len(calls) == 2


def test_short_and_full_runs_are_kept_apart(tmp_path):
    """One does not read what the other wrote."""
    short, full = Study(tmp_path, tmp_path, quick=True), Study(tmp_path, tmp_path)
    assert (short.sized(7, 3), full.sized(7, 3)) == (3, 7)
    short.once("a", lambda: {"x": np.array(3)})
    assert full.once("a", lambda: {"x": np.array(7)})["x"] == 7


def test_tables_are_markdown(tmp_path, capsys):
    """With a note before, where there is one; printed as well."""
    study = Study(tmp_path, tmp_path)
    study.table("a", ("x", "y"), [[1, "b"]], "Said first.")
    study.table("b", ("x",), [[2.5]])
    text = "Said first.\n\n| x | y |\n| --- | --- |\n| 1 | b |\n"
    assert (study.out / "a.md").read_text() == text
    assert (study.out / "b.md").read_text() == "| x |\n| --- |\n| 2.5 |\n"
    assert text in capsys.readouterr().out


def test_counted_from_the_ends():
    """Rank for rank, inwards, up to the first that is off."""
    w = np.array([-3.0, -1.0, 0.0, 1e-6, 2e-6, 4.0, 5.0, 9.0])
    theta = np.array([-3.0, -1.0 + 9e-6, 0.5, 4.2, 5.0, 9.0])
    assert counting.from_the_ends(theta, w, w) == 4
    assert counting.from_the_ends(theta, w[:1], w[-1:]) == 2
    assert counting.from_the_ends(w, w, w) == 2 * len(w)


def test_outliers():
    """Those above the widest gap, which is not looked for among the first four."""
    w = np.r_[np.full(30, 0.1), np.linspace(1.0, 2.0, 9), 20.0]
    assert figure_4_1.outliers(w) == (10, pytest.approx(10.0))
