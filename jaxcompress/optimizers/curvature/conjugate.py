"""Conjugate gradients on a tree, truncated where the matrix turns out not positive."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.types import Array, PyTree
from jaxcompress.optimizers.curvature.vectors import inner_product, largest_entry, multiple, plus
from jaxcompress.optimizers.moments import divided


class _Search(NamedTuple):
    count: Array
    solution: PyTree
    residual: PyTree
    direction: PyTree
    square: Array
    """of the residual"""
    positive: Array


def conjugate_gradients(
    multiply: Callable[[PyTree], PyTree],
    target: PyTree,
    *,
    iterations: int,
    tolerance: float,
) -> PyTree:
    """Solves M x = target for a symmetric matrix that is known by its products.

    It begins at 0. At a direction p with pᵀMp <= 0 it returns the solution so far, and
    if that is the first one, the target itself: in both cases xᵀtarget >= 0.

    Args:
      multiply: tree -> M times the tree.
      target: tree of float32 arrays.
      iterations: most products.
      tolerance: it stops when ‖target - M x‖ is at most this share of ‖target‖.

    Returns:
      Tree like `target`; 0 for a target of 0.

    Example:
      >>> matrix = jnp.array([[2.0, 1.0], [1.0, 3.0]])
      >>> product, target = lambda v: matrix @ v, jnp.array([3.0, 4.0])
      >>> conjugate_gradients(product, target, iterations=2, tolerance=0.0).round(3)
      Array([1., 1.], dtype=float32)

    Source: Nocedal and Wright 2006, "Numerical Optimization", algorithm 7.1.
    """
    # In units of its largest entry, so that squares neither overflow nor vanish.
    unit = largest_entry(target)
    start = jax.tree.map(lambda leaf: divided(leaf, unit), target)
    square = inner_product(start, start)
    enough = tolerance**2 * square

    def unfinished(search: _Search) -> Array:
        return (search.count < iterations) & (search.square > enough) & search.positive

    def step(search: _Search) -> _Search:
        image = multiply(search.direction)
        curvature = inner_product(search.direction, image)
        positive = curvature > 0
        length = jnp.where(positive, divided(search.square, curvature), 0.0)
        residual = plus(search.residual, -length, image)
        square = inner_product(residual, residual)
        share = divided(square, search.square)
        return _Search(
            count=search.count + 1,
            solution=plus(search.solution, length, search.direction),
            residual=residual,
            direction=plus(residual, share, search.direction),
            square=square,
            positive=positive,
        )

    zero = jax.tree.map(jnp.zeros_like, start)
    begin = _Search(jnp.zeros((), jnp.int32), zero, start, start, square, jnp.ones((), bool))
    found = jax.lax.while_loop(unfinished, step, begin)
    at_once = ~found.positive & (found.count == 1)
    solution = jax.tree.map(lambda x, first: jnp.where(at_once, first, x), found.solution, start)
    return multiple(unit, solution)
