"""
The figures and tables of the report, one by one or all.

``python -m examples.report all --data DIR --out DIR [--quick]``

What has been computed lies in the output folder and is not computed again: a run that was ended
goes on where it was. "3.1", "4.2" and so on in place of "all" make those alone.
"""

from __future__ import annotations

import argparse
import os
import time
from importlib import import_module
from pathlib import Path

import torch

from examples.report.study import Study

SCRIPTS = {
    "figure_3_1": ("3.1", "A.1", "A.2", "A.3"),
    "figure_3_2": ("3.2",),
    "figure_3_3": ("3.3", "3.4"),
    "figure_3_5": ("3.5", "3.6"),
    "table_4_1": ("T4.1",),
    "figure_4_1": ("4.1",),
    "figure_4_2": ("4.2", "T4.2"),
    "figure_a_4": ("A.4", "A.5", "A.6"),
    "figure_4_3": ("4.3",),
    "figure_4_4": ("4.4", "A.7", "A.8"),
    "figure_4_5": ("4.5", "4.6"),
}
"""What each script makes; a T is a table's. In this order, each can use what came before."""


def chosen(names: list[str]) -> list[str]:
    """The scripts that make what was asked for."""
    known = [number for numbers in SCRIPTS.values() for number in numbers]
    if unknown := set(names) - {"all", *known}:
        raise SystemExit(f"figures must be of {', '.join(known)}, or all; got {sorted(unknown)}.")
    return [s for s, numbers in SCRIPTS.items() if "all" in names or set(numbers) & set(names)]


def main() -> None:
    """Make what was asked for, in order."""
    parser = argparse.ArgumentParser(prog="python -m examples.report", description=__doc__)
    parser.add_argument("figures", nargs="+", help='"all", or some of 3.1, ..., T4.1, ...')
    parser.add_argument("--data", type=Path, default=os.environ.get("HESSOP_DATA"))
    parser.add_argument("--out", type=Path, default=Path("report"))
    parser.add_argument("--quick", action="store_true", help="minutes, on less of everything")
    options = parser.parse_args()
    if options.data is None:
        parser.error("--data must be the folder with the data sets, or HESSOP_DATA name it.")
    options.out.mkdir(parents=True, exist_ok=True)
    study = Study(Path(options.data), options.out, options.quick)
    torch.set_num_threads(min(torch.get_num_threads(), os.cpu_count() or 1))
    for script in chosen(options.figures):
        started = time.perf_counter()
        import_module(f"examples.report.{script}").run(study)
        print(f"{script}: {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
