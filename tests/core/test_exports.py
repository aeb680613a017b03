"""What rooms and families export is what `dir`, `help` and the reference list."""

import ast
import builtins
import doctest
import importlib
import importlib.util
import inspect
import pydoc
import re
import runpy
import sys

import pytest

import jaxcompress as jc
from website import reference

BRIDGES = {"equinox": {"equinox"}, "flax": {"linen", "nnx"}, "haiku": {"haiku"}}
"""By framework the bridges that need it."""
ABSENT = {
    f"jaxcompress.bridges.{name}"
    for framework, names in BRIDGES.items()
    for name in names
    if not importlib.util.find_spec(framework)
}


def definitions(module) -> set[str]:
    """The public names that a file defines."""
    found = set()
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in found if not name.startswith("_")}


def listed(module) -> set[str]:
    """By the source: what a package imports as the same name, what a file defines."""
    names = set(reference.imports(module)) if hasattr(module, "__path__") else definitions(module)
    return {name for name in names if f"{module.__name__}.{name}" not in ABSENT}


def modules(name: str = "jaxcompress") -> dict:
    """The rooms and families by what their sources list, the top among them."""
    module = importlib.import_module(name)
    found = {name: module}
    for member in sorted(listed(module)):
        if inspect.ismodule(getattr(module, member)):
            found |= modules(f"{name}.{member}")
    return found


MODULES = modules()


def in_help(module) -> set[str]:
    """The names that `help(module)` shows."""
    text = pydoc.plain(pydoc.render_doc(module))
    sections = dict(re.findall(r"^([A-Z ]+)\n((?:    .*\n|\n)+)", text, re.M))
    # An alias of `Any`, which is a class, stands there as `Axes = class Any`.
    classes = re.findall(r"^    (?:class )?(\w+)(?: = class|\()", sections.get("CLASSES", ""), re.M)
    functions = re.findall(r"^    (\w+)\(", sections.get("FUNCTIONS", ""), re.M)
    data = re.findall(r"^    (\w+) = ", sections.get("DATA", ""), re.M)
    return {*classes, *functions, *data}


def test_rooms_families_and_their_names_are_many():
    assert len(MODULES) > 30
    assert sum(len(listed(module)) for module in MODULES.values()) > 400


@pytest.mark.parametrize("name", MODULES)
def test_dir_and_help_list_what_the_source_exports(name):
    module = MODULES[name]
    expected = listed(module)
    assert set(dir(module)) == expected
    assert set(getattr(module, "__all__", expected)) == expected
    values = {each for each in expected if not inspect.ismodule(getattr(module, each))}
    assert in_help(module) == values


def examples(each) -> ast.Module:
    """The examples of a docstring, and of the methods of a class, as one program."""
    methods = vars(each).values() if inspect.isclass(each) else ()
    docstrings = (inspect.getdoc(one) or "" for one in (each, *methods) if callable(one))
    parser = doctest.DocTestParser()
    sources = (example.source for text in docstrings for example in parser.get_examples(text))
    return ast.parse("".join(sources))


def bound(program: ast.Module) -> set[str]:
    """The names that a program assigns, defines, imports or takes as arguments."""
    found = set()
    for node in ast.walk(program):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                found |= {alias.asname or alias.name for alias in names}
    return found


def hidden(program: ast.Module) -> set[str]:
    """What a program takes from `jc` by a name that no `dir` lists, or from nowhere."""
    given = {"jax", "jc", "jnp", "np", "optax", *dir(builtins)} | bound(program)
    found = {node.id for node in ast.walk(program) if isinstance(node, ast.Name)} - given
    for path in re.findall(r"\bjc((?:\.\w+)+)", ast.unparse(program)):
        owner = jc
        for name in path[1:].split("."):
            if inspect.ismodule(owner) and name not in dir(owner):
                found.add(f"jc{path}")
            owner = getattr(owner, name, None)
    return found


@pytest.mark.parametrize("name", MODULES)
def test_examples_use_names_that_are_listed(name):
    module = MODULES[name]
    for each in (getattr(module, member) for member in dir(module)):
        if inspect.isfunction(each) or inspect.isclass(each):
            assert hidden(examples(each)) == set(), each


@pytest.mark.parametrize(
    ("example", "names"),
    [
        ("jc.prune.masks({}, jnp.zeros(2))", set()),
        ("masks({}, 1)", {"masks"}),
        ("jc.structure.decomposition.plain(1).x", {"jc.structure.decomposition.plain"}),
        ("for x in [1]: f = lambda y: x + y", set()),
    ],
)
def test_a_hidden_name_is_seen(example, names):
    assert hidden(ast.parse(example)) == names


@pytest.mark.parametrize("framework", ["equinox", "flax", "haiku"])
def test_bridges_of_frameworks_that_are_not_installed_are_not_listed(framework, monkeypatch):
    monkeypatch.setitem(sys.modules, framework, None)
    names = runpy.run_path(inspect.getfile(jc.bridges))["__all__"]
    assert {"equinox", "haiku", "linen", "nnx"} - set(names) >= BRIDGES[framework]
    assert {"Functional", "Shrunk"} < set(names)
