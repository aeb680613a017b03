"""A page for each record of a benchmark: its question, its figures, its pictures.

Figures are read from the records: means over the seeds that ran under equal settings.
"""

import ast
import functools
import json
import math
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks import records, runner

README = pathlib.Path(runner.__file__).with_name("README.md")
ROW = re.compile(r"^\| `(?P<name>\w+)` \| (?P<question>[^|]+\?) \| (?P<found>[^|]+) \|$", re.M)
"""What was found by a benchmark, as the README tells it."""
DEEP, MANY = 3, 40
"""Figures that lie deeper, or beside more others, are left to the record itself."""


def names() -> list[str]:
    """The records by their paths without ending."""
    folder = runner.RESULTS
    return sorted(
        path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.json")
    )


@functools.cache
def findings() -> dict[str, tuple[str, str]]:
    """By benchmark its question and what was found."""
    text = README.read_text(encoding="utf-8")
    return {row["name"]: (row["question"], row["found"]) for row in ROW.finditer(text)}


def index() -> str:
    """The README, in which each benchmark leads to its page."""
    recorded = set(names())

    def row(match: re.Match) -> str:
        name, question = match["name"], match["question"]
        if name not in recorded:
            return match[0]
        return f"| [`{name}`](results/{name}.json) | {question} |"

    text = README.read_text(encoding="utf-8")
    heading = "| benchmark | question | found |\n|---|---|---|"
    return ROW.sub(row, text.replace(heading, "| benchmark | question |\n|---|---|"))


def numbers(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, float]]:
    """The finite numbers of a tree of dicts, each by its path."""
    if isinstance(value, Mapping):
        if len(path) < DEEP and len(value) <= MANY:
            for key, inner in value.items():
                yield from numbers(inner, (*path, str(key)))
    elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        yield " · ".join(path), value


def choices(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings by path, as text."""
    found = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= {f"{key}, {inner}": text for inner, text in choices(value).items()}
        else:
            found[key] = value if isinstance(value, str) else json.dumps(value)
    return found


def groups(runs: Sequence[Mapping[str, Any]]) -> list[tuple[dict[str, str], list[dict]]]:
    """Runs under equal settings together: the settings and the figures of each run."""
    found: dict[str, tuple[dict[str, str], list[dict]]] = {}
    for run in runs:
        chosen = choices(run["settings"])
        group = found.setdefault(json.dumps(chosen), (chosen, []))
        group[1].append(dict(numbers(run["figures"])))
    return list(found.values())


def varied(grouped: Sequence[tuple[dict[str, str], list[dict]]]) -> list[str]:
    """The settings in which groups differ."""
    every = list(dict.fromkeys(key for chosen, _ in grouped for key in chosen))
    return [key for key in every if len({chosen.get(key) for chosen, _ in grouped}) > 1]


def cell(values: Sequence[float]) -> str:
    """A mean with its standard error, where there are several values."""
    if not values:
        return ""
    found = runner.summary(values)
    if found.count == 1 or not found.standard_error:
        return written(found.mean)
    return f"{written(found.mean)} ± {found.standard_error:.2g}"


def written(value: float) -> str:
    """A number to four digits, counts whole."""
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 1e4 else f"{value:.4g}"


def rows(heading: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [heading, ["---"] * len(heading), *body]
    text = ((each.replace("|", "\\|").replace("\n", " ") for each in line) for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in text)


def tables(runs: Sequence[Mapping[str, Any]]) -> str:
    """The figures of a record, by settings."""
    grouped = groups(runs)
    keys = varied(grouped)
    figures = list(dict.fromkeys(name for _, each in grouped for one in each for name in one))
    cells = [
        [cell([one[name] for one in each if name in one]) for name in figures]
        for _, each in grouped
    ]
    counts = [str(len(each)) for _, each in grouped]
    if len(grouped) > 6 and len(figures) <= 8:
        chosen = [[settings.get(key, "") for key in keys] for settings, _ in grouped]
        body = [[*a, b, *c] for a, b, c in zip(chosen, counts, cells, strict=True)]
        return rows([*keys, "runs", *figures], body)
    parts = []
    for begin in range(0, len(grouped), 4):
        some = range(begin, min(begin + 4, len(grouped)))
        titles = [
            "; ".join(f"{key} {grouped[i][0][key]}" for key in keys if key in grouped[i][0])
            for i in some
        ]
        body = [["runs", *(counts[i] for i in some)]]
        body += [
            [name, *(cells[i][place] for i in some)]
            for place, name in enumerate(figures)
            if any(cells[i][place] for i in some)
        ]
        parts.append(rows(["figure", *(title or "mean" for title in titles)], body))
    return "\n\n".join(parts)


def shared(runs: Sequence[Mapping[str, Any]]) -> str:
    """The settings of all runs alike, as a list."""
    grouped = groups(runs)
    keys = set(varied(grouped))
    same = {key: text for key, text in grouped[0][0].items() if key not in keys}
    return "\n".join(f"- {key}: `{text}`" for key, text in same.items())


def machines(name: str) -> str:
    """What the runs of a record were made on."""
    found = [row[1:] for row in records.rows(runner.RESULTS) if row[0] == name]
    return rows(records.COLUMNS[1:], found)


def benchmark(name: str) -> pathlib.Path:
    """The module that makes a record: `race` makes `race_times`, too."""
    found = (path for path in README.parent.glob("*.py") if name.startswith(path.stem))
    return max(found, key=lambda path: len(path.stem))


def page(name: str) -> str:
    """The page of a record, with links from the folder of benchmarks."""
    source = benchmark(name.rpartition("/")[2])
    docstring = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    question, found = findings().get(name, ("", ""))
    runs = runner.read(runner.RESULTS / f"{name}.json")
    pictures = sorted(runner.RESULTS.glob(f"{name}*.png"))
    settings = shared(runs)
    parts = [
        f"# `{name}`",
        f"**{question}**" if question else "",
        docstring,
        f"## What was found\n\n{found}" if found else "",
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
