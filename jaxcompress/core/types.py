"""Names for the kinds of value that pass between rooms. No behaviour."""

from collections.abc import Callable
from typing import Any

import jax

Array = jax.Array
Key = jax.Array
PyTree = Any
Params = PyTree
Masks = PyTree
"""A tree of the parameters' structure; each leaf a bool array that broadcasts to its parameter."""

Model = Callable[..., PyTree]
"""A model in evaluation mode: `fn(params, *inputs) -> outputs`."""
Selector = Callable[[Params], PyTree]
"""Which leaves: params (arrays or shapes) to a tree of bool."""
View = Callable[[Params], Params]
"""How the model sees its weights."""
Loss = Callable[[Array, Array], Array]
"""(student, teacher) to one number per example."""
When = Callable[[Array], Array]
"""At which steps: count () int32 to () bool."""
