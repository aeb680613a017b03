"""DoReFa weights: even levels of the hyperbolic tangent, without a zero."""

from typing import Any

import jax.numpy as jnp

from jaxcompress.core.axes import Axes
from jaxcompress.core.checks import check_count
from jaxcompress.core.companions import Companion
from jaxcompress.core.formats.cuts import Cut
from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.formats.sharing import Tensor
from jaxcompress.core.formats.tables import BINARY, Table
from jaxcompress.core.numerics import largest_magnitude
from jaxcompress.core.rules import Rules, as_rules
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array, Selector
from jaxcompress.quantize.assignment import Choice
from jaxcompress.quantize.training.weights.binary import SIGNS, scaled_signs
from jaxcompress.quantize.training.weights.method import (
    Codes,
    Method,
    Trained,
    companion,
)


def dorefa_weights(
    bits: int | Rules[Any], *, axes: Axes | None = None, select: Selector | None = None
) -> Companion:
    """Trains weights that are seen on even levels from -1 to 1 of their tangent.

    Not for: pruned weights, since no level is 0; `learned_steps` keeps them at 0.

        t = tanh(w) / (2 · max |tanh(w)|) + 1/2,   in [0, 1]
        value = 2 · round((2**bits - 1) · t) / (2**bits - 1) - 1
        d value / d w = d (2 · t - 1) / d w

    and with 1 bit value = mean |w| · sign(w), d value / d w = 1. No level is 0, so
    pruned weights do not stay pruned. Have a norm behind each layer, since the
    largest weight is always seen as 1.

    Also known as: DoReFa-Net (its weights). Its activations are a fixed range of data,
    and its gradients `quantized_gradients`.

    Args:
      bits: of a weight, from 1 to 8; or rules of such over the names of the leaves.
      axes: what `graph.axes` gave; without it the layout default, as in `quantize`.
      select: which leaves; without it every weight that meets data. The authors leave
        the first and the last layer in full precision.

    Returns:
      Companion with nothing beside the weights. `freeze` gives `QTensor`s.

    Raises:
      TypeError: as `quantize`; when applied: as `quantize`.
      ValueError: `bits` is not from 1 to 8; when applied: as `quantize`, or companions
        are of other params.

    Example:
      >>> technique = jc.quantize.training.dorefa_weights(2)
      >>> params = {"kernel": jnp.array([[0.1, -2.0, 9.0]])}
      >>> technique.view(params, technique.init(params))["kernel"]
      Array([[ 0.333, -1.   ,  1.   ]], dtype=float32)

    Source: Zhou et al. 2016, arXiv:1606.06160, sections 2.2 and 2.3, equations 7 and 9.
    """
    specs = Rules((pattern, _spec(each)) for pattern, each in as_rules(bits).pairs)
    return companion(Choice("dorefa_weights", specs, axes, select), Method(_rounded, _passing))


def _spec(bits: int) -> QuantSpec:
    if check_count("dorefa_weights", "bits", bits) > 8:
        raise ValueError(f"dorefa_weights(bits={bits}) must be from 1 to 8.")
    if bits == 1:
        return SIGNS
    most = 2 ** int(bits) - 1
    levels = tuple(2 * code / most - 1 for code in range(most + 1))
    return QuantSpec(Table(f"DoReFa of {bits} bits", levels), Tensor())


def _rounded(blocks: Array, trained: Trained, parts: Cut, spec: QuantSpec) -> Codes:
    if spec.levels == BINARY:
        return scaled_signs(blocks, trained, parts, spec)
    unit = (_squashed(blocks, parts) + 1) / 2
    # Codes say nothing of a block with an entry that is not a number: its scale does.
    on = Grid(1 + 0 * largest_magnitude(jnp.tanh(blocks), parts.shared, keepdims=True))
    return Codes(jnp.round(spec.highest * unit), on)


def _passing(blocks: Array, trained: Trained, found: Codes, parts: Cut, spec: QuantSpec) -> Array:
    del trained, found
    return blocks if spec.levels == BINARY else _squashed(blocks, parts)


def _squashed(blocks: Array, parts: Cut) -> Array:
    """The tangents over their largest magnitude, in [-1, 1]."""
    tangents = jnp.tanh(blocks)
    largest = largest_magnitude(tangents, parts.shared, keepdims=True)
    return tangents / jnp.where(largest == 0, 1.0, largest)
