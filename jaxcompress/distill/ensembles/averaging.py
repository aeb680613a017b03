"""Means of the weights of several trained models of one structure."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxcompress.core.kinds import check_built, check_iterable
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.messages import shown
from jaxcompress.core.names import map_named
from jaxcompress.core.trees import check_arrays, check_leaves
from jaxcompress.core.types import Array, Params


class Soup(NamedTuple):
    """What `greedy_soup` found.

    Attributes:
      params: the mean of the members that were kept.
      members: their positions, best first.
      score: that of the mean.
    """

    params: Params
    members: tuple[int, ...]
    score: float


def average(
    members: Sequence[Params], weights: ArrayLike | Sequence[float] | None = None
) -> Params:
    """Averages the weights of models of one structure, leaf by leaf.

    Not for: models trained from different starts, whose weights do not average;
    `mixture` combines their answers.

    For models that lie in one basin: fine-tuned from the same start, or snapshots of
    one run. Statistics of norms are averaged, too: `recalibrate` re-estimates them. A
    running mean beside an optimizer is `optimizers.averaged`.

    Args:
      members: trees of one structure, with the same shapes and dtypes; one at least.
      weights: (members,) real, of sum 1; by default equal.

    Returns:
      Tree of that structure, summed in float32 at least, of the members' dtypes. Leaves
      that are not floating must be equal in all members, and stay.

    Raises:
      TypeError: a member is no tree of arrays, or holds compressed leaves.
      ValueError: there is no member; structures, shapes, dtypes or integer leaves
        differ; weights do not fit.

    Example:
      >>> members = [{"kernel": jnp.array([1.0])}, {"kernel": jnp.array([2.0])}]
      >>> jc.distill.ensembles.average(members)["kernel"]
      Array([1.5], dtype=float32)

    Also known as: model soup, uniform soup, weight averaging; over snapshots of a run,
    stochastic weight averaging (SWA).

    Source: Wortsman et al. 2022, arXiv:2203.05482, section 2; Izmailov et al. 2018,
    arXiv:1803.05407.
    """
    members = _checked("average", members)
    shares = _shares(weights, len(members))
    return map_named(lambda name, *leaves: _mean(name, leaves, shares), *members)


def greedy_soup(members: Sequence[Params], score: Callable[[Params], float]) -> Soup:
    """Averages models as long as each one added does not lower the score.

    Members are tried in the order of their own scores, best first; one is kept where
    the mean with it scores at least as high as the mean without. So the result scores
    no lower than the best member, on the data that the score uses.

    Args:
      members: as in `average`.
      score: params -> number, higher is better, such as accuracy on validation data.

    Returns:
      Soup.

    Raises:
      TypeError: as `average`, or `score` is no function.
      ValueError: as `average`, or a score is NaN.

    Example:
      >>> members = [jnp.array([3.0]), jnp.array([1.0]), jnp.array([9.0])]
      >>> soup = jc.distill.ensembles.greedy_soup(members, lambda w: -abs(w[0] - 2.0))
      >>> soup.params, soup.members
      (Array([2.], dtype=float32), (0, 1))

    Source: Wortsman et al. 2022, arXiv:2203.05482, recipe 1.
    """
    members = _checked("greedy_soup", members)
    check_built("greedy_soup", "score", score, 1, "It takes params and gives a number.")
    alone = [_scored(score, member) for member in members]
    first, *others = sorted(range(len(members)), key=lambda index: -alone[index])
    kept, params, best = [first], members[first], alone[first]
    for index in others:
        mean = average([members[each] for each in (*kept, index)])
        reached = _scored(score, mean)
        if reached >= best:
            kept, params, best = [*kept, index], mean, reached
    return Soup(params, tuple(kept), best)


def _scored(score: Callable[[Params], float], params: Params) -> float:
    value = float(score(params))
    if np.isnan(value):
        raise ValueError("greedy_soup(score): a score is NaN. It must rank the members.")
    return value


def _checked(caller: str, members: Sequence[Params]) -> list[Params]:
    check_iterable(caller, "members", members, "It holds trees of params.")
    members = list(members)
    if not members:
        raise ValueError(f"{caller}(members=[]) holds no params.")
    for member in members:
        check_arrays(caller, "members", member)
        check_leaves(caller, "members", member, members[0])
    same = [jax.tree.structure(member) == jax.tree.structure(members[0]) for member in members]
    if not all(same):
        raise ValueError(
            f"{caller}(members): member {same.index(False)} is of another structure than the "
            "first. Only models of one structure have a mean; combine answers with mixture."
        )
    return members


def _shares(weights: ArrayLike | Sequence[float] | None, count: int) -> np.ndarray:
    if weights is None:
        return np.full(count, 1 / count)
    shares = np.asarray(weights)
    if shares.dtype.kind not in "fiu":
        raise TypeError(f"average(weights={shown(weights)}) must be an array of real numbers.")
    if shares.shape != (count,) or not abs(shares.sum() - 1) <= 1e-5:
        raise ValueError(
            f"average(weights={shares}) must be of sum 1, one for each of {count} members."
        )
    return shares


def _mean(name: str, leaves: Sequence[Array], shares: np.ndarray) -> Array:
    first = leaves[0]
    if is_compressed(first):
        raise TypeError(
            f"average(members): leaf {name!r} is a {type(first).__name__}. Average the arrays it "
            "stands for, jc.materialize(params), and compress the mean."
        )
    arrays = [jnp.asarray(leaf) for leaf in leaves]
    kinds = {(array.shape, array.dtype) for array in arrays}
    if len(kinds) > 1:
        raise ValueError(
            f"average(members): leaf {name!r} differs in shape or dtype: "
            f"{', '.join(f'{dtype}{list(shape)}' for shape, dtype in sorted(kinds, key=str))}."
        )
    if jnp.issubdtype(arrays[0].dtype, jnp.inexact):
        wide = jnp.promote_types(arrays[0].dtype, jnp.float32)
        total = sum(
            array.astype(wide) * float(share) for array, share in zip(arrays, shares, strict=True)
        )
        return jnp.asarray(total).astype(arrays[0].dtype)
    if not all(np.array_equal(array, arrays[0]) for array in arrays):
        raise ValueError(
            f"average(members): leaf {name!r} of dtype {arrays[0].dtype} differs between members "
            "and has no mean. Take it from one of them before."
        )
    return first
