"""Figures of records: by path, by the settings of their runs, and as text."""

import json
import math
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

DEEP, MANY = 3, 40
"""Figures that lie deeper, or beside more others, are left to the record itself."""
CURVE = 4
"""A longer list is a curve, of which the last number is told."""

Group = tuple[dict[str, str], list[dict[str, float]]]
"""Settings, and the figures of each run under them."""


def numbers(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, float]]:
    """The finite numbers of a tree of dicts, each by its path."""
    if isinstance(value, Mapping):
        if len(path) < DEEP and len(value) <= MANY:
            for key, inner in value.items():
                yield from numbers(inner, (*path, str(key)))
    elif isinstance(value, list) and len(value) > CURVE:
        yield from numbers(value[-1], (*path, "last"))
    elif number(value):
        yield " · ".join(path), value


def number(value: Any) -> TypeGuard[float]:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def at(value: Any, path: str) -> Any:
    """What lies at a path, in a list by its place or `last`; None if nothing does."""
    for step in path.split(" · "):
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and re.fullmatch(r"\d+:\d+", step):
            begin, _, end = step.partition(":")
            value = value[int(begin) : int(end)]
        elif isinstance(value, list) and (step == "last" or step.isdecimal()):
            place = len(value) - 1 if step == "last" else int(step)
            value = value[place] if 0 <= place < len(value) else None
        else:
            return None
    return value


def choices(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings by path, as text."""
    found = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= {f"{key}, {inner}": text for inner, text in choices(value).items()}
        else:
            found[key] = value if isinstance(value, str) else json.dumps(value)
    return found


def groups(runs: Sequence[Mapping[str, Any]]) -> list[Group]:
    """Runs under equal settings together: the settings and the figures of each run."""
    found: dict[str, Group] = {}
    for run in runs:
        chosen = choices(run["settings"])
        group = found.setdefault(json.dumps(chosen), (chosen, []))
        group[1].append(dict(numbers(run["figures"])))
    return list(found.values())


def standard_error(values: Sequence[float]) -> float:
    """The standard error of a mean; 0 for one value."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def cell(values: Sequence[float]) -> str:
    """A mean with its standard error, where there are several values."""
    if not values:
        return ""
    mean, error = statistics.fmean(values), standard_error(values)
    if not error:
        return written(mean)
    return f"{written(mean)} ± {f'{error:.2g}' if error < 100 else written(error)}"


def written(value: float) -> str:
    """A number to four digits, large ones whole."""
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 1000 else f"{value:.4g}"
