"""Tunes all matrices of one block together, for what comes out of it."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.sharding import explicit_sharding, placed
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array, Key
from jaxcompress.layerwise.blocks import Block
from jaxcompress.layerwise.turns import Turn
from jaxcompress.quantize.ranges.extremes import min_max
from jaxcompress.quantize.rounding.matrices import grid_of
from jaxcompress.quantize.rounding.rounding import Rounded
from jaxcompress.quantize.rounding.sign_round import Tuned, moved, rates, rounded, untuned
from jaxcompress.quantize.rounding.tuning import Tuning

LOOKS = 8
"""How often all batches are gone through, to find the best step."""

Values = Mapping[int, Array]
"""Inputs of a block, by place."""
Whole = dict[Turn, Tuned]
"""What is tuned, of all matrices of a turn on a leading axis."""


class Best(NamedTuple):
    """The best step.

    Attributes:
      rounded: by turn, the codes of its matrices.
      share: the block's error in units of that of rounding to nearest, in [0, 1].
    """

    rounded: dict[Turn, Rounded]
    share: float


class _Given(NamedTuple):
    """The arrays of a block; all but the first as `Block` names them."""

    matrices: Mapping[Turn, Array]  # (matrices, outputs, inputs) float32
    fixed: Mapping[int, Any]
    now: Values
    before: Values
    targets: tuple[Array, ...]


def tuned(block: Block, specs: Mapping[Turn, QuantSpec], tuning: Tuning) -> Best:
    """Tunes a block; compiled.

    Args:
      block: at its turn.
      specs: of matrices, by turn.
      tuning: how.
    """
    flat = {
        turn: weight.reshape(-1, *weight.shape[-2:]).astype(jnp.float32)
        for turn, weight in block.weights.items()
    }
    given = _Given(flat, block.fixed, block.now, block.before, block.targets)
    codes, first, last = jax.jit(functools.partial(_tuned, block, specs, tuning))(given)
    return Best(codes, float(last) / float(first) if first > 0 else 1.0)


def _tuned(block: Block, specs: Mapping[Turn, QuantSpec], tuning: Tuning, given: _Given):
    """(codes by turn, the error at first, at its best)."""
    starts = {
        turn: jax.vmap(lambda matrix, spec=specs[turn]: grid_of(matrix, spec, min_max))(matrices)
        for turn, matrices in given.matrices.items()
    }
    read = functools.partial(_read, given.matrices, starts, specs)
    error = _error(block, read, given)

    def whole(state: Whole) -> Array:
        parts = given.now, given.targets
        return jnp.mean(jax.lax.map(lambda part: error(state, *part), parts))

    def step(state: Whole, at: tuple[Array, Array]) -> tuple[Whole, None]:
        number, rate = at
        index = number % len(given.targets[0])
        inputs = _mixed(given, tuning, index, number)
        slopes = jax.grad(error)(state, inputs, _batch(given.targets, index))
        return {turn: moved(state[turn], slopes[turn], rate, 1.0) for turn in state}, None

    begin = {turn: jax.vmap(untuned)(given.matrices[turn], starts[turn]) for turn in starts}
    first = whole(begin)
    best, last = _descended(step, whole, (begin, first), tuning)
    return {turn: Rounded(*each[1:]) for turn, each in read(best).items()}, first, last


def _read(
    matrices: Mapping[Turn, Array],
    starts: Mapping[Turn, Grid],
    specs: Mapping[Turn, QuantSpec],
    state: Whole,
) -> dict[Turn, tuple[Array, Array, Grid]]:
    """(values, codes, grids) of what is tuned, by turn."""
    return {
        turn: jax.vmap(lambda w, t, g, s=specs[turn]: rounded(w, t, g, s))(
            matrices[turn], state[turn], starts[turn]
        )
        for turn in matrices
    }


def _error(
    block: Block, read: Callable[..., Any], given: _Given
) -> Callable[[Whole, Values, tuple[Any, ...]], Array]:
    """Makes (tuned, inputs, targets of one batch) -> error of what comes out, ()."""
    energies = (jnp.mean(jnp.square(target.astype(jnp.float32))) for target in given.targets)
    energy = [jnp.where(each > 0, each, 1.0) for each in energies]

    def error(state: Whole, inputs: Values, targets: tuple[Array, ...]) -> Array:
        values = {turn: each[0] for turn, each in read(state).items()}
        outputs = block.outputs(values, given.fixed, inputs)
        errors = (
            jnp.mean(jnp.square(y.astype(jnp.float32) - t.astype(jnp.float32))) / e
            for y, t, e in zip(outputs, targets, energy, strict=True)
        )
        return sum(errors, jnp.zeros((), jnp.float32))

    return error


def _mixed(given: _Given, tuning: Tuning, index: Array, step: Array) -> Values:
    """A batch of inputs; a share of the numbers are those of the model as it was."""
    own, other = _batch(given.now, index), _batch(given.before, index)
    if tuning.drop == 0:
        return own
    keys = jax.random.split(jax.random.fold_in(tuning.key, step), len(own))

    def mixed(key: Key, old: Array, new: Array) -> Array:
        # Under `jax.set_mesh` a draw is whole on every device; the data may be split.
        drawn = jax.random.uniform(key, new.shape, jnp.float32)
        return jnp.where(placed(drawn < tuning.drop, explicit_sharding(new)), old, new)

    return {
        place: mixed(k, other[place], x) if jnp.issubdtype(x.dtype, jnp.floating) else x
        for k, (place, x) in zip(keys, own.items(), strict=True)
    }


def _batch(tree, index: Array):
    return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, index, keepdims=False), tree)


def _descended(
    step: Callable[..., Any], whole: Callable[..., Any], begin: tuple[Whole, Array], tuning: Tuning
) -> tuple[Whole, Array]:
    """The best of what steps lead to, where it is looked at, and its error."""

    def look(state, part):
        at, best, least = state
        at, _ = jax.lax.scan(step, at, part)
        error = whole(at)
        best = jax.tree.map(lambda new, old: jnp.where(error < least, new, old), at, best)
        return (at, best, jnp.minimum(error, least)), None

    looks = min(LOOKS, tuning.steps)
    length = -(-tuning.steps // looks)
    numbers = jnp.arange(looks * length, dtype=jnp.int32).reshape(looks, length)
    rate = jnp.asarray(rates(looks * length, tuning.travel)).reshape(looks, length)
    state, first = begin
    (_, best, last), _ = jax.lax.scan(look, (state, state, first), (numbers, rate))
    return best, last
