"""The reference: one page for each room and family, with every name that it exports.

What a module exports is what `dir` of it gives. Signatures and docstrings are put in by
mkdocstrings, from the source.
"""

import ast
import functools
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from types import ModuleType

TOP = "jaxcompress"


def public_modules(name: str = TOP) -> Iterator[str]:
    """The module and the rooms or families that it lists, each by its public name."""
    module = importlib.import_module(name)
    yield name
    for member in dir(module):
        if inspect.ismodule(getattr(module, member)):
            yield from public_modules(f"{name}.{member}")


@functools.cache
def imports(module: ModuleType) -> dict[str, str]:
    """By the name that a module re-exports, what it is: `from a import b as b`."""
    return {
        alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }


def members(module: str) -> list[str]:
    """The names that a module exports beside its families, functions before types."""
    loaded = importlib.import_module(module)
    names = sorted(dir(loaded), key=str.swapcase)
    return [name for name in names if not inspect.ismodule(getattr(loaded, name))]


def definition(module: str, name: str) -> str:
    """Where an exported name is defined."""
    return imports(importlib.import_module(module)).get(name, f"{module}.{name}")


@functools.cache
def homes() -> dict[str, str]:
    """By definition the public name that it is explained under: the innermost."""
    names = [
        (definition(module, name), f"{module}.{name}")
        for module in public_modules()
        for name in members(module)
    ]
    return dict(sorted(names, key=lambda pair: (pair[1].count("."), pair[1])))


def shown(name: str) -> str:
    """The name by which examples speak of a module or of what it exports."""
    return re.sub(rf"^{TOP}\b", "jc", name)


def place(module: str) -> str:
    """Where the page of a module stands; one with families is a folder."""
    path = module.replace(".", "/").replace(TOP, "reference", 1)
    loaded = importlib.import_module(module)
    inner = any(inspect.ismodule(getattr(loaded, name)) for name in dir(loaded))
    return f"{path}/README.md" if inner else f"{path}.md"


@functools.cache
def documented(file: str) -> dict[str, str]:
    """By name the docstrings of what a file defines, type aliases among it."""
    body = ast.parse(inspect.getsource(importlib.import_module(file))).body
    found = {}
    for node, below in zip(body, [*body[1:], None], strict=True):
        match node, below:
            case (ast.FunctionDef() | ast.ClassDef(), _):
                found[node.name] = ast.get_docstring(node) or ""
            case ast.Assign(targets=[ast.Name(name)]), ast.Expr(ast.Constant(str(text))):
                found[name] = inspect.cleandoc(text)
    return found


def summary(text: str) -> str:
    """The first paragraph of a docstring, on one line that a table can hold."""
    return text.partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """Names with their summaries, each a link to where it is explained."""
    lines = [f"| [`{name.rpartition('.')[2]}`][{name}] | {about} |" for name, about in rows]
    return "\n".join([f"| {title} | |", "|---|---|", *lines]) if lines else ""


def docstring(module: str) -> str:
    """The docstring of a module."""
    return inspect.getdoc(importlib.import_module(module)) or ""


def introduction(text: str) -> str:
    """A module's docstring, with columns of text kept as they stand."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(
        textwrap.indent(each, "    ") if re.match(r"\S.*\S {3}", each) else each
        for each in paragraphs
    )


def families(module: str) -> list[str]:
    """The rooms or families that a module lists."""
    loaded = importlib.import_module(module)
    names = (f"{module}.{name}" for name in dir(loaded))
    return [name for name in names if inspect.ismodule(getattr(loaded, name.rpartition(".")[2]))]


def entry(module: str, name: str) -> str:
    """The part of a page that explains a name, or says where it is explained."""
    public, home = f"{module}.{name}", homes()[definition(module, name)]
    if public != home:
        heading = f"## `{shown(public)}` {{ #{public} data-toc-label='{name}' }}"
        return f"{heading}\n\nThe same as [`{shown(home)}`][{home}]."
    options = f"heading: {shown(public)}\n      toc_label: {name}"
    return f"::: {public}\n    options:\n      {options}"


def page(module: str) -> str:
    """The page of a module, in Markdown."""
    text = [
        f"# `{shown(module)}` {{ #{module} }}",
        introduction(docstring(module)),
        table("family", [(each, summary(docstring(each))) for each in families(module)]),
        table("name", [(f"{module}.{name}", about(module, name)) for name in members(module)]),
    ]
    text += [entry(module, name) for name in members(module)]
    return "\n\n".join(filter(None, text)) + "\n"


def about(module: str, name: str) -> str:
    """The summary of an exported name."""
    file, _, defined = definition(module, name).rpartition(".")
    return summary(documented(file).get(defined, ""))


@functools.cache
def pages() -> dict[str, str]:
    """By place on the site the pages of the reference."""
    return {place(module): page(module) for module in public_modules()}
