"""What a page says first of compressed models: a sentence, cards, a table, a plot."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jaxcompress.core.kinds import check_iterable, check_text
from jaxcompress.report import units
from jaxcompress.report.sections import Beside, Headline, Scatter, Section, Tiles
from jaxcompress.report.tables import Column, Table, table
from jaxcompress.report.variants import HELD, Variant, named, reference
from jaxcompress.validate import Comparison

_COLUMNS = (
    Column("model", "Model"),
    Column("file", "File, bytes", ",d"),
    Column("smaller", "Times smaller", ".1f"),
    Column("accuracy", "Accuracy, % [95 %]"),
    Column("difference", "Difference, points [95 %]"),
    Column("p", "McNemar p"),
)


def summary(variants: Iterable[Variant], *, examples: str = "examples") -> list[Section]:
    """What compression won and what it cost, as the first sections of a page.

    A headline that names the smallest variant in which no loss was found, a card for
    each, and a table beside the picture of bytes against accuracy.

    Args:
      variants: one of them the original, which has no comparison; all judged on the
        same examples.
      examples: what these are called: "images".

    Returns:
      Sections for `page`.

    Raises:
      TypeError: one is no variant.
      ValueError: there is no original, or more than one.

    Example:
      >>> fn, x = lambda params, x: x @ params, jnp.eye(4)
      >>> answers = jc.validate.evaluate(fn, 9 * x, x, jnp.arange(4))
      >>> same = jc.validate.compare(answers, answers)
      >>> variants = [
      ...     jc.report.Variant("dense", 608_000, answers),
      ...     jc.report.Variant("int4", 15_000, answers, same),
      ... ]
      >>> jc.report.summary(variants, examples="images")[0].text
      '15 kB instead of 608 kB, 41 times smaller; no difference found on 4 images'
    """
    check_iterable("summary", "variants", variants, "It holds Variants.")
    check_text("summary", "examples", examples)
    variants = tuple(variants)
    original = reference("summary", variants)
    picture = Scatter(
        tuple(variant.point for variant in variants),
        "Bytes of the file against accuracy. Vertical lines are 95 % intervals; hollow points "
        "are no better than a smaller model.",
    )
    cost = _table(variants, original)
    return [_headline(variants, original, examples), Tiles(variants), Beside(cost, picture)]


def _headline(variants: tuple[Variant, ...], original: Variant, examples: str) -> Headline:
    tests = {each.name: each.comparison for each in variants if each.comparison is not None}
    best = named(variants)
    smaller = [each for each in variants if each.size_bytes < original.size_bytes]
    if best is not None:
        test = tests[best.name]
        text = f"{_sizes(best, original)}; {_found(test)} on {test.n:,} {examples}"
        choice = f"Of {len(tests)} variants it is the smallest in which no loss was found."
        ground = [_figures(best, test, original), choice, *_surer(best, variants, tests, original)]
        return Headline(text, " ".join(ground if len(tests) > 1 else ground[:1]))
    if smaller:
        # The mildest loss, so that nobody takes the smallest for as good.
        least = max(smaller, key=lambda each: each.point.accuracy)
        test = tests[least.name]
        text = f"{_sizes(least, original)}; {_found(test)} on {test.n:,} {examples}"
        every = "A loss was found in every smaller variant; this one answers best."
        return Headline(text, f"{_figures(least, test, original)} {every}")
    size = units.rough_size(original.size_bytes)
    return Headline(f"Nothing is smaller than {original.name}, {size}")


def _sizes(variant: Variant, original: Variant) -> str:
    small, large = (units.rough_size(each.size_bytes) for each in (variant, original))
    times = units.rough(original.size_bytes / variant.size_bytes)
    return f"{small} instead of {large}, {times} times smaller"


def _found(test: Comparison) -> str:
    low, high = test.accuracy_interval
    if low > 0:
        return f"a gain of {units.percent(low)} to {units.percent(high)} points"
    if high < 0:
        return f"a loss of {units.percent(-high)} to {units.percent(-low)} points"
    return "no difference found"


def _figures(variant: Variant, test: Comparison, original: Variant) -> str:
    """Both accuracies, the interval of their difference, and the verdict."""
    own, before = (units.percent(each.point.accuracy) for each in (variant, original))
    low, high = map(units.points, test.accuracy_interval)
    return (
        f"{variant.name} answers {own} % right, {original.name} {before} %: a difference of "
        f"{units.points(test.accuracy_difference)} points, with {100 * test.confidence:g} % "
        f"confidence between {low} and {high}. Verdict: {test.verdict}."
    )


def _surer(
    best: Variant,
    variants: Sequence[Variant],
    tests: Mapping[str, Comparison],
    original: Variant,
) -> list[str]:
    """Where the test of the smallest leaves a loss open: the smallest that does not."""
    held = [each for each in variants if each.outcome == HELD]
    below = [each for each in held if each.size_bytes < original.size_bytes]
    if best.outcome == HELD or not below:
        return []
    surer = min(below, key=lambda each: each.size_bytes)
    size = units.rough_size(surer.size_bytes)
    times = units.rough(original.size_bytes / surer.size_bytes)
    verdict = tests[surer.name].verdict
    return [
        f"The smallest with a firmer one is {surer.name}: {size}, {times} times smaller, {verdict}."
    ]


def _table(variants: tuple[Variant, ...], original: Variant) -> Table:
    return table(
        [_row(variant, original) for variant in variants],
        columns=_COLUMNS,
        title="Bytes and accuracy",
        captions=[
            "Accuracy and its difference from the original with 95 % intervals; each holds on its "
            "own, not all of them at once.",
            "McNemar p: how likely so uneven a change of answers is by chance alone.",
        ],
    )


def _row(variant: Variant, original: Variant) -> dict[Any, Any]:
    point, test = variant.point, variant.comparison
    row: dict[str, str | int | float | None] = {
        "model": variant.name,
        "file": variant.size_bytes,
        "smaller": original.size_bytes / variant.size_bytes,
        "accuracy": f"{units.percent(point.accuracy)} "
        f"[{units.percent(point.low)}, {units.percent(point.high)}]",
        "difference": None,
        "p": None,
    }
    if test is None:
        return row
    low, high = map(units.points, test.accuracy_interval)
    difference = f"{units.points(test.accuracy_difference)} [{low}, {high}]"
    return row | {"difference": difference, "p": _chance(test.mcnemar_p)}


def _chance(p: float) -> str:
    return f"{p:.2g}" if p >= 0.001 else "<0.001"
