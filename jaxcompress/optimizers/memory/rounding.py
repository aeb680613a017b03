"""Rounding to bfloat16 that is right in the mean, and parameters that land on it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcompress.core.checks import require_params
from jaxcompress.core.kinds import check_key, check_shape
from jaxcompress.core.names import named_leaves
from jaxcompress.core.types import Array, Key, Params
from jaxcompress.optimizers.leafwise import check_gradients


def random_words(key: Key, shape: tuple[int, ...]) -> Array:
    """One random word for each entry: a hash of its row-major index and the key.

    Much cheaper than `jax.random.bits`, which would take longer than a step of Adam.
    The hash is a bijection of its input, so over keys each word is uniform; words of
    one key are as unrelated as the hash mixes, which is good enough to round with and
    not for anything more.

    Args:
      key: one key.
      shape: at most 2**32 entries.

    Returns:
      uint32 of that shape, the same on any number of devices.

    Source: Appleby's MurmurHash3, its 32-bit finalizer.
    """
    first, second = jax.random.bits(key, (2,), jnp.uint32)
    index = jnp.zeros(shape, jnp.uint32)
    stride = 1
    for axis in reversed(range(len(shape))):
        index += jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * np.uint32(stride % 2**32)
        stride *= shape[axis]
    word = index * np.uint32(0x9E3779B9) + first
    word = (word ^ (word >> 16)) * np.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * np.uint32(0xC2B2AE35)
    return (word ^ (word >> 16)) ^ second


def rounded_to_bfloat16(x: Array, key: Key) -> Array:
    """Rounds x to one of its two bfloat16 neighbours, at random, right in the mean.

    A number that lies a share p of the way to the neighbour of larger magnitude goes
    there with probability p, the other way else: 16 random bits are added to the bits
    of the float32, and its low 16 dropped.

    Args:
      x: float32 of any shape.
      key: one key for the whole array.

    Returns:
      bfloat16 of the same shape. What bfloat16 can hold stays as it is, infinities and
      NaN too; finite numbers stay finite.

    Example:
      >>> x = jnp.array([1.0, jnp.inf])
      >>> jc.optimizers.rounded_to_bfloat16(x, jax.random.key(0))
      Array([1, inf], dtype=bfloat16)

    Source: Zamirai et al. 2020, arXiv:2010.06192, section 4. Differs: a number beyond
    the largest finite bfloat16 goes to it.
    """
    check_shape("rounded_to_bfloat16", "x", x, "(…)")
    check_key("rounded_to_bfloat16", "key", key)
    x = jnp.asarray(x, jnp.float32)
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
    raised = bits + (random_words(key, x.shape) >> 16)
    exponent = np.uint32(0x7F800000)
    # Infinities stay, too: their low bits are 0.
    kept = jnp.where((raised & exponent) == exponent, bits, raised)
    # The quiet bit: a NaN whose high bits are those of infinity stays one.
    kept = jnp.where(jnp.isnan(x), bits | np.uint32(0x00400000), kept)
    return jax.lax.bitcast_convert_type((kept >> 16).astype(jnp.uint16), jnp.bfloat16)


class RoundingState(NamedTuple):
    """The state of parameter rounding.

    Attributes:
      key: () key, split at each step.
    """

    key: Key


def round_params(key: Key) -> optax.GradientTransformationExtraArgs:
    """Rounds bfloat16 parameters stochastically at each update.

    Not for: a smaller optimizer state, since it rounds params alone; take
    `quantize_state`.

    The last link of a chain. Updates far below a parameter's last bit then act in the
    mean, where `optax.apply_updates` would round every one of them away:

        target = rounded_to_bfloat16(param + update)
        update = target - param, in float32

    `optax.apply_updates` then gives exactly the target, for finite params. Parameters
    of other dtypes are left alone.

    Args:
      key: the first key.

    Returns:
      Transformation with a `RoundingState`.

    Raises:
      ValueError: when `init` sees the params: none is bfloat16; in `update`: params are
        missing.

    Example:
      >>> params = {"kernel": jnp.ones(4, jnp.bfloat16)}
      >>> rounding = jc.optimizers.round_params(jax.random.key(0))
      >>> optimizer = optax.chain(optax.sgd(1e-3), rounding)
      >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
      >>> updates["kernel"].dtype
      dtype('float32')

    Also known as: stochastic rounding of weights, pure bfloat16 training.

    Source: Zamirai et al. 2020, arXiv:2010.06192, section 4.
    """
    check_key("round_params", "key", key)

    def init(params: Params) -> RoundingState:
        leaves = named_leaves(params)
        if leaves and not any(leaf.dtype == jnp.bfloat16 for leaf in leaves.values()):
            raise ValueError(
                f"round_params(...).init(params): no leaf is bfloat16. Leaves are: "
                f"{', '.join(f'{name} {leaf.dtype}' for name, leaf in leaves.items())}."
            )
        # A copy, so that a caller who gives the state away keeps the key.
        return RoundingState(jnp.copy(key))

    def update(updates: optax.Updates, state: Any, params: Params = None, **extra):
        del extra
        require_params("round_params", params)
        check_gradients("round_params", updates, params)
        following, now = jax.random.split(state.key)
        leaves, structure = jax.tree.flatten(updates)
        rounded = [
            _landing_on_bfloat16(update, param, jax.random.fold_in(now, rank))
            for rank, (update, param) in enumerate(
                zip(leaves, structure.flatten_up_to(params), strict=True)
            )
        ]
        return jax.tree.unflatten(structure, rounded), RoundingState(following)

    return optax.GradientTransformationExtraArgs(init, update)


def _landing_on_bfloat16(update: Array, param: Array, key: Key) -> Array:
    if param.dtype != jnp.bfloat16:
        return update
    wide = param.astype(jnp.float32)
    target = rounded_to_bfloat16(wide + update.astype(jnp.float32), key)
    # Exact where it matters. If the target is the smaller, it is a multiple of the last
    # bit of `update`, or equals the sum; if it is the larger, the error of a float32 is
    # far below its own last bit.
    return target.astype(jnp.float32) - wide
