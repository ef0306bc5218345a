"""What a run of the report was asked for, and where it keeps what it has computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hessop._files import replaced

T = TypeVar("T")
Arrays = dict[str, Any]
"""NumPy arrays by name."""


@dataclass(frozen=True)
class Study:
    """
    One run: where data come from and results go, and whether it is the short one.

    Attributes
    ----------
    data : Path
        Folder with mnist.npz, fashion_mnist.npz, cifar10_gray28.npz and tinyshakespeare.txt.
    out : Path
        Folder for pictures, tables and, in "work", for what was computed.
    quick : bool
        Whether minutes are to do, on fewer examples and steps.
    """

    data: Path
    out: Path
    quick: bool = False

    def sized(self, full: T, quick: T) -> T:
        """The size of something: that of the report, or that of a short run."""
        return quick if self.quick else full

    @property
    def work(self) -> Path:
        """Where results lie, those of short and full runs apart."""
        folder = self.out / "work" / self.sized("full", "quick")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def once(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """What `compute` gives, from its file where there is one: a killed run goes on there."""
        path = self.work / f"{name}.npz"
        if not path.is_file():
            found = compute()
            with replaced(path) as file:
                np.savez(file, **found)
        with np.load(path) as archive:
            return dict(archive)

    def picture(self, name: str, figure: Any) -> None:
        """Write a figure, of a size that a page shows as it is, in few colours: a small file."""
        import matplotlib.pyplot as plt
        from PIL import Image

        drawn = BytesIO()
        figure.savefig(drawn, dpi=80)
        palette = Image.open(drawn).convert("RGB").quantize(128)
        palette.save(self.out / f"{name}.png", optimize=True)
        plt.close(figure)
        print(f"wrote {self.out / f'{name}.png'}", flush=True)

    def table(
        self, name: str, header: Sequence[str], rows: Sequence[Sequence[Any]], note: str = ""
    ) -> None:
        """Write a table in Markdown, with a note before it, and print it."""
        lines = [note, ""] if note else []
        lines += [_row(header), _row(["---"] * len(header)), *map(_row, rows)]
        (self.out / f"{name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
        print("", f"{name}:", *lines, sep="\n", flush=True)


def _row(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"
