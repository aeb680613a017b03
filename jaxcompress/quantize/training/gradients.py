"""Training on gradients of few bits: what comes back to a layer's output is rounded."""

import functools
import zlib
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from jaxcompress.core.checks import check_count, check_range
from jaxcompress.core.companions import Step
from jaxcompress.core.kinds import check_key, check_kind
from jaxcompress.core.models import check_model
from jaxcompress.core.noise import own_key
from jaxcompress.core.numerics import largest_magnitude, narrowed
from jaxcompress.core.rules import Rules, as_rules
from jaxcompress.core.sharding import with_results_sharded_alike
from jaxcompress.core.types import Array, Key, Model, Params, PyTree
from jaxcompress.graph import Replacement, Site, rewrite
from jaxcompress.graph.layouts import Lookup


class NoisyModel(Protocol):
    """A model whose backward pass draws noise."""

    def __call__(self, params: Params, *inputs: Any, step: Step) -> PyTree:
        """The outputs of the model; differentiable backwards."""
        ...


def quantized_gradients(fn: Model, bits: int | Rules[Any] = 6) -> NoisyModel:
    """Rounds the gradient of every layer's output to a few bits, at random.

    Not for: faster training, since products stay as they are; `low_precision`
    multiplies codes.

    Also known as: DoReFa gradient quantization, low bitwidth gradients.

        s(g) = g / (2 max|g|) + 1/2 + noise / (2**bits - 1),   noise in [-1/2, 1/2)
        g'   = 2 max|g| · (round((2**bits - 1) · clip(s, 0, 1)) / (2**bits - 1) - 1/2)

    with a maximum for each example, an entry along the first axis of the output as the
    model's author wrote it, or the whole output where a model takes one example without
    such an axis and `vmap` stands around it. What is inside of the range is right in
    the mean. The forward pass is unchanged; for low-bit weights and data wrap the model
    in the views and wrappers for these first. With so few bits zero is no level: each
    gradient gets noise. A gradient that is not finite leaves none of its example's
    finite.

    Args:
      fn: fn(params, *inputs) -> outputs.
      bits: of a gradient, 1 to 16; or rules of them over leaf names. Lookups stay.

    Returns:
      Function (params, *inputs, step) -> outputs; `step` needs a key, another one at
      each step. Forward mode is refused.

    Raises:
      TypeError: `fn` is no function.
      ValueError: `bits` is no int from 1 to 16; (when called) a rule matches no leaf,
        or the step has no key.

    Example:
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> model = jc.quantize.training.quantized_gradients(fn, bits=1)
      >>> step = jc.Step(key=jax.random.key(0))
      >>> params, weights = {"kernel": jnp.eye(3)}, jnp.array([[4.0, 1.0, -1.0]])
      >>> loss = lambda x: jnp.sum(weights * model(params, x, step=step))
      >>> jax.grad(loss)(jnp.ones((1, 3)))
      Array([[ 4., -4., -4.]], dtype=float32)

    Source: Zhou et al. 2016, arXiv:1606.06160, section 2.5. Differs: the noise comes
    from a hash of the gradient, so that turns of a loop do not share it.
    """
    check_model("quantized_gradients", fn)
    pairs = [(pattern, _checked(each)) for pattern, each in as_rules(bits).pairs]

    def model(params: Params, *inputs, step: Step) -> PyTree:
        check_kind("quantized_gradients", "step", step, Step, "Pass Step(count, key).")
        if step.key is None:
            raise ValueError(
                "quantized_gradients(step=...) draws noise and was given no key. Pass "
                "Step(count, key), with another key at each step."
            )
        check_key("quantized_gradients", "step.key", step.key)
        rules = Rules((pattern, _replacement(each, step.key)) for pattern, each in pairs)
        return rewrite(fn, rules)(params, *inputs)

    return model


def _checked(bits: Any) -> int:
    count = check_count("quantized_gradients", "bits", bits)
    check_range("quantized_gradients", "bits", count, 1, 17)
    return count


def _replacement(bits: int, key: Key) -> Replacement:
    def replacement(site: Site, apply: Callable[..., Any], data: Array, weight: Any) -> Array:
        y = apply(data, weight)
        if isinstance(site.layout, Lookup) or not jnp.issubdtype(site.dtype, jnp.floating):
            return y
        own = jax.random.fold_in(key, zlib.crc32(site.name.encode()))
        result = site.result(y)
        # Where the weight makes all axes, data are one example, without an axis of it.
        examples = result[None] if len(site.operand_axes.output) == y.ndim else result
        shown: Array = _rounding_back(bits, examples, own)
        back = sorted(range(y.ndim), key=site.result_order.__getitem__)
        return jnp.transpose(shown.reshape(result.shape), back)

    return replacement


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _rounding_back(bits: int, y: Array, key: Key) -> Array:
    """The array as it is, whose gradient is rounded."""
    del bits, key
    return y


def _forward(bits: int, y: Array, key: Key) -> tuple[Array, Key]:
    del bits
    return y, key


def _backward(bits: int, key: Key, gradient: Array) -> tuple[Array, None]:
    found = with_results_sharded_alike(
        lambda gradient, key: rounded_gradient(gradient, bits, key), gradient, key
    )
    return found, None


_rounding_back.defvjp(_forward, _backward)


def rounded_gradient(gradient: Array, bits: int, key: Key) -> Array:
    """Rounds a gradient at random to 2**bits levels between ± its examples' largest.

    Args:
      gradient: (examples, …) real floating.
      bits: of a level.
      key: random key.

    Example:
      >>> g = jnp.array([[3.0, -0.9, 0.0]])
      >>> rounded_gradient(g, 2, jax.random.key(0)).round(2)
      Array([[ 3., -1.,  1.]], dtype=float32)
    """
    g = gradient.astype(jnp.float32)
    largest = largest_magnitude(g, tuple(range(1, g.ndim)), keepdims=True)
    span = jnp.where(largest == 0, 1.0, 2.0 * largest)
    steps = 2**bits - 1
    noise = jax.random.uniform(own_key(key, g), g.shape, jnp.float32, -0.5, 0.5) / steps
    share = jnp.clip(g / span + 0.5 + noise, 0.0, 1.0)
    rounded = span * (jnp.round(share * steps) / steps - 0.5)
    return narrowed(jnp.where(largest == 0, 0.0, rounded), gradient.dtype)
