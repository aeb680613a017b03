"""Which format each leaf takes, so that the model fits a number of bytes."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxcompress.auto.chosen_formats import ChosenFormat, MixedPrecision, in_words
from jaxcompress.auto.origins import check_origins
from jaxcompress.auto.parts import literally
from jaxcompress.auto.within_bytes import Forms, Total, within
from jaxcompress.core.axes import Axes
from jaxcompress.core.checks import check_concrete, check_count
from jaxcompress.core.kinds import check_function, check_kind
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.messages import shown
from jaxcompress.core.names import named_leaves
from jaxcompress.core.report import KEPT
from jaxcompress.core.rules import Rules
from jaxcompress.core.selectors import matching
from jaxcompress.core.sensitivities import Sensitivities
from jaxcompress.core.sizes import size_bytes
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.trees import check_arrays, named_axes
from jaxcompress.core.types import Params, PyTree
from jaxcompress.quantize import quantize

Changes = dict[str, dict[str, float]]
"""By leaf, by format in words, what the leaf alone in it changes."""

MEND = "It is what sensitivity or predicted_sensitivity gave."


def mixed_precision(
    table: Sensitivities,
    params: Params,
    specs: Sequence[QuantSpec | None],
    *,
    budget: int,
    axes: Axes | None = None,
    size: Callable[[PyTree], int] = size_bytes,
) -> MixedPrecision:
    """Chooses a format for each leaf: the least loss within a number of bytes.

    Takes the formats of least total rise among all that fit, exactly, as an integer
    program; of equally good ones the widest that fit. A rise counts as at least that of
    every wider format of the leaf, and at least 0: fewer bits that seem to help do so
    by chance. Layers of a scanned leaf take one format together.

    Args:
      table: what `sensitivity` measured or `predicted_sensitivity` predicted, with rows
        for each of the specs.
      params: the tree that the table is of.
      specs: the formats to choose from; None among them for leaves as they are.
      budget: bytes that the whole tree may take, leaves that are not in the table too.
      axes: what `graph.axes` found, as for the table.
      size: bytes of a tree, an int. The default counts arrays in memory, which hold
        numbers of 3 bits as ones of 4; `lambda tree: storage.size(tree).disk` counts
        the file, whose bytes are those of codes rounded to nearest.

    Returns:
      The choices: their `rules` go into `quantize`.

    Raises:
      TypeError: an argument is not of its kind, or `size` gives no int.
      ValueError: the tree does not fit in the narrowest formats either; the table has
        no row of a spec; two specs have the same name; a leaf of the table is not in
        `params`, has codes, other values or axes there.

    Not for: judging the result; errors of leaves do not quite add up, so compare it
    with one format for all, and evaluate on examples that the table has not seen.

    Example:
      >>> fn = lambda params, x: x @ params["a"] @ params["b"]
      >>> params = {"a": jnp.eye(8), "b": jnp.eye(8).at[0].set(jnp.arange(8.0) / 9)}
      >>> examples = jc.validate.Examples(jnp.eye(8), jnp.arange(8))
      >>> specs = [jc.quantize.int8(), jc.quantize.int4()]
      >>> table = jc.auto.sensitivity(fn, params, specs, examples)
      >>> mixed = jc.auto.mixed_precision(table, params, specs, budget=160)
      >>> small, _ = jc.quantize.quantize(params, mixed.rules)
      >>> mixed.size
      160

    Also known as: mixed-precision quantization, bit allocation, multiple-choice
    knapsack.

    Source: the integer program of Yao et al. 2021, arXiv:2011.10680, section 3.3.
    Differs: any sensitivity, and the bytes of any way to count them. Where bytes of
    leaves do not add up to those of the tree, as in a file, the budget of leaves is
    lowered until the tree fits, and one format for all leaves is tried besides.
    """
    check_kind("mixed_precision", "table", table, Sensitivities, MEND)
    check_arrays("mixed_precision", "params", params)
    check_concrete("mixed_precision", params=params)
    named_axes("mixed_precision", axes)
    _check_size(size)
    budget = check_count("mixed_precision", "budget", budget)
    by_words = _by_words(specs)
    changes = _changes(table, by_words)
    _check_leaves(table, params, axes, changes)
    forms = _forms(params, axes, by_words, changes)
    sizes = {
        name: _widest_first(
            {words: size({name: leaf}) for words, leaf in options.items()}, by_words
        )
        for name, options in forms.items()
    }
    rising = -1 if table.higher_is_better else 1
    costs = {
        name: _costs([(words, rising * changes[name][words]) for words in options])
        for name, options in sizes.items()
    }
    total = Total(params, forms, size)
    chosen = within(budget, costs, sizes, total)
    leaves = named_leaves(params)
    return MixedPrecision(
        metric=table.metric,
        budget=budget,
        size=total(chosen),
        change=math.fsum(changes[name][words] for name, words in chosen.items()),
        leaves=tuple(
            ChosenFormat(
                name,
                by_words[words],
                changes[name][words],
                size({name: leaves[name]}) - sizes[name][words],
            )
            for name, words in chosen.items()
        ),
    )


def _check_size(size: Callable[[PyTree], int]) -> None:
    """Raises a TypeError unless it is a function that counts in ints."""
    mend = "It counts the bytes of a tree, as lambda tree: storage.size(tree).disk does."
    check_function("mixed_precision", "size", size, mend)
    counted = size({})
    if not isinstance(counted, int | np.integer):
        raise TypeError(
            f"mixed_precision(size={shown(size)}) gave {type(counted).__name__} and no int. {mend}"
        )


def _widest_first(
    sizes: Mapping[str, int], by_words: Mapping[str, QuantSpec | None]
) -> dict[str, int]:
    """The formats of a leaf by their bytes, of equal ones by their bits."""

    def width(words: str) -> tuple[int, float]:
        spec = by_words[words]
        return sizes[words], math.inf if spec is None else spec.bits

    return {words: sizes[words] for words in sorted(sizes, key=width, reverse=True)}


def _costs(rises: Sequence[tuple[str, float]]) -> dict[str, float]:
    """The rise in each format, widest first: at least that in wider ones, and 0."""
    most = itertools.accumulate((rise for _, rise in rises), max, initial=0.0)
    return dict(zip((words for words, _ in rises), itertools.islice(most, 1, None), strict=True))


def _by_words(specs: Sequence[QuantSpec | None]) -> dict[str, QuantSpec | None]:
    """The formats by what tables call them."""
    mend = "Give formats such as quantize.int4(), and None for leaves as they are."
    check_kind("mixed_precision", "specs", specs, Sequence, mend)
    for spec in specs:
        check_kind("mixed_precision", "specs", spec, QuantSpec | None, mend)
    named = {in_words(spec): spec for spec in specs}
    if not specs or len(named) < len(specs):
        listed = ", ".join(map(in_words, specs)) or "none"
        raise ValueError(
            f"mixed_precision(specs) needs formats of different names, and was given: {listed}."
        )
    return named


def _changes(table: Sensitivities, by_words: Mapping[str, Any]) -> Changes:
    """What is known of the formats, layers of a leaf together.

    Formats in which the metric is not finite, as that of a model that breaks, are none.
    """
    known = [row for row in table if not row.reason]
    missing = sorted(set(by_words) - {KEPT} - {row.choice for row in known})
    if missing:
        tried = ", ".join(sorted({row.choice for row in known})) or "none"
        raise ValueError(
            f"mixed_precision(table) has no row of {', '.join(missing)}; it has rows of: {tried}. "
            "Give sensitivity these specs."
        )
    changes: Changes = {}
    for row in known:
        if row.choice in by_words:
            options = changes.setdefault(row.name, {KEPT: 0.0} if KEPT in by_words else {})
            options[row.choice] = options.get(row.choice, 0.0) + row.changes[table.metric]
    finite = {
        name: {words: change for words, change in options.items() if math.isfinite(change)}
        for name, options in changes.items()
    }
    return {name: options for name, options in finite.items() if options}


def _check_leaves(
    table: Sensitivities, params: Params, axes: Axes | None, changes: Changes
) -> None:
    """Raises a ValueError where the leaves are not those that the table is of."""
    leaves = named_leaves(params)
    strange = sorted(set(changes) - set(leaves))
    if strange:
        raise ValueError(
            f"mixed_precision(params) has no leaf {strange[0]!r}, of which the table has rows. "
            "Give the params that the table was made of."
        )
    coded = [name for name in changes if is_compressed(leaves[name])]
    if coded:
        raise ValueError(
            f"mixed_precision(params): the leaf {coded[0]!r} has codes already, of which the table "
            "tries others. Give the params that the table was made of."
        )
    check_origins("mixed_precision", table, params, axes, changes)


def _forms(
    params: Params, axes: Axes | None, by_words: Mapping[str, QuantSpec | None], changes: Changes
) -> Forms:
    """The leaves of the table in each of their formats, in the tree's order."""
    leaves, small = named_leaves(params), {}
    for words, spec in by_words.items():
        its = {literally(name): spec for name, options in changes.items() if words in options}
        if spec is not None and its:
            select = matching(*its)
            small[words] = named_leaves(quantize(params, Rules(its), axes=axes, select=select)[0])
    return {
        name: {words: small.get(words, leaves)[name] for words in changes[name]}
        for name in leaves
        if name in changes
    }
