"""Penalties that push groups of weights to zero: values, gradients, proximal steps.

Maths on one array. A group is all entries that differ only along the axes `within`.
Which leaves are penalised, and where in training, is decided elsewhere.
"""

import math

import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_size
from jaxcompress.core.types import Array


def group_norms(x: Array, within: tuple[int, ...]) -> Array:
    """The Euclidean norm of every group.

    Args:
      x: (…) float.
      within: the axes of a group; all others count the groups.

    Returns:
      float32 of the shape of `x` with size 1 along `within`. Sums of squares neither
      overflow nor vanish.

    Example:
      >>> group_norms(jnp.array([[3.0, 0.0], [4.0, 0.0]]), (0,))
      Array([[5., 0.]], dtype=float32)
    """
    x = x.astype(jnp.float32)
    largest = jnp.max(jnp.abs(x), axis=within, keepdims=True, initial=0.0)
    unit = x / jnp.where(largest > 0, largest, 1.0)
    return largest * jnp.sqrt(jnp.sum(jnp.square(unit), axis=within, keepdims=True))


def group_lasso(x: Array, within: tuple[int, ...]) -> Array:
    """The group lasso: Σ over groups of sqrt(entries of a group) · norm.

    Args:
      x: (…) float.
      within: the axes of a group.

    Returns:
      () float32, at least 0.

    Example:
      >>> group_lasso(jnp.array([[3.0, 0.0], [4.0, 0.0]]), (0,))
      Array(7.07, dtype=float32)

    Source: Yuan and Lin 2006, "Model selection and estimation in regression with
    grouped variables", equation 2.1 with identity kernels.
    """
    return _weight(x, within) * jnp.sum(group_norms(x, within))


def group_lasso_subgradient(x: Array, within: tuple[int, ...]) -> Array:
    """The gradient of `group_lasso`, and 0 for a group that is 0.

        sqrt(entries of a group) · x / norm

    Args:
      x: (…) float.
      within: the axes of a group.

    Returns:
      float32 of the shape of `x`.

    Example:
      >>> group_lasso_subgradient(jnp.array([[3.0, 0.0], [4.0, 0.0]]), (0,))
      Array([[0.849, 0.   ],
             [1.131, 0.   ]], dtype=float32)
    """
    norms = group_norms(x, within)
    return _weight(x, within) * x.astype(jnp.float32) / jnp.where(norms > 0, norms, 1.0)


def shrink_groups(x: Array, threshold: ArrayLike, within: tuple[int, ...]) -> Array:
    """The proximal operator of `threshold · group_lasso`: groups shorter, small ones 0.

        argmin over w of  (w - x)² / 2 summed  +  threshold · group_lasso(w)
            = x · max(0, 1 - threshold · sqrt(entries of a group) / norm)

    Args:
      x: (…) float.
      threshold: () at least 0: the penalty's weight times the step size.
      within: the axes of a group.

    Returns:
      float32 of the shape of `x`; exactly 0 where the group's norm does not exceed
      threshold · sqrt(entries).

    Raises:
      ValueError: `threshold` is a number below 0, or not finite.

    Example:
      >>> shrink_groups(jnp.array([[3.0, 0.1], [4.0, 0.1]]), 0.5**0.5, (0,))
      Array([[2.4, 0. ],
             [3.2, 0. ]], dtype=float32)

    Source: Parikh and Boyd 2014, "Proximal Algorithms", section 6.5.1.
    """
    check_size("shrink_groups", "threshold", threshold)
    norms = group_norms(x, within)
    cut = threshold * _weight(x, within)
    share = jnp.where(norms > cut, 1.0 - cut / jnp.where(norms > 0, norms, 1.0), 0.0)
    return x.astype(jnp.float32) * share


def _weight(x: Array, within: tuple[int, ...]) -> float:
    return math.sqrt(math.prod(x.shape[axis] for axis in within))
