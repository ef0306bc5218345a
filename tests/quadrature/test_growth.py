"""More steps, blocks of probes, and runs that are interrupted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hessop
from hessop import SpectralDensity, synthetic
from hessop.quadrature import gauss
from hessop.quadrature.settling import Settled
from tests.spectra import recorded


@pytest.fixture(scope="module")
def A():
    """Outliers over a bulk."""
    bulk = np.random.default_rng(0).normal(0, 0.1, 190)
    return synthetic.operator(np.r_[bulk, np.linspace(3, 12, 10)], rng=0)


@pytest.fixture(scope="module")
def top(A):
    """The outliers."""
    return hessop.lanczos(A, 10, which="LA", rng=0)


def assert_same(one, two, atol=1e-10):
    """Two densities, to the rounding of products in blocks of different widths."""
    for name in ("nodes", "weights", "alpha", "beta"):
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), rtol=0, atol=atol)


class TestMoreSteps:
    @pytest.mark.parametrize("keep", [True, False])
    @pytest.mark.parametrize("reorth", ["double", "selective", "none"])
    @pytest.mark.parametrize("locked", [True, False])
    def test_as_one_run(self, A, top, keep, reorth, locked):
        """Products are spent on the further steps alone where vectors were kept."""
        lock = top if locked else None
        options = {"n_probes": 3, "lock": lock, "reorth": reorth, "rng": 0}
        short = hessop.slq(A, ncv=6, keep=keep, **options)
        grown = short.extend(A, ncv=11, lock=lock)
        assert_same(grown, hessop.slq(A, ncv=11, **options))
        assert grown.ncv == 11
        assert grown.n_matvec == 18 + 1 + 3 * (5 if keep else 11)
        assert short.ncv == 6
        assert short.nodes.shape == (3, 6)

    def test_one_density_grows_in_two_ways(self, A):
        """Its vectors are shared, and what they are worth at each step is known."""
        short = hessop.slq(A, n_probes=2, ncv=5, keep=True, rng=0)
        far = short.extend(A, ncv=12)
        near = short.extend(A, ncv=8)
        for one, m in ((near, 8), (far, 12), (far.extend(A, ncv=15), 15)):
            assert_same(one, hessop.slq(A, n_probes=2, ncv=m, rng=0))

    def test_steps_and_probes(self, A):
        """Both at once, and vectors of the new ones are kept too."""
        short = hessop.slq(A, n_probes=2, ncv=5, keep=True, rng=0)
        grown = short.extend(A, 2, ncv=8)
        assert_same(grown, hessop.slq(A, n_probes=4, ncv=8, rng=0))
        assert len(grown.kept) == 4
        again = grown.extend(A, ncv=9)
        assert again.n_matvec == grown.n_matvec + 1 + 4
        assert_same(again, hessop.slq(A, n_probes=4, ncv=9, rng=0))

    def test_exhausted_spaces(self):
        """Nothing more to be had: no products but the one that looks."""
        B = np.diag([1.0, 1.0, 2.0])
        density = hessop.slq(B, n_probes=2, ncv=2, keep=True, rng=0)
        grown = density.extend(B, ncv=3)
        assert grown.n_matvec == density.n_matvec + 1
        np.testing.assert_allclose(grown.nodes, density.nodes)

    def test_fewer_are_refused(self, A):
        density = hessop.slq(A, n_probes=2, ncv=5, rng=0)
        with pytest.raises(ValueError, match="`ncv` must be an integer >= 5; got 4"):
            density.extend(A, ncv=4)

    @pytest.mark.parametrize("keep", [True, False])
    def test_another_operator_is_refused(self, A, keep):
        """Of the same size, after one product."""
        density = hessop.slq(A, n_probes=2, ncv=5, keep=keep, rng=0)
        other = synthetic.operator(A.eigenvalues * 1.001, rng=0)
        with pytest.raises(ValueError, match="`A` must be the operator that the density came from"):
            density.extend(other, 1)


class TestBlocks:
    @pytest.mark.parametrize("block_size", [1, 2, 5, 100])
    def test_the_same_probes(self, A, block_size):
        """In blocks of that width."""
        spied, widths = recorded(A)
        density = hessop.slq(spied, n_probes=5, ncv=6, block_size=block_size, rng=3)
        assert_same(density, hessop.slq(A, n_probes=5, ncv=6, rng=3))
        assert max(widths) == min(block_size, 5)
        assert sum(widths) == density.n_matvec == 30

    def test_bad_size(self, A):
        with pytest.raises(ValueError, match="`block_size` must be an integer >= 1; got 0"):
            hessop.slq(A, block_size=0)


class Killed(Exception):
    """What happens to a run."""


def dying(A, after):
    """The operator, until so many block products are done."""
    product, left = A.product, [after]

    def matmat(X):
        if left[0] == 0:
            raise Killed
        left[0] -= 1
        return product.matmat(X.T.contiguous()).T

    return hessop.TorchOperator(matmat, product.n, dtype=product.dtype)


class TestCheckpoint:
    @pytest.mark.parametrize("locked", [True, False])
    def test_it_goes_on(self, A, top, tmp_path, locked):
        """From the last probe that was done; the file is gone at the end."""
        file = tmp_path / "run"
        options = {
            "n_probes": 5, "ncv": 6, "lock": top if locked else None, "block_size": 2, "rng": 0
        }  # fmt: skip
        with pytest.raises(Killed):
            hessop.slq(dying(A, 15), checkpoint=file, **options)
        assert file.exists()
        spied, widths = recorded(A)
        density = hessop.slq(spied, checkpoint=file, **options)
        # 2 blocks of 2 probes were done: one product to compare, and the last probe
        assert widths == [1] + 6 * [1]
        assert density.n_matvec == 24 + 6
        assert_same(density, hessop.slq(A, **options), atol=0)
        assert list(tmp_path.iterdir()) == []

    def test_without_a_seed(self, A, tmp_path):
        """The file knows what the seed was."""
        file = tmp_path / "run"
        with pytest.raises(Killed):
            hessop.slq(dying(A, 7), n_probes=3, ncv=4, block_size=1, checkpoint=file)
        begun = SpectralDensity.load(file)
        density = hessop.slq(A, n_probes=3, ncv=4, block_size=1, checkpoint=file)
        np.testing.assert_array_equal(density.nodes[:1], begun.nodes)
        assert density.source == begun.source
        assert len(np.unique(density.nodes[:, 0])) == 3

    def test_another_call_is_refused(self, A, top, tmp_path):
        """By what differs; the file stays."""
        file = tmp_path / "run"
        options = {"n_probes": 3, "ncv": 4, "block_size": 1, "checkpoint": file}
        with pytest.raises(Killed):
            hessop.slq(dying(A, 7), rng=0, **options)
        before = file.read_bytes()
        for change, message in (
            ({"rng": 1}, "source was .* and is"),
            ({"rng": 0, "ncv": 5}, "ncv was 4, and is 5"),
            ({"rng": 0, "reorth": "none"}, "method was"),
            ({"rng": 0, "lock": top}, "other eigenvalues were locked"),
        ):
            with pytest.raises(ValueError, match=f"`checkpoint` must be a new file.*{message}"):
                hessop.slq(A, **{**options, **change})
        with pytest.raises(ValueError, match="another operator: a product differs by"):
            hessop.slq(synthetic.operator(A.eigenvalues * 1.001, rng=0), rng=0, **options)
        assert file.read_bytes() == before

    def test_what_is_no_checkpoint(self, A, tmp_path):
        (tmp_path / "notes").write_text("mine")
        with pytest.raises(ValueError, match=r"`checkpoint` must be a new file.*cannot be read"):
            hessop.slq(A, checkpoint=tmp_path / "notes")
        assert (tmp_path / "notes").read_text() == "mine"
        with pytest.raises(ValueError, match="`checkpoint` must be a file in a folder that exists"):
            hessop.slq(A, checkpoint=tmp_path / "none" / "run")


class TestSteps:
    """How `rtol` ends sweeps."""

    def test_fewer_than_asked_for(self, A):
        """And the smoothed curve is that of all steps, to the tolerance."""
        density = hessop.slq(A, n_probes=4, ncv=120, rtol=0.2, rng=0)
        whole = hessop.slq(A, n_probes=len(density.nodes), ncv=120, rng=0)
        assert density.nodes.shape[1] < 60
        x = np.linspace(-1, 13, 3001)
        # the default width is that of all steps that were asked for
        assert density.sigma == pytest.approx(whole.sigma, rel=1e-3)
        assert np.abs(density.cdf(x) - whole.cdf(x)).max() <= 0.02

    def test_not_before_it_settles(self):
        """A spectrum that needs all steps gets them."""
        B = synthetic.operator(np.linspace(-1, 1, 400), rng=0)
        with pytest.warns(hessop.ConvergenceWarning):
            density = hessop.slq(B, n_probes=2, ncv=25, rtol=1e-3, rng=0)
        assert density.nodes.shape[1] == 25

    def test_it_asks_twice(self):
        """One agreement may be chance."""
        same = gauss.swept(np.array([0.0, 1.0]), np.array([0.5, 0.1]))
        other = gauss.swept(np.array([0.0, 3.0]), np.array([0.5, 0.1]))
        settled = Settled(0.1, 10)
        assert [settled([s]) for s in (same, same, other, other, other)] == [
            False, False, False, False, True
        ]  # fmt: skip


def test_files_keep_all(A, top, tmp_path):
    """Recurrences and residuals too; without vectors."""
    density = hessop.slq(A, n_probes=2, ncv=6, lock=top, keep=True, reorth="none", rng=0)
    density.save(tmp_path / "density")
    loaded = SpectralDensity.load(tmp_path / "density.npz")
    for name in ("nodes", "weights", "points", "alpha", "beta", "residuals"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(density, name))
    assert loaded.kept == ()
    assert loaded.method == density.method
    with pytest.raises(ValueError, match="`path` must be a file in a folder that exists"):
        density.save(tmp_path / "none" / "density")


def test_other_bit_generators(A):
    """Their probes can be had again."""
    rng = np.random.Generator(np.random.Philox(3))
    density = hessop.slq(A, n_probes=2, ncv=3, rng=rng)
    again = np.random.Generator(np.random.Philox(3))
    assert_same(density.extend(A, 1), hessop.slq(A, n_probes=3, ncv=3, rng=again))


def test_single_precision(A):
    """The look at the operator knows what float32 products are worth."""
    B = synthetic.operator(A.eigenvalues, dtype=torch.float32, rng=0)
    density = hessop.slq(B, n_probes=3, ncv=8, rng=0)
    grown = density.extend(B, 1, ncv=12)
    assert grown.nodes.shape == (4, 12)
