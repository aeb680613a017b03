"""Names for the kinds of value that pass between rooms. No behaviour."""

from collections.abc import Callable
from typing import Any

import jax
from jax.typing import ArrayLike

Array = jax.Array
Key = jax.Array
PyTree = Any
Params = PyTree
Masks = PyTree
"""A tree of the parameters' structure; bool leaves that broadcast to theirs."""

Model = Callable[..., PyTree]
"""A model in evaluation mode: `fn(params, *inputs) -> outputs`."""
Selector = Callable[[Params], PyTree]
"""Which leaves: params (arrays or shapes) to a tree of bool."""
View = Callable[[Params], Params]
"""How the model sees its weights."""
Loss = Callable[[Array, Array], Array]
"""(student, teacher) to one number per example."""
When = Callable[[ArrayLike], Array]
"""At which steps: count () int32 to () bool."""
Fit = Callable[[PyTree, Array, Key], PyTree]
"""Trains a model: (examples, weights, key) to what was trained, any tree.

Examples are a tree of arrays with first axis n; weights (n,) are 1 for an example to
train on and 0 for one that only fills up the array.
"""
