"""Chapter 4 of the report at a tiny size, on images made of noise: it runs, goes on, and counts."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

import hessop
from examples.report import characters, exact, figure_4_3, hessians, trained
from examples.report.__main__ import SCRIPTS
from examples.report.study import Study
from examples.report.trained import DATASETS


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A short run on a handful of images and a network of 424 parameters."""
    rng = np.random.default_rng(0)
    for dataset in DATASETS:
        arrays = {}
        for split, count in (("train", 200), ("test", 50)):
            arrays[f"x_{split}"] = rng.integers(0, 256, (count, 28, 28)).astype("u1")
            arrays[f"y_{split}"] = rng.integers(0, 10, count).astype("u1")
        np.savez(tmp_path / f"{dataset.file}.npz", **arrays)
    text = "".join(rng.choice(list("abcdefgh \n"), 3000))
    (tmp_path / "tinyshakespeare.txt").write_text(text)
    monkeypatch.setattr(trained, "_HIDDEN", 2)
    out = tmp_path / "out"
    out.mkdir()
    return Study(tmp_path, out, quick=True)


def test_every_figure_has_one_script():
    """No two make the same."""
    numbers = [n for made in SCRIPTS.values() for n in made]
    assert len(numbers) == len(set(numbers)) == 22


def test_scripts_run(study):
    """One after the other, each with what those before have left."""
    for script in ("table_4_1", "figure_4_1", "figure_4_2", "figure_a_4"):
        import_module(f"examples.report.{script}").run(study)
    made = {path.name for path in study.out.iterdir() if path.is_file()}
    tables = {"table_4_1.md", "figure_4_1.md", "table_4_2.md", "figure_a_4.md"}
    assert made == tables | {f"figure_{n}.png" for n in ("4_1", "4_2", "a_4", "a_5", "a_6")}
    text = (study.out / "table_4_2.md").read_text()
    assert len(text.splitlines()) == 8
    assert "| MNIST | at initialisation | 41 |" in text


def test_counts_and_batches(study):
    """Of one data set: what a whole run does for three."""
    dataset = DATASETS[0]
    found = hessians.ends(study, dataset, 0, 0)
    w = exact.spectrum(
        study, "w", hessians.hessian(study, dataset, hessians.state(study, dataset, 0))
    )
    assert found["sure"]
    k = 25 * len(found["ends"]) // 95
    np.testing.assert_allclose(found["ends"], np.r_[w[:k], w[k - len(found["ends"]) :]], atol=1e-7)
    assert 10 < found["converged"] <= 100
    assert figure_4_3.sizes(study, dataset) == [1, 10, 100, 200]


def test_an_exact_spectrum_goes_on_where_it_was(study, monkeypatch):
    """After a kill between two blocks; with no product made twice."""
    dataset = DATASETS[1]
    H = hessians.hessian(study, dataset, hessians.state(study, dataset, 0))
    n, multiply, calls = H.shape[0], H.product.matmat, []

    def dies(V):
        calls.append(len(V))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return multiply(V)

    monkeypatch.setattr(H.product, "matmat", dies)
    with pytest.raises(KeyboardInterrupt):
        exact.spectrum(study, "x", H)
    found = exact.spectrum(study, "x", H)
    assert sum(calls) - calls[2] == n
    monkeypatch.undo()
    np.testing.assert_allclose(found, np.linalg.eigvalsh(H @ np.eye(n)), atol=1e-12)
    assert {p.name for p in study.work.iterdir()} >= {"exact-x.npz"}
    assert not list(study.work.glob("x.*"))


def test_growth():
    """A line is found, and beside it the exponent where the constant no longer matters."""
    sizes = [1, 10, 100, 1000, 10_000, 60_000]
    a, b, p = figure_4_3.growth(sizes, 0.5 + 1e-4 * np.array(sizes))
    assert (a, b) == pytest.approx((0.5, 1e-4))
    assert p == pytest.approx(np.log(6.5 / 1.5) / np.log(6))


def test_nanogpt(study, monkeypatch):
    """As many parameters as nanoGPT counts; a rate that rises and falls; states that are kept."""
    assert sum(p.numel() for p in characters.model().parameters()) == 804_096
    rates = [characters._rate(step, 2000) for step in (0, 99, 100, 1050, 2000)]
    np.testing.assert_allclose(rates, [1e-3 / 101, 1e-1 / 101, 1e-3, 5.5e-4, 1e-4], rtol=1e-12)
    monkeypatch.setattr(characters, "LOOKS", (0, 20))
    found = characters.training(study)
    assert float(found["loss_20"]) < float(found["loss_0"])
    H = hessop.HessianOperator(characters.model(), characters.LOSS, characters.blocks(study))
    assert H.shape == (804_096, 804_096)
    assert sum(len(x) for x, _ in characters.blocks(study)) == 20
