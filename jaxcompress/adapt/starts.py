"""What training of an adapter begins with: at random, or a part of the weight."""

import math
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.adapt.places import Place
from jaxcompress.core import exports
from jaxcompress.core.kinds import check_key
from jaxcompress.core.leaf import materialize
from jaxcompress.core.matrices import as_matrices
from jaxcompress.core.names import named_leaves
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Key, Params

exports.list_definitions(globals())


class Begun(NamedTuple):
    """An adapter at the start of training.

    Attributes:
      left: (batch…, output…, rank) float32.
      right: (batch…, rank, contracting…) float32.
      aim: what the model shall see of the leaf at first: an array or a compressed leaf.
    """

    left: Array
    right: Array
    aim: Any


Start = Callable[[Place], Begun]
"""From a leaf, its axes, rank and scale to the adapter that training begins with."""


def random(key: Key) -> Start:
    """Begins with zeros on the left and random numbers on the right: the model itself.

        left = 0,   right ~ U(-1, 1) / sqrt(inputs)

    Args:
      key: random key. A leaf draws by its name, whichever others have adapters.

    Returns:
      Start. Shapes are enough for it.

    Raises:
      TypeError: it is no key.

    Example:
      >>> start = jc.adapt.starts.random(jax.random.key(0))
      >>> adapters = jc.adapt.lora(2, start).init({"kernel": jnp.ones((4, 3))})
      >>> adapters["kernel"]["left"].shape, adapters["kernel"]["right"].shape
      ((3, 2), (2, 4))

    Source: Hu et al. 2021, arXiv:2106.09685, section 4.1. Differs: uniform, as in the
    authors' code, in place of normal.
    """
    check_key("random", "key", key)

    def start(place: Place) -> Begun:
        own = jax.random.fold_in(key, zlib.crc32(place.name.encode()))
        end = 1 / math.sqrt(place.inputs)
        right = jax.random.uniform(own, place.right_shape, jnp.float32, -end, end)
        return Begun(jnp.zeros(place.left_shape, jnp.float32), right, place.leaf)

    return start


def principal() -> Start:
    """Begins with the largest singular directions of the weight itself.

    Not for: one base under many adapters, since it changes the base; `starts.random`
    leaves it.

        W = U S Vᵀ,   left = U_r sqrt(S_r / scale),   right = sqrt(S_r / scale) V_rᵀ

    The base must then be the rest, `technique.residual(params, adapters)`, which may be
    quantized: with it the model begins where it was.

    Also known as: PiSSA; with a quantized rest, QPiSSA.

    Returns:
      Start. It needs values, and params that are finite.

    Example:
      >>> technique = jc.adapt.lora(1, jc.adapt.starts.principal(), alpha=1.0)
      >>> params = {"kernel": jnp.diag(jnp.array([4.0, 1.0]))}
      >>> adapters = technique.init(params)
      >>> base = technique.residual(params, adapters)
      >>> jnp.abs(base["kernel"]).round(5).tolist()
      [[0.0, 0.0], [0.0, 1.0]]
      >>> bool(jnp.allclose(technique.view(base, adapters)["kernel"], params["kernel"]))
      True

    Source: Meng, Wang and Zhang 2024, arXiv:2404.02948, section 3.
    """

    def start(place: Place) -> Begun:
        return Begun(*_largest_part(_matrices(place.leaf, place), place), place.leaf)

    return start


def from_error(original: Params) -> Start:
    """Begins with the product that mends most of what the base lost.

    Not for: a base of floats, which has lost nothing; take `principal` or
    `starts.random`.

        scale · left · right = the nearest of its rank to W - base

    For a base of codes: the model begins nearer to the original than codes alone are.
    LoftQ takes turns: quantize `technique.residual(original, adapters)`, begin again
    with `init` of that base, a few times.

    Also known as: LoftQ, LQ-LoRA.

    Args:
      original: the params before they were quantized, or other arrays that the model
        shall begin with; of leaves without an adapter nothing is asked.

    Returns:
      Start. It needs values, and params that are finite.

    Raises:
      TypeError: a leaf of `original` is no array.
      ValueError: when called: a leaf is not in `original`, or of another shape there.

    Example:
      >>> original = {"kernel": jnp.eye(3) * 0.9}
      >>> start = jc.adapt.starts.from_error(original)
      >>> technique, base = jc.adapt.lora(3, start, alpha=3.0), {"kernel": jnp.eye(3)}
      >>> technique.view(base, technique.init(base))["kernel"][0]
      Array([0.9, 0. , 0. ], dtype=float32)

    Source: Li et al. 2023, arXiv:2310.08659, algorithm 1; one turn.
    """
    check_arrays("from_error", "original", original)
    leaves = named_leaves(original)

    def start(place: Place) -> Begun:
        if place.name not in leaves or tuple(leaves[place.name].shape) != tuple(place.leaf.shape):
            found = f"shape {tuple(leaves[place.name].shape)}" if place.name in leaves else "none"
            raise ValueError(
                f"from_error(original=...): leaf {place.name!r} of shape "
                f"{tuple(place.leaf.shape)} has {found} there. Pass the params that the base was "
                "made of."
            )
        aim = leaves[place.name]
        error = _matrices(aim, place) - _matrices(place.leaf, place)
        return Begun(*_largest_part(error, place), aim)

    return start


def _matrices(leaf, place: Place) -> Array:
    """(batch, outputs, inputs) float32."""
    array = jnp.asarray(materialize(leaf)).astype(jnp.float32)
    return as_matrices(array, place.axes)


def _largest_part(matrices: Array, place: Place) -> tuple[Array, Array]:
    """Factors whose product, times the scale, is the nearest of their rank."""
    left, values, right = jnp.linalg.svd(matrices, full_matrices=False)
    # Equally long factors learn equally fast.
    lengths = jnp.sqrt(values[:, : place.rank] / place.scale)  # (batch, rank)
    left = left[:, :, : place.rank] * lengths[:, None, :]
    right = right[:, : place.rank, :] * lengths[:, :, None]
    return left.reshape(place.left_shape), right.reshape(place.right_shape)
