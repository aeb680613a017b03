"""Iterative pruning: weights are removed and the rest retrained, in rounds.

`masks` prunes in each round; the caller trains.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core import exports
from jaxcompress.core.checks import check_concrete, check_count
from jaxcompress.core.kinds import check_key, check_takes
from jaxcompress.core.masks import apply_masks
from jaxcompress.core.trees import check_arrays, check_leaves
from jaxcompress.core.types import Array, Key, Masks, Params
from jaxcompress.prune.criterion import Criterion, check_criterion
from jaxcompress.prune.post_training.one_shot import masks as masks_of_round
from jaxcompress.prune.target import Aim, check_targets

exports.list_definitions(globals())

Train = Callable[[Params, Masks, int], Params]
"""(params, masks, round from 0) to the params after training under the masks."""

Restart = Callable[[Params, int], Params]
"""(params as trained, round from 0) to the params that the round begins with."""


class Tickets(NamedTuple):
    """The result of iterative pruning.

    Attributes:
      params: trained after the last round, exactly 0 outside the masks.
      masks: of the last round.
      rounds: the masks of every round.
    """

    params: Params
    masks: Masks
    rounds: tuple[Masks, ...]


def as_trained(params: Params, turn: int) -> Params:
    """Goes on from the trained weights in each round: fine-tuning.

    Example:
      >>> jc.prune.lottery.as_trained({"kernel": jnp.ones(1)}, 0)
      {'kernel': Array([1.], dtype=float32)}
    """
    check_arrays("as_trained", "params", params)
    check_count("as_trained", "turn", turn, least=0)
    return params


def iterative(
    params: Params,
    criterion: Criterion,
    targets: Sequence[Aim],
    *,
    train: Train,
    restart: Restart = as_trained,
) -> Tickets:
    """Prunes some weights, trains the rest, and repeats.

    Not for: saving time in training: the model is trained anew in every round.

    In each round the weights that are gone stay gone, the survivors of the lowest score
    go with them, and the round begins with `restart`'s params under the new masks:

        fine-tuning      as_trained
        lottery ticket   lambda params, turn: saved
        its control      lambda params, turn: init(jax.random.fold_in(key, turn))
        without an init  lambda params, turn: shuffled(saved, fold_in(key, turn))

    `saved` are the params before training or, for deep models, after the first steps of
    it. `restart` gives all params, so those that are not pruned go back as well. For a
    fair control `train` takes the data in the same order each time.

    Also known as: lottery tickets, iterative magnitude pruning (IMP), rewinding.

    Args:
      params: trained, not compressed; unchanged.
      criterion: what a weight is worth; it sees the trained params of each round.
      targets: one per round, each a `Target` or its sparsity, of the whole model and
        rising: `[1 - 0.8**k for k in range(1, 10)]` takes a fifth of the survivors each
        time.
      train: trains under the masks, best by `hold(optimizer, masks)`.
      restart: what each round begins with.

    Returns:
      Tickets.

    Raises:
      ValueError: there is no round, or as `masks`.
      TypeError: as `masks`.

    Example:
      >>> saved = {"kernel": jnp.array([[1.0, 1.0, 1.0, 1.0]])}
      >>> trained = {"kernel": jnp.array([[4.0, 1.0, 3.0, 2.0]])}
      >>> def train(params, masks, turn):
      ...     return jax.tree.map(jnp.multiply, params, trained)
      >>> tickets = jc.prune.iterative(
      ...     trained,
      ...     jc.prune.criteria.magnitude(),
      ...     [0.25, 0.5],
      ...     train=train,
      ...     restart=lambda params, turn: saved,
      ... )
      >>> tickets.params["kernel"]
      Array([[4., 0., 3., 0.]], dtype=float32)

    Source: Frankle and Carbin 2019, arXiv:1803.03635, section 2; Frankle et al. 2020,
    arXiv:1912.05671 (later rewinding); Han et al. 2015, arXiv:1506.02626 (fine-tuning).
    """
    check_arrays("iterative", "params", params)
    check_criterion("iterative", criterion)
    check_targets("iterative", targets)
    check_takes("iterative", "train", train, 3, "Pass train(params, masks, turn).")
    check_takes("iterative", "restart", restart, 2, "Pass restart(params, turn), as as_trained.")
    check_concrete("iterative", params=params)
    if not targets:
        raise ValueError("iterative(targets=[]) has no round. Give one target per round.")
    rounds: list[Masks] = []
    for turn, target in enumerate(targets):
        scored = _surviving(criterion, rounds[-1]) if rounds else criterion
        masks = masks_of_round(params, scored, target)
        begun = restart(params, turn)
        check_leaves("iterative", "restart", begun, params)
        trained = train(apply_masks(masks, begun), masks, turn)
        check_leaves("iterative", "train", trained, params)
        params = apply_masks(masks, trained)
        rounds.append(masks)
    return Tickets(params, rounds[-1], tuple(rounds))


def shuffled(params: Params, key: Key) -> Params:
    """Shuffles the entries of every leaf: a control for lottery tickets.

    The distribution of each leaf stays, and what its places had learned is gone.

    Args:
      params: tree of arrays.
      key: of the orders; every leaf has its own.

    Returns:
      Tree of the same structure, shapes and dtypes.

    Example:
      >>> params = {"kernel": jnp.arange(4.0)}
      >>> jnp.sort(jc.prune.lottery.shuffled(params, jax.random.key(0))["kernel"])
      Array([0., 1., 2., 3.], dtype=float32)
    """
    check_arrays("shuffled", "params", params)
    check_key("shuffled", "key", key)
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(
        structure,
        [
            jax.random.permutation(each, leaf.reshape(-1)).reshape(leaf.shape)
            for each, leaf in zip(keys, leaves, strict=True)
        ],
    )


def _surviving(criterion: Criterion, masks: Masks) -> Criterion:
    """The criterion, by which a weight outside the masks is worth less than any other.

    A little less than the lowest and than 0, so that scales and means hardly change.
    """

    def score(state, params):
        scores = criterion.score(state, params)
        lowest = jnp.min(jnp.stack([jnp.min(each) for each in jax.tree.leaves(scores)]))
        gone = jnp.nextafter(jnp.minimum(lowest, 0.0), jnp.float32(-jnp.inf))

        def of_leaf(mask: Array, each: Array) -> Array:
            return each if each.shape == () else jnp.where(mask, each, gone)

        return jax.tree.map(of_leaf, masks, scores)

    return criterion._replace(score=score)
