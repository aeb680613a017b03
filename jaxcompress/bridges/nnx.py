"""Flax NNX: a module as `(fn, params, train_fn)`, and back to a module."""

import jax
import jax.numpy as jnp
from flax import nnx

from jaxcompress.bridges.functional import NO_KEYWORDS, Functional, Keywords
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.types import Key, Params, PyTree


def functional(
    model: nnx.Module,
    *,
    evaluation: Keywords = NO_KEYWORDS,
    training: Keywords = NO_KEYWORDS,
) -> Functional:
    """The module as pure functions of its floating variables.

    `fn` is what the model does after `model.eval()`, `train_fn` what it does after
    `model.train()`; the model itself is neither switched nor written to.

    Args:
      model: any NNX module. Later changes to it are not seen.
      evaluation: keywords of the model's call in `fn`, where switches are arguments.
      training: keywords of the model's call in `train_fn`.

    Returns:
      Functional whose params are an `nnx.State` of every floating variable, batch
      statistics included: leaf names are the attribute paths, for example
      "layers/0/kernel", and each variable keeps its type and metadata. Integer
      variables stay what they are now, random streams start from the key of `train_fn`,
      and what layers sowed is left out. `restore(params)` is a new module in the
      model's own mode, with random streams where the model's are.

    Raises:
      TypeError: the model is not an NNX module.

    Example:
      >>> from flax import nnx
      >>> model = jc.bridges.nnx.functional(nnx.Linear(2, 3, rngs=nnx.Rngs(0)))
      >>> jc.named_leaves(model.params)["kernel"].shape
      (2, 3)
      >>> model.fn(model.params, jnp.ones((1, 2))).shape
      (1, 3)
      >>> type(model.restore(model.params)).__name__
      'Linear'
    """
    if not isinstance(model, nnx.Module):
        raise TypeError(
            f"nnx.functional(model of type {type(model).__name__}) needs an nnx.Module. "
            "For a Linen module use linen.functional(module, variables)."
        )
    graphdef, params, rest = nnx.split(model, _is_parameter, ...)
    params, rest = _copied(params), _copied(rest)
    paths = {path for path, _ in nnx.to_flat_state(params)}
    evaluated, trained = _merge(graphdef, params, rest), _merge(graphdef, params, rest)
    evaluated.eval()
    trained.train()
    evaluated, trained = nnx.graphdef(evaluated), nnx.graphdef(trained)

    def fn(params: Params, *inputs):
        return _merge(evaluated, params, rest)(*inputs, **evaluation)

    def train_fn(params: Params, *inputs, key: Key):
        module = _merge(trained, params, _reseeded(rest, key))
        outputs = module(*inputs, **training)
        return outputs, nnx.state(module, lambda path, variable: path in paths)

    def restore(params: Params) -> nnx.Module:
        return _merge(graphdef, params, rest)

    return Functional(fn=fn, params=params, train_fn=train_fn, restore=restore)


def _is_parameter(path, variable) -> bool:
    del path
    leaves = jax.tree.leaves(variable, is_leaf=is_compressed)
    floating = any(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves)
    return floating and not isinstance(variable, nnx.Intermediate)


def _merge(graphdef: nnx.GraphDef, params: Params, rest: PyTree) -> nnx.Module:
    """A module with variables of its own: a call would write to those of the state."""
    return nnx.merge(graphdef, _copied(params), _copied(rest))


def _copied(state: PyTree) -> PyTree:
    """New variables of the same arrays, made at the trace level of the caller."""
    return jax.tree.map(lambda leaf: leaf, state, is_leaf=is_compressed)


def _reseeded(rest: PyTree, key: Key) -> PyTree:
    """Every random stream from `key`, each its own, as they are counted in the tree."""
    leaves, structure = jax.tree.flatten(rest)
    fresh = [
        jax.random.split(jax.random.fold_in(key, index), leaf.shape) if _is_key(leaf) else leaf
        for index, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(structure, fresh)


def _is_key(leaf) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
