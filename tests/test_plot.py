"""Pictures show what they are given."""

from __future__ import annotations

import numpy as np
import pytest

import hessop
import hessop.plot
from hessop import synthetic

plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def _closed_figures():
    """No figure outlives its test."""
    yield
    plt.close("all")


def test_spectrum_draws_ascending_values_and_distances():
    """Each series is sorted; those as long as the first show their distance to it."""
    ax = hessop.plot.spectrum({"exact": [3.0, 1.0, 2.0], "ours": [1.0, 2.0, 7.0], "few": [2.0]})
    drawn = [line.get_ydata().tolist() for line in ax.get_lines()]
    assert drawn == [[1.0, 2.0, 3.0], [1.0, 2.0, 7.0], [2.0]]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["exact", "ours (L1 4, L2 4)", "few"]


def test_spectrum_takes_results_and_refuses_densities():
    """An EigenResult is a series; a density has its own picture."""
    A = np.diag([1.0, 2.0, 3.0])
    ax = hessop.plot.spectrum(hessop.lanczos(A, k=2, which="LA", rng=0))
    assert np.allclose(ax.get_lines()[0].get_ydata(), [2.0, 3.0])
    assert ax.get_legend() is None
    with pytest.raises(TypeError, match=r"`values` must be eigenvalues; .* hessop\.plot\.density"):
        hessop.plot.spectrum(hessop.slq(A, n_probes=1, rng=0))


def test_density_shows_single_outliers():
    """One eigenvalue among ten thousand stands above the bottom of the log axis."""
    w = np.zeros(10_000)
    w[:100], w[-1] = np.linspace(-1, 1, 100), 50.0
    d = hessop.slq(synthetic.operator(w, rng=0), n_probes=5, ncv=30, rng=0)
    ax = hessop.plot.density(d, outliers=[50.0])
    (curve, marks) = ax.get_lines()
    x, y = curve.get_data()
    peak = y[np.abs(x - 50.0) < d.sigma].max()
    assert ax.get_yscale() == "log"
    assert peak > 3 * ax.get_ylim()[0]
    assert marks.get_xdata().tolist() == [50.0]
    # eigenvalues per unit: the curve integrates to n
    assert np.trapezoid(y, x) == pytest.approx(10_000, rel=1e-2)


def test_density_draws_several_and_passes_sigma_on():
    """A mapping becomes a legend; a wrong width is refused."""
    d = hessop.slq(np.diag([0.0, 1.0]), n_probes=2, rng=0)
    ax = hessop.plot.density({"before": d, "after": d}, sigma=0.2)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["before", "after"]
    with pytest.raises(ValueError, match="`sigma` must be a finite number > 0"):
        hessop.plot.density(d, sigma=0.0)


def test_convergence_has_one_column_a_step_and_the_exact_ones_last():
    """Step j shows j Ritz values; the column G shows the exact eigenvalues."""
    w = np.array([1.0, 2.0, 3.0, 9.0])
    t = hessop.tridiagonalize(np.diag(w), np.ones(4), 4)
    ax = hessop.plot.convergence(t, exact=w)
    x, y = ax.collections[0].get_offsets().T
    assert [int((x == step).sum()) for step in range(1, 6)] == [1, 2, 3, 4, 4]
    assert np.allclose(y[x == 5], w)
    assert ax.get_xticklabels()[-1].get_text() == "G"
    # colours count from the ends: the outer two of a column share one
    colours = ax.collections[0].get_array()[x == 4]
    assert colours.tolist() == [0, 1, 1, 0]


def test_convergence_has_ticks_at_whole_steps():
    """A short sweep leaves room for halves, which there are not."""
    t = hessop.tridiagonalize(np.diag([1.0, 2.0, 9.0]), np.ones(3), 3)
    for exact in (None, [1, 2, 9]):
        ax = hessop.plot.convergence(t, exact=exact)
        assert all(tick == int(tick) for tick in ax.get_xticks())


def test_given_axes_are_drawn_on():
    """Every function draws where it is told to."""
    _, ax = plt.subplots()
    t = hessop.tridiagonalize(np.eye(3), np.ones(3), 2, rng=0)
    assert hessop.plot.spectrum([1.0], ax=ax) is ax
    assert hessop.plot.convergence(t, ax=ax) is ax
    assert hessop.plot.density(hessop.slq(np.eye(3), n_probes=1, rng=0), ax=ax) is ax


def test_matplotlib_is_not_imported_before_something_is_drawn(monkeypatch):
    """Where it is missing, the message names the extra."""
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"hessop\[plot\]"):
        hessop.plot.spectrum([1.0])
