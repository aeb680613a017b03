"""Which arrays of an optimizer's state must not be rounded, read from its programs.

Codes are off by some percent of a block's largest magnitude. A mean of gradients
tolerates that. Weights do not, since their updates are smaller; nor do two arrays of
which one is subtracted from the other under a root, where the difference may come out
below 0. Both are seen in the jaxprs of `init` and `update`, whatever fields are called.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.errors import ConcretizationTypeError, TracerArrayConversionError
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

from jaxcompress.core.types import Params, PyTree
from jaxcompress.graph.jaxprs import aval_of, inner_jaxprs
from jaxcompress.graph.primitives import CALLS, ENTRY_KEEPING
from jaxcompress.graph.traversal import forward

MOVES = (ENTRY_KEEPING - {"neg"}) | {"broadcast_in_dim", "reshape", "select_n", "transpose"}
"""What leaves weights weights."""

ROOTS = frozenset(("log", "pow", "rsqrt", "sqrt"))
"""What is NaN below 0; `pow` is where its exponent is not whole."""

EVEN = frozenset(("abs", "exp", "exp2", "square"))
"""What is never below 0."""


class Exact(NamedTuple):
    """Why each leaf of a state must not be rounded.

    Attributes:
      copies: whether an update copies params to it.
      rooted: whether an update takes a root of its difference from another.
    """

    copies: list[bool]
    rooted: list[bool]


class Fact(NamedTuple):
    """What is known of one value in a program.

    Attributes:
      sources: which arguments it follows from, by position.
      apart: those of them that were subtracted from one another on the way, so that
        their roundings may have turned its sign.
      weights: whether its entries are those of params, or some of them.
    """

    sources: frozenset[int] = frozenset()
    apart: frozenset[int] = frozenset()
    weights: bool = False


def follows_values(function: Callable[..., Any], tree: PyTree) -> PyTree:
    """Marks the results that follow from what a tree's leaves hold.

    The function is traced once and never run. A result is marked when a chain of
    equations leads from a leaf to it, be it `0 * leaf`; `zeros_like` leads nowhere.

    Args:
      function: of one tree.
      tree: arrays, traced ones too.

    Returns:
      Tree of bool, of the structure of the function's result.

    Example:
      >>> follows_values(lambda x: {"start": x, "mean": jnp.zeros_like(x)}, jnp.ones(2))
      {'mean': False, 'start': True}
    """
    closed, outline = _program(function, tree)
    facts = [Fact(frozenset((i,))) for i in range(len(closed.jaxpr.invars))]
    marks = [bool(fact.sources) for fact in _Walk().through(closed.jaxpr, facts)]
    return jax.tree.unflatten(jax.tree.structure(outline), marks)


def exact_leaves(
    update: Callable[..., Any], updates: optax.Updates, state: optax.OptState, params: Params
) -> Exact:
    """Marks the leaves of a state that an update copies params to, or takes roots of.

    Args:
      update: (updates, state, params) -> (updates, state); it is traced once.
      updates: gradients.
      state: before the update, of plain arrays.
      params: or None.

    Returns:
      Exact, in the order of the state's leaves.

    Example:
      >>> centered = optax.scale_by_stddev()
      >>> params = jnp.ones(2)
      >>> exact_leaves(centered.update, params, centered.init(params), params).rooted
      [True, True]
    """
    closed, _ = _program(update, updates, state, params)
    of_state, of_params = (len(jax.tree.leaves(tree)) for tree in (state, params))
    of_updates = len(closed.jaxpr.invars) - of_state - of_params
    walk = _Walk()
    results = walk.through(
        closed.jaxpr,
        [Fact()] * of_updates
        + [Fact(frozenset((i,))) for i in range(of_state)]
        + [Fact(weights=True)] * of_params,
    )
    after = results[len(results) - of_state :]
    return Exact([fact.weights for fact in after], [i in walk.rooted for i in range(of_state)])


def _program(function: Callable[..., Any], *arguments: PyTree) -> tuple[ClosedJaxpr, PyTree]:
    """The jaxpr of a part of an optimizer, and the outline of its result."""
    try:
        return jax.make_jaxpr(function, return_shape=True)(*arguments)
    except (ConcretizationTypeError, TracerArrayConversionError) as error:
        raise TypeError(
            "quantize_state(inner): inner branches in Python, or computes in NumPy, on what arrays "
            "hold, so that its program cannot be read. Write its init and update with jnp and lax, "
            "or put quantize_state around the parts of a chain that are."
        ) from error


class _Walk:
    """One pass over a program, from what is known of its arguments to its results."""

    def __init__(self):
        self.rooted: set[int] = set()
        """arguments whose difference a root was taken of"""

    def through(self, jaxpr: Jaxpr, facts: Sequence[Fact]) -> list[Fact]:
        consts = [Fact()] * len(jaxpr.constvars)
        return forward(
            jaxpr,
            consts,
            facts,
            lambda index, facts: self._results(jaxpr.eqns[index], facts),
            lambda literal: Fact(),
        )

    def _results(self, eqn: JaxprEqn, facts: list[Fact]) -> list[Fact]:
        name = eqn.primitive.name
        if name in CALLS:
            (inner,) = inner_jaxprs(eqn)
            return self.through(inner.jaxpr, facts)
        if name == "cond":
            choice, *rest = facts
            branches = [self.through(branch.jaxpr, rest) for branch in inner_jaxprs(eqn)]
            return [
                _joined((choice._replace(weights=False), *results))
                for results in zip(*branches, strict=True)
            ]
        if name in ROOTS:
            self.rooted |= facts[0].apart
        return [
            _result(eqn, facts, jnp.issubdtype(aval_of(out).dtype, jnp.floating))
            for out in eqn.outvars
        ]


def _result(eqn: JaxprEqn, facts: list[Fact], floating: bool) -> Fact:
    """The fact of a result of an equation that holds no program of its own."""
    name, whole = eqn.primitive.name, _joined(facts)
    operands = facts[1:] if name == "select_n" else facts
    weights = name in MOVES and any(fact.weights for fact in operands)
    return Fact(whole.sources, _apart(eqn, facts) if floating else frozenset(), weights)


def _apart(eqn: JaxprEqn, facts: list[Fact]) -> frozenset[int]:
    """The arguments whose difference may have given this result a wrong sign."""
    name, whole = eqn.primitive.name, _joined(facts)
    if name in ROOTS | EVEN or (name == "integer_pow" and eqn.params["y"] % 2 == 0):
        return frozenset()
    if name in ("mul", "dot_general") and eqn.invars[0] is eqn.invars[1]:
        return frozenset()
    if name in ("max", "clamp") and not all(fact.apart for fact in facts[:2]):
        return frozenset()
    if name == "sub":
        left, right = (fact.sources for fact in facts)
        return whole.apart | (whole.sources if left and right and left != right else frozenset())
    return whole.apart


def _joined(facts: Sequence[Fact]) -> Fact:
    return Fact(
        frozenset().union(*(fact.sources for fact in facts)),
        frozenset().union(*(fact.apart for fact in facts)),
        any(fact.weights for fact in facts),
    )
