"""Projections from the student's channels to the teacher's, learned beside the student.

Each acts on the last axis alone: a matrix for vectors and tokens, a 1 × 1 convolution
for images.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core import exports
from jaxcompress.core.checks import check_count
from jaxcompress.core.kinds import check_function, check_key
from jaxcompress.core.types import Array, Key, Params

exports.list_definitions(globals())


class Projection(NamedTuple):
    """A learned function of the last axis: two pure functions.

    Attributes:
      init: (key, inputs, outputs) -> parameters in float32, for so many channels.
      apply: (parameters, x of shape (..., inputs)) -> (..., outputs) float32.

    Example:
      >>> projection = jc.distill.projections.linear()
      >>> parameters = projection.init(jax.random.key(0), 4, 6)
      >>> projection.apply(parameters, jnp.zeros((2, 3, 4))).shape
      (2, 3, 6)
    """

    init: Callable[[Key, int, int], Params]
    apply: Callable[[Params, Array], Array]


def linear() -> Projection:
    """Multiplies the last axis by a matrix and adds a bias.

    Not for: features that no matrix maps to the teacher's, for which `perceptron` has a
    nonlinearity.

    Also known as: regressor, 1x1 convolution, W_h of TinyBERT.

    Returns:
      Projection, whose parameters are a kernel (inputs, outputs) and a bias (outputs,).
      The kernel starts normal with variance 1 / inputs, the bias at 0.

    Example:
      >>> parameters = {"kernel": jnp.ones((1, 2)), "bias": jnp.array([0.0, 1.0])}
      >>> jc.distill.projections.linear().apply(parameters, jnp.array([[3.0]]))
      Array([[3., 4.]], dtype=float32)

    Source: Romero et al. 2015, arXiv:1412.6550, section 2.2. Differs: one position at
    a time, where the paper's regressor is a larger convolution.
    """

    def init(key: Key, inputs: int, outputs: int) -> Params:
        check_key("linear.init", "key", key)
        inputs = check_count("linear.init", "inputs", inputs)
        outputs = check_count("linear.init", "outputs", outputs)
        normal = jax.nn.initializers.lecun_normal()
        kernel = normal(key, (inputs, outputs), jnp.float32)
        return {"kernel": kernel, "bias": jnp.zeros(outputs, jnp.float32)}

    def apply(parameters: Params, x: Array) -> Array:
        kernel, bias = parameters["kernel"], parameters["bias"]
        if x.shape[-1] != kernel.shape[0]:
            raise ValueError(
                f"linear.apply(x of shape {x.shape}): the kernel of shape {kernel.shape} is for "
                f"{kernel.shape[0]} channels. Begin with init for these features."
            )
        kernel, bias = kernel.astype(jnp.float32), bias.astype(jnp.float32)
        product = jnp.matmul(x.astype(jnp.float32), kernel, precision="highest")
        return product + bias.reshape((1,) * (x.ndim - 1) + bias.shape)

    return Projection(init, apply)


def perceptron(width: int, *, activation: Callable[[Array], Array] = jax.nn.relu) -> Projection:
    """Two linear projections with a nonlinearity between.

    Not for: a student that shall have the features itself: what a projection learns is
    not shipped, and `linear` learns less.

    Also known as: MLP projector, nonlinear projection head.

    Args:
      width: channels between, at least 1.
      activation: of one array, entry by entry.

    Returns:
      Projection, whose parameters are those of `linear` twice: "hidden" and "out".

    Raises:
      ValueError: `width` is no count.
      TypeError: `activation` is no function.

    Example:
      >>> projection = jc.distill.projections.perceptron(8)
      >>> parameters = projection.init(jax.random.key(0), 4, 6)
      >>> parameters["hidden"]["kernel"].shape, parameters["out"]["kernel"].shape
      ((4, 8), (8, 6))

    Source: Ahn et al. 2019, arXiv:1904.05835, section 3.2. Differs: two layers, and no
    batch norm.
    """
    width = check_count("perceptron", "width", width)
    check_function("perceptron", "activation", activation, "For example jax.nn.relu.")
    layer = linear()

    def init(key: Key, inputs: int, outputs: int) -> Params:
        check_key("perceptron.init", "key", key)
        first, second = jax.random.split(key)
        return {
            "hidden": layer.init(first, inputs, width),
            "out": layer.init(second, width, outputs),
        }

    def apply(parameters: Params, x: Array) -> Array:
        return layer.apply(parameters["out"], activation(layer.apply(parameters["hidden"], x)))

    return Projection(init, apply)
