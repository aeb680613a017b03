"""Criteria from weights alone, from noise, or from given scores.

Those that accumulate gradients are in `gradients`, those that need a model and data in
`activations` and `initialization`.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.kinds import check_key
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Key, Params, PyTree
from jaxcompress.prune.criterion import Criterion


def magnitude() -> Criterion:
    """Scores a weight by its absolute value.

    Not for: pruning at once without training after it, where `reconstruct` with a
    solver loses less.

        score = |w|

    Also known as: magnitude pruning, L1 pruning; GMP with a cubic schedule.

    Returns:
      Criterion without state; scores are float32 of the params' shapes.

    Example:
      >>> criterion = jc.prune.criteria.magnitude()
      >>> params = {"kernel": jnp.array([-2.0, 0.5])}
      >>> criterion.score(criterion.init(params), params)
      {'kernel': Array([2. , 0.5], dtype=float32)}

    Source: Han et al. 2015, arXiv:1506.02626, section 3. Differs: the count to remove
    is given and the threshold follows from it.
    """

    def score(state, params):
        del state
        return jax.tree.map(lambda leaf: jnp.abs(leaf.astype(jnp.float32)), params)

    return stateless(score)


def random(key: Key) -> Criterion:
    """Scores weights by fixed noise: the control that every criterion has to beat.

    Not for: models that will be used; `magnitude` takes no data either.

    Each weight has one number for good, so a schedule that rises takes more weights and
    gives none back.

    Also known as: random pruning.

    Args:
      key: of the draw; the same key gives the same scores.

    Returns:
      Criterion without state; scores are uniform in [0, 1), float32.

    Example:
      >>> criterion = jc.prune.criteria.random(jax.random.key(0))
      >>> scores = criterion.score((), {"kernel": jnp.ones(1000)})
      >>> float(jnp.mean(scores["kernel"]))
      0.5
    """
    check_key("random", "key", key)
    return stateless(lambda state, params: _uniform(key, params))


def fresh_noise(key: Key) -> Criterion:
    """Scores weights by noise drawn anew at every step: random growth.

    Not for: choosing what goes, which would be other weights each time; `random` is the
    control that stays.

    Also known as: SET (as the growth of `regrow`).

    Args:
      key: of the draws; the same key gives the same scores at the same step.

    Returns:
      Criterion whose state is () int32, the updates so far; scores are uniform in
      [0, 1), float32.

    Example:
      >>> criterion = jc.prune.criteria.fresh_noise(jax.random.key(0))
      >>> params = {"kernel": jnp.ones(1000)}
      >>> first = criterion.score(0, params)["kernel"]
      >>> float(jnp.mean(first < criterion.score(1, params)["kernel"]))
      0.5
    """
    check_key("fresh_noise", "key", key)

    def score(state, params):
        return _uniform(jax.random.fold_in(key, state), params)

    return Criterion(
        lambda params: jnp.zeros((), jnp.int32), lambda grads, state, params: state + 1, score
    )


def constant(scores: PyTree) -> Criterion:
    """Scores weights by given numbers that do not change.

    Args:
      scores: tree of float arrays of the params' names and shapes, or a dict by name.
        Leaves that are not to be pruned are not looked at.

    Returns:
      Criterion whose state is the scores, float32.

    Raises:
      ValueError: when params are seen: one to be pruned has no scores,
        or of another shape.

    Example:
      >>> criterion = jc.prune.criteria.constant({"kernel": jnp.array([[3.0, 1.0]])})
      >>> params = {"kernel": jnp.array([[0.1, 5.0]])}
      >>> jc.prune.masks(params, criterion, 0.5)
      {'kernel': Array([[ True, False]], dtype=bool)}
    """
    check_arrays("constant", "scores", scores)

    def init(params):
        return aligned("constant", "scores", scores, params)

    return Criterion(init, lambda grads, state, params: state, lambda state, params: state)


def _uniform(key: Key, params: Params) -> PyTree:
    leaves, structure = jax.tree.flatten(params)
    keys = [jax.random.fold_in(key, index) for index in range(len(leaves))]
    # The zeros lend a draw, which is the same on any mesh, the leaf's sharding.
    scores = [
        jax.random.uniform(each, leaf.shape, jnp.float32) + jnp.zeros_like(leaf, jnp.float32)
        for each, leaf in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, scores)


def stateless(score: Any) -> Criterion:
    """Makes a criterion of a score that needs nothing but the params."""
    return Criterion(lambda params: (), lambda grads, state, params: state, score)


def aligned(caller: str, argument: str, tree: PyTree, params: Params) -> PyTree:
    """The tree in float32 with a () zero where params have one for a leaf left out."""
    leaves = named_leaves(tree)

    def leaf_of(name: str, param: Array) -> Array:
        leaf = leaves.get(name)
        if param.shape == () and (leaf is None or leaf.shape != ()):
            return jnp.zeros((), jnp.float32)
        if leaf is None or leaf.shape != param.shape:
            shape = "is missing" if leaf is None else f"has shape {leaf.shape}"
            raise ValueError(
                f"{caller}({argument}=...): leaf {name!r} {shape}, but the param to prune has "
                f"shape {param.shape}. Give one of the same shape, or leave it out with select=."
            )
        # The zeros lend the leaf, which may come from elsewhere, the param's sharding.
        return jnp.zeros_like(param, jnp.float32) + jnp.asarray(leaf, jnp.float32)

    return map_named(leaf_of, params)
