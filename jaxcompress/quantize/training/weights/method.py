"""What a way to train rounded weights is, and the companion it becomes on a tree."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import to_canonical
from jaxcompress.core.companions import (
    Companion,
    Companions,
    Step,
    begin,
    check_step,
    keys_of,
    no_penalty,
    require,
    seen,
)
from jaxcompress.core.flax_leaf import unwrapped
from jaxcompress.core.formats.coding import decode
from jaxcompress.core.formats.cuts import Cut, as_before, cut, in_blocks
from jaxcompress.core.formats.grids import Grid, stored
from jaxcompress.core.kinds import check_mapping
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.numerics import largest_magnitude, narrowed, straight_through
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array, Key, Params
from jaxcompress.quantize.assignment import Assignment, Choice
from jaxcompress.quantize.weights import check_values

Trained = dict[str, Array]
"""What is trained beside the weights of a leaf: float32, one entry for each block."""


class Codes(NamedTuple):
    """The codes of an array that was cut into blocks, and what they are read with.

    Attributes:
      codes: whole numbers of the shape of the cut.
      on: one entry for each block.
    """

    codes: Array
    on: Grid


def nothing(blocks: Array, parts: Cut, spec: QuantSpec) -> Trained:
    """The start of a method that trains nothing beside the weights."""
    del blocks, parts, spec
    return {}


def no_keys(caller: str, companions: Companions, step: Step) -> dict[str, None]:
    """The keys of a method that draws nothing."""
    del caller, step
    return dict.fromkeys(companions)


class Method(NamedTuple):
    """How the weights of one leaf are rounded in training, on blocks of float32.

    Attributes:
      rounded: (blocks, trained, parts, spec) -> Codes that are shipped.
      passing: (blocks, trained, codes, parts, spec) -> array of the blocks' shape whose
        derivatives are those of training; its values are not used.
      start: (blocks, parts, spec) -> what is trained beside the weights, at first.
      drawn: (blocks, trained, parts, spec, key) -> Codes that training sees, where they
        are others than those shipped.
      keys: (caller, companions, step) -> a key for each leaf, for `drawn`.
    """

    rounded: Callable[[Array, Trained, Cut, QuantSpec], Codes]
    passing: Callable[[Array, Trained, Codes, Cut, QuantSpec], Array]
    start: Callable[[Array, Cut, QuantSpec], Trained] = nothing
    drawn: Callable[[Array, Trained, Cut, QuantSpec, Key], Codes] | None = None
    keys: Callable[[str, Companions, Step], dict[Any, Any]] = no_keys


def drawing(method: Method, drawn: Callable[[Array, Trained, Cut, QuantSpec, Key], Codes]):
    """The method whose training sees codes that are drawn anew at every step."""
    return method._replace(drawn=drawn, keys=keys_of)


def companion(choice: Choice, method: Method) -> Companion:
    """The companion of a method: it begins, is seen and is shipped on a whole tree."""
    caller = choice.caller

    def init(params: Params) -> Companions:
        chosen = choice.assigned(params)

        def start(name: str, leaf) -> Trained:
            check_values(caller, name, leaf)
            if isinstance(leaf, jax.ShapeDtypeStruct):
                return jax.eval_shape(lambda x: begun(x, chosen[name], method), leaf)
            return begun(jnp.asarray(leaf), chosen[name], method)

        return begin(params, map_named(lambda name, _: name in chosen, params), start)

    def view(params: Params, companions: Companions, step: Step = Step()) -> Params:
        check_step(caller, step)
        chosen, companions = _fitting(choice, method, params, companions)
        keys = method.keys(caller, companions, step)

        def shown(name: str, leaf) -> Array:
            return seen_leaf(jnp.asarray(leaf), companions[name], chosen[name], method, keys[name])

        return seen(params, companions, shown)

    def freeze(params: Params, companions: Companions, step: Step = Step()) -> Params:
        del step
        chosen, companions = _fitting(choice, method, params, companions)

        def shipped(name: str, leaf) -> QTensor:
            check_values(caller, name, leaf)
            for part, each in companions[name].items():
                check_values(caller, f"companions/{name}/{part}", each)
            return shipped_leaf(jnp.asarray(leaf), companions[name], chosen[name], method)

        return seen(params, companions, shipped)

    return Companion(init, view, freeze, no_penalty)


@functools.partial(jax.jit, static_argnums=(1, 2), inline=True)
def begun(x: Array, choice: Assignment, method: Method) -> Trained:
    """What stands beside an array at first."""
    blocks, parts = _cut(x, choice)
    return method.start(blocks, parts, choice.spec)


def seen_leaf(x: Array, trained: Trained, choice: Assignment, method: Method, key: Any) -> Array:
    """The array as a model sees it in training, of its own dtype."""
    spec = choice.spec
    blocks, parts = _cut(x, choice)
    fixed = jax.lax.stop_gradient((blocks, trained))
    if method.drawn is None:
        found = method.rounded(*fixed, parts, spec)
    else:
        found = method.drawn(*fixed, parts, spec, key)
    # Whole numbers have no -0, so that neither has what training sees.
    found = found._replace(codes=found.codes.astype(jnp.int32))
    # Gradients of a block are those without its entries that are not finite.
    clean = jnp.where(jnp.isfinite(blocks), blocks, 0.0)
    passing = method.passing(clean, trained, found, parts, spec)
    value = decode(found.codes, found.on, spec)
    shown = straight_through(value, passing, jnp.ones_like(blocks, bool))
    # No code says that a weight is not finite, and a diverged one is not to look fine.
    shown = jnp.where(jnp.isfinite(blocks), shown, blocks)
    return narrowed(as_before(shown, x), x.dtype)


@functools.partial(jax.jit, static_argnums=(2, 3), inline=True)
def shipped_leaf(x: Array, trained: Trained, choice: Assignment, method: Method) -> QTensor:
    """The leaf that is shipped: it materializes to what `seen_leaf` shows."""
    spec, axes = choice
    blocks, parts = _cut(x, choice)
    codes, on = method.rounded(blocks, trained, parts, spec)
    codes = to_canonical(as_before(codes.astype(jnp.int32), x), axes)
    on = stored(on, parts, axes)
    return QTensor.from_rounded(codes, on, spec=spec, dtype=x.dtype, axes=axes)


def block_size(parts: Cut) -> int:
    """How many weights share a scale."""
    return math.prod(parts.shape[axis] for axis in parts.shared)


def bounded(mean: Array, blocks: Array, parts: Cut) -> Array:
    """A mean of magnitudes, at most the largest float where all entries are finite.

    The sum of huge weights overflows, though their mean does not.
    """
    finite = jnp.isfinite(largest_magnitude(blocks, parts.shared, keepdims=True))
    return jnp.where(finite, jnp.minimum(mean, jnp.finfo(jnp.float32).max), mean)


def _cut(x: Array, choice: Assignment) -> tuple[Array, Cut]:
    parts = cut(x.shape, choice.spec.sharing, choice.axes)
    return in_blocks(x.astype(jnp.float32), parts), parts


def _fitting(
    choice: Choice, method: Method, params: Params, companions: Companions
) -> tuple[dict[str, Assignment], Companions]:
    """Assignments and companions by name; raises where these are of other leaves."""
    chosen = choice.assigned(params)
    companions = unwrapped(companions)
    check_mapping(choice.caller, "companions", companions, "Begin with init(params).")
    companions = dict(companions)
    if not companions and method.start is nothing:
        companions = {name: {} for name in chosen}  # as files give back what holds no array
    leaves = named_leaves(params)
    require(choice.caller, {name: leaves[name] for name in chosen}, companions, lambda *_: True)
    for name, own in companions.items():
        leaf = jax.ShapeDtypeStruct(leaves[name].shape, leaves[name].dtype)
        held = jax.eval_shape(lambda x, name=name: begun(x, chosen[name], method), leaf)
        expected = {part: each.shape for part, each in held.items()}
        given = (
            {part: jnp.shape(each) for part, each in own.items()}
            if isinstance(own, Mapping)
            else jnp.shape(own)
        )
        if given != expected:
            raise ValueError(
                f"{choice.caller}(companions=...): what stands beside leaf {name!r} has shapes "
                f"{given}, and must have {expected}. Begin with init(params)."
            )
    return chosen, companions
