"""DoRA: the norm of each output is trained apart from its direction."""

import jax
import jax.numpy as jnp

from jaxcompress.adapt.adapter import Adapter
from jaxcompress.adapt.leaves import Adapted, Rescaled, spread, widened
from jaxcompress.adapt.norms import nonzero, norms_of_sum, row_norms
from jaxcompress.adapt.places import Ranks
from jaxcompress.adapt.scales import Scale
from jaxcompress.adapt.starts import Begun, Start
from jaxcompress.adapt.technique import Delta, Form, checked, technique
from jaxcompress.core.axes import Axes, LeafAxes
from jaxcompress.core.matrices import as_matrices
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.types import Array, Masks, Selector


def dora(
    rank: Ranks,
    start: Start,
    *,
    alpha: float | Scale = 16.0,
    axes: Axes | None = None,
    select: Selector | None = None,
    masks: Masks | None = None,
) -> Adapter:
    """Fine-tunes the norm of each output, and its direction by a low-rank sum.

    Not for: a base that should be shipped as codes, since it gives arrays; `lora` keeps
    the codes.

        V = W + scale · left · right
        W'_o = magnitude_o · V_o / ‖V_o‖

    o is an output, the norm is over all that it sums over, and it counts as a constant
    in the gradient. The model begins as it is, up to rounding. What is shipped are
    arrays, also of a base of codes. An output whose weights are all 0 stays so.

    Also known as: DoRA, weight-decomposed low-rank adaptation; on codes QDoRA.

    Args:
      rank: as of `lora`.
      start: as of `lora`. The magnitudes begin as the norms of what it aims at.
      alpha: as of `lora`.
      axes: as of `lora`.
      select: as of `lora`.
      masks: as of `lora`; the norm is that of the masked sum.

    Returns:
      Adapter; those of `lora`, and {"magnitude": (batch…, output…)} of float32.

    Raises:
      TypeError: as `lora`.
      ValueError: as `lora`.

    Example:
      >>> technique = jc.adapt.dora(1, jc.adapt.starts.random(jax.random.key(0)))
      >>> params = {"kernel": jnp.array([[3.0, 0.0], [4.0, 2.0]])}
      >>> adapters = technique.init(params)
      >>> adapters["kernel"]["magnitude"]
      Array([5., 2.], dtype=float32)
      >>> technique.view(params, adapters)["kernel"].tolist()
      [[3.0, 0.0], [4.0, 2.0]]

    Source: Liu et al. 2024, arXiv:2402.09353, sections 4.1 and 4.3. Differs: any leaf
    of any program; `run` finds the norms without forming V.
    """
    options = checked("dora", rank, start, alpha, axes, select)._replace(masks=masks)
    return technique("dora", options, Form(("left", "right", "magnitude"), _begin, _shown, _apart))


def _begin(begun: Begun, axes: LeafAxes) -> dict[str, Array]:
    norms = row_norms(as_matrices(widened(begun.aim), axes))
    magnitude = narrowed(norms, jnp.float32).reshape(begun.left.shape[:-1])
    return {"left": begun.left, "right": begun.right, "magnitude": magnitude}


def _shown(leaf, arrays: dict[str, Array], delta: Delta) -> Array:
    total = delta.added_to(leaf)
    gain = _gain(arrays["magnitude"], row_norms(as_matrices(total, delta.axes)))
    return narrowed(total * spread(gain, delta.product).astype(total.dtype), leaf.dtype)


def _apart(leaf, arrays: dict[str, Array], delta: Delta) -> Rescaled:
    base, product = as_matrices(widened(leaf), delta.axes), delta.product
    batch, rows, columns = base.shape
    left = product.left.reshape(batch, rows, product.rank)
    right = product.right.reshape(batch, product.rank, columns)
    gain = _gain(arrays["magnitude"], norms_of_sum(base, left, right))
    return Rescaled(Adapted(leaf, product, leaf.dtype), gain)


def _gain(magnitude: Array, norms: Array) -> Array:
    """What each output is multiplied by, (batch…, output…); the norm is a constant."""
    norms = jax.lax.stop_gradient(nonzero(norms)).reshape(magnitude.shape)
    return magnitude.astype(norms.dtype) / norms
