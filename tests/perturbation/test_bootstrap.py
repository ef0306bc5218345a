"""The bootstrap: resamples, warm starts, coordinates, intervals."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

import hessop
from hessop import perturbation
from hessop.perturbation import Bootstrap
from hessop.perturbation.coordinates import Resample
from tests.oracles import dense_jacobian
from tests.spectra import global_states, recorded

N = 150
SCALES = np.array([6.0, 4.0, 2.5, *np.linspace(1.0, 0.1, 37)])
X = np.random.default_rng(0).standard_normal((N, 40)) * SCALES


def covariance(indices):
    """Of the examples with these numbers."""
    return X[indices].T @ X[indices] / len(indices)


def kernel(indices):
    """Of these examples with one another."""
    return X[indices] @ X[indices].T / len(indices)


def found(build=covariance, **arguments):
    """A bootstrap of three values by eight resamples."""
    defaults = {"k": 3, "n_resamples": 8, "tol": 1e-10, "rng": 0}
    return perturbation.bootstrap(build, N, **{**defaults, **arguments})


class Recorder:
    """Keeps the indices it is asked for."""

    def __init__(self, build=covariance):
        self.build = build
        self.seen = []

    def __call__(self, indices):
        self.seen.append(indices.copy())
        return self.build(indices)


class TestResamples:
    def test_all_data_then_draws_with_replacement(self):
        """As many as there are examples, each with the same probability."""
        build = Recorder()
        found(build, n_resamples=60, tol=1e-2)
        np.testing.assert_array_equal(build.seen[0], np.arange(N))
        drawn = np.array(build.seen[1:])
        assert drawn.shape == (60, N)
        assert drawn.dtype == np.int64
        assert scipy.stats.chisquare(np.bincount(drawn.ravel(), minlength=N)).pvalue > 1e-3
        # a share of 1 - 1/e of the examples is in each
        assert 0.6 < np.mean([len(np.unique(row)) for row in drawn]) / N < 0.66

    def test_a_resample_does_not_depend_on_how_many_there_are(self):
        """Nor do its values."""
        few, many = Recorder(), Recorder()
        one, other = found(few, n_resamples=3), found(many, n_resamples=6)
        np.testing.assert_array_equal(few.seen, many.seen[:4])
        np.testing.assert_array_equal(one.eigenvalues, other.eigenvalues[:3])
        np.testing.assert_array_equal(one.angles, other.angles[:3])

    def test_reproducible(self):
        """By the seed; the global states stay."""
        before = global_states()
        one, two, other = (found(rng=s) for s in (0, np.random.default_rng(0), 1))
        np.testing.assert_array_equal(one.eigenvalues, two.eigenvalues)
        assert (one.eigenvalues != other.eigenvalues).any()
        assert global_states() == before

    @pytest.mark.parametrize("which", ["LM", "SA", "BE"])
    @pytest.mark.parametrize("warm", [True, False])
    def test_eigenvalues_are_those_of_each(self, which, warm):
        """Against dense matrices."""
        build = Recorder()
        result = found(build, which=which, warm=warm)
        for indices, w in zip(build.seen[1:], result.eigenvalues, strict=True):
            exact = np.linalg.eigvalsh(covariance(indices))
            chosen = {"LM": exact[-3:], "SA": exact[:3], "BE": exact[[0, -2, -1]]}[which]
            np.testing.assert_allclose(w, chosen, rtol=0, atol=1e-8)
        full = np.linalg.eigvalsh(covariance(np.arange(N)))
        assert set(np.round(result.full.eigenvalues, 6)) <= set(np.round(full, 6))
        assert result.converged.all()

    @pytest.mark.parametrize("subspace", [None, 1, 2])
    def test_angles_are_those_of_the_leading_vectors(self, subspace):
        """In magnitude, wherever they stand in the result."""
        build = Recorder(lambda i: -covariance(i))
        result = found(build, subspace=subspace)
        s = subspace or 3
        exact = np.linalg.eigh(covariance(np.arange(N)))[1][:, -s:]
        for indices, angle, v in zip(build.seen[1:], result.angles, result.subspaces, strict=True):
            other = np.linalg.eigh(covariance(indices))[1][:, -s:]
            expected = perturbation.subspace_angles(exact, other)[0]
            assert angle == pytest.approx(expected, abs=1e-7)
            assert perturbation.subspace_angles(v, other)[0] < 1e-7

    def test_pairwise(self):
        """In the order of combinations."""
        result = found(n_resamples=4)
        pairs = result.pairwise_angles()
        v = result.subspaces
        assert pairs.shape == (6,)
        assert pairs[0] == perturbation.subspace_angles(v[0], v[1])[0]
        assert pairs[-1] == perturbation.subspace_angles(v[2], v[3])[0]

    def test_curvature_of_a_network(self):
        """The main use: the Hessian on resampled data, of float32, given back as it is."""
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3))
        x, y = torch.randn(60, 4), torch.randint(0, 3, (60,))

        def build(i):
            return hessop.HessianOperator(model, torch.nn.CrossEntropyLoss(), (x[i], y[i]))

        result = perturbation.bootstrap(build, 60, k=2, n_resamples=4, rng=0)
        assert result.subspaces[0].dtype == np.float32
        assert (result.angles > 1e-3).all()
        low, high = result.confidence_interval()
        assert (low < high).all()


class TestWarmStart:
    def test_it_saves_products(self):
        """On nearby operators, at a tolerance that the resamples deserve."""
        spent = {}
        for warm in (True, False):
            result = found(warm=warm, tol=1e-4, verify=False)
            spent[warm] = int(result.n_matvec.sum())
        assert spent[True] < 0.85 * spent[False]

    def test_in_coordinates_of_examples_too(self):
        """Where the vectors have to be carried over first."""
        spent = {}
        for warm in (True, False):
            result = found(kernel, warm=warm, tol=1e-4, verify=False, coordinates="examples")
            spent[warm] = int(result.n_matvec.sum())
        assert spent[True] < 0.85 * spent[False]

    def test_products_are_counted(self):
        """Each search by itself."""
        widths = []

        def build(indices):
            A, mine = recorded(covariance(indices))
            widths.append(mine)
            return A

        result = found(build, n_resamples=3)
        assert [sum(w) for w in widths] == [result.full.n_matvec, *result.n_matvec]

    def test_sizes_that_differ(self):
        """Cold starts, and no angle; the eigenvalues are there."""

        def build(indices):
            kept = np.unique(indices)
            return X[kept] @ X[kept].T

        result = found(build)
        assert np.isnan(result.angles).all()
        assert np.isfinite(result.eigenvalues).all()
        assert np.isnan(result.pairwise_angles()).any()

    def test_first_search_begins_where_it_is_told(self):
        """With ``v0``."""
        v = np.linalg.eigh(covariance(np.arange(N)))[1][:, -3:]
        one, other = (found(v0=v0, tol=1e-4, verify=False) for v0 in (None, v.sum(axis=1)))
        assert other.full.n_matvec < one.full.n_matvec


class TestCoordinates:
    def test_examples(self):
        """The eigenfunctions of a linear kernel are those of the covariance, as functions."""
        build = Recorder(kernel)
        result = found(build, coordinates="examples")
        exact = X @ np.linalg.eigh(covariance(np.arange(N)))[1][:, -3:]
        for indices, v, angle in zip(build.seen[1:], result.subspaces, result.angles, strict=True):
            functions = X @ np.linalg.eigh(covariance(indices))[1][:, -3:]
            np.testing.assert_allclose(v.T @ v, np.eye(3), rtol=0, atol=1e-12)
            assert perturbation.subspace_angles(v, functions)[0] < 1e-7
            expected = perturbation.subspace_angles(exact, functions)[0]
            assert angle == pytest.approx(expected, abs=1e-7)

    def test_entry_by_entry_there_is_nothing_in_common(self):
        """
        Which is no property of the data.

        The notebook's exercise 5.3 sees its subspaces rotate by this alone.
        """
        apart = found(kernel)
        together = found(kernel, coordinates="examples")
        np.testing.assert_allclose(apart.eigenvalues, together.eigenvalues, rtol=1e-8)
        assert np.sin([*apart.angles, *apart.pairwise_angles()]).min() > 0.9
        assert np.sin([*together.angles, *together.pairwise_angles()]).max() < 0.5

    def test_products_are_counted(self):
        """Those with all data, for the functions, too."""
        widths = []

        def build(indices):
            A, mine = recorded(kernel(indices))
            widths.append(mine)
            return A

        result = found(build, n_resamples=3, subspace=2, coordinates="examples")
        assert sum(widths[0]) == result.full.n_matvec + 3 * 2
        assert [sum(w) + 2 for w in widths[1:]] == result.n_matvec.tolist()

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_several_outputs(self, dtype):
        """The kernel of a network, example by example, in the operator's precision."""
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2))
        model, x = model.to(dtype), torch.randn(20, 4, dtype=dtype)

        def build(i):
            return hessop.NTKOperator(model, x[i])

        result = perturbation.bootstrap(
            build, 20, k=3, n_resamples=3, coordinates="examples", tol=0, rng=0
        )
        J = dense_jacobian(model, x)
        _, *generators = np.random.default_rng(0).spawn(4)
        for generator, v in zip(generators, result.subspaces, strict=True):
            indices = generator.integers(0, 20, size=20)
            mine = J.reshape(20, 2, -1)[indices].reshape(40, -1)
            functions = J @ np.linalg.eigh(mine.T @ mine)[1][:, -3:]
            atol = 1e-2 if dtype == torch.float32 else 1e-7
            assert v.dtype == (np.float32 if dtype == torch.float32 else np.float64)
            assert perturbation.subspace_angles(v, functions)[0] < atol

    def test_start_is_carried(self):
        """Each copy of an example has its entry."""
        full = hessop.lanczos(np.diag(np.arange(6.0)), k=1, rng=0)
        resample = Resample.of("examples", np.array([2, 2, 0]), 6, 6)
        assert resample.rows.tolist() == [4, 5, 4, 5, 0, 1]
        start = resample.start(full)
        np.testing.assert_allclose(np.abs(start), [0, 1, 0, 1, 0, 0], rtol=0, atol=1e-12)

    @pytest.mark.parametrize("size", [N - 1, 2 * N])
    def test_size_must_fit(self, size):
        """A row for each output of each example, in every resample."""
        sizes = iter([N, size])
        with pytest.raises(
            ValueError, match=r"^`build\(indices\)` must have a row for each output"
        ):
            found(lambda i: np.eye(next(sizes)), coordinates="examples")


def made(values, full):
    """A bootstrap with these eigenvalues."""
    values = np.asarray(values, dtype=float)
    result = hessop.lanczos(np.diag(np.asarray(full, dtype=float)), k=len(full), rng=0)
    b = len(values)
    return Bootstrap(result, values, np.zeros(b), values > 0, np.ones(b, int), ())


class TestIntervals:
    VALUES = np.random.default_rng(0).gamma(4.0, size=(200, 2)).cumsum(axis=1)

    @pytest.mark.parametrize("level", [0.5, 0.9])
    @pytest.mark.parametrize("method", ["percentile", "basic"])
    def test_they_are_scipys(self, method, level):
        """From the same resamples."""
        sample = np.random.default_rng(1).gamma(4.0, size=50)
        draws = scipy.stats.bootstrap(
            (sample,), np.mean, n_resamples=200, rng=0, method=method, confidence_level=level
        )
        mine = made(draws.bootstrap_distribution[:, None], [sample.mean()])
        low, high = mine.confidence_interval(level, method=method)
        expected = draws.confidence_interval
        np.testing.assert_allclose([low[0], high[0]], [expected.low, expected.high], rtol=1e-12)
        assert mine.standard_error[0] == pytest.approx(draws.standard_error, rel=1e-12)

    def test_default(self):
        """95 percent, between quantiles."""
        b = made(self.VALUES, [4.0, 8.0])
        low, high = b.confidence_interval()
        expected = np.quantile(self.VALUES, [0.025, 0.975], axis=0)
        np.testing.assert_allclose([low, high], expected, rtol=1e-14)

    def test_bias(self):
        """The mean less the value for all data."""
        b = made([[1.0, 2.0], [2.0, 6.0]], [1.0, 3.0])
        np.testing.assert_allclose(b.bias, [0.5, 1.0], rtol=0, atol=1e-14)

    def test_one_resample_has_none(self):
        """NaN, and no warning."""
        b = made([[1.0, 2.0]], [1.0, 2.0])
        assert np.isnan([b.standard_error, *b.confidence_interval()]).all()
        assert b.pairwise_angles().shape == (0,)

    def test_errors_are_those_of_the_population(self):
        """The spread over resamples is that over data sets, to a third."""
        rng, top = np.random.default_rng(3), []
        for _ in range(200):
            x = rng.standard_normal((N, 40)) * SCALES
            top.append(np.linalg.eigvalsh(x.T @ x / N)[-1])
        result = found(k=1, n_resamples=100, tol=1e-6)
        assert result.standard_error[0] == pytest.approx(np.std(top), rel=0.33)

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            ({"confidence_level": 2.0}, r"^`confidence_level` must be a number in \[0, 1\]"),
            ({"method": "bca"}, r"^`method` must be one of 'percentile', 'basic'; got 'bca'\."),
        ],
    )
    def test_bad_input(self, arguments, match):
        """Named, with the rule and what came."""
        with pytest.raises(ValueError, match=match):
            made(self.VALUES, [4.0, 8.0]).confidence_interval(**arguments)


def test_progress(capsys):
    """A bar that counts resamples, and is gone afterwards."""
    found(n_resamples=2, progress=True, tol=1e-2)
    assert "resamples" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "kind", "match"),
    [
        ({"build": 3}, TypeError, r"^`build` must be callable; got 3\."),
        ({"k": 0}, ValueError, r"^`k` must be an integer >= 1; got 0\."),
        ({"k": 41}, ValueError, r"^`k` must satisfy 0 < k <= n; got k=41, n=40\."),
        ({"n_resamples": 0}, ValueError, r"^`n_resamples` must be an integer >= 1; got 0\."),
        ({"subspace": 4}, ValueError, r"^`subspace` must be an integer in \[1, 3\]; got 4\."),
        ({"coordinates": "x"}, ValueError, r"^`coordinates` must be one of 'parameters', "),
        ({"which": "LR"}, ValueError, r"^`which` must be one of 'LM', .*; got 'LR'\."),
        ({"rng": "x"}, TypeError, r"^`rng` must be None, an int"),
        ({"tol": -1.0}, ValueError, r"^`tol` must be a finite number >= 0; got -1\.0\."),
        (
            {"checkpoint": "f"},
            ValueError,
            r"^`checkpoint` must be None, for there are many .*'f'\.",
        ),
        ({"callback": print}, ValueError, r"^`callback` must be None, for there are many searches"),
    ],
)
def test_bad_input(arguments, kind, match):
    """Named, with the rule and what came."""
    with pytest.raises(kind, match=match):
        found(**arguments)


@pytest.mark.parametrize("n", [0, 2.0])
def test_bad_count(n):
    """At least one example."""
    with pytest.raises((TypeError, ValueError), match=r"^`n_examples` must be an integer >= 1"):
        perturbation.bootstrap(covariance, n)
