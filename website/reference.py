"""The reference: one page for each room and family, with every name that it exports.

What a module exports is what `dir` of it gives. Signatures and docstrings are put in by
mkdocstrings, from the source.
"""

import ast
import importlib
import inspect
from collections.abc import Iterator
from types import ModuleType


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


def place(module: str, families: set[str]) -> str:
    """Where the page of a module stands; one with families is a folder."""
    path = module.replace(".", "/").replace("jaxcompress", "reference", 1)
    inner = any(each.startswith(f"{module}.") for each in families)
    return f"{path}/README.md" if inner else f"{path}.md"


def members(module: str) -> list[str]:
    """The names that a module exports beside its families."""
    loaded = importlib.import_module(module)
    return [name for name in dir(loaded) if not inspect.ismodule(getattr(loaded, name))]


def summary(docstring: str) -> str:
    """The first sentence of a docstring."""
    return inspect.cleandoc(docstring).partition("\n\n")[0].replace("\n", " ")


def shown(module: str) -> str:
    """The name by which examples speak of a module."""
    return module.replace("jaxcompress", "jc", 1)


def page(module: str, families: set[str]) -> str:
    """The page of a module, in Markdown."""
    loaded = importlib.import_module(module)
    text = [f"# `{shown(module)}`", inspect.getdoc(loaded) or ""]
    text += [f"::: {module}.{name}" for name in members(module)]
    return "\n\n".join(text) + "\n"


def pages() -> dict[str, str]:
    """By place on the site the pages of the reference."""
    families = set(public_modules())
    return {place(module, families): page(module, families) for module in sorted(families)}
