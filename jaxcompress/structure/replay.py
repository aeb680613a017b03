"""A smaller model again, from the whole one and what was removed from it."""

from collections.abc import Sequence
from typing import NamedTuple

import jax

from jaxcompress.core.trees import check_call
from jaxcompress.core.types import Model, Params, PyTree
from jaxcompress.graph.surgery.cutting import cut_params
from jaxcompress.graph.surgery.removal import Removal, as_removals
from jaxcompress.graph.surgery.shrink import shrunk_by


class Replayed(NamedTuple):
    """A model without what was removed from it before.

    Attributes:
      fn: the smaller model; it traces the whole one at every call, so jit it.
      params: the whole model's params without what was removed; of shapes where shapes
        were given, and then a template for `storage.load(path, like=)`.
      removal: what was removed; a tuple of several.
    """

    fn: Model
    params: Params
    removal: Removal | tuple[Removal, ...]


def replay(
    fn: Model, params: Params, *inputs: PyTree, removal: Removal | Sequence[Removal]
) -> Replayed:
    """The smaller model again, in another process for example; nothing is computed.

    Args:
      fn: the whole model, `fn(params, *inputs) -> outputs`, the function that units,
        blocks or layers were removed from.
      params: its params as they were before, or their shapes.
      inputs: a batch of arrays or shapes.
      removal: what was removed: `removal` of what `remove`, `remove_blocks`,
        `remove_layers` and `iterative` gave. Where each took the model of the one
        before, a list of them in that order.

    Returns:
      Replayed.

    Raises:
      ValueError: the removal does not fit the function, the params or the inputs.
      TypeError: `removal` is something else.

    Example:
      >>> fn = lambda params, x: jax.nn.relu(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.eye(4), "out": jnp.array([[1.0], [4.0], [3.0], [2.0]])}
      >>> x, half = jnp.ones((1, 4)), jc.structure.amounts.fraction(0.5)
      >>> importance = jc.structure.importance.magnitude()
      >>> small = jc.structure.remove(fn, params, importance, x, cut=half)
      >>> shapes = jax.eval_shape(lambda: params)
      >>> again = jc.structure.replay(fn, shapes, x, removal=small.removal)
      >>> again.params["in"].shape, again.fn(small.params, x)
      ((4, 2), Array([[7.]], dtype=float32))
    """
    check_call("replay", fn, params, inputs)
    removals = as_removals("replay", removal)
    for each in removals:
        params, fn = cut_params("replay", params, each), shrunk_by("replay", fn, each)
    jax.eval_shape(fn, params, *inputs)
    return Replayed(fn, params, removals[0] if len(removals) == 1 else removals)
