"""A page for each record of a benchmark: its question, its figures, its pictures.

Figures are read from the records: means over the seeds that ran under equal settings.
"""

import ast
import functools
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import records, runner
from benchmarks.figures import DEEP, Group, cell, groups

README = pathlib.Path(runner.__file__).with_name("README.md")
ROW = re.compile(r"^\| `(?P<name>\w+)` (?=\| [^|]+\? \| [^|]+ \|$)", re.M)
"""How the README begins to tell what was found by a benchmark."""
HOW = re.compile(f"{records.OPENING}.*?{records.CLOSING}\n\n?", re.DOTALL)
"""How the benchmarks of a subject were measured, which their pages say."""
WIDE = 8
"""Columns of figures that a table can hold."""
SIDE = 4
"""Settings that stand side by side where figures are the rows."""


def names() -> list[str]:
    """The records by their paths without ending."""
    folder = runner.RESULTS
    return sorted(
        path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.json")
    )


def index() -> str:
    """The README, in which each benchmark leads to its page, and its page says how."""
    text = HOW.sub("", README.read_text(encoding="utf-8"))
    return ROW.sub(r"| [`\g<name>`](results/\g<name>.json) ", text)


def varied(grouped: Sequence[Group]) -> list[str]:
    """The settings in which groups differ."""
    every = list(dict.fromkeys(key for chosen, _ in grouped for key in chosen))
    return [key for key in every if len({chosen.get(key) for chosen, _ in grouped}) > 1]


def rows(heading: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [heading, ["---"] * len(heading), *body]
    text = ((each.replace("|", "\\|").replace("\n", " ") for each in line) for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in text)


def tables(runs: Sequence[Mapping[str, Any]]) -> str:
    """The figures of a record: a table for all runs that have the same figures."""
    kinds: dict[tuple[str, ...], list[Group]] = {}
    grouped = groups(runs)
    for group in grouped:
        kinds.setdefault(tuple(sorted({name for one in group[1] for name in one})), []).append(
            group
        )
    keys = varied(grouped)
    return "\n\n".join(table(kind, keys) for kind in kinds.values())


def table(grouped: Sequence[Group], keys: Sequence[str]) -> str:
    """Figures by the settings in which groups differ, below the other settings."""
    inner = varied(grouped)
    first = grouped[0][0]
    alike = [f"{key} `{first[key]}`" for key in keys if key not in inner and key in first]
    figures = list(dict.fromkeys(name for _, each in grouped for one in each for name in one))
    few = across(figures) if len(grouped) > 3 else []
    cells = [
        [cell([one[name] for one in each if name in one]) for name in few or figures]
        for _, each in grouped
    ]
    counts = [str(len(each)) for _, each in grouped]
    chosen = [[settings.get(key, "") for key in inner] for settings, _ in grouped]
    if few:
        body = [[*a, b, *c] for a, b, c in zip(chosen, counts, cells, strict=True)]
        parts = [rows([*inner, "runs", *few], body)]
    else:
        columns = [
            ["; ".join(f"{key} {text}" for key, text in zip(inner, a, strict=True) if text), b, *c]
            for a, b, c in zip(chosen, counts, cells, strict=True)
        ]
        parts = [
            upright(["", "runs", *figures], columns[begin : begin + SIDE])
            for begin in range(0, len(columns), SIDE)
        ]
    return "\n\n".join([*filter(None, [", ".join(alike)]), *parts])


def upright(names: Sequence[str], columns: Sequence[Sequence[str]]) -> str:
    """A table of columns with the names of its rows before them."""
    lines = list(zip(names, *columns, strict=True))
    return rows(lines[0], lines[1:])


def across(figures: Sequence[str]) -> list[str]:
    """The figures that the columns of a table can hold: none deeper than the others."""
    for deep in reversed(range(DEEP)):
        found = [name for name in figures if name.count(" · ") <= deep]
        if len(found) <= WIDE:
            return found
    return []


def shared(runs: Sequence[Mapping[str, Any]]) -> str:
    """The settings of all runs alike, as a list."""
    grouped = groups(runs)
    keys = set(varied(grouped))
    same = {key: text for key, text in grouped[0][0].items() if key not in keys}
    return "\n".join(f"- {key}: `{text}`" for key, text in same.items())


@functools.cache
def every_machine() -> list[tuple[str, ...]]:
    """By record what its runs were made on."""
    return records.rows(runner.RESULTS)


def machines(name: str) -> str:
    """What the runs of a record were made on."""
    found = [row[1:] for row in every_machine() if row[0] == name]
    return rows(records.COLUMNS[1:], found)


def benchmark(name: str) -> pathlib.Path:
    """The module that makes a record: `race` makes `race_times`, too."""
    found = (path for path in README.parent.glob("*.py") if name.startswith(path.stem))
    return max(found, key=lambda path: len(path.stem))


def page(name: str) -> str:
    """The page of a record, with links from the folder of benchmarks."""
    source = benchmark(name.rpartition("/")[2])
    docstring = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    told = records.finding(name) if name in records.sources() else records.Finding("", "", "", "")
    runs = runner.read(runner.RESULTS / f"{name}.json")
    pictures = sorted(runner.RESULTS.glob(f"{name}*.png"))
    settings = shared(runs)
    parts = [
        f"# `{name}`",
        f"**{told.question}**" if told.question else "",
        docstring,
        f"## What was found\n\n{told.answer}" if told.answer else "",
        f"### How it was measured, and the other figures\n\n{told.how}" if told.how else "",
        told.details,
        *(f"![{name}](results/{path.name})" for path in pictures),
        "## Figures",
        "Means over the runs under equal settings, with the standard error after ±.",
        tables(runs),
        f"## Settings of all runs\n\n{settings}" if settings else "",
        f"## Machines\n\n{machines(name)}",
        f"Source: [`{source.name}`]({source.name}).",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


@functools.cache
def pages() -> dict[str, str]:
    """By place on the site the pages of the records, and the list of them."""
    return {"benchmarks/README.md": index()} | {
        f"benchmarks/{name}.md": page(name) for name in names()
    }
