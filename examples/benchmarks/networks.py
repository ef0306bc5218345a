"""The networks that products are measured on, each with its data."""

from __future__ import annotations

import torch
from torch import nn

from examples import data
from examples.models import CharTransformer, gpt2_small, mlp, resnet18

LOSS = nn.CrossEntropyLoss()

Case = tuple[nn.Module, torch.Tensor, torch.Tensor]
Batches = list[tuple[torch.Tensor, torch.Tensor]]

NAMES = {
    "mlp": "MLP 784-16-10, 10,000 images",
    "transformer": "transformer, 4 layers, width 128, 32 x 64 characters",
    "cnn": "CNN, 2 convolutions, batch norm, 256 images",
}


def small_cnn() -> nn.Sequential:
    """Two convolutions of 16 and 32 channels with batch norm on 28 x 28 images, in eval mode."""
    layers: list[nn.Module] = []
    for channels, wider in ((1, 16), (16, 32)):
        layers += [nn.Conv2d(channels, wider, 3, padding=1), nn.BatchNorm2d(wider)]
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 49, 10)).eval()


def case(name: str, folder: str | None) -> Case:
    """Network, inputs and targets; without a folder images are random numbers."""
    torch.manual_seed(0)
    if name == "transformer":
        return CharTransformer(), *data.characters(folder, 32)
    count = 10_000 if name == "mlp" else 256
    x, y = torch.rand(count, 784), torch.randint(10, (count,))
    if folder is not None:
        x, y = (t[:count] for t in data.images(folder))
    if name == "mlp":
        return mlp((784, 16, 10)), x, y
    return small_cnn(), x.reshape(-1, 1, 28, 28), y


ON_GPU = {
    "mlp": "MLP, one batch",
    "mlp-batches": "MLP, 20 batches",
    "resnet": "ResNet-18",
    "transformer": "GPT-2 small",
}


def gpu_case(
    name: str, folder: str | None, sequences: int, small: bool
) -> tuple[nn.Module, Batches]:
    """
    Network and batches, of a size for a GPU or, if `small`, for trying out.

    Images of the ResNet and tokens are random numbers, which take as long as others.
    """
    torch.manual_seed(0)
    if name.startswith("mlp"):
        network, x, y = case("mlp", folder)
        if small:
            network, x = mlp((20, 8, 10)), x[:, :20]
            x, y = x[:400], y[:400]
        parts = 20 if name == "mlp-batches" else 1
        return network, list(zip(x.chunk(parts), y.chunk(parts), strict=True))
    if name == "resnet":
        count = 4 if small else 512
        images = torch.rand(count, 3, 32, 32), torch.randint(10, (count,))
        return resnet18(width=4 if small else 64).eval(), [images]
    length, vocab = (16, 65) if small else (512, 50257)
    model = CharTransformer(width=32, layers=2) if small else gpt2_small()
    text = torch.randint(vocab, (2 if small else sequences, length + 1))
    return model, [(text[:, :-1], text[:, 1:])]
