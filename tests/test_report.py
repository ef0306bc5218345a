"""The scripts of the report, at tiny sizes: what they write, and what they do not do twice."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

import hessop
from examples.report import __main__, figure_3_1, figure_3_2, figure_3_3, figure_3_5
from examples.report.study import Study
from examples.report.sweeps import SPECTRA, VARIANTS, Problem

pytest.importorskip("matplotlib")

SIZES = {1000: 60, 10: 2, 30: 3, (10, 25, 50, 100, 250, 500, 1000): (5, 20, 60)}
SIZES[10, 50, 100, 500, 1000] = (10, 20)
SCRIPTS = (figure_3_1, figure_3_2, figure_3_3, figure_3_5)
PICTURES = ["figure_3_1", "figure_3_2", "figure_3_3", "figure_3_4", "figure_3_5", "figure_3_6"]
PICTURES += ["figure_a_1", "figure_a_2", "figure_a_3"]
TABLES = ["figure_3_1", "figure_3_2", "figure_3_3", "figure_3_5", "figure_3_5_ways"]


class Tiny(Study):
    """Sizes in place of the report's."""

    def sized(self, full, quick):
        return SIZES.get(full, quick)


@pytest.fixture
def study(tmp_path):
    """Without data: chapter 3 needs none."""
    return Tiny(tmp_path / "nowhere", tmp_path, quick=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study for which chapter 3 has been made."""
    folder = tmp_path_factory.mktemp("report")
    study = Tiny(folder / "nowhere", folder, quick=True)
    for script in SCRIPTS:
        script.run(study)
    return study


def rows(study, name):
    """The cells of a table, below its header."""
    lines = (study.out / f"{name}.md").read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if line.startswith("|")]
    return [line.strip("| ").split(" | ") for line in lines[2:]]


def refuse(*args, **kwargs):
    """In place of what must not be called."""
    raise AssertionError("computed again")


def test_pictures_and_tables_are_written(made):
    """All of them, and pictures that a page can hold."""
    assert sorted(path.stem for path in made.out.glob("*.png")) == PICTURES
    assert sorted(path.stem for path in made.out.glob("*.md")) == TABLES
    assert all(3000 < path.stat().st_size < 100_000 for path in made.out.glob("*.png"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.__name__.rsplit(".")[-1])
def test_a_second_run_computes_nothing(made, script, monkeypatch):
    """It makes the same tables of what lies there, times among them."""
    written = {path: path.read_text(encoding="utf-8") for path in made.out.glob("*.md")}
    monkeypatch.setattr(hessop, "tridiagonalize", refuse)
    monkeypatch.setattr(Study, "picture", lambda *args: None)
    script.run(made)
    assert written == {path: path.read_text(encoding="utf-8") for path in written}


def test_a_killed_run_goes_on_where_it_was(study, monkeypatch):
    """The sweeps before it was killed are not made again."""
    original, done = hessop.tridiagonalize, []

    def counted(*args, **kwargs):
        if len(done) == 10 and not killed:
            killed.append(True)
            raise KeyboardInterrupt
        done.append(kwargs["reorth"])
        return original(*args, **kwargs)

    killed = []
    monkeypatch.setattr(hessop, "tridiagonalize", counted)
    with pytest.raises(KeyboardInterrupt):
        figure_3_5.run(study)
    assert len(done) == 10
    figure_3_5.run(study)
    assert sorted(done) == sorted(len(SPECTRA) * 2 * list(VARIANTS))


def test_distances_are_those_to_a_dense_solver_s(made):
    """With reorthogonalisation nothing, without it ghosts; the ends are right in any case."""
    table = rows(made, "figure_3_1")
    assert [row[:2] for row in table[:3]] == [["Custom", label] for label in VARIANTS.values()]
    cases = ((s, r) for s in figure_3_1.PICTURES for r in VARIANTS)
    for (spectrum, reorth), row in zip(cases, table, strict=True):
        problem = Problem(spectrum, figure_3_1.SIZE)
        gap = problem.swept(made, reorth)[0].eigh()[0] - np.linalg.eigvalsh(problem.matrix)
        l1, l2, ends, loss = map(float, row[2:6])
        assert l1 == pytest.approx(np.abs(gap).sum(), rel=0.05, abs=1e-10)
        assert l2 == pytest.approx(np.sqrt(gap @ gap), rel=0.05, abs=1e-10)
        assert ends < 1e-10
        assert (l1 > 1, loss > 0.1, int(row[6]) < 100) == 3 * (reorth == "none",)


def test_all_are_found_with_reorthogonalisation_and_fewer_without(made):
    """Sixty of sixty, as means in the table."""
    table = rows(made, "figure_3_5")
    assert len(table) == len(SPECTRA) * len(VARIANTS)
    for _, reorth, *counts in table:
        assert len(counts) == 3
        mean = float(counts[-1].split(" ± ")[0])
        assert mean < 60 if reorth == "none" else counts[-1] == "60"


def test_a_wrong_result_is_not_timed(study, monkeypatch):
    """It ends the run."""
    original = hessop.tridiagonalize

    def wrong(*args, **kwargs):
        t = original(*args, **kwargs)
        return replace(t, alpha=t.alpha + 1e-6)

    monkeypatch.setattr(hessop, "tridiagonalize", wrong)
    with pytest.raises(SystemExit, match="wrong result"):
        figure_3_2.run(study)


def test_chosen_scripts():
    """In the order in which they are made, each once."""
    assert __main__.chosen(["3.6", "A.2", "3.1"]) == ["figure_3_1", "figure_3_5"]
    assert __main__.chosen(["4.1", "all"]) == list(__main__.SCRIPTS)
    assert __main__.chosen(["T4.2"]) == ["figure_4_2"]


def test_unknown_figures_are_named():
    """With those there are."""
    with pytest.raises(SystemExit, match=r"of 3\.1, A\.1, .*, or all; got \['2\.9', 'x'\]"):
        __main__.chosen(["3.1", "x", "2.9"])


def test_the_command(tmp_path, monkeypatch, capsys):
    """Makes the folder and what was asked for, and nothing else."""
    monkeypatch.delenv("HESSOP_DATA", raising=False)
    out = tmp_path / "new" / "folder"
    words = ["report", "3.4", "--quick", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit):
        __main__.main()
    assert "--data must be" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", [*words, "--data", str(tmp_path)])
    __main__.main()
    written = sorted(path.name for path in out.iterdir())
    assert written == ["figure_3_3.md", "figure_3_3.png", "figure_3_4.png", "work"]
    assert "figure_3_3: " in capsys.readouterr().out
