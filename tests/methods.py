"""The pages of methods, `docs/methods/`, made from docstrings and records.

    python -m tests.methods

Writes the pages anew. "Also known as:" of a docstring gives the usual names, "Not for:"
the limits, "Source:" the publication; a method's guide is the first of its room's pages
that names it. `website/sentences/` has what is told of records.
"""

import ast
import importlib
import inspect
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from website import measured

ROOT = pathlib.Path(__file__).parent.parent
DOCS = ROOT / "docs"
FOLDER = DOCS / "methods"
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
YEAR = r"\b(?:19|20)\d\d\b(?!\.\d{4})"
AUTHORS = re.compile(rf"^((?:[^.;]|et al\.)*?{YEAR})")
INTRODUCTION = """# Methods

Every function that a room exports: what it does, what else it is called, when not to use it, the
page that says when to use it, where it comes from, and what our benchmarks measured. Calls begin
with `jc.`. Made by `.venv/bin/python -m tests.methods` from the docstrings, which say how each
differs from its source, and from the records of the [benchmarks](../../benchmarks/README.md).
"""


class Method(NamedTuple):
    """An exported function as the index lists it."""

    call: str
    summary: str
    names: tuple[str, ...]
    limits: str
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
    parts = re.split(r",\s+(?![^(]*\))(?![^[]*\])", text)
    return tuple(part.removeprefix("or ").strip() for part in parts if part)


def summary(docstring: str) -> str:
    """The first paragraph, on one line."""
    return " ".join(docstring.partition("\n\n")[0].split())


def source(docstring: str) -> str:
    """Authors and year of each publication, and the link of one that is on arXiv."""
    text = paragraph(docstring, "Source").partition("Differs:")[0]
    found = (publication(part.strip()) for part in text.split(";"))
    return "; ".join(each for each in found if each)


def publication(text: str) -> str:
    """Authors and year, and the link, unless another work stands before it."""
    authors = AUTHORS.match(text)
    rest = text[authors.end() :] if authors else text
    paper = PAPER.search(re.split(YEAR, rest)[0])
    link = f"[arXiv:{paper[1]}](https://arxiv.org/abs/{paper[1]})" if paper else ""
    return ", ".join(part for part in (authors[1] if authors else "", link) if part)


def mentions(page: str, call: str) -> bool:
    """Whether a page shows the function in code, by its name."""
    name = re.escape(call.rpartition(".")[2])
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    return bool(re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`|\.{name}\b", text))


def methods(room: str) -> Iterator[Method]:
    """The rows of a room."""
    for call, function in exported_by(room).items():
        docstring = inspect.getdoc(function) or ""
        page = next((page for page in ROOMS[room] if mentions(page, call)), "")
        names, limits = usual_names(docstring), paragraph(docstring, "Not for")
        yield Method(call, summary(docstring), names, limits, page, source(docstring))


def exported_by(room: str) -> dict[str, Callable]:
    """The functions of a room by their calls."""
    module = f"core.{room}" if room in ("schedules", "observers") else room
    return {call.removeprefix("core."): found for call, found in exported(module).items()}


def pages() -> dict[str, str]:
    """By name of the file the text of each page."""
    by_room = {room: list(methods(room)) for room in ROOMS}
    return {"README.md": index(by_room)} | {
        f"{room}.md": "\n".join([f"# Methods of `{room}`", *map(entry, found)])
        for room, found in by_room.items()
    }


def index(by_room: dict[str, list[Method]]) -> str:
    """The list of rooms and of usual names."""
    rows = sorted(
        (
            (name, room, method.call)
            for room, found in by_room.items()
            for method in found
            for name in method.names
        ),
        key=lambda row: row[0].lower(),
    )
    lines = [INTRODUCTION, "| room | methods |", "|---|---|"]
    lines += [f"| [{room}]({room}.md) | {len(found)} |" for room, found in by_room.items()]
    lines += ["\n## By usual name\n", "| usual name | call |", "|---|---|"]
    lines += [f"| {name} | [`{call}`]({room}.md#{anchor(call)}) |" for name, room, call in rows]
    return "\n".join(lines) + "\n"


def anchor(call: str) -> str:
    """The anchor of a method's heading."""
    return call.replace(".", "").lower()


def entry(method: Method) -> str:
    """A method's heading, what it does and the list of what is known of it."""
    known = {
        "also known as": ", ".join(method.names),
        "not for": method.limits,
        "guide": f"[{method.page}](../{method.page}.md)" if method.page else "",
        "source": method.source,
        "measured": figures(method.call),
    }
    lines = [f"- {title}: {text}" for title, text in known.items() if text]
    return "\n".join([f"\n## `{method.call}`\n", method.summary, "", *lines])


def figures(call: str) -> str:
    """What was measured of a method, with a link to the record."""
    told = measured.measured().get(call)
    if told is None:
        return ""
    link = f"[`{told.record}`](../../benchmarks/results/{told.record}.json)"
    return f"{told.sentence()} ({link})"


def write() -> None:
    """Writes the pages, and removes those of rooms that are gone."""
    FOLDER.mkdir(exist_ok=True)
    made = pages()
    for path in FOLDER.glob("*.md"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(f"{text.rstrip()}\n", encoding="utf-8")


if __name__ == "__main__":
    write()
