"""
Sphinx configuration. Build with ``python -m sphinx -W -b html docs docs/_build/html``.

The build needs no network. Two environment variables change it:

HESSOP_GALLERY
    ``0`` shows the example scripts without running them. Default: they run.
HESSOP_INTERSPHINX
    ``1`` links to the documentation of Python, NumPy, SciPy and torch, whose inventories are then
    fetched. Default: no links.
"""

from __future__ import annotations

import inspect
import os
import sys
import tomllib
from pathlib import Path
from typing import Any

from scipy.sparse.linalg import LinearOperator

_DOCS = Path(__file__).parent
_ROOT = _DOCS.parent
_EXAMPLES = _ROOT / "examples"
_TABLES = _EXAMPLES / "benchmarks" / "results"

sys.path.insert(0, str(_ROOT))  # the working tree is documented; gallery scripts import examples

project = "hessop"
author = "The hessop developers"
copyright = "the hessop developers"
release = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["version"]
version = ".".join(release.split(".")[:2])

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "myst_parser",
    "numpydoc",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_templates", "report/*"]  # tables that pages include
default_role = "py:obj"
myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3

# The API: one generated page for each public name.
autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's sections say it in words
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # the class template does that, without SciPy's own members
numpydoc_xref_param_type = False
# Everything that numpydoc can check, less what this project does otherwise or leaves to judgement.
numpydoc_validation_checks = {
    "all",
    "ES01",  # a short docstring needs no extended summary
    "SA01",  # nor See Also
    "EX01",  # nor Examples of its own for each small method
    "PR03",  # eigsh documents in one entry what it refuses
    "SS05",  # a summary may begin with a noun, and plurals look like verbs
}
# Made by functions, not by users: what they hold is in Attributes, not in Parameters.
numpydoc_validation_exclude = {
    r"\.(EigenResult|Tridiagonal|SpectralDensity|Estimate|ConfidenceInterval|NoConvergence)$",
    r"\.(LanczosState|Trajectory|BoundedEstimate|DiagonalEstimate)$",
    r"\.(NormEstimate|SpectralNormEstimate|ChebyshevDensity|FunmResult|Bootstrap|Comparison)$",
    r"\.(ProductOperator|SyntheticOperator|Report)$",
}

# Intersphinx fetches inventories, so it is asked for.
if os.environ.get("HESSOP_INTERSPHINX", "0") == "1":
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "scipy": ("https://docs.scipy.org/doc/scipy", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
    }

# The gallery: the scripts plot_*.py of examples/, if there are any, and the header that it needs.
if any(_EXAMPLES.glob("plot_*.py")) and any(_EXAMPLES.glob("GALLERY_HEADER.*")):
    extensions.append("sphinx_gallery.gen_gallery")
    sphinx_gallery_conf = {
        "examples_dirs": "../examples",
        "gallery_dirs": "gallery",
        "filename_pattern": r"[\\/]plot_",
        "ignore_pattern": r"^(?!plot_)",
        "plot_gallery": os.environ.get("HESSOP_GALLERY", "1") != "0",
        "abort_on_example_error": True,
        "download_all_examples": False,
        "remove_config_comments": True,
        "show_memory": False,
        "backreferences_dir": None,
    }
else:
    exclude_patterns += ["gallery", "sg_execution_times.rst"]

html_theme = "pydata_sphinx_theme"
html_title = f"hessop {release}"
html_show_sourcelink = False
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "show_prev_next": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"start": [], "architecture": [], "benchmarks": [], "contributing": []}


def _signature(app: Any, what: str, name: str, obj: Any, *_: Any) -> tuple[str, str] | None:
    """Operators with the signature of their ``__init__``: SciPy's ``__new__`` hides it."""
    if what != "class" or not issubclass(obj, LinearOperator):
        return None
    parameters = list(inspect.signature(obj.__init__).parameters.values())[1:]
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
    return str(inspect.Signature(bare)), ""


def _insert(app: Any, docname: str, source: list[str]) -> None:
    """Put in what the pages ask for by a comment, as far as there is any."""
    if docname == "index":
        there = "sphinx_gallery.gen_gallery" in extensions
        source[0] = source[0].replace("<!-- gallery -->", "gallery/index" if there else "")
    if docname == "benchmarks":
        tables = [
            f"```{{literalinclude}} {os.path.relpath(path, _DOCS)}\n:language: text\n```\n"
            for path in sorted(_TABLES.glob("*.md"))
        ]
        text = "\n".join(tables) or "No tables have been committed yet."
        source[0] = source[0].replace("<!-- tables -->", text)


def setup(app: Any) -> None:
    """Connect what is particular to these pages."""
    app.connect("source-read", _insert)
    app.connect("autodoc-process-signature", _signature, priority=400)  # before numpydoc
