"""What a scale search is: it chooses among stored scales, which no range can name."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.formats.coding import decode, encode
from jaxcompress.core.formats.cuts import Cut
from jaxcompress.core.formats.grids import Grid, covered, grid
from jaxcompress.core.formats.scales import SMALLEST_SCALE
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.layerwise.solver import all_counted
from jaxcompress.quantize.ranges.estimator import extremes


class ScaleSearch(NamedTuple):
    """Finds the stored scales of an array's blocks; goes wherever `ranges=` goes.

    A range becomes a scale, which storage rounds, and all ranges of a leaf decide on
    its second scale. A search fixes the second scale first and chooses among the scales
    that can be stored under it.

    Attributes:
      find: (blocks, parts, spec, second_moment) -> Grid. The blocks are the array in
        the shape of its cut `parts`, float32. The second moment is None, or that of the
        inputs of a flat (outputs, inputs) matrix, (inputs, inputs).
    """

    find: Callable[[Array, Cut, QuantSpec, Array | None], Grid]


def check_scales(caller: str, spec: QuantSpec, kind: type[Any], example: str) -> None:
    """Raises a ValueError unless a format stores such scales, and no zero point."""
    if not (isinstance(spec.scales, kind) and spec.symmetric):
        raise ValueError(
            f"{caller}: {spec} has no {kind.__name__} scales or a zero point. Give it a format as "
            f"{example}."
        )


def whole_scale(blocks: Array, parts: Cut, spec: QuantSpec) -> tuple[Array, Grid]:
    """The scales at which nothing is clipped, exact float32, and the grid they give."""
    cover = covered(extremes(blocks, spec, parts.shared), spec)
    lowest, highest = spec.levels.ends
    scale = (cover.high * 0.5 - cover.low * 0.5) * (2 / (highest - lowest))
    return scale, grid(cover, spec, parts)


def least_error(
    blocks: Array,
    parts: Cut,
    spec: QuantSpec,
    on: Grid,
    candidates: Array,
    second_moment: Array | None,
) -> Grid:
    """The grid whose stored scales err least, each block for itself.

    Args:
      blocks: the array in the shape of its cut, float32.
      parts: the cut.
      spec: the format.
      on: a grid whose scales win among equals and where no error is a number.
      candidates: (candidate, blocks…) other stored scales under its second scale.
      second_moment: of the inputs, (inputs, inputs), whose part among the inputs of a
        block weighs its error; None for the identity.
    """
    # In units of the scale at which nothing is clipped, so that no square overflows.
    unit = 1.0 / jnp.maximum(whole_scale(blocks, parts, spec)[0], SMALLEST_SCALE)

    def cost(scale: Array) -> Array:
        trial = on._replace(scale=scale)
        error = (decode(encode(blocks, trial, spec), trial, spec) - blocks) * unit
        return jnp.sum(error * _weighed(error, parts, second_moment), parts.shared, keepdims=True)

    def step(best, scale):
        least, found = best
        now = cost(scale)
        better = now < least
        return (jnp.where(better, now, least), jnp.where(better, scale, found)), None

    start = cost(on.scale)
    (_, found), _ = jax.lax.scan(
        step, (jnp.where(jnp.isfinite(start), start, jnp.inf), on.scale), candidates
    )
    # A block that is not finite stays so.
    return on._replace(scale=jnp.where(jnp.isnan(on.steps(spec)), on.scale, found))


def _weighed(error: Array, parts: Cut, second_moment: Array | None) -> Array:
    """The error of each block times the second moment of the block's inputs."""
    if second_moment is None:
        return error
    second_moment = all_counted(second_moment)
    size, last = error.shape[-1], error.ndim - 1
    if last not in parts.entries:
        return jnp.matmul(error, second_moment, precision=jax.lax.Precision.HIGHEST)
    groups = error.shape[-2]
    square = second_moment.reshape(groups, size, groups, size)
    own = square[jnp.arange(groups), :, jnp.arange(groups)]  # (groups, size, size)
    return jnp.einsum("...gi,gij->...gj", error, own, precision=jax.lax.Precision.HIGHEST)
