"""Which sites of a program the patterns of rules choose."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from jaxcompress.core.rules import Rules
from jaxcompress.graph.products import MARK
from jaxcompress.graph.program import Program
from jaxcompress.graph.sites import Site

Value = TypeVar("Value")


def choose(
    program: Program,
    rules: Rules[Value],
    name_of: Callable[[Site], str],
    suits: Callable[[Site], bool] = lambda site: True,
) -> dict[str, Value]:
    """What the rules say for each site that they choose.

    Patterns that begin with "@" choose among products, all others among the sites of
    weights: so "*" is every weight, and rules for weights mean the same in a program
    with products.

    Args:
      program: the program.
      rules: values by pattern.
      name_of: what patterns match, the name of the site or that of its leaf.
      suits: which sites there are to choose from.

    Returns:
      Dict from site name to value, in program order.

    Raises:
      ValueError: a pattern is the first match of no name; the names are listed.
    """
    of_products = [pair for pair in rules.pairs if pair[0].startswith(MARK)]
    of_weights = [pair for pair in rules.pairs if not pair[0].startswith(MARK)]
    products = [site for site in program.products if suits(site)]
    if of_products and not products:
        raise ValueError(f"Rules: {of_products[0][0]!r} matches nothing; there is no product.")
    found = _assigned(of_weights, filter(suits, program.sites), name_of)
    return found | _assigned(of_products, products, name_of)


def _assigned(
    pairs: list[tuple[str, Value]], sites: Iterable[Site], name_of: Callable[[Site], str]
) -> dict[str, Value]:
    if not pairs:
        return {}
    names = {site.name: name_of(site) for site in sites}
    values = Rules(pairs).assign(dict.fromkeys(names.values()))
    return {site: values[name] for site, name in names.items() if name in values}
