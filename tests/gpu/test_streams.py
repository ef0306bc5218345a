"""
Both libraries work in streams of their own: nobody reads what is not written yet.

A kernel that takes its time goes before what is read, and the test makes sure that it still runs
when the exchange is asked for: without order, old numbers would be read. Side streams are those
that do not wait for the default stream on their own.
"""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch

import hessop
from hessop import _cupy
from tests import oracles
from tests.models import PROBLEMS, cut

cupy = pytest.importorskip("cupy")
pytestmark = pytest.mark.gpu

N = 1 << 20
CYCLES = 200_000_000  # about a tenth of a second
SPIN = r"""
extern "C" __global__ void spin(long long cycles) {
    long long start = clock64();
    while (clock64() - start < cycles) {}
}
"""
SIDES = pytest.mark.parametrize("theirs", ["default", "side"])
OURS = pytest.mark.parametrize("ours", ["default", "side"])


def spin(cycles=CYCLES):
    """Keep CuPy's current stream busy."""
    cupy.RawKernel(SPIN, "spin")((1,), (1,), (np.int64(cycles),))


def stream_of_cupy(kind):
    """The default stream, or one that does not wait for it."""
    return cupy.cuda.Stream.null if kind == "default" else cupy.cuda.Stream(non_blocking=True)


def stream_of_torch(kind):
    """The same of torch's."""
    return torch.cuda.default_stream() if kind == "default" else torch.cuda.Stream()


@contextlib.contextmanager
def streams(theirs, ours):
    """Both current, with every kernel that is used compiled and run before."""
    spin(1)
    (cupy.zeros(2) + 1)[...] = cupy.ones(2)
    (cupy.zeros(2) + 0.0).fill(2.0)
    torch.cuda._sleep(1)
    (torch.zeros(2, device="cuda") + 1).clone().fill_(2.0)
    torch.cuda.synchronize()
    a, b = stream_of_cupy(theirs), stream_of_torch(ours)
    with a, torch.cuda.stream(b):
        yield a, b
    torch.cuda.synchronize()


class TestOrder:
    @SIDES
    @OURS
    def test_torch_waits_for_cupy(self, theirs, ours):
        """A tensor holds what CuPy was told to write before."""
        x = cupy.zeros(N)
        with streams(theirs, ours) as (their_stream, _):
            spin()
            x.fill(1.0)
            assert not their_stream.done
            seen = _cupy.take(x).clone()
            assert float(seen.sum()) == N

    @SIDES
    @OURS
    def test_cupy_waits_for_torch(self, theirs, ours):
        """An array holds what torch was told to write before."""
        t = torch.zeros(N, dtype=torch.float64, device="cuda")
        with streams(theirs, ours) as (_, our_stream):
            torch.cuda._sleep(CYCLES)
            t.fill_(1.0)
            assert not our_stream.query()
            seen = _cupy.give(t) + 0.0
            assert float(seen.sum()) == N

    @SIDES
    @OURS
    def test_a_product(self, operator, theirs, ours):
        """Of a vector that is late, read by CuPy right after; twice, for memory is used again."""
        A = operator(np.diag(np.arange(1.0, 513.0)))
        expected = np.arange(1.0, 513.0)
        A @ cupy.ones(512)
        with streams(theirs, ours) as (their_stream, _):
            x = cupy.zeros(512)
            for times in (1.0, 2.0):
                spin()
                x.fill(times)
                assert not their_stream.done
                np.testing.assert_array_equal((A @ x).get(), times * expected)

    @SIDES
    @OURS
    def test_a_network(self, theirs, ours):
        """Also when its product is captured, and launched as a whole from then on."""
        model, loss_fn, data = PROBLEMS["mlp"]()
        D = oracles.dense_hessian(model, loss_fn, data)
        batches = [tuple(t.cuda() for t in batch) for batch in cut(data, 3)]
        how = {"mode": "recorded", "cuda_graphs": True}
        A = hessop.HessianOperator(model.cuda(), loss_fn, batches, **how).to_cupy()
        rows = np.random.default_rng(0).standard_normal((8, len(D)))
        given = [cupy.asarray(row) for row in rows]
        with streams(theirs, ours) as (their_stream, _):
            x, found = cupy.zeros(len(D)), []
            for v in given:
                spin()
                x[...] = v
                assert not their_stream.done
                found.append(A @ x)
            np.testing.assert_allclose(cupy.stack(found).get(), rows @ D, atol=1e-10)
        assert A.product._replays._captured

    def test_a_late_product(self):
        """One that torch takes its time over."""

        def slow(V):
            torch.cuda._sleep(CYCLES)
            return 3 * V

        A = hessop.TorchOperator(slow, N, dtype=torch.float64, device="cuda").to_cupy()
        with streams("side", "side"):
            np.testing.assert_array_equal((A @ cupy.ones(N)).get(), np.full(N, 3.0))

    @SIDES
    @OURS
    def test_results_are_equal(self, operator, theirs, ours):
        """An algorithm finds the same in every stream."""
        D = np.random.default_rng(0).standard_normal((200, 200))
        A = operator(D + D.T)
        w, v = hessop.eigsh(A, 3, rng=0)
        with streams(theirs, ours):
            again, vectors = hessop.eigsh(A, 3, rng=0)
            np.testing.assert_allclose(again.get(), w.get(), rtol=1e-10)
            np.testing.assert_allclose(abs((vectors.T @ v).get()), np.eye(3), atol=1e-9)


class TestMemory:
    @pytest.mark.parametrize("waits", [True, False])
    def test_a_block_that_is_being_read(self, monkeypatch, waits):
        """Is not written to before that is done; without the wait at the end it would be."""
        if not waits:
            monkeypatch.setattr(_cupy._Lent, "__del__", lambda lent: None)
        with streams("side", "side") as (their_stream, _):
            cupy.cuda.alloc(8 * N)  # memory for the copy, so that no allocation waits
            t = torch.ones(N, dtype=torch.float64, device="cuda")
            place = t.data_ptr()
            y = _cupy.give(t)
            spin()
            copy = y.copy()
            del t, y
            other = torch.full((N,), 7.0, dtype=torch.float64, device="cuda")
            assert not their_stream.done
            assert other.data_ptr() == place
            assert (float(copy.sum()) == N) is waits

    def test_a_stream_that_goes_before_the_array(self):
        """Is held with it, and waited for in the end."""
        for _ in range(50):
            with cupy.cuda.Stream(non_blocking=True) as stream:
                y = _cupy.give(torch.ones(1000, device="cuda")) + 0.0
                z = _cupy.give(torch.ones(1000, device="cuda"))
                stream.synchronize()
            del stream
            cupy.cuda.Stream(non_blocking=True)  # may get the same handle
            assert float(y.sum()) == 1000
            del z
        torch.cuda.synchronize()

    def test_what_a_foreign_operator_gave(self, solvers):
        """Is read before CuPy, in a stream of its own, writes into the same memory."""
        places = []

        def matvec(x):
            y = 2 * x
            places.append(y.data.ptr)
            torch.cuda._sleep(CYCLES)  # torch reads y late
            return y

        A = hessop.aslinearoperator(
            solvers.LinearOperator((N, N), matvec, dtype=np.dtype("f8"))
        ).product
        V = torch.ones(1, N, dtype=torch.float64, device="cuda")
        with streams("side", "side") as (_, our_stream):
            image = A.matmat(V)
            again = cupy.full(N, np.nan)
            assert not our_stream.query()
            assert again.data.ptr == places[0]
            assert bool((image == 2).all())


class TestRefusals:
    def test_streams_of_each_thread(self, operator):
        """torch has no name for them, and could not wait."""
        A, x = operator(np.eye(3)), cupy.ones(3)
        text = r"^`CuPy's current stream` must not be a per-thread default stream"
        with cupy.cuda.Stream.ptds, pytest.raises(ValueError, match=text):
            A @ x
        np.testing.assert_array_equal((A @ x).get(), np.ones(3))
