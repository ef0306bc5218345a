"""
Networks as people have them, each in a few hundred parameters.

Factories in the style of `tests.models`, of which some are taken over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from tests import models
from tests.models import Problem

ZOO: dict[str, Callable[..., Problem]] = {
    f.__name__: f for f in (models.mlp, models.cnn, models.transformer, models.lstm)
}
"""Every network by name, to parametrise tests with."""


def _member(factory: Callable[[torch.dtype], Problem]) -> Callable[..., Problem]:
    ZOO[factory.__name__] = models._reproducible(factory)
    return ZOO[factory.__name__]


def _used(model: nn.Module) -> nn.Module:
    """Give normalisation scales, shifts and statistics that matter."""
    for module in model.modules():
        if "Norm" in type(module).__name__:
            for name, p in module.named_parameters(recurse=False):
                nn.init.normal_(p, mean=float(name == "weight"), std=0.3)
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 2.0)
    return model


def _classified(model: nn.Module, x: torch.Tensor) -> Problem:
    return _used(model), nn.CrossEntropyLoss(), (x, torch.randint(0, 3, (len(x),)))


class Residual(nn.Module):
    """The basic block of ResNet-18, written in place as in torchvision."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        shortcut = nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
        self.downsample = nn.Sequential(*shortcut) if stride > 1 else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


@_member
def resnet(dtype: torch.dtype) -> Problem:
    """Residual blocks without and with a strided shortcut, in eval mode."""
    stem = (nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2), nn.ReLU(inplace=True))
    blocks = (Residual(2, 2, 1), Residual(2, 3, 2))
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
    return _classified(nn.Sequential(*stem, *blocks, *head).eval(), torch.randn(5, 1, 4, 4))


class Block(nn.Module):
    """A block of nanoGPT, with torch's choice of attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = (nn.LayerNorm(width, bias=False) for _ in range(2))
        self.c_attn = nn.Linear(width, 3 * width, bias=False)
        self.c_proj = nn.Linear(width, width, bias=False)
        self.c_fc = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(2 * width, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, w = x.shape
        q, k, v = self.c_attn(self.ln_1(x)).split(w, dim=2)
        q, k, v = (z.view(b, t, 2, w // 2).transpose(1, 2) for z in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.c_proj(y.transpose(1, 2).contiguous().view(b, t, w))
        return x + self.out(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


class NanoGPT(nn.Module):
    """A causal language model whose head is its embedding; classes come second."""

    def __init__(self, vocab: int, width: int, context: int) -> None:
        super().__init__()
        self.wte = nn.Embedding(vocab, width)
        self.wpe = nn.Embedding(context, width)
        self.block = Block(width)
        self.ln_f = nn.LayerNorm(width, bias=False)
        self.lm_head = nn.Linear(width, vocab, bias=False)
        self.wte.weight = self.lm_head.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1], device=tokens.device))
        return self.lm_head(self.ln_f(self.block(x))).transpose(1, 2)


def _language(model: nn.Module) -> Problem:
    """Five words in sequences of four, some of which do not count."""
    tokens = torch.randint(0, 5, (4, 5))
    x, y = tokens[:, :-1].clone(), tokens[:, 1:].clone()
    y[0, 1:] = models.IGNORED
    return _used(model), nn.CrossEntropyLoss(), (x, y)


@_member
def nanogpt(dtype: torch.dtype) -> Problem:
    """A causal language model with tied embeddings."""
    return _language(NanoGPT(5, 4, 4))


class Encoder(nn.Module):
    """torch's own transformer layer, then torch's own attention from a learned query."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 5, dropout=0.0, batch_first=True)
        self.query = nn.Parameter(torch.randn(1, 1, 4))
        self.attention = nn.MultiheadAttention(4, 1, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padding = (x == 0).all(-1)
        x = self.layer(x, src_key_padding_mask=padding)
        query = self.query.expand(len(x), 1, 4)
        return self.head(self.attention(query, x, x, key_padding_mask=padding)[0].squeeze(1))


@_member
def encoder(dtype: torch.dtype) -> Problem:
    """TransformerEncoderLayer and MultiheadAttention with padding."""
    x = torch.randn(5, 3, 4)
    x[1, 2:] = 0
    return _classified(Encoder(), x)


class Last(nn.Module):
    """A recurrent layer read out at its last step."""

    def __init__(self, layer: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.layer, self.head = layer, head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(x)[0][:, -1])


@_member
def gru(dtype: torch.dtype) -> Problem:
    """Two layers of GRU in both directions, with a squared error."""
    layer = nn.GRU(2, 1, num_layers=2, bidirectional=True, batch_first=True)
    return Last(layer, nn.Linear(2, 2)), nn.MSELoss(), (torch.randn(5, 3, 2), torch.randn(5, 2))


class UNet(nn.Module):
    """Down, up and a skip connection, with group normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.GroupNorm(1, 2), nn.SiLU())
        self.down = nn.Sequential(nn.Conv2d(2, 4, 2, 2), nn.GroupNorm(2, 4), nn.SiLU())
        self.up = nn.ConvTranspose2d(4, 2, 2, 2)
        self.leave = nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = self.enter(x)
        return self.leave(torch.cat([self.up(self.down(skip)), skip], 1))


@_member
def unet(dtype: torch.dtype) -> Problem:
    """An image from an image, with a squared error for each pixel."""
    return _used(UNet()), nn.MSELoss(), (torch.randn(3, 1, 4, 4), torch.randn(3, 1, 4, 4))


class Experts(nn.Module):
    """A mixture of experts of which each example visits the two best."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(3, 4, bias=False)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(3, 2), nn.GELU(), nn.Linear(2, 3)) for _ in range(4)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores, chosen = self.gate(x).topk(2, dim=-1)
        shares, out = scores.softmax(-1), torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            rows, place = torch.where(chosen == e)
            out.index_add_(0, rows, shares[rows, place, None] * expert(x[rows]))
        return x + out


@_member
def experts(dtype: torch.dtype) -> Problem:
    """A mixture of experts with top-k routing."""
    return _classified(Experts(), torch.randn(6, 3))


@_member
def bag(dtype: torch.dtype) -> Problem:
    """Means of bags of words."""
    model = nn.Sequential(nn.EmbeddingBag(7, 4), nn.Tanh(), nn.Linear(4, 3))
    return _classified(model, torch.randint(0, 7, (6, 3)))


@_member
def weight_normed(dtype: torch.dtype) -> Problem:
    """Directions and lengths of weights apart."""
    first, second = weight_norm(nn.Conv1d(2, 3, 2)), weight_norm(nn.Linear(9, 3))
    return _classified(nn.Sequential(first, nn.Tanh(), nn.Flatten(), second), torch.randn(5, 2, 4))


@_member
def spectral_train(dtype: torch.dtype) -> Problem:
    """Weights over their norm, of which each forward pass writes a better estimate to buffers."""
    layers = spectral_norm(nn.Linear(4, 5)), nn.Tanh(), spectral_norm(nn.Linear(5, 3))
    return _classified(nn.Sequential(*layers), torch.randn(6, 4))


@_member
def spectral_eval(dtype: torch.dtype) -> Problem:
    """The same with the estimate that is there."""
    model, loss_fn, data = ZOO["spectral_train"]()
    return model.eval(), loss_fn, data


class LoRA(nn.Module):
    """A frozen layer and a correction of rank 2."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.base = nn.Linear(inside, outside).requires_grad_(False)
        self.A = nn.Parameter(torch.randn(2, inside))
        self.B = nn.Parameter(0.3 * torch.randn(outside, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + x @ self.A.T @ self.B.T


@_member
def lora(dtype: torch.dtype) -> Problem:
    """Low-rank corrections of frozen layers."""
    return _classified(nn.Sequential(LoRA(4, 5), nn.GELU(), LoRA(5, 3)), torch.randn(6, 4))


@_member
def activations(dtype: torch.dtype) -> Problem:
    """One activation after the other, and several labels at once."""
    kinds = nn.SiLU, nn.Softplus, nn.ELU, nn.LeakyReLU, nn.Hardswish, nn.Mish
    layers = [layer for kind in kinds for layer in (nn.Linear(3, 3), kind())]
    return nn.Sequential(*layers), nn.BCEWithLogitsLoss(), (torch.randn(5, 3), torch.rand(5, 3))


@_member
def convolutions(dtype: torch.dtype) -> Problem:
    """Dilated, grouped, depthwise with padding that is no zeros, pointwise; means of windows."""
    layers = (
        nn.Conv2d(1, 4, 3, dilation=2, padding=2),
        nn.Sigmoid(),
        nn.Conv2d(4, 4, 3, groups=2, padding=1, padding_mode="circular"),
        nn.AvgPool2d(2, padding=1),
        nn.Conv2d(4, 3, 1),
        nn.AdaptiveAvgPool2d((3, 2)),
        nn.Flatten(2),
        nn.Tanh(),
        nn.Conv1d(3, 3, 3, groups=3),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
    )
    return _classified(nn.Sequential(*layers), torch.randn(5, 1, 4, 4))


@_member
def gpt2(dtype: torch.dtype) -> Problem:
    """Hugging Face's GPT-2."""
    transformers = pytest.importorskip("transformers")
    sizes = {"n_layer": 1, "n_head": 2, "n_embd": 4, "n_inner": 5, "n_positions": 4}
    ends = {"bos_token_id": 0, "eos_token_id": 0}  # those of the full vocabulary by default
    config = transformers.GPT2Config(vocab_size=5, use_cache=False, **sizes, **ends)
    return _language(transformers.GPT2LMHeadModel(config).eval())


@_member
def vit(dtype: torch.dtype) -> Problem:
    """Hugging Face's vision transformer."""
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2}
    image = {"image_size": 4, "patch_size": 2, "num_channels": 1, "num_labels": 3}
    config = transformers.ViTConfig(intermediate_size=5, **sizes, **image)
    model = transformers.ViTForImageClassification(config).eval()
    return _classified(model, torch.randn(4, 1, 4, 4))


LOGITS: dict[str, Callable[[Any, torch.Tensor], torch.Tensor]] = {
    "gpt2": lambda model, tokens: model(input_ids=tokens).logits.transpose(1, 2),
    "vit": lambda model, images: model(pixel_values=images).logits,
}
"""How to come to the logits of networks that return more than those."""
