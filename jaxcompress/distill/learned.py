"""Losses with parameters of their own, which are trained beside the student."""

from collections.abc import Callable
from typing import NamedTuple

from jaxcompress.core.types import Array, Key, Params, PyTree


class LearnedLoss(NamedTuple):
    """A loss whose parameters are trained beside the student: two pure functions.

    A companion stands beside a leaf of the params and changes how the model sees them;
    these parameters stand beside features, and the model never sees them. So they are
    a tree of their own: the pair (params, parameters) is what `jax.grad` differentiates
    and what the optimizer moves, and the params alone are shipped.

    Attributes:
      init: (key, student, teacher) -> parameters, from features, or from their shapes:
        arrays, `jax.ShapeDtypeStruct`s or tuples (batch, ..., channels). The size of
        the batch does not matter.
      loss: (parameters, student, teacher) -> (batch,) float32, differentiable in the
        parameters and in the student's features.

    Example:
      >>> hints = jc.distill.features.projected()
      >>> parameters = hints.init(jax.random.key(0), (1, 4), (1, 6))
      >>> hints.loss(parameters, jnp.zeros((2, 4)), jnp.ones((2, 6)))
      Array([1., 1.], dtype=float32)
    """

    init: Callable[[Key, PyTree, PyTree], Params]
    loss: Callable[[Params, PyTree, PyTree], Array]
