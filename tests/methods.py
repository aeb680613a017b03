"""The index of methods, `docs/methods.md`, made from what the docstrings say.

    python -m tests.methods

Writes the page anew. "Also known as:" of a docstring gives the usual names, "Source:"
the publication; a method's page is the first of its room's pages that names it.
"""

import ast
import importlib
import inspect
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parent.parent
DOCS, PAGE = ROOT / "docs", ROOT / "docs" / "methods.md"
ROOMS = {
    "adapt": ("adapters",),
    "prune": ("pruning",),
    "quantize": ("quantization", "low-bit-training"),
    "distill": ("distillation",),
    "structure": ("structure",),
    "optimizers": ("optimizers",),
    "graph": ("graph", "structure"),
    "kernels": ("quantization",),
    "storage": ("storage", "shipping"),
    "train": ("training", "leakage"),
    "validate": ("validation", "leakage", "shipping"),
    "auto": ("shipping",),
    "report": ("shipping", "leakage", "storage"),
    "schedules": ("pruning",),
    "observers": ("graph", "quantization"),
}
"""By room the pages that may be its methods'."""

PAPER = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
AUTHORS = re.compile(r"^((?:[^.,;]|et al\.)*?\d{4})")
INTRODUCTION = """# Methods

Every function that a room exports: what it is usually called, the call (after `jc.`), the page
that says when to use it, and where it comes from. Made by `.venv/bin/python -m tests.methods`
from the docstrings, which say how each differs from its source.
"""


class Method(NamedTuple):
    """An exported function as the index lists it."""

    call: str
    names: tuple[str, ...]
    page: str
    source: str


def exported(module: str) -> dict[str, Callable]:
    """The functions that a module gives by its name, those of its families among them.

    A package gives what it imports under the same name, a module what it defines.
    """
    loaded = importlib.import_module(f"jaxcompress.{module}")
    path = pathlib.Path(inspect.getfile(loaded))
    found: dict[str, Callable] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            found[f"{module}.{node.name}"] = getattr(loaded, node.name)
        if isinstance(node, ast.ImportFrom) and path.name == "__init__.py":
            for name in filter(None, (alias.asname for alias in node.names)):
                member = getattr(loaded, name)
                if inspect.ismodule(member):
                    found |= exported(f"{module}.{name}")
                elif inspect.isfunction(member):
                    found[f"{module}.{name}"] = member
    return found


def paragraph(docstring: str, opening: str) -> str:
    """The text from `opening` to the end of its paragraph, on one line."""
    found = re.search(rf"{opening}:\s*(.*?)(?:\n\s*\n|$)", docstring, re.DOTALL)
    return " ".join(found[1].split()) if found else ""


def usual_names(docstring: str) -> tuple[str, ...]:
    """What "Also known as:" lists, up to its full stop."""
    text = paragraph(docstring, "Also known as").partition(". ")[0].rstrip(".")
    # Commas within brackets or quotes part nothing.
    parts = re.split(r",\s*(?![^(]*\))", text)
    return tuple(part.removeprefix("or ").strip() for part in parts if part)


def source(docstring: str) -> str:
    """Authors and year, and the paper as a link where it is on arXiv."""
    text = paragraph(docstring, "Source")
    authors, paper = AUTHORS.match(text), PAPER.search(text)
    link = f"[arXiv:{paper[1]}](https://arxiv.org/abs/{paper[1]})" if paper else ""
    return ", ".join(part for part in (authors[1] if authors else "", link) if part)


def mentions(page: str, call: str) -> bool:
    """Whether a page shows the function in code, by its name."""
    name = re.escape(call.rpartition(".")[2])
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    return bool(re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`|\.{name}\b", text))


def methods(room: str) -> Iterator[Method]:
    """The rows of a room."""
    for call, function in exported(room_module(room)).items():
        docstring = inspect.getdoc(function) or ""
        page = next((page for page in ROOMS[room] if mentions(page, call)), "")
        call = call.removeprefix("core.")
        yield Method(call, usual_names(docstring), page, source(docstring))


def room_module(room: str) -> str:
    return f"core.{room}" if room in ("schedules", "observers") else room


def text() -> str:
    """The whole page."""
    by_room = {room: list(methods(room)) for room in ROOMS}
    names = sorted(
        ((name, method) for each in by_room.values() for method in each for name in method.names),
        key=lambda pair: pair[0].lower(),
    )
    lines = [INTRODUCTION, "## By usual name\n", "| usual name | call | page |", "|---|---|---|"]
    lines += [f"| {name} | `{method.call}` | {link(method)} |" for name, method in names]
    for room, found in by_room.items():
        lines += [f"\n## {room}\n", "| call | usual names | page | source |", "|---|---|---|---|"]
        lines += [
            f"| `{method.call}` | {', '.join(method.names)} | {link(method)} | {method.source} |"
            for method in found
        ]
    return "\n".join(lines) + "\n"


def link(method: Method) -> str:
    return f"[{method.page}]({method.page}.md)" if method.page else ""


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
