"""
Small networks, one for each kind of layer that curvature has to get through.

Each factory returns ``(model, loss_fn, (x, y))`` and draws the same numbers at every call and in
every precision.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

Problem = tuple[nn.Module, Any, tuple[torch.Tensor, torch.Tensor]]

IGNORED = -100


def _reproducible(factory: Callable[[torch.dtype], Problem]) -> Callable[..., Problem]:
    """The same numbers at every call, drawn in float64 and rounded to `dtype`."""

    def make(dtype: torch.dtype = torch.float64) -> Problem:
        default = torch.get_default_dtype()
        with torch.random.fork_rng():
            torch.manual_seed(20)
            torch.set_default_dtype(torch.float64)
            try:
                model, loss_fn, (x, y) = factory(dtype)
            finally:
                torch.set_default_dtype(default)
        x = x.to(dtype) if x.is_floating_point() else x
        y = y.to(dtype) if y.is_floating_point() else y
        loss_fn = loss_fn.to(dtype) if isinstance(loss_fn, nn.Module) else loss_fn
        return model.to(dtype), loss_fn, (x, y)

    make.__name__ = factory.__name__
    make.__doc__ = factory.__doc__
    return make


@_reproducible
def mlp(dtype: torch.dtype) -> Problem:
    """A classifier with 51 parameters."""
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    return model, nn.CrossEntropyLoss(), (torch.randn(11, 4), torch.randint(0, 3, (11,)))


@_reproducible
def regression(dtype: torch.dtype) -> Problem:
    """A mean squared error with 32 parameters."""
    model = nn.Sequential(nn.Linear(3, 5), nn.Softplus(), nn.Linear(5, 2))
    return model, nn.MSELoss(), (torch.randn(9, 3), torch.randn(9, 2))


@_reproducible
def cnn(dtype: torch.dtype) -> Problem:
    """A convolutional network with batch normalisation in eval mode, 75 parameters."""
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.GELU(), nn.MaxPool2d(2), nn.Flatten()
    )
    model.append(nn.Linear(12, 3))
    model[1].running_mean.uniform_(-0.5, 0.5)
    model[1].running_var.uniform_(0.5, 2.0)
    x, y = torch.randn(7, 1, 6, 6), torch.randint(0, 3, (7,))
    return model.eval(), nn.CrossEntropyLoss(), (x, y)


class Attention(nn.Module):
    """Causal self-attention with torch's default choice of kernel."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mix over positions: (b, t, w) to (b, t, w)."""
        b, t, w = x.shape
        parts = self.qkv(x).view(b, t, 3, self.heads, w // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(mixed.transpose(1, 2).reshape(b, t, w))


class Transformer(nn.Module):
    """One block over tokens; logits come with the classes second, as CrossEntropyLoss wants."""

    def __init__(self, vocab: int, width: int, context: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab, width)
        self.positions = nn.Parameter(0.3 * torch.randn(context, width))
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, 2)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        self.head = nn.Linear(width, vocab)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits (b, vocab, t) for tokens (b, t)."""
        x = self.tokens(tokens) + self.positions[: tokens.shape[1]]
        x = x + self.attention(self.norm(x))
        x = x + self.down(F.gelu(self.up(x)))
        return self.head(x).transpose(1, 2)


@_reproducible
def transformer(dtype: torch.dtype) -> Problem:
    """A causal language model with ignored positions, 225 parameters."""
    model = Transformer(vocab=5, width=4, context=5)
    x, y = torch.randint(0, 5, (4, 5)), torch.randint(0, 5, (4, 5))
    # Sequences of unequal length: batches count unequal numbers of tokens.
    y[0, 2:] = IGNORED
    y[2, 4:] = IGNORED
    return model, nn.CrossEntropyLoss(ignore_index=IGNORED), (x, y)


class Recurrent(nn.Module):
    """An LSTM read out at its last step."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2, 3, batch_first=True)
        self.head = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (b, 2) for sequences (b, t, 2)."""
        return self.head(self.lstm(x)[0][:, -1])


@_reproducible
def lstm(dtype: torch.dtype) -> Problem:
    """A recurrent classifier with class weights, 92 parameters."""
    loss_fn = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0]))
    return Recurrent(), loss_fn, (torch.randn(6, 4, 2), torch.randint(0, 2, (6,)))


class Tied(nn.Module):
    """A bigram language model whose output layer is its embedding."""

    def __init__(self, vocab: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, width)
        self.hidden = nn.Linear(width, width)
        self.head = nn.Linear(width, vocab, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits (b, vocab) for tokens (b,)."""
        return self.head(torch.tanh(self.hidden(self.embedding(tokens))))


@_reproducible
def tied(dtype: torch.dtype) -> Problem:
    """A language model with tied embeddings, 44 parameters."""
    x, y = torch.randint(0, 6, (10,)), torch.randint(0, 6, (10,))
    return Tied(6, 4), nn.CrossEntropyLoss(), (x, y)


PROBLEMS: dict[str, Callable[..., Problem]] = {
    f.__name__: f for f in (mlp, regression, cnn, transformer, lstm, tied)
}
"""Every problem by name, to parametrise tests with."""


class Ridge:
    """A loss with a penalty on the parameters, looked up in the model at every call."""

    def __init__(self, model: nn.Module, loss_fn: Any, strength: float) -> None:
        self.model = model
        self.loss_fn = loss_fn
        self.strength = strength

    def __call__(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        penalty = sum((p**2).sum() for p in self.model.parameters())
        return self.loss_fn(output, target) + 0.5 * self.strength * penalty


def cut(data: tuple[torch.Tensor, torch.Tensor], *points: int) -> list[tuple[torch.Tensor, ...]]:
    """Batches of ``(x, y)``, cut before each of `points`."""
    x, y = data
    edges = [0, *sorted(points), len(y)]
    return [(x[a:b], y[a:b]) for a, b in itertools.pairwise(edges) if a < b]
