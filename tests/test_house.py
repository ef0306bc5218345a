"""The rules of the house: who imports whom, how long a file is, how public names are documented."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import hessop

HOUSE = Path(hessop.__file__).parent
FILES = sorted(HOUSE.rglob("*.py"))
# From left to right; each may import those before it, and the ground floor.
ROOMS = ("curvature", "operators", "krylov", "quadrature")
UPSTAIRS = ("perturbation", "plot")  # each may import every room, but not the other
LONGEST = 260


def module_name(path):
    """``hessop/krylov/basis.py`` as ``hessop.krylov.basis``."""
    parts = ("hessop", *path.relative_to(HOUSE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def place(name):
    """Where a module belongs: "ground", a room, or "hall" for the package itself."""
    parts = name.split(".")
    if len(parts) == 1:
        return "hall"
    return "ground" if parts[1].startswith("_") else parts[1]


def imports(path):
    """Every module of the house that a file imports anywhere, also inside functions."""
    here = module_name(path).split(".")
    package = here if path.name == "__init__.py" else here[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                whole = f"{source}.{alias.name}"
                found.add(whole if whole in MODULES else source)
    return {name for name in found if name.split(".")[0] == "hessop"}


def allowed(where):
    """The places that a file in this place may import from."""
    if where == "ground":
        return {"ground"}
    if where in ROOMS:
        return {"ground", *ROOMS[: ROOMS.index(where) + 1]}
    if where == "synthetic":
        return {"ground", "operators", "synthetic"}
    if where in UPSTAIRS:
        return {"ground", *ROOMS, where}
    return {"ground", *ROOMS, *UPSTAIRS, "synthetic", "hall"}


def test_every_file_has_a_place():
    """A new room is a decision, and is to be written down here."""
    places = {place(name) for name in MODULES}
    assert places <= {"hall", "ground", "synthetic", *ROOMS, *UPSTAIRS}
    assert {"hall", "ground", "curvature", "operators"} <= places


@pytest.mark.parametrize("name", MODULES)
def test_data_flow_one_way(name):
    """A file imports the ground floor, its own room and those to the left, and no other."""
    where = place(name)
    for imported in imports(MODULES[name]):
        assert place(imported) in allowed(where), f"{name} imports {imported}"


def test_the_walk_finds_imports(tmp_path):
    """Of every form, also relative ones and those inside functions."""
    path = HOUSE / "operators" / "adapt.py"
    assert {"hessop._exchange", "hessop._product", "hessop.operators.face"} <= imports(path)
    source = (
        "import hessop.krylov.basis\n"
        "from hessop import _space, lanczos\n"
        "from . import face\n"
        "from ..curvature import data as d\n"
        "from .algebra import deflated\n"
        "def f():\n    from hessop.plot import density\n"
    )
    fake = HOUSE / "operators" / "fake.py"

    class Fake(type(fake)):
        def read_text(self, *args, **kwargs):
            return source

    assert imports(Fake(fake)) == {
        "hessop.krylov.basis",
        "hessop._space",
        "hessop",
        "hessop.operators.face",
        "hessop.curvature.data",
        "hessop.operators.algebra",
        "hessop.plot",
    }


def at_import_time(tree):
    """Names of the modules that are imported when a file is, not when a function is called."""
    found, todo = set(), list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            todo += node.orelse
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            todo += list(ast.iter_child_nodes(node))
    return {name.split(".")[0] for name in found}


OPTIONAL = {"matplotlib", "cupy", "cupyx", "tqdm", "sklearn"}
# The class that derives from CuPy's, in a file that is imported when it is first asked for.
ON_DEMAND = {"hessop.operators.cupy_face": {"cupyx"}}


@pytest.mark.parametrize("name", MODULES)
def test_optional_packages_are_imported_when_needed(name):
    """`import hessop` works without matplotlib and CuPy, and does not wait for tqdm."""
    modules = at_import_time(ast.parse(MODULES[name].read_text()))
    assert modules & OPTIONAL == ON_DEMAND.get(name, set())


def test_import_alone_brings_in_nothing_optional():
    """In a process of its own."""
    look = "import hessop, sys; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    modules = set(found.stdout.split())
    assert "hessop" in modules
    assert not modules & {*OPTIONAL, *ON_DEMAND} - {"tqdm"}  # torch itself imports that one


@pytest.mark.parametrize("name", MODULES)
def test_no_file_is_long(name):
    """What does not fit belongs in two files."""
    assert len(MODULES[name].read_text().splitlines()) <= LONGEST


@pytest.mark.parametrize("name", MODULES)
def test_every_file_says_what_it_is_for(name):
    """In its first line."""
    docstring = ast.get_docstring(ast.parse(MODULES[name].read_text()))
    assert docstring
    assert docstring.strip().splitlines()[0].endswith((".", "?"))


def public_names():
    """Every public name, those of public modules, and the public methods of public classes."""
    found = {}

    def add(name, thing):
        found[name] = thing
        if inspect.isclass(thing):
            own = [base for base in thing.__mro__ if base.__module__.startswith("hessop")]
            for attribute, member in (item for base in own for item in vars(base).items()):
                described = inspect.isfunction(member) or isinstance(
                    member, (property, classmethod)
                )
                if described and not attribute.startswith("_"):
                    found[f"{name}.{attribute}"] = member

    for name, thing in vars(hessop).items():
        if name.startswith("_") or (inspect.ismodule(thing) and place(thing.__name__) in ROOMS):
            continue
        if inspect.ismodule(thing):
            for inner, member in vars(thing).items():
                own = getattr(member, "__module__", "").startswith(thing.__name__)
                if not inner.startswith("_") and own and callable(member):
                    add(f"hessop.{name}.{inner}", member)
        else:
            add(f"hessop.{name}", thing)
    return found


PUBLIC = public_names()
# GL: form; SS: summary; PR: parameters; RT: returns. Not asked for: an extended summary (ES01), See
# Also (SA01) and Examples (EX01) everywhere, a verb at the beginning (SS05 takes any noun in the
# plural for one in the third person), parameters in the order of the signature where they are
# described in groups (PR03).
CHECKS = {"GL01", "GL02", "GL03", "GL05", "GL06", "GL07", "GL08", "GL10"}
CHECKS |= {"SS01", "SS02", "SS03", "SS04"}
CHECKS |= {"PR01", "PR02", "PR04", "PR05", "PR06", "PR07", "PR08", "PR09", "PR10"}
CHECKS |= {"RT01", "RT03", "RT04", "RT05", "YD01"}


def checks(thing):
    """All, but for a class that is read and not made by its user: it describes its attributes."""
    text = inspect.getdoc(thing) or ""
    read = "Attributes\n---" in text or hasattr(thing, "_fields")
    made = "Parameters\n---" in text
    return CHECKS - {"PR01"} if inspect.isclass(thing) and read and not made else CHECKS


def test_the_public_names_are_those_of_the_design():
    """What is there is a class or a function, and the operators are among them."""
    assert {"hessop.HessianOperator", "hessop.TorchOperator", "hessop.aslinearoperator"} <= set(
        PUBLIC
    )
    assert "hessop.HessianOperator.unflatten" in PUBLIC
    assert "hessop.synthetic.operator" in PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_documented(name):
    """By numpydoc's own validator."""
    validate = pytest.importorskip("numpydoc.validate").validate
    errors = [e for e in validate(name)["errors"] if e[0] in checks(PUBLIC[name])]
    assert not errors
