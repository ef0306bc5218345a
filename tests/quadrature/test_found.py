"""What a close reading found in densities, each case with what it should be."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch

import hessop
from hessop import SpectralDensity, synthetic
from hessop.quadrature import gauss, radau
from hessop.quadrature.probes import Source
from hessop.quadrature.settling import Settled
from tests.quadrature.test_growth import Killed, dying
from tests.spectra import recorded


@pytest.fixture(scope="module")
def A():
    """Outliers over a bulk."""
    bulk = np.random.default_rng(0).normal(0, 0.1, 54)
    return synthetic.operator(np.r_[bulk, np.linspace(3, 12, 6)], rng=0)


def probes(A, seed, count):
    """Probes of random signs, of norm one."""
    children = np.random.default_rng(seed).spawn(count)
    Z = np.stack([g.integers(0, 2, A.shape[0], dtype=np.int8) * 2.0 - 1 for g in children])
    return Z / np.linalg.norm(Z, axis=1, keepdims=True)


class TestBrackets:
    """By Gauss-Radau rules, where Ritz values at the ends have converged."""

    @pytest.mark.parametrize("m", [7, 8, 9, 10])
    def test_near_convergence(self, m):
        w = np.sort(np.r_[np.random.default_rng(1).uniform(0.5, 1, 37), 5.0, 6.0, 7.0])
        for seed in range(15):
            A = synthetic.operator(w, rng=seed)
            density = hessop.slq(A, n_probes=2, ncv=m, rng=seed)
            ends = A.eigenvalues[0], A.eigenvalues[-1]
            squares = (probes(A, seed, 2) @ A.eigenvectors(list(range(40)))) ** 2
            for f in (np.log, lambda x: x**-3, np.sqrt):
                exact = 40 * squares @ f(A.eigenvalues)
                found = density.trace(f, within=ends)
                slack = 1e-12 * 40 * np.abs(f(A.eigenvalues)).max()
                assert (found.low <= exact + slack).all()
                assert (exact <= found.high + slack).all()

    def test_a_function_that_ends_at_zero(self):
        """It is not evaluated a rounding below."""
        A = synthetic.operator(np.linspace(0, 1, 60), rng=0)
        for m in (3, 10, 60):
            found = hessop.slq(A, n_probes=3, ncv=m, rng=0).trace(np.sqrt, within=(0, 1))
            assert (found.low <= found.high).all()

    @pytest.mark.parametrize("within", [3, (0.0,), ("a", "b"), (0.0, np.inf), (0, np.nan)])
    def test_bad_ends(self, A, within):
        with pytest.raises(TypeError, match="`within` must be a pair of finite numbers"):
            hessop.slq(A, n_probes=2, ncv=3, rng=0).trace(within=within)


class TestCount:
    def test_each_probes_own_measure(self, A):
        """Lies between the bounds, at any ends, eigenvalues among them."""
        w = A.eigenvalues
        squares = (probes(A, 5, 4) @ A.eigenvectors(list(range(60)))) ** 2
        for m in (2, 7, 20, 59):
            density = hessop.slq(A, n_probes=4, ncv=m, rng=5)
            for a, b in ((-0.1, 0.1), (w[3], w[30]), (w[-6], w[-1]), (0.5, 2.0), (-5, 0.0)):
                inside = (a - 1e-13 <= w) & (w <= b + 1e-13)
                exact, found = 60 * squares @ inside, density.count(a, b)
                assert (found.low <= exact + 1e-8).all(), (m, a, b)
                assert (exact <= found.high + 1e-8).all(), (m, a, b)

    def test_ends_belong_to_it(self):
        """With what is within rounding of them, also where rounding is nothing."""
        zero = hessop.slq(np.zeros((5, 5)), n_probes=3, rng=0)
        for a, b, expected in ((0, 0, 5), (0, 1, 5), (-1, 0, 5), (0, np.inf, 5), (1, 2, 0)):
            assert zero.count(a, b).estimate == expected
        some = hessop.slq(np.diag([0.1 + 0.2, 0.5, 1.0]), n_probes=3, rng=0)
        assert some.count(0.3, 0.5).estimate == pytest.approx(2)
        assert some.count(-1, 0.3).estimate == pytest.approx(1)
        assert some.count(0.3 + 1e-13, 1).estimate == pytest.approx(2)
        low, high = some.interval(0.3)
        assert low == high == pytest.approx(1 / 3)

    def test_nan(self, A):
        density = hessop.slq(A, n_probes=3, ncv=5, rng=0)
        assert np.isnan(density.interval([np.nan])).all()
        with pytest.raises(ValueError, match="`a, b` must satisfy a <= b"):
            density.count(np.nan, 1.0)


class TestGhosts:
    @pytest.mark.parametrize("scale", [1e-200, 1e-20, 1.0])
    def test_of_small_spectra(self, scale):
        """Merging underflows nowhere."""
        w = np.r_[np.random.default_rng(0).uniform(0.5, 1, 190), np.linspace(2, 9, 10)] * scale
        density = hessop.slq(
            synthetic.operator(w, rng=0), n_probes=2, ncv=200, reorth="none", rng=0
        )
        assert density.nodes.min() >= 0.49 * scale
        assert (np.diff(density.nodes, axis=1) >= 0).all()
        assert np.isfinite(float(density.logdet()))

    def test_adaptive_kernels_do_not_collapse(self):
        """On a further copy that is on its way, and has no weight yet."""
        w = np.r_[np.random.default_rng(0).normal(0, 0.1, 190), np.linspace(2, 9, 10)]
        A = synthetic.operator(w, rng=0)
        ghostly, clean = (
            hessop.slq(A, n_probes=4, ncv=150, reorth=r, rng=0) for r in ("none", "double")
        )
        x = np.linspace(-0.2, 10, 2001)
        one, two = (
            d.pdf(np.sort(np.r_[x, d.nodes.ravel()]), "adaptive").max() for d in (ghostly, clean)
        )
        assert one < 3 * two

    def test_residual_of_a_group(self):
        """The least, for that is the best that is known."""
        one = gauss.swept(np.array([1.0, 1.0, 3.0]), np.array([1e-9, 0.1, 0.3]), 0.02)
        apart = gauss.swept(np.array([1.0, 1.0, 3.0]), np.array([1e-9, 0.1, 0.3]))
        assert apart.residuals[0] != apart.residuals[1]
        assert one.residuals[0] == apart.residuals[:2].min()


class TestLock:
    def test_probes_that_vanish(self):
        """Lie in what is locked: others of the same generators take their place."""
        rest = np.array([1.0, -1.0, 0.0, 0.0]) / np.sqrt(2)
        Q = np.linalg.qr(np.column_stack([rest, np.eye(4)[:, 1:]]))[0]
        M = Q @ np.diag([7.0, 1.0, 2.0, 3.0]) @ Q.T
        lock = np.array([1.0, 2.0, 3.0]), Q[:, 1:]
        for seed in range(6):
            density = hessop.slq(M, n_probes=5, lock=lock, rng=seed)
            np.testing.assert_allclose(density.nodes, 7.0, rtol=1e-12)
            assert density.nodes.shape == (5, 1)
            assert len(density.extend(M, 2, lock=lock).nodes) == 7

    def test_bad_values(self, A):
        w, v = hessop.lanczos(A, 2, rng=0)
        with pytest.raises(TypeError, match="`lock` must hold real eigenvalues; got complex"):
            hessop.slq(A, lock=(w + 0j, v))
        density = hessop.slq(A, n_probes=2, ncv=4, lock=(w, v), rng=0)
        with pytest.raises(ValueError, match="`lock` must have the eigenvalues of the density"):
            density.extend(A, 1, lock=(w + 0.5, v))

    def test_adaptive_bands_hold_the_curve(self, A):
        """With the widths of all probes, at points too."""
        top = hessop.lanczos(A, 6, which="LA", rng=0)
        for ncv in (1, 20):
            density = hessop.slq(A, n_probes=5, ncv=ncv, lock=top, rng=0)
            x = np.r_[density.points, np.linspace(-0.3, 0.3, 9)]
            for sigma in ("adaptive", None, 0.3):
                for of, curve in (("pdf", density.pdf), ("smooth", density.cdf)):
                    low, high = density.interval(x, of=of, sigma=sigma)
                    middle = curve(x, sigma)
                    np.testing.assert_allclose((low + high) / 2, middle, rtol=1e-9, atol=1e-300)


class TestRecords:
    def test_nobody_writes_to_them(self, A):
        """Neither the user nor a function of his."""
        density = hessop.slq(A, n_probes=2, ncv=4, rng=0)
        before = density.nodes.copy()
        density.trace(lambda x: np.exp(x, out=x))
        np.testing.assert_array_equal(density.nodes, before)
        for name in ("nodes", "weights", "points", "alpha", "beta", "residuals"):
            with pytest.raises(ValueError, match="read-only"):
                getattr(density, name)[...] = 0.0
        mine = np.ones((1, 1))
        SpectralDensity(mine, mine, 1, 1, 1)
        mine[...] = 2.0  # what was given stays the user's

    def test_comparisons_and_text(self, A):
        """By identity; one line."""
        one, two = (hessop.slq(A, n_probes=2, ncv=4, rng=s) for s in (0, 1))
        assert one == one
        assert one != two
        assert one in [two, one]
        assert len({one, two, one.trace(), two.trace()}) == 4
        assert repr(one).startswith("SpectralDensity(n=60, 2 probes of 4 nodes in [")
        assert len(repr(one)) < 100

    def test_copies(self, A):
        """Of a density with its vectors too."""
        density = hessop.slq(A, n_probes=2, ncv=4, keep=True, rng=0)
        for other in (copy.deepcopy(density), pickle.loads(pickle.dumps(density))):
            grown = other.extend(A, ncv=7)
            np.testing.assert_allclose(grown.nodes, density.extend(A, ncv=7).nodes, atol=1e-12)

    def test_sums_of_sums(self, A):
        """Know where all of their probes come from, also in a file."""
        parts = [hessop.slq(A, n_probes=2, ncv=4, rng=seed) for seed in range(3)]
        both = parts[0] + parts[1]
        with pytest.raises(ValueError, match="`other` must have other probes"):
            both + parts[0]
        assert len(sum(parts).nodes) == 6
        assert len((both + parts[2]).parts) == 3
        with pytest.raises(ValueError, match="know its probes"):
            both.extend(A, 1)

    def test_sums_in_files(self, A, tmp_path):
        parts = [hessop.slq(A, n_probes=2, ncv=4, rng=seed) for seed in range(2)]
        sum(parts).save(tmp_path / "sum")
        loaded = SpectralDensity.load(tmp_path / "sum")
        with pytest.raises(ValueError, match="`other` must have other probes"):
            loaded + parts[1]

    def test_partial_overlap(self):
        """Probes 0 to 4 and 3 to 5 of one seed."""
        one = Source.of(0, 5)
        other = Source(one.entropy, one.spawn_key, one.first + 3, one.bits)
        assert one.overlaps(5, other, 2)
        assert other.overlaps(2, one, 5)
        assert not one.overlaps(3, other, 2)
        assert not other.overlaps(2, one, 3)
        assert not one.overlaps(5, Source.of(1, 5), 5)

    def test_files_of_others(self, tmp_path):
        np.savez(tmp_path / "mine.npz", x=np.ones(3))
        (tmp_path / "text.npz").write_text("mine")
        for name in ("mine.npz", "mine", "text.npz"):
            with pytest.raises(
                ValueError, match=r"`path` must be a file that SpectralDensity\.save"
            ):
                SpectralDensity.load(tmp_path / name)
        with pytest.raises(FileNotFoundError):
            SpectralDensity.load(tmp_path / "none")
        with pytest.raises(TypeError, match="`checkpoint` must be a path; got 5"):
            hessop.slq(np.eye(3), checkpoint=5)


class TestFailures:
    def test_of_a_product_half_way(self, A):
        """What was kept cannot go on: sweeps begin anew, and the result is whole."""
        density = hessop.slq(A, n_probes=2, ncv=5, keep=True, rng=0)
        product, calls = A.product, [0]

        def broken(X):
            calls[0] += 1
            return product.matmat(X.T.contiguous()).T * (np.nan if calls[0] == 3 else 1.0)

        with pytest.raises(FloatingPointError):
            density.extend(hessop.TorchOperator(broken, 60, dtype=torch.float64), ncv=10)
        grown = density.extend(A, ncv=10)
        whole = hessop.slq(A, n_probes=2, ncv=10, rng=0)
        np.testing.assert_allclose(grown.alpha, whole.alpha, atol=1e-10)

    def test_keep_and_checkpoint(self, A, tmp_path):
        with pytest.raises(ValueError, match="`keep` must be False with a checkpoint"):
            hessop.slq(A, keep=True, checkpoint=tmp_path / "run")


class TestCheckpoints:
    def test_saved_densities_are_none(self, A, tmp_path):
        """They are not taken up, and not removed."""
        file = tmp_path / "mine.npz"
        hessop.slq(A, n_probes=2, ncv=4, rng=0).save(file)
        with pytest.raises(ValueError, match=r"`checkpoint` must be a new file.*that was saved"):
            hessop.slq(A, n_probes=5, ncv=4, checkpoint=file, rng=0)
        assert file.exists()

    def test_fewer_probes_are_another_call(self, A, tmp_path):
        file = tmp_path / "run"
        with pytest.raises(Killed):
            hessop.slq(dying(A, 17), n_probes=5, ncv=4, checkpoint=file, rng=0)
        with pytest.raises(ValueError, match="n_probes was 5, and is 2"):
            hessop.slq(A, n_probes=2, ncv=4, checkpoint=file, rng=0)

    @pytest.mark.parametrize("after", [7, 12, 17])
    def test_to_a_tolerance(self, A, tmp_path, after):
        """The same blocks, and the same end."""
        options = {"n_probes": 100, "ncv": 5, "rtol": 0.009, "block_size": 100, "rng": 0}
        whole = hessop.slq(A, **options)
        with pytest.raises(Killed):
            hessop.slq(dying(A, after), checkpoint=tmp_path / "r", **options)
        found = hessop.slq(A, checkpoint=tmp_path / "r", **options)
        assert len(found.nodes) == len(whole.nodes) > 20
        np.testing.assert_allclose(found.nodes, whole.nodes, atol=1e-10)

    @pytest.mark.parametrize("rtol", [0.009, None])
    def test_killed_after_the_last_probe(self, A, tmp_path, monkeypatch, rtol):
        """But before the file was removed: one product, the same density, no warning."""
        options = {"n_probes": 100 if rtol else 4, "ncv": 5, "rtol": rtol, "rng": 0}

        def killed(file):
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr("hessop.quadrature.checkpoint.Checkpoint.remove", killed)
            with pytest.raises(Killed):
                hessop.slq(A, checkpoint=tmp_path / "r", block_size=100, **options)
        spied, widths = recorded(A)
        found = hessop.slq(spied, checkpoint=tmp_path / "r", block_size=100, **options)
        assert widths == [1]
        assert len(found.nodes) == len(hessop.slq(A, **options).nodes)


class TestNumbers:
    def test_norms_of_any_size(self):
        """No power of them under- or overflows."""
        for scale in (1e-200, 1e-20, 1.0, 1e200):
            density = hessop.slq(np.diag([1.0, 2.0]) * scale, n_probes=2, rng=0)
            for p, exact in ((1, 3.0), (2, np.sqrt(5)), (20, 2.0)):
                norm = density.schatten_norm(p)
                assert norm.estimate == pytest.approx(exact * scale, rel=1e-6)
                np.testing.assert_allclose(norm.confidence_interval(), exact * scale, rtol=1e-6)

    def test_quantiles_to_the_last(self, A):
        q = np.array([np.nextafter(0, 1), 1e-300, np.nextafter(1, 0)])
        for seed in range(6):
            density = hessop.slq(A, n_probes=3, ncv=6, rng=seed)
            assert np.isfinite(density.quantile(q)).all()

    def test_far_away(self, A):
        """Zero and one; no warning."""
        density = hessop.slq(A, n_probes=2, ncv=4, rng=0)
        x = np.array([-np.inf, -1e200, 1e200, np.inf])
        np.testing.assert_array_equal(density.pdf(x), 0.0)
        np.testing.assert_array_equal(density.cdf(x), [0, 0, 1, 1])
        zero = hessop.slq(np.zeros((3, 3)), n_probes=2, rng=0)
        np.testing.assert_array_equal(zero.magnitude_pdf([-np.inf, 0.0]), 0.0)

    def test_certainty(self):
        """An interval of level 1 is everything, or one number where there is no error."""
        exact = hessop.trace(np.diag([1.0, 2.0]), n_matvec=3, rng=0)
        assert exact.confidence_interval(1.0) == (3.0, 3.0)
        noisy = hessop.trace(np.ones((5, 5)), n_matvec=20, rng=0)
        assert noisy.confidence_interval(1.0) == (-np.inf, np.inf)

    def test_many_probes_to_a_tolerance(self):
        """Generators of probes that are not needed are not made."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            density = hessop.slq(np.eye(4), n_probes=10**5, rtol=0.1, rng=0)
        assert len(density.nodes) == 5

    def test_settled_at_once(self):
        """Where all nodes are one there is nothing to wait for."""
        one = gauss.swept(np.array([2.0]), np.array([0.0]))
        assert [Settled(0.1, 10)([one]) for _ in range(1)] == [False]
        settled = Settled(0.1, 10)
        assert [settled([one]), settled([one])] == [False, True]

    def test_another_operator_by_little(self, A):
        """The look before growth sees what rounding cannot explain."""
        density = hessop.slq(A, n_probes=2, ncv=4, rng=0)
        other = synthetic.operator(A.eigenvalues * (1 + 1e-9), rng=0)
        with pytest.raises(ValueError, match="`A` must be the operator that the density came from"):
            density.extend(other, 1)

    def test_a_node_at_infinity(self):
        """Radau's rule next to a Gauss node is that node's, and not a far away one's."""
        one = gauss.swept(np.zeros(3), np.array([1.0, 1.0, 1.0]))
        nodes, weights = radau.radau(one, 1e-12)
        assert np.abs(nodes).max() < 10
        assert weights.sum() == pytest.approx(1.0)


class TestMessages:
    def test_pictures(self, A):
        pytest.importorskip("matplotlib").use("agg")
        density = hessop.slq(A, n_probes=2, ncv=4, rng=0)
        with pytest.raises(ValueError, match=r"`band` must be a number in \[0, 1\]; got 2"):
            density.plot(band=2.0)
        with pytest.raises(ValueError, match="`band` must be None with magnitude"):
            density.plot(band=0.9, magnitude=True)

    def test_functions(self, A):
        density = hessop.slq(A, n_probes=2, ncv=4, rng=0)
        with pytest.raises(TypeError, match="`f` must be a function of an array; got 3"):
            density.trace(3)
        with pytest.raises(ValueError, match="`sigma` must be a number > 0"):
            density.interval(0.0, sigma="wide")
