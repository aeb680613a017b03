"""What made a loss not finite, looked for once it is: the examples, or the steps."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import KnownValueError
from jaxcompress.core.finite import not_finite
from jaxcompress.core.labels import Shown
from jaxcompress.core.types import Array, Params, PyTree
from jaxcompress.train.recipe import Recipe

SLOWER = "Lower the learning rate, or skip such steps with optimizers.skip_nonfinite(optimizer)."
"""What to do where the examples are not to blame."""


def check_labels(recipe: Recipe, params: Params, examples: PyTree) -> None:
    """Raises a ValueError where a label is no class, for runs that skip a NaN loss."""
    if said := _wrong_label(recipe, params, examples):
        raise ValueError(f"fit(examples): {said}")


def cause(recipe: Recipe, params: Params, examples: PyTree) -> str:
    """What is wrong with the examples, and what to do about the loss: sentences."""
    return _wrong_label(recipe, params, examples) or not_finite("examples", examples) or SLOWER


def _wrong_label(recipe: Recipe, params: Params, examples: PyTree) -> str:
    """What the loss says of a label that is no class; empty where it says nothing.

    Of integers it sees all values, of everything else the shapes: nothing is computed.
    """
    leaves, structure = jax.tree.flatten(examples)
    shown = {i: np.asarray(leaf).view(Shown) for i, leaf in enumerate(leaves) if _is_label(leaf)}
    shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]

    def losses(params: Params, arrays: list[Any]) -> Array:
        batch = [shown.get(i, array) for i, array in enumerate(arrays)]
        return recipe.objective(params, structure.unflatten(batch), jax.random.key(0))[0]

    try:
        jax.eval_shape(losses, params, shapes)
    except Exception as error:
        # An objective may need JAX's arrays or a batch's size, which the steps gave it.
        if isinstance(error, KnownValueError):
            return str(error)
    return ""


def _is_label(leaf: Any) -> bool:
    integer = jnp.issubdtype(leaf.dtype, jnp.integer)
    return isinstance(leaf, np.ndarray | jax.Array) and integer
