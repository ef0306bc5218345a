"""What every room multiplies with: a symmetric linear map on torch row vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from hessop import _validation
from hessop._space import LocalSpace


class Product(ABC):
    """
    A symmetric map ``V |-> A V`` on blocks of row vectors, all on one torch device.

    Blocks are ``(k, n)``, so that each of the ``k`` vectors is contiguous. A subclass defines
    `_apply`; everybody else calls `matmat`, which counts.

    Attributes
    ----------
    n : int
        Length of a vector.
    dtype : torch.dtype
        ``torch.float32`` or ``torch.float64``: what goes in and comes out.
    device : torch.device
        Where blocks live.
    n_matvec : int
        Vectors multiplied so far.
    cuda_graphs : bool or str
        Whether solvers may capture their own launches too, as in the arguments of operators.
    """

    cuda_graphs: bool | str = "auto"

    def __init__(self, n: int, dtype: torch.dtype, device: torch.device) -> None:
        self.n = n
        self.dtype = dtype
        if device.type == "cuda":  # without a number it is whichever is current
            device = torch.empty(0, device=device).device
        self.device = device
        self.n_matvec = 0

    def space(self) -> LocalSpace:
        """The space of its vectors."""
        return LocalSpace(self.n, self.dtype, self.device, graphs=self.cuda_graphs is not False)

    @abstractmethod
    def _apply(self, V: torch.Tensor) -> torch.Tensor:
        """A fresh, contiguous ``(k, n)`` tensor; `V` is neither kept nor written."""

    def expect(self, vectors: int) -> None:  # noqa: B027
        """A solver announces how many vectors it is about to multiply, so that set-up may pay."""

    def floor(self) -> float:
        """Noise of a product that is known, relative to its size; 0 where nothing is known."""
        return 0.0

    def matmat(self, V: torch.Tensor) -> torch.Tensor:
        """
        Multiply a block of row vectors.

        Parameters
        ----------
        V : torch.Tensor, shape (k, n)
            Rows to multiply, of this product's dtype and on its device. Not written.

        Returns
        -------
        torch.Tensor, shape (k, n)
            A new contiguous tensor whose row ``i`` is ``A V[i]``.

        Raises
        ------
        ValueError
            If `V` has another shape, dtype or device.
        """
        _validation.check_block(V, self.n, self.dtype, self.device)
        self.n_matvec += V.shape[0]
        return self._apply(V)
