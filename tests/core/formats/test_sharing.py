"""Which weights share a scale."""

import jax.numpy as jnp
import pytest

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.formats.sharing import Channel, Group, Tensor, cut, scale_shape

CONV_STACK = LeafAxes(contracting=(1, 2, 3), output=(4,), batch=(0,))
SHAPE = (5, 3, 3, 8, 6)  # layers, rows, columns, inputs, outputs
STORED = (5, 6, 3, 3, 8)


@pytest.mark.parametrize(
    ("sharing", "sizes"),
    [
        (Tensor(), (5, 1, 1, 1, 1)),
        (Channel(), (5, 6, 1, 1, 1)),
        (Group(4), (5, 6, 3, 3, 2)),
    ],
    ids=str,
)
def test_scale_sizes_are_the_reduced_sizes(sharing, sizes):
    parts = cut(SHAPE, sharing, CONV_STACK)
    found = jnp.max(jnp.ones(SHAPE).reshape(parts.shape), parts.shared)
    assert scale_shape(STORED, sharing, CONV_STACK) == sizes
    assert sorted(size for size in found.shape) == sorted(size for size in sizes if size > 1)
