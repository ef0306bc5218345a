"""What several searches after one another can do without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hessop import _validation


def refuse(options: Mapping[str, Any]) -> None:
    """Refuse what belongs to one search: all must come to an end, and none leave a file behind."""
    for name in ("checkpoint", "callback"):
        if options.get(name) is not None:
            raise ValueError(
                _validation.message(
                    name,
                    "be None, for there are many searches",
                    repr(options[name]),
                    "Call hessop.lanczos for each operator.",
                )
            )
