"""The formats of least cost whose tree fits a number of bytes, counted in any way."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from jaxcompress.auto.knapsack import cheapest
from jaxcompress.core.names import leaf_names, named_leaves
from jaxcompress.core.types import Params, PyTree

Forms = dict[str, dict[str, Any]]
"""By leaf, by format in words, the leaf in it."""


class Total(NamedTuple):
    """Bytes of the whole tree with a format for each leaf."""

    params: Params
    forms: Forms
    size: Callable[[PyTree], int]

    def __call__(self, chosen: Mapping[str, str]) -> int:
        taken = {name: self.forms[name][words] for name, words in chosen.items()}
        leaves = named_leaves(self.params) | taken
        return self.size(jax.tree.map(lambda name: leaves[name], leaf_names(self.params)))


def within(
    budget: int,
    costs: Mapping[str, Mapping[str, float]],
    sizes: Mapping[str, Mapping[str, int]],
    total: Callable[[Mapping[str, str]], int],
) -> dict[str, str]:
    """By leaf the words of its format: the cheapest that fit."""
    narrowest = {
        name: min(options, key=lambda words: (options[words], costs[name][words]))
        for name, options in sizes.items()
    }
    least = total(narrowest)
    if least > budget:
        raise ValueError(
            f"mixed_precision(budget={budget}) is less than the {least} bytes that the tree takes "
            "with every leaf in its narrowest format. Raise it, or give narrower specs."
        )
    best = min(_one_for_all(narrowest, budget, sizes, total), key=lambda c: _cost(c, costs))
    limit = budget - least
    while limit >= 0 and sizes:
        found = cheapest(
            [list(options.values()) for options in costs.values()],
            [
                [sizes[name][words] - sizes[name][narrowest[name]] for words in options]
                for name, options in costs.items()
            ],
            limit,
        )
        chosen = {name: list(costs[name])[at] for name, at in zip(costs, found, strict=True)}
        over = total(chosen) - budget
        if over <= 0:
            best = min(chosen, best, key=lambda c: _cost(c, costs))
            break
        limit -= over
    return _widened(best, budget, sizes, total)


def _one_for_all(
    narrowest: dict[str, str],
    budget: int,
    sizes: Mapping[str, Mapping[str, int]],
    total: Callable[[Mapping[str, str]], int],
) -> list[dict[str, str]]:
    """The narrowest, and each format for all leaves that fits the budget.

    A file's header is shorter where all leaves have one format, so that of a small tree
    may be the best of all, although sums of single leaves do not tell.
    """
    every = {words: None for options in sizes.values() for words in options}
    alike = [
        {name: words if words in sizes[name] else own for name, own in narrowest.items()}
        for words in every
    ]
    return [narrowest, *(choice for choice in alike if total(choice) <= budget)]


def _cost(chosen: Mapping[str, str], costs: Mapping[str, Mapping[str, float]]) -> float:
    return math.fsum(costs[name][words] for name, words in chosen.items())


def _widened(
    chosen: dict[str, str],
    budget: int,
    sizes: Mapping[str, Mapping[str, int]],
    total: Callable[[Mapping[str, str]], int],
) -> dict[str, str]:
    """Each leaf in turn in the widest format that still fits: none costs more."""
    taken = total(chosen)
    for name, options in sizes.items():
        for words in list(options)[: list(options).index(chosen[name])]:
            near = taken + options[words] - options[chosen[name]]
            changed = {**chosen, name: words}
            if near <= budget and (exact := total(changed)) <= budget:
                chosen, taken = changed, exact
                break
    return chosen
