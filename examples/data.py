"""Data for examples and benchmarks: a folder of archives if there is one, digits if not."""

from __future__ import annotations

import argparse
import os
from functools import cache
from pathlib import Path

import numpy as np
import torch


def add_option(parser: argparse.ArgumentParser) -> None:
    """Give a script the ``--data`` option; the environment variable HESSOP_DATA is its default."""
    parser.add_argument(
        "--data",
        default=os.environ.get("HESSOP_DATA"),
        help="folder with mnist.npz, fashion_mnist.npz, cifar10_gray28.npz, tinyshakespeare.txt",
    )


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """The 1,797 digits that scikit-learn ships, (n, 64) in [0, 1], and their labels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    x = torch.from_numpy(data.data / 16.0).float()
    return x, torch.from_numpy(data.target).long()


def images(
    folder: str | Path, name: str = "mnist", split: str = "train"
) -> tuple[torch.Tensor, torch.Tensor]:
    """The images of an archive, "train" or "test", (n, 784) in [0, 1], and their labels."""
    path = Path(folder) / f"{name}.npz"
    if not path.is_file():
        raise FileNotFoundError(f"--data must be a folder that holds {path.name}; got {folder}.")
    with np.load(path) as archive:
        x = torch.from_numpy(archive[f"x_{split}"].reshape(-1, 784)).float() / 255.0
        return x, torch.from_numpy(archive[f"y_{split}"]).long()


def characters(
    folder: str | Path | None, blocks: int, length: int = 64, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Blocks of characters and their successors, each (blocks, length), 65 symbols.

    Random symbols where there is no folder: good enough to time a product, nothing else.
    """
    generator = torch.Generator().manual_seed(seed)
    if folder is None:
        text = torch.randint(65, (100_000,), generator=generator)
    else:
        text = _text(Path(folder))
    starts = torch.randint(len(text) - length - 1, (blocks,), generator=generator)
    rows = torch.stack([text[s : s + length + 1] for s in starts.tolist()])
    return rows[:, :-1], rows[:, 1:]


@cache
def _text(folder: Path) -> torch.Tensor:
    """TinyShakespeare as numbers."""
    raw = (folder / "tinyshakespeare.txt").read_text(encoding="ascii")
    symbols = {c: i for i, c in enumerate(sorted(set(raw)))}
    return torch.tensor([symbols[c] for c in raw])
