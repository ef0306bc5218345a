"""Mean and standard error of vectors that come one at a time."""

from __future__ import annotations

import torch


class Moments:
    """
    Welford's running mean and sum of squared deviations, in float64.

    Attributes
    ----------
    count : int
        How many vectors so far.
    mean : torch.Tensor, shape (n,)
        Their mean.
    """

    def __init__(self, n: int, device: torch.device) -> None:
        self.count = 0
        self.mean = torch.zeros(n, dtype=torch.float64, device=device)
        self._squares = torch.zeros_like(self.mean)

    def add(self, sample: torch.Tensor) -> None:
        """One vector more."""
        self.count += 1
        difference = sample.double() - self.mean
        self.mean += difference / self.count
        self._squares += difference * (sample - self.mean)

    @property
    def standard_error(self) -> torch.Tensor:
        """Of the mean, shape (n,); NaN for one sample."""
        if self.count < 2:
            return torch.full_like(self.mean, torch.nan)
        return (self._squares / (self.count - 1) / self.count).sqrt()
