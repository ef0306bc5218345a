"""Which device: the model's; another one is refused, and what is current plays no part."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hessop

cupy = pytest.importorskip("cupy")
pytestmark = pytest.mark.gpu


def diagonal(device, n=50):
    """A torch matrix on a device."""
    return torch.diag(torch.arange(float(n), dtype=torch.float64, device=device))


@pytest.fixture
def two():
    """Two devices."""
    if torch.cuda.device_count() < 2:
        pytest.skip("needs a second CUDA device")


class TestOne:
    @pytest.mark.parametrize("name", ["cuda", "cuda:0"])
    def test_by_either_name(self, name):
        """A device without a number is whichever is current, and gets its number."""
        A = hessop.TorchOperator(lambda V: 2 * V, 4, dtype=torch.float64, device=name).to_cupy()
        assert A.product.device == torch.device("cuda", 0)
        y = A @ cupy.ones(4)
        assert y.device.id == 0
        np.testing.assert_array_equal(y.get(), np.full(4, 2.0))

    def test_the_host_beside_it(self):
        """The same operator takes NumPy arrays by SciPy's face, CuPy's by the other."""
        H = hessop.aslinearoperator(diagonal("cuda"))
        x = np.ones(50)
        assert isinstance(H @ x, np.ndarray)
        np.testing.assert_array_equal((H.to_cupy() @ cupy.asarray(x)).get(), H @ x)


class TestTwo:
    def test_the_other_device(self, two):
        """Products, results and numbers lie there, whatever is current."""
        A = hessop.aslinearoperator(diagonal("cuda:1")).to_cupy()
        with cupy.cuda.Device(1):
            x = cupy.ones(50)
        assert (A @ x).device.id == 1
        w, v = hessop.eigsh(A, 3, rng=0)
        assert w.device.id == v.device.id == 1
        np.testing.assert_allclose(w.get(), [47, 48, 49], atol=1e-10)
        assert torch.cuda.current_device() == 0
        assert cupy.cuda.Device().id == 0

    def test_a_matrix_on_the_other_device(self, two):
        """It says where it lies."""
        with cupy.cuda.Device(1):
            D = cupy.diag(cupy.arange(50.0))
        w, v = hessop.eigsh(D, 2, rng=0)
        assert w.device.id == v.device.id == 1

    def test_a_vector_on_the_wrong_one(self, two):
        """Both numbers are in the message."""
        A = hessop.aslinearoperator(diagonal("cuda:1")).to_cupy()
        with pytest.raises(ValueError, match=r"^`x` must be on GPU 1; got one on GPU 0.$"):
            A @ cupy.ones(50)

    def test_operators_on_two_devices(self, two):
        """Have no sum."""
        A, B = (hessop.aslinearoperator(diagonal(f"cuda:{i}")).to_cupy() for i in (0, 1))
        with pytest.raises(ValueError, match=r"^`A \+ B` must be of operators on one device"):
            A + B
