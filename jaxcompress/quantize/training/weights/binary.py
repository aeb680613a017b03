"""Binary weights: the sign, under one scale or under the mean magnitude."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import Axes
from jaxcompress.core.companions import Companion
from jaxcompress.core.formats.coding import encode
from jaxcompress.core.formats.cuts import Cut
from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.formats.scales import SMALLEST_SCALE
from jaxcompress.core.formats.tables import BINARY
from jaxcompress.core.rules import Rules, as_rules
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array, Key, Selector
from jaxcompress.quantize.assignment import Choice
from jaxcompress.quantize.formats.tables import binary
from jaxcompress.quantize.training.weights.method import (
    Codes,
    Method,
    Trained,
    block_size,
    bounded,
    companion,
    drawing,
)

SIGNS = binary(per="tensor")


def binary_connect(*, axes: Axes | None = None, select: Selector | None = None) -> Companion:
    """Trains weights of which the model sees the sign, -1 or 1; 0 counts as -1.

    Not for: layers without a norm behind them, since its values have no scale;
    `binary_weights` gives one to each output.

        value = sign(w)
        d value / d w = 1 where |w| <= 1, 0 outside

    The weights themselves stay in full precision and gather small gradients. Keep them
    in [-1, 1], beyond which they have no gradient, by `optimizers.clip_weights` at the
    end of the chain, and have a batch norm behind each layer, which gives it its scale.
    With `binary_activations` it makes a binary network.

    Also known as: BinaryConnect, binarized neural network (BNN), 1-bit weights.

    Args:
      axes: what `graph.axes` gave; without it the layout default, as in `quantize`.
      select: which leaves; without it every weight that meets data. The last layer is
        often left out.

    Returns:
      Companion with nothing beside the weights. `freeze` gives `QTensor`s of one bit.

    Raises:
      TypeError: as `quantize`; when applied: as `quantize`.
      ValueError: when applied: as `quantize`, or companions are of other params.

    Example:
      >>> technique = jc.quantize.training.binary_connect()
      >>> params = {"kernel": jnp.array([[0.3, -2.0]])}
      >>> technique.view(params, technique.init(params))["kernel"]
      Array([[ 1., -1.]], dtype=float32)
      >>> technique.freeze(params, technique.init(params))["kernel"]
      QTensor(binary per tensor, shape=(1, 2), dtype=float32)

    Source: Courbariaux et al. 2015, arXiv:1511.00363, section 2; the gradient's window
    by Courbariaux et al. 2016, arXiv:1602.02830, section 1.3.
    """
    return companion(Choice("binary_connect", SIGNS, axes, select), Method(_signs, _clipped))


def stochastic_binary_connect(
    *, axes: Axes | None = None, select: Selector | None = None
) -> Companion:
    """Trains weights seen as 1 with probability clip((w + 1) / 2, 0, 1), or -1.

    Not for: a loss that sees what is shipped, the signs, which `binary_connect` shows
    from the first step.

    Weights are drawn anew at every step, from its key; what is shipped is the sign.
    Otherwise as `binary_connect`.

    Also known as: stochastic BinaryConnect.

    Args:
      axes: what `graph.axes` gave; without it the layout default, as in `quantize`.
      select: which leaves; without it every weight that meets data.

    Returns:
      Companion whose view needs `Step(count, key)`.

    Raises:
      TypeError: as `binary_connect`.
      ValueError: as `binary_connect`, or a step has no key.

    Example:
      >>> technique = jc.quantize.training.stochastic_binary_connect()
      >>> params = {"kernel": jnp.array([[5.0, -5.0]])}
      >>> step = jc.Step(key=jax.random.key(0))
      >>> technique.view(params, technique.init(params), step)["kernel"]
      Array([[ 1., -1.]], dtype=float32)

    Source: Courbariaux et al. 2015, arXiv:1511.00363, section 2.2, equation 2.
    """

    def drawn(blocks: Array, trained: Trained, parts: Cut, spec: QuantSpec, key: Key) -> Codes:
        on = _signs(blocks, trained, parts, spec).on
        chance = jax.random.uniform(key, blocks.shape, jnp.float32)
        # 2u - 1 is below w with probability (w + 1) / 2.
        return Codes(encode(blocks - (2 * chance - 1), on, spec), on)

    choice = Choice("stochastic_binary_connect", SIGNS, axes, select)
    return companion(choice, drawing(Method(_signs, _clipped), drawn))


def binary_weights(
    spec: QuantSpec | Rules[Any] = binary(),
    *,
    axes: Axes | None = None,
    select: Selector | None = None,
) -> Companion:
    """Trains weights of which the model sees the sign times the block's mean magnitude.

    Not for: pruned weights, since no level is 0; `ternary_weights` has one.

        value = scale · sign(w),   scale = mean |w| over the n weights of a block
        d value / d w = 1 / n + scale · [|w| < 1]

    The scale makes the sign the nearest there is, so no batch norm is needed for it.
    With `binary_activations` scaled by `mean_magnitude` it makes an XNOR network.

    Also known as: binary weight network (BWN), the weights of XNOR-Net.

    Args:
      spec: `formats.binary`, with a scale for each output by default; or rules of such.
      axes: what `graph.axes` gave; without it the layout default, as in `quantize`.
      select: which leaves; without it every weight that meets data. The authors leave
        the first and the last layer in full precision.

    Returns:
      Companion with nothing beside the weights. `freeze` gives `QTensor`s of one bit.

    Raises:
      TypeError: as `quantize`; when applied: as `quantize`.
      ValueError: a format is not `binary`; when applied: as `quantize`, or companions
        are of other params.

    Example:
      >>> technique = jc.quantize.training.binary_weights()
      >>> params = {"kernel": jnp.array([[0.3], [-0.5]])}
      >>> technique.view(params, technique.init(params))["kernel"][:, 0]
      Array([ 0.4, -0.4], dtype=float32)
      >>> both = lambda params: technique.view(params, technique.init(params))["kernel"]
      >>> jax.grad(lambda params: both(params)[0, 0])(params)["kernel"][0]
      Array([0.9], dtype=float32)

    Source: Rastegari et al. 2016, arXiv:1603.05279, sections 3.1 and 3.2, equation 6.
    The gradient of the mean goes to each weight's own output alone, as they write it.
    """
    choice = Choice("binary_weights", spec, axes, select)
    for _, each in as_rules(spec).pairs:
        if each.levels != BINARY:
            raise ValueError(f"binary_weights(spec={each}) must be a format of formats.binary().")
    return companion(choice, Method(scaled_signs, _by_mean))


def scaled_signs(blocks: Array, trained: Trained, parts: Cut, spec: QuantSpec) -> Codes:
    """The signs, under the mean magnitude of each block."""
    del trained
    mean = bounded(jnp.mean(jnp.abs(blocks), parts.shared, keepdims=True), blocks, parts)
    # In a block of zeros the sign of a scale 1 would stand for ones.
    on = Grid(*spec.scales.write(jnp.maximum(mean, SMALLEST_SCALE), parts))
    return Codes(encode(blocks, on, spec), on)


def _signs(blocks: Array, trained: Trained, parts: Cut, spec: QuantSpec) -> Codes:
    del trained
    ones = jnp.ones([1 if axis in parts.shared else n for axis, n in enumerate(parts.shape)])
    on = Grid(ones.astype(jnp.float32))
    return Codes(encode(blocks, on, spec), on)


def _clipped(blocks: Array, trained: Trained, found: Codes, parts: Cut, spec: QuantSpec) -> Array:
    del trained, found, parts, spec
    return jnp.clip(blocks, -1, 1)


def _by_mean(blocks: Array, trained: Trained, found: Codes, parts: Cut, spec: QuantSpec) -> Array:
    del trained
    scale = jnp.where(jnp.abs(blocks) < 1, found.on.steps(spec), 0.0)
    return jax.lax.stop_gradient(1 / block_size(parts) + scale) * blocks
