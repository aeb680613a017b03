"""How a leaf lies as matrices: outputs as rows, what is summed over as columns.

So it is in the papers, however the leaf stores them; layers of a scan and experts are
matrices of their own.
"""

import functools
import math

import jax

from jaxcompress.core.axes import LeafAxes, from_canonical, to_canonical
from jaxcompress.core.sharding import explicit_sharding, gathered, placed
from jaxcompress.core.types import Array


def matrix_shape(shape: tuple[int, ...], roles: LeafAxes) -> tuple[int, int, int]:
    """(batch, rows, columns) of a leaf.

    Example:
      >>> matrix_shape((3, 3, 16, 32), LeafAxes(contracting=(0, 1, 2), output=(3,)))
      (1, 32, 144)
    """
    batch, rows, columns = (
        math.prod(shape[axis] for axis in axes)
        for axes in (roles.batch, roles.output, roles.contracting)
    )
    return batch, rows, columns


def as_matrices(x: Array, roles: LeafAxes) -> Array:
    """The leaf as (batch, rows, columns): rows are outputs, columns are summed over.

    Under explicit axes the array is gathered first: a reshape across sharded axes has
    no sharding of its own.

    Example:
      >>> as_matrices(jnp.ones((4, 3)), LeafAxes(contracting=(0,), output=(1,))).shape
      (1, 3, 4)
    """
    return _as_matrices(gathered(x), roles)


@functools.partial(jax.jit, static_argnums=1, inline=True)
def _as_matrices(x: Array, roles: LeafAxes) -> Array:
    return to_canonical(x, roles).reshape(matrix_shape(x.shape, roles))


def from_matrices(matrices: Array, roles: LeafAxes, like: Array) -> Array:
    """The inverse of `as_matrices`: the shape and explicit sharding of `like`.

    Example:
      >>> roles = LeafAxes(contracting=(0,), output=(1,))
      >>> from_matrices(jnp.ones((1, 3, 4)), roles, like=jnp.ones((4, 3))).shape
      (4, 3)
    """
    ordered = matrices.reshape([like.shape[axis] for axis in roles.order])
    return placed(from_canonical(ordered, roles), explicit_sharding(like))
