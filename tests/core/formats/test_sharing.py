"""What shares a scale: blocks of an array as it lies, and scales as they are stored."""

import json
import re

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.formats.choices import from_json, to_json
from jaxcompress.core.formats.cuts import cut
from jaxcompress.core.formats.sharing import (
    SHARINGS,
    Block,
    Channel,
    Group,
    Row,
    Tensor,
    scale_shape,
)

CONV_STACK = LeafAxes(contracting=(1, 2, 3), output=(4,), batch=(0,))
SHAPE = (5, 3, 3, 8, 6)  # layers, rows, columns, inputs, outputs
STORED = (5, 6, 3, 3, 8)
ROWS = [
    (Tensor(), (5, 1, 1, 1, 1)),
    (Channel(), (5, 6, 1, 1, 1)),
    (Group(4), (5, 6, 3, 3, 2)),
    (Group(8), (5, 6, 3, 3, 1)),
    (Group(1), (5, 6, 3, 3, 8)),
    (Group(24), (5, 6, 3, 1, 1)),
    (Group(72), (5, 6, 1, 1, 1)),
    (Block(3, 4), (5, 2, 3, 3, 2)),
    (Block(6, 8), (5, 1, 3, 3, 1)),
    (Block(2, 24), (5, 3, 3, 1, 1)),
    (Row(), (5, 6, 3, 3, 1)),
]
every_sharing = pytest.mark.parametrize(("sharing", "sizes"), ROWS, ids=lambda value: str(value))


@every_sharing
def test_scale_sizes_are_the_reduced_sizes(sharing, sizes):
    parts = cut(SHAPE, sharing, CONV_STACK)
    found = jnp.max(jnp.ones(SHAPE).reshape(parts.shape), parts.shared)
    assert scale_shape(STORED, sharing, CONV_STACK) == sizes
    assert sorted(size for size in found.shape if size > 1) == sorted(
        size for size in sizes if size > 1
    )
    assert set(parts.shared) <= set(parts.leaf)
    assert set(parts.entries) <= set(parts.shared)
    assert 0 not in parts.leaf


@every_sharing
def test_numbers_of_one_block_share_and_others_do_not(sharing, sizes):
    """Each entry holds the number of its block; so blocks have one value each."""
    counts = dict(zip((*CONV_STACK.order,), sizes, strict=True))  # by logical axis
    number = np.zeros(SHAPE, int)
    for axis, length in enumerate(SHAPE):
        index = np.arange(length) // (length // counts[axis])
        number = number * counts[axis] + index.reshape([-1 if i == axis else 1 for i in range(5)])
    parts = cut(SHAPE, sharing, CONV_STACK)
    blocks = number.reshape(parts.shape)
    low = blocks.min(parts.shared)
    np.testing.assert_array_equal(low, blocks.max(parts.shared))
    assert len(np.unique(low)) == low.size == np.prod(sizes)


@every_sharing
def test_which_scales_can_be_those_of_a_shape(sharing, sizes):
    assert sharing.fits(sizes, STORED)
    assert not sharing.fits(sizes[1:], STORED)
    assert not sharing.fits((*sizes[:-1], 5), STORED)
    assert not sharing.fits((), STORED)


@every_sharing
def test_json_gives_the_sharing_back(sharing, sizes):
    again = from_json("sharing", json.loads(json.dumps(to_json(sharing))), SHARINGS)
    assert again == sharing
    assert hash(again) == hash(sharing)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Group(0), "Group(size=0) must be at least 1"),
        (lambda: Group(2.0), "Group(size=2.0) must be an int"),
        (lambda: Block(0, 2), "Block(rows=0, columns=2) must be at least 1 each"),
        (lambda: Block(2, -1), "Block(rows=2, columns=-1) must be at least 1 each"),
        (lambda: Block(True, 2), "Block(rows=True) must be an int"),
    ],
)
def test_refusals(build, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build()
