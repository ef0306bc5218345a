"""What every benchmark prints and writes: a table in Markdown, with the machine it came from."""

from __future__ import annotations

import argparse
import platform
from pathlib import Path

import numpy as np
import scipy
import torch


def add_option(parser: argparse.ArgumentParser) -> None:
    """Give a benchmark the ``--out`` option."""
    parser.add_argument("--out", type=Path, help="file for the table (Markdown)")


Section = tuple[str, list[str], list[list[str]]]
"""A heading (may be empty), the header of a table, its rows."""


def publish(title: str, note: str, sections: list[Section], out: Path | None) -> None:
    """Print tables, and write them where `out` says."""
    machine = (
        f"Python {platform.python_version()}, torch {torch.__version__}, SciPy "
        f"{scipy.__version__}, NumPy {np.__version__}, {torch.get_num_threads()} threads, "
        f"{platform.machine()}"
    )
    lines = [f"# {title}", "", note, "", machine]
    for heading, header, rows in sections:
        lines += ["", f"## {heading}"] if heading else []
        lines += ["", _row(header), _row(["---"] * len(header)), *map(_row, rows)]
    text = "\n".join(lines) + "\n"
    print(text)
    if out is not None:
        out.write_text(text, encoding="utf-8")


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
