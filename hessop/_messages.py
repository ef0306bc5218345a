"""The form of every message about a wrong argument."""

from __future__ import annotations


def message(name: str, rule: str, got: object, remedy: str = "") -> str:
    """One sentence: name, rule, what came, remedy."""
    text = f"`{name}` must {rule}; got {got}."
    return f"{text} {remedy}" if remedy else text
