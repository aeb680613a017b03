"""The reference as web pages: one for each room and family, with what it exports.

    python -m tests.reference

Writes them to `site/`, by pdoc.
"""

import ast
import importlib
import inspect
import pathlib
import textwrap
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

SITE = pathlib.Path(__file__).parent.parent / "site"


def public_modules(name: str = "jaxcompress") -> Iterator[str]:
    """The module and the rooms or families that it lists, each by its public name."""
    module = importlib.import_module(name)
    yield name
    for member in dir(module):
        if inspect.ismodule(getattr(module, member)):
            yield from public_modules(f"{name}.{member}")


def imports(module: ModuleType) -> dict[str, str]:
    """By the name that a module re-exports, what it is: `from a import b as b`."""
    return {
        alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }


def pages() -> dict[str, Any]:
    """By public name of a room or family, what pdoc knows of it."""
    doc = importlib.import_module("pdoc.doc")
    found = {name: doc.Module(importlib.import_module(name)) for name in public_modules()}
    for name, page in found.items():
        # Schedules and observers are read from the top, wherever their files lie.
        page.modulename, page.taken_from = name, (name, "")
    for name, page in found.items():
        # By itself, pdoc takes a file named as an exported function for a family.
        page.submodules = [
            each for other, each in found.items() if other.rpartition(".")[0] == name
        ]
        for member, target in imports(page.obj).items():
            if member in page.members and page.members[member].kind == "variable":
                # The docstring of a type alias stands below its definition.
                owner = doc.Module.from_name(target.rpartition(".")[0])
                page.members[member].docstring = owner.members[member].docstring
        for member in page.members.values():
            with warnings.catch_warnings():
                # What pdoc finds out of types is not shown.
                warnings.filterwarnings("ignore", "Error parsing type annotation")
                show_as_written(doc, member)
        page.members = {family.name: family for family in page.submodules} | page.members
    return found


class Written:
    """An expression that is shown as it stands in the source."""

    def __init__(self, expression: ast.expr):
        self.text = ast.unparse(expression)

    def __repr__(self) -> str:
        return self.text


def show_as_written(doc: ModuleType, member) -> None:
    """Shows `Params`, where pdoc would show the union of types that it stands for."""
    if inspect.isfunction(member.obj):
        member.signature = signature_as_written(member, {})
    if member.kind != "class":
        return
    fields = {
        node.target.id: node
        for node in ast.walk(ast.parse(textwrap.dedent(member.source)))
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    for name, each in member.members.items():
        if name in fields:
            annotation, value = fields[name].annotation, fields[name].value
            member.members[name] = doc.Variable(
                each.modulename,
                each.qualname,
                taken_from=each.taken_from,
                # Python's own: which field of a tuple it is, or what a default does.
                docstring="",
                annotation=Written(annotation),
                default_value=Written(value) if value else inspect.Parameter.empty,
            )
        elif inspect.isfunction(each.obj):
            each.signature = signature_as_written(each, fields)
            if each.docstring.startswith("Create new instance of"):
                each.docstring = ""


def signature_as_written(function, fields: dict[str, ast.AnnAssign]) -> inspect.Signature:
    """The signature with annotations and defaults from the source, if it has one.

    What makes an object of a class with fields has the annotations of the fields.
    """
    signature = inspect.signature(function.obj)
    expressions: dict[str, dict[str, Any]] = {
        name: {"annotation": node.annotation, "default": node.value}
        for name, node in fields.items()
        if not function.source
    }
    returned = None
    for node in ast.parse(textwrap.dedent(function.source)).body:
        if isinstance(node, ast.FunctionDef):
            expressions, returned = arguments(node.args), node.returns
    parameters = []
    for name, each in signature.parameters.items():
        found = expressions.get(name, {})
        shown: dict[str, Any] = {part: Written(value) for part, value in found.items() if value}
        parameters.append(each.replace(**shown))
    return signature.replace(
        parameters=parameters,
        return_annotation=Written(returned) if returned else inspect.Signature.empty,
    )


def arguments(found: ast.arguments) -> dict[str, dict[str, Any]]:
    """By name the annotation and the default of each argument."""
    plain = [*found.posonlyargs, *found.args]
    required = [None] * (len(plain) - len(found.defaults))
    defaults = [*required, *found.defaults, *found.kw_defaults, None, None]
    every = [*plain, *found.kwonlyargs, found.vararg, found.kwarg]
    return {
        each.arg: {"annotation": each.annotation, "default": default}
        for each, default in zip(every, defaults, strict=True)
        if each
    }


def write(folder: pathlib.Path) -> None:
    """Writes the pages into the folder."""
    render = importlib.import_module("pdoc.render")
    render.configure(docformat="google")
    found = pages()
    for name, page in found.items():
        path = folder / f"{name.replace('.', '/')}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render.html_module(page, found), encoding="utf-8")
    (folder / "index.html").write_text(render.html_index(found), encoding="utf-8")
    (folder / "search.js").write_text(render.search_index(found), encoding="utf-8")


if __name__ == "__main__":
    write(SITE)
