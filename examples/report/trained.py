"""The report's network on three data sets, trained as its Table 4.1 says (section 4.1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from examples import data
from examples.models import mlp
from examples.report.study import Arrays, Study

LOSS = torch.nn.CrossEntropyLoss()
_BATCH, _HIDDEN = 64, 16


@dataclass(frozen=True)
class Dataset:
    """
    A data set, and what the report says of training on it.

    Attributes
    ----------
    name : str
        As the report writes it.
    file : str
        Of the archive.
    epochs : int
        How long it trains; batches of 64.
    looks : tuple of int
        Epochs after which the report shows a spectrum, 0 being initialisation.
    reported : tuple of float
        Training loss, test loss and test accuracy.
    converged : tuple of int
        Of 100 Ritz values, at initialisation and after training (Table 4.2).
    """

    name: str
    file: str
    epochs: int
    looks: tuple[int, ...]
    reported: tuple[float, float, float]
    converged: tuple[int, int]


DATASETS = (
    Dataset("MNIST", "mnist", 15, (0, 5, 10, 15), (0.2021, 0.2049, 0.9405), (41, 47)),
    Dataset(
        "FashionMNIST", "fashion_mnist", 20, (0, 5, 15, 20), (0.3541, 0.4042, 0.8566), (44, 57)
    ),
    Dataset("CIFAR-10", "cifar10_gray28", 30, (0, 10, 20, 30), (1.7793, 1.8097, 0.3542), (69, 54)),
)


def examples_of(study: Study, dataset: Dataset, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Its images in [0, 1] and labels; in a short run few, of a quarter of the pixels."""
    x, y = data.images(study.data, dataset.file, split)
    if study.quick:
        x, y = x[:2000], y[:2000]
        x = torch.nn.functional.avg_pool2d(x.view(-1, 1, 28, 28), 2).flatten(1)
    return x, y


def network(
    study: Study, parameters: np.ndarray | None = None, dtype: torch.dtype = torch.float64
) -> Any:
    """The 784-16-10 sigmoid network, 12,730 parameters (3,322 in a short run)."""
    model = mlp((study.sized(784, 196), _HIDDEN, 10)).to(dtype)
    if parameters is not None:
        flat = torch.from_numpy(parameters).to(dtype)
        torch.nn.utils.vector_to_parameters(flat, model.parameters())
    return model


def training(study: Study, dataset: Dataset, seed: int = 0) -> Arrays:
    """
    Parameters after the epochs that are looked at, and the losses at the end.

    The report does not state optimiser, learning rate, scaling of the images and seed. Of Adam and
    SGD, with and without momentum, at several rates and with three scalings, SGD at 0.01 with
    momentum 0.9 on pixels in [0, 1] comes nearest to its training losses.
    """
    name = f"training-{dataset.file}-{seed}"
    return study.once(name, partial(_trained, study, dataset, seed))


def _trained(study: Study, dataset: Dataset, seed: int) -> Arrays:
    x, y = examples_of(study, dataset, "train")
    torch.manual_seed(seed)
    model = network(study, dtype=torch.float32)
    states = {}
    for epoch, parameters in _epochs(model, x, y, dataset.epochs, seed):
        if epoch in dataset.looks:
            states[f"epoch_{epoch}"] = parameters
    with torch.no_grad():
        u, v = examples_of(study, dataset, "test")
        logits = model(u)
        quality = [float(LOSS(model(x), y)), float(LOSS(logits, v))]
        quality.append(float((logits.argmax(1) == v).double().mean()))
    return states | {"quality": np.array(quality)}


def _epochs(
    model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, epochs: int, seed: int
) -> Iterator[tuple[int, np.ndarray]]:
    """The parameters before the first epoch and after each."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    flat = torch.nn.utils.parameters_to_vector
    yield 0, flat(model.parameters()).detach().numpy().copy()
    for epoch in range(1, epochs + 1):
        for rows in torch.randperm(len(x), generator=generator).split(_BATCH):
            optimizer.zero_grad()
            LOSS(model(x[rows]), y[rows]).backward()
            optimizer.step()
        yield epoch, flat(model.parameters()).detach().numpy().copy()
