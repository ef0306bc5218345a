"""A search that is killed goes on from its file as if nothing had been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

import hessop
from hessop import synthetic
from hessop.krylov.checkpoint import Checkpoint

A = synthetic.operator("hessian_like", 300, rng=1)
HOW = {
    "plain": {},
    "restarted": {"ncv": 22},
    "block": {"block_size": 3},
    "selective": {"reorth": "selective"},
    "float32 basis": {"basis_dtype": "float32", "tol": 1e-4},
}


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """A file after each step."""
    monkeypatch.setattr("hessop.krylov.checkpoint._SHARE", 1e9)


def killed_after(steps, file, **how):
    """A search that ends in the middle, without a chance to clean up."""

    def callback(state):
        if state.n_matvec >= steps:
            raise KilledError

    with pytest.raises(KilledError):
        hessop.lanczos(A, 5, rng=0, checkpoint=file, callback=callback, **how)


@pytest.mark.parametrize("steps", [1, 4, 17, 30])
@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
def test_the_same_bits(how, steps, tmp_path):
    """However far it had come, and whatever it was doing: restarts, checks, blocks."""
    file = tmp_path / "state"
    plain = hessop.lanczos(A, 5, rng=0, **how)
    killed_after(steps, file, **how)
    assert file.exists() == (steps > 1)
    before = A.product.n_matvec
    result = hessop.lanczos(A, 5, rng=0, checkpoint=file, **how)
    spent = A.product.n_matvec - before
    np.testing.assert_array_equal(result.eigenvalues, plain.eigenvalues)
    np.testing.assert_array_equal(result.eigenvectors, plain.eigenvectors)
    np.testing.assert_array_equal(result.residuals, plain.residuals)
    assert (result.n_matvec, result.complete) == (plain.n_matvec, plain.complete)
    if not how and steps > 1:  # one product to see that the operator is the same
        assert spent <= plain.n_matvec - steps + 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("steps", [10, 31, 37, 45, 50])
def test_random_directions_go_on_where_they_were(steps, tmp_path):
    """Each copy of an eigenvalue is found in a fresh one."""
    B = synthetic.operator(np.concatenate([np.linspace(-1, 1, 400), [3.0] * 4]), rng=0)
    file, audits = tmp_path / "state", []
    how = {"which": "LA", "tol": 1e-2, "ncv": 20}  # restarts, after which no row is the direction
    plain = hessop.lanczos(B, 4, rng=0, callback=lambda s: audits.append(s.auditing), **how)
    assert np.diff(np.int8(audits)).clip(0).sum() >= 3  # fresh directions

    def callback(state):
        if state.n_matvec == steps:
            raise KilledError

    with pytest.raises(KilledError):
        hessop.lanczos(B, 4, rng=0, callback=callback, checkpoint=file, **how)
    result = hessop.lanczos(B, 4, rng=0, checkpoint=file, **how)
    np.testing.assert_array_equal(result.eigenvectors, plain.eigenvectors)
    assert result.n_matvec == plain.n_matvec


def test_a_process_that_is_killed(tmp_path):
    """By the operating system, at any moment: the file is whole."""
    file = tmp_path / "state"
    script = textwrap.dedent(
        f"""
        import os, hessop
        from hessop import synthetic
        from hessop.krylov import checkpoint
        checkpoint._SHARE = 1e9
        A = synthetic.operator("hessian_like", 300, rng=1)
        def callback(state):
            if state.n_matvec == 12:
                os.kill(os.getpid(), {int(signal.SIGKILL)})
        hessop.lanczos(A, 5, rng=0, checkpoint={str(file)!r}, callback=callback)
        """
    )
    ended = subprocess.run([sys.executable, "-c", script], check=False, env=os.environ.copy())
    assert ended.returncode == -signal.SIGKILL
    result = hessop.lanczos(A, 5, rng=0, checkpoint=file)
    plain = hessop.lanczos(A, 5, rng=0)
    np.testing.assert_allclose(result.eigenvalues, plain.eigenvalues, rtol=1e-13)
    assert result.n_matvec == plain.n_matvec


class TestRefusals:
    def refused(self, file, text, operator=A, k=5, **how):
        """The call raises, and the file is as it was."""
        before = file.read_bytes()
        with pytest.raises(ValueError, match=text):
            hessop.lanczos(operator, k, rng=0, checkpoint=file, **how)
        assert file.read_bytes() == before

    def test_other_arguments(self, tmp_path):
        """By name."""
        file = tmp_path / "state"
        killed_after(9, file)
        self.refused(file, r"`checkpoint` must be a new file, .*k was 5, and is 4\. Nothing", k=4)
        self.refused(file, "which was LM, and is SA", which="SA")
        self.refused(file, "tol was 0.0, and is 0.1", tol=0.1)
        self.refused(file, "lock was", lock=np.eye(300)[:, :1])
        self.refused(file, "reorth was double, and is full", reorth="full")
        self.refused(file, "ncv was None, and is 30", ncv=30)

    def test_another_operator(self, tmp_path):
        """Of another size, dtype, or with other entries: one product shows it."""
        file = tmp_path / "state"
        killed_after(9, file)
        other = synthetic.operator("hessian_like", 300, rng=2)
        self.refused(file, r"one of another operator: a product differs by", other)
        self.refused(file, "n was 300, and is 200", synthetic.operator("gaussian", 200, rng=1))
        single = synthetic.operator("hessian_like", 300, dtype=torch.float32, rng=1)
        self.refused(file, "dtype was torch.float64, and is torch.float32", single)
        slightly = hessop.TorchOperator(
            lambda X: A.product.matmat(X.T.contiguous()).T * (1 + 1e-8), 300, dtype=torch.float64
        )
        self.refused(file, "one of another operator", slightly)

    @pytest.mark.parametrize("damage", ["cut", "flipped", "text", "empty"])
    def test_damage(self, damage, tmp_path):
        """A file that is no checkpoint any more, or never was."""
        file = tmp_path / "state"
        killed_after(9, file)
        content = bytearray(file.read_bytes())
        if damage == "cut":
            content = content[: len(content) // 2]
        elif damage == "flipped":
            content[len(content) // 2] ^= 0xFF
        else:
            content = bytearray(b"my notes" if damage == "text" else b"")
        file.write_bytes(content)
        self.refused(file, r"got a file that cannot be read \(")


def test_a_search_that_did_not_get_there_goes_on(tmp_path):
    """With more products, where it had to stop."""
    file = tmp_path / "state"
    with pytest.warns(hessop.ConvergenceWarning):
        first = hessop.lanczos(A, 5, rng=0, checkpoint=file, maxiter=10)
    assert file.exists()
    assert first.n_matvec == 10
    second = hessop.lanczos(A, 5, rng=0, checkpoint=file, maxiter=1000)
    assert second.converged.all()
    assert second.n_matvec == hessop.lanczos(A, 5, rng=0).n_matvec
    assert not file.exists()


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    """Written beside it, and put in its place as a whole."""
    file = tmp_path / "state"
    killed_after(9, file)
    before = file.read_bytes()

    def fail(*_):
        raise KilledError

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(KilledError):
        hessop.lanczos(A, 5, rng=0, checkpoint=file)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_writing_takes_a_share_of_the_time(tmp_path, monkeypatch):
    """Ten times as long as the last write took must have passed."""
    monkeypatch.setattr("hessop.krylov.checkpoint._SHARE", 0.1)
    clock = iter(np.arange(0.0, 1e6, 1.0))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    written = []
    inner = Checkpoint._write

    def write(self, search):
        written.append(search.steps)
        inner(self, search)

    monkeypatch.setattr(Checkpoint, "_write", write)
    hessop.lanczos(A, 5, rng=0, checkpoint=tmp_path / "state", verify=False)
    assert written[0] == 1
    assert min(np.diff(written)) >= 9
