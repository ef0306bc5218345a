"""Draw what was asked for."""

from __future__ import annotations

import argparse
from pathlib import Path

import examples.pictures
from examples.pictures import PICTURES, draw

_FOLDER = Path(__file__).parents[2] / "docs" / "pictures"


def main() -> None:
    """One picture, or all."""
    assert examples.pictures.__doc__ is not None
    parser = argparse.ArgumentParser(description=examples.pictures.__doc__.splitlines()[1])
    parser.add_argument("--out", type=Path, default=_FOLDER, help="where the pictures go")
    parser.add_argument("--only", choices=PICTURES, help="one of them")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in [options.only] if options.only else PICTURES:
        path = draw(name, options.out)
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
