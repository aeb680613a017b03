"""What an einsum's formula says of the dot that JAX makes of it.

`jnp.einsum` writes its formula as the name scope of what it does. The dot inside may
have the operands swapped, and its output lies as a dot's does: batch axes first, then
those of the left operand, then those of the right. Both are undone here, so that a
product reads as its author wrote it.
"""

import itertools
import re
from collections.abc import Iterator, Sequence

from jax.extend.core import JaxprEqn, Var

from jaxcompress.graph.jaxprs import aval_of, variables

UNNAMED = ""
"""The label of an axis that no letter stands for: of an ellipsis, or of a `vmap`."""

_FORMULA = re.compile(r"[\w.,]+->[\w.]*")


def formula_of(scopes: str) -> str:
    """The formula that a name stack ends with; empty where no einsum wrote it.

    Example:
      >>> formula_of("Attention_0/vmap(qd,kd->qk)"), formula_of("Attention_0")
      ('qd,kd->qk', '')
    """
    found = _FORMULA.search(scopes.rpartition("/")[2])
    return found[0] if found else ""


def einsum_orders(eqns: Sequence[JaxprEqn]) -> dict[Var, tuple[int, ...]]:
    """The axis orders that einsums give to outputs of their dots, by output."""
    scopes: dict[Var, str] = {}
    orders = {}
    for eqn in eqns:
        scope = str(eqn.source_info.name_stack)
        scopes.update(dict.fromkeys(eqn.outvars, scope))
        if eqn.primitive.name == "transpose" and formula_of(scope):
            (operand,) = variables(eqn.invars)
            if scopes.get(operand) == scope:  # a transpose after the einsum is no part of it
                orders[operand] = tuple(eqn.params["permutation"])
    return orders


def first_operand(formula: str, eqn: JaxprEqn, order: Sequence[int]) -> int:
    """Which operand of a dot is the first one of the formula; 0 where that is not told.

    Tries both, and takes the one for which letters can be given to the axes: the same
    to those that the dot pairs, and to the output those of the formula's result.

    Args:
      formula: of two operands, such as "bqd,bkd->bqk".
      eqn: the dot.
      order: the order that the einsum gives to the output's axes.
    """
    operands, _, result = formula.replace(".", "").partition("->")
    names = operands.split(",")
    if eqn.primitive.name != "dot_general" or len(names) != 2:
        return 0
    as_it_is, swapped = (_fits(each, result, eqn, order) for each in (names, names[::-1]))
    return int(swapped and not as_it_is)


def _fits(names: Sequence[str], result: str, eqn: JaxprEqn, order: Sequence[int]) -> bool:
    ranks = [len(aval_of(operand).shape) for operand in eqn.invars]
    (left_sum, right_sum), (left_batch, right_batch) = eqn.params["dimension_numbers"]
    for left, right in itertools.product(*map(_labelled, names, ranks)):
        paired = [(left[i], right[j]) for i, j in zip(left_sum, right_sum, strict=True)]
        paired += [(left[i], right[j]) for i, j in zip(left_batch, right_batch, strict=True)]
        output = [left[i] for i in left_batch]
        output += [left[i] for i in range(ranks[0]) if i not in (*left_sum, *left_batch)]
        output += [right[i] for i in range(ranks[1]) if i not in (*right_sum, *right_batch)]
        if all(a == b for a, b in paired) and "".join(output[i] for i in order) == result:
            return True
    return False


def _labelled(names: str, rank: int) -> Iterator[tuple[str, ...]]:
    """Every way to give the letters, in order, to some of `rank` axes."""
    for axes in itertools.combinations(range(rank), len(names)):
        at = dict(zip(axes, names, strict=True))
        yield tuple(at.get(axis, UNNAMED) for axis in range(rank))
