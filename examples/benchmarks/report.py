"""What every benchmark prints and writes: a table in Markdown, with the machine it came from."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import torch


def add_option(parser: argparse.ArgumentParser) -> None:
    """Give a benchmark the ``--out`` option."""
    parser.add_argument("--out", type=Path, help="file for the table (Markdown)")


Section = tuple[str, list[str], list[list[str]]]
"""A heading (may be empty), the header of a table, its rows."""


def machine(device: str = "cpu") -> str:
    """What everything ran on."""
    found = (
        f"Python {platform.python_version()}, torch {torch.__version__}, SciPy "
        f"{scipy.__version__}, NumPy {np.__version__}, {torch.get_num_threads()} threads, "
        f"{platform.machine()}"
    )
    return found if device == "cpu" else f"{found}, {_gpu()}"


def _gpu() -> str:
    """Its name, and the versions between it and Python."""
    found = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        driver = subprocess.run(query, stdout=subprocess.PIPE, text=True, check=False).stdout
        found += f", driver {driver.strip().splitlines()[0] if driver.strip() else 'unknown'}"
    for name, version in _versions("cupy"):
        found += f", {name} {version}"
    return found


def _versions(word: str) -> list[tuple[str, str]]:
    """Of the installed distributions with this in their names: that of CuPy says which CUDA."""
    names = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
    return sorted((name, version) for name, version in names.items() if word in str(name).lower())


def record(found: Any, path: Path | None) -> None:
    """Write what there is so far as JSON, whole or not at all."""
    if path is not None:
        half = path.with_name(path.name + ".part")
        half.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        half.replace(path)


def publish(
    title: str, note: str, sections: list[Section], out: Path | None, device: str = "cpu"
) -> None:
    """Print tables, and write them where `out` says."""
    lines = [f"# {title}", "", note, "", machine(device)]
    for heading, header, rows in sections:
        lines += ["", f"## {heading}"] if heading else []
        lines += ["", _row(header), _row(["---"] * len(header)), *map(_row, rows)]
    text = "\n".join(lines) + "\n"
    print(text)
    if out is not None:
        out.write_text(text, encoding="utf-8")


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
