"""Words whose figures are read from the records: nobody types a figure.

A template is Markdown with figures in braces, each named as its page on the site does:

    {test · accuracy}                       the mean over the runs, to four digits
    {test · accuracy:.1%}                   97.3 %
    {test · accuracy:.1p±} %                97.3 ± 0.2 %, with the standard error
    {test · nearest − test · float:+.2f[]}  with Student's 95 % interval over seeds
    {bytes (net=LeNet-5):.1k} kB            of the runs under this setting
    {seconds (batch=1|4|16):.2f}            0.31, 0.52 and 1.07
    {a|b · error:.1p} %                     2.3 and 2.9 %
    {min error (bits=4):.3f}                also `max`, `sum`, `count`, `median`, `each`
    {students:.1f}, {each students:.0f}     of a list its mean, or all of it
    {dense · seconds ÷ int8 · seconds}      also − and ×: run by run, from left to right
    {[before − after] ÷ before:.1%}         brackets come first
    {validation ≤ goal}                     how many entries a curve needs to a goal
    {with net=LeNet-5; kept=0.02}           for what follows, up to the next `with`
    {"10,000 images"}                       words with numbers that nobody measured

`(record=NAME)` reads another record, `(setting=)` runs without that setting. Formats
are `f`, `e` and `%` of Python, and four scales: `p` × 100, `m` × 1000, `k` ÷ 1000 and
`M` ÷ 1,000,000. A path may also name a setting, or `wall_seconds`.
"""

import functools
import json
import math
import operator
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks import figures, runner

BRACES = re.compile(r"\{([^{}]*)\}")
FORMAT = re.compile(r":(?P<sign>\+?)(?:\.(?P<digits>\d))?(?P<kind>[fe%pmkM]?)(?P<spread>±|\[\])?$")
UNDER = re.compile(r" \((?P<settings>[^()]*=[^()]*)\)$")
SEVERAL = re.compile(r"[^·;=()−÷×≤]*\|[^·;=()−÷×≤]*")

SIGN = re.compile(r" ([−÷×≤]) (?![^\[\]]*\])")
SIGNS = {"−": operator.sub, "÷": operator.truediv, "×": operator.mul}
SCALES = {"%": 100, "p": 100, "m": 1000, "k": 1e-3, "M": 1e-6}
OVER: dict[str, Callable[[list[float]], list[float]]] = {
    "min": lambda values: [min(values)],
    "max": lambda values: [max(values)],
    "median": lambda values: [statistics.median(values)],
    "sum": lambda values: [math.fsum(values)],
    "count": lambda values: [float(len(values))],
    "each": list,
}

Values = dict[tuple[str, int, int], float]
"""Figures by the settings that were left open, by seed, and by place in a list."""


@functools.cache
def runs(record: str) -> list[tuple[dict[str, str], dict[str, Any]]]:
    """The runs of a record with their settings as text."""
    found = runner.read(runner.RESULTS / f"{record}.json")
    return [(figures.choices(run["settings"]), run) for run in found]


def filled(text: str, record: str, settings: Mapping[str, str] | None = None) -> str:
    """The text with the figures of a record in their places.

    Raises:
      ValueError: a place names no figure, or figures of runs under different settings.
    """
    held = dict(settings or {})

    def put(match: re.Match) -> str:
        inside = match[1]
        if inside.startswith("with "):
            held.clear()
            held.update(pairs(inside.removeprefix("with ")))
            return ""
        if inside.startswith('"'):
            return inside.strip('"')
        return figure(inside, {"record": record} | held)

    return BRACES.sub(put, text)


def pairs(text: str) -> dict[str, str]:
    """Settings that are told apart by semicolons."""
    return dict(each.strip().split("=", 1) for each in text.split(";"))


def figure(inside: str, held: Mapping[str, str]) -> str:
    """What stands in the place of one pair of braces."""
    spec = FORMAT.search(inside)
    name = inside[: spec.start()] if spec else inside
    word, _, rest = name.partition(" ")
    texts = []
    for one in alternatives(rest if word in OVER else name):
        values = list(calculated(one, held, several=word in OVER).values())
        told = [[value] for value in OVER[word](values)] if word in OVER else [values]
        texts += [formatted(each, spec) for each in told]
    return listed(texts)


def alternatives(name: str) -> list[str]:
    """`a|b · c (n=1|2)` as `a · c (n=1)` and `b · c (n=2)`."""
    counts = {text.count("|") + 1 for text in SEVERAL.findall(name)} or {1}
    if len(counts) > 1:
        raise ValueError(f"{{{name}}} tells of unlike numbers of figures: {sorted(counts)}.")

    def chosen(match: re.Match, place: int) -> str:
        text = match[0].split("|")[place]
        return match[0].replace(match[0].strip(), text.strip())

    return [SEVERAL.sub(functools.partial(chosen, place=n), name) for n in range(max(counts))]


def calculated(name: str, held: Mapping[str, str], *, several: bool) -> Values:
    """The figures of a path, or of paths joined by signs."""
    first, *rest = SIGN.split(name)
    found = operand(first, held, several=several)
    for sign, text in zip(rest[::2], rest[1::2], strict=True):
        constant = re.fullmatch(r"[\d.]+", text)
        other = {("", 0, 0): float(text)} if constant else operand(text, held, several=several)
        found = reached(found, other) if sign == "≤" else joined(found, sign, other)
        if not found:
            raise ValueError(f"{{{name}}} joins lists of different lengths, or different seeds.")
    return found


def joined(left: Values, sign: str, right: Values) -> Values:
    """Run by run one figure with another; one of a single run with those of all."""
    if len(right) == 1:
        right = dict.fromkeys(left, *right.values())
    elif len(left) == 1:
        left = dict.fromkeys(right, *left.values())
    if {key[2] for key in left} != {key[2] for key in right}:
        return {}
    return {key: SIGNS[sign](left[key], right[key]) for key in sorted(left.keys() & right.keys())}


def reached(curves: Values, goals: Values) -> Values:
    """After how many entries each curve is no higher than the goal of its seed."""
    found: Values = {}
    for (left, seed, place), value in sorted(curves.items()):
        if value <= goals.get((left, seed, 0), -math.inf):
            found.setdefault((left, seed, 0), place + 1)
    if len(found) < len({key[:2] for key in curves}):
        raise ValueError("A curve does not come down to its goal, or has none.")
    return found


def operand(text: str, held: Mapping[str, str], *, several: bool) -> Values:
    """The figures in brackets, or at a path in runs under the settings behind it."""
    if text.startswith("["):
        return calculated(text[1:-1], held, several=several)
    under = UNDER.search(text)
    path = text[: under.start()] if under else text
    chosen = dict(held) | (pairs(under["settings"]) if under else {})
    record = chosen.pop("record")
    found: dict[str, Values] = {}
    for settings, run in runs(record):
        if any(settings.get(key, "") != value for key, value in chosen.items()):
            continue
        value = measured(run, path)
        for place, each in enumerate(value if isinstance(value, list) else [value]):
            if figures.number(each):
                left = json.dumps({key: settings[key] for key in settings if key not in chosen})
                found.setdefault(left, {})[left if several else "", run["seed"], place] = each
    alike = bool(found) and all(each == next(iter(found.values())) for each in found.values())
    if not (alike or (several and found)):
        raise ValueError(
            f"{{{text}}} is found in {len(found)} groups of runs of {record} with {chosen}"
            f"{', not in one' if found else ''}."
        )
    every = {key: value for values in found.values() for key, value in values.items()}
    return dict(sorted(every.items()))


def measured(run: Mapping[str, Any], path: str) -> Any:
    """A figure of a run, else one of its settings, else its `wall_seconds`."""
    for tree in (run["figures"], run["settings"], run):
        value = figures.at(tree, path)
        if value is not None and not isinstance(value, Mapping):
            return value
    return None


def formatted(values: Sequence[float], spec: re.Match | None) -> str:
    """The mean of values, with the spread that the format asks for."""
    if spec is None or not (spec["kind"] or spec["digits"] or spec["sign"]):
        return figures.cell(values if spec else [statistics.fmean(values)])
    mean, spread = statistics.fmean(values), spec["spread"]
    text = one(mean, spec) + (" %" if spec["kind"] == "%" else "")
    if spread == "±" and len(values) > 1:
        return f"{text} ± {one(figures.standard_error(values), spec).lstrip('+')}"
    if spread == "[]" and len(values) > 1:
        interval = runner.summary(values)
        return f"{text} [{one(interval.low, spec)}, {one(interval.high, spec)}]"
    return text


def one(value: float, spec: re.Match) -> str:
    """One number: thousands apart, a true minus, an exponent as short as it can be."""
    kind, digits = spec["kind"], spec["digits"] or "0"
    if kind == "e":
        text = re.sub(
            r"e([+-])0*(\d)", lambda e: f"e{e[1].strip('+')}{e[2]}", f"{value:.{digits}e}"
        )
    else:
        text = f"{value * SCALES.get(kind, 1):{spec['sign']},.{digits}f}"
    zero = not re.search("[1-9]", text)
    return text.lstrip("+-") if zero else text.replace("-", "−", 1) if value < 0 else text


def listed(texts: Sequence[str]) -> str:
    """`a, b and c`."""
    *others, last = texts
    return f"{', '.join(others)} and {last}" if others else last
