"""Running adapted models: the adapters as thin products beside the frozen weights."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.adapt.leaves import Adapted, Rescaled, base_as_read, wide
from jaxcompress.core.corrected import Corrected
from jaxcompress.core.models import check_model
from jaxcompress.core.types import Array, Model
from jaxcompress.graph import Site, rewrite
from jaxcompress.graph.factored import in_two_products, meets_factors


def run(fn: Model) -> Model:
    """Runs a model with its adapters apart: neither W + B A nor its gradient is formed.

    Not for: serving one task on floats, where a technique's merge leaves no products
    beside the weights.

        y = W x + scale · left · (right x)
        d left = scale · dy · (right x)ᵀ,   d right = scale · (leftᵀ · dy) · xᵀ

    so that a step of training holds, beside the frozen weights, arrays of the size of
    activations and adapters alone. Dots, convolutions without groups, and lookups along
    one axis are run so, in scans too; elsewhere the sum is formed. A weight of codes is
    decoded where it is met, with its product beside it: `quantize.run` takes the same
    params for integer execution. Jit the result.

    Also known as: unmerged LoRA.

    Args:
      fn: fn(params, *inputs) -> outputs.

    Returns:
      Model of the same signature, for what `technique.apart(params, adapters)` gives.
      Outputs and gradients equal those of `technique.view` up to rounding.

    Raises:
      TypeError: `fn` is no function.

    Example:
      >>> technique = jc.adapt.lora(1, jc.adapt.starts.random(jax.random.key(0)))
      >>> params = {"kernel": jnp.ones((8, 6))}
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> adapters = technique.init(params)
      >>> fast = jax.jit(jc.adapt.run(fn))
      >>> fast(technique.apart(params, adapters), jnp.ones((2, 8))).tolist()[0]
      [8.0, 8.0, 8.0, 8.0, 8.0, 8.0]
    """
    check_model("run", fn)
    return rewrite(fn, _by_parts)


def _by_parts(site: Site, apply: Callable[..., Any], data: Array, weight) -> Array:
    """Base and product each meet the data, where outputs add up as weights do."""
    total = wide(site.dtype)
    match weight:
        case Rescaled() if meets_factors(site, apply, data, weight.direction.correction):
            product = _by_parts(site, apply, data, weight.direction).astype(total)
            gain = _gain(site, apply, data, weight).astype(total)
            return (product * gain).astype(site.dtype)
        case Adapted() | Corrected() if meets_factors(site, apply, data, weight.correction):
            base = in_two_products(site, apply, data, base_as_read(weight))
            thin = in_two_products(site, apply, data, weight.correction.astype(weight.dtype))
            return (base.astype(total) + thin.astype(total)).astype(site.dtype)
    return in_two_products(site, apply, data, weight)


def _gain(site: Site, apply: Callable[..., Any], data: Array, weight: Rescaled) -> Array:
    """What the outputs of a site are multiplied by, as it broadcasts to them."""
    gain, correction = weight.gain.astype(jnp.float32), weight.direction.correction
    if site.primitive == "dot_general":
        rows = jax.eval_shape(site.rows, data)  # (batch…, rows, inputs)
        per_row = gain.reshape(*rows.shape[:-2], 1, -1)  # (batch…, 1, outputs)
        return site.output(jnp.broadcast_to(per_row, (*rows.shape[:-1], per_row.shape[-1])))
    if site.primitive == "conv_general_dilated":
        array = jax.ShapeDtypeStruct(weight.shape, weight.dtype)
        equation = jax.make_jaxpr(apply)(data, array).eqns[-1].params
        features = equation["dimension_numbers"].out_spec[1]
        others = tuple(axis for axis in range(len(site.output_shape)) if axis != features)
        return jnp.expand_dims(gain, others)
    # A lookup copies the gain of each row as it copies the row.
    inputs = len(correction.right.shape) - correction.batch_ndim - 1
    shape = correction.right.shape
    ones = jnp.ones((*shape[: correction.batch_ndim], 1, *shape[-inputs:]), jnp.float32)
    per_entry = dataclasses.replace(correction, left=gain[..., None], right=ones)
    return in_two_products(site, apply, data, per_entry).astype(jnp.float32)
