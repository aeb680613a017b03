"""Handles leaves that no calibration data reached.

A statistic without data is not taken for 0. Each method says which leaves it has no
data for; here it is decided whether such a leaf is left out or refused.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.rules import as_rules
from jaxcompress.core.types import Array, Selector


def without_data(
    caller: str,
    unreached: Mapping[str, str],
    chosen: Iterable[str],
    select: Selector | None,
    rules: Any,
) -> dict[str, str]:
    """Finds the chosen leaves that no data reached, with the reason.

    They were taken by default, so a method leaves them out, or treats them without
    data where it has such a form, and reports the reason.

    Args:
      caller: the method.
      unreached: by leaf name, why nothing is known of it.
      chosen: the leaves that the method is to change.
      select: the selector that the user gave, or None.
      rules: those that the user gave, or one value for every leaf.

    Returns:
      Reason by leaf name.

    Raises:
      ValueError: such a leaf was asked for by name, by a selector or a rule of its own;
        or all of them are such.

    Example:
      >>> without_data("prune", {"b": "no data"}, ["a", "b"], None, 0.5)
      {'b': 'no data'}
    """
    chosen = list(chosen)
    found = {name: unreached[name] for name in chosen if name in unreached}
    named = [name for name in found if select is not None or as_rules(rules).by_name(name)]
    if named:
        raise ValueError(
            f"{caller}: leaf {named[0]!r} was asked for by name, but {found[named[0]]}. "
            "Give data that reach it, or leave it out."
        )
    if found and len(found) == len(chosen):
        reasons = "; ".join(f"{name!r}: {reason}" for name, reason in found.items())
        raise ValueError(
            f"{caller}: no leaf is left to change. {reasons}. Give data that reach them."
        )
    return found


def missing(count: Array) -> str:
    """Says why the statistics of a leaf are incomplete; empty where they are not.

    Example:
      >>> missing(jnp.array([3, 0, 5]))
      'no data reached 1 of its 3 matrices'
    """
    # On the host: which leaves are changed decides the structure of the program.
    counts = np.asarray(jax.device_get(jnp.atleast_1d(count)))
    unseen = int(np.sum(counts == 0))
    if not unseen:
        return ""
    if unseen == counts.size:
        return "no data reached it"
    return f"no data reached {unseen} of its {counts.size} matrices"
