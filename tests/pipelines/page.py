"""
The tables of docs/pipelines.md, made of the tables that are tested.

Run ``python -m tests.pipelines.page`` after a change of a row or a column.
"""

from __future__ import annotations

from pathlib import Path

from tests.pipelines.operators import OPERATORS, SINGLE
from tests.pipelines.optimizers import OPTIMIZERS
from tests.pipelines.others import INFLUENCE, PYLOPS
from tests.pipelines.refused import REFUSALS, SINGLE_REFUSALS
from tests.pipelines.spectra import EIGENVALUES, FUNCTIONS
from tests.pipelines.systems import SYSTEMS

PAGE = Path(__file__).parents[2] / "docs" / "pipelines.md"
BEGIN, END = "<!-- tables: begin -->\n", "<!-- tables: end -->\n"

GROUPS = {
    "Eigenvalues and singular values": EIGENVALUES,
    "Functions and compositions": FUNCTIONS,
    "Linear systems and least squares": SYSTEMS,
    "scipy.optimize": OPTIMIZERS,
    "PyLops": PYLOPS,
    "Influence functions": INFLUENCE,
}
CONSUMERS = [row for rows in GROUPS.values() for row in rows]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def tables() -> str:
    """One for each group, then what is refused."""
    parts = []
    for title, rows in GROUPS.items():
        cells = [
            [
                row.name + (" *" if row.damped else ""),
                *(
                    "64, 32" if row.single is not None and name in SINGLE else "64"
                    for name in OPERATORS
                ),
            ]
            for row in rows
        ]
        parts.append(f"### {title}\n\n" + _table(["", *OPERATORS], cells))
    for title, rows in (("Refused", REFUSALS), ("Refused in float32", SINGLE_REFUSALS)):
        cells = [[r.name, f"`{r.error.__name__}`: {r.match}", r.instead] for r in rows]
        parts.append(f"### {title}\n\n" + _table(["call", "what is raised", "instead"], cells))
    return "\n".join(parts)


def page() -> str:
    """The page as it should be."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    return before + BEGIN + "\n" + tables() + "\n" + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
