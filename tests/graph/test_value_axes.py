"""The axes of values: what shape operations keep, and what cannot be told."""

import math

import hypothesis
import hypothesis.strategies as st

from jaxcompress.graph.value_axes import (
    Part,
    axes_of_leaf,
    broadcast,
    concatenated,
    covered,
    refilled,
    resized,
)

SIZES = st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=4).map(tuple)


def sizes(axes):
    return tuple(math.prod(part.size for part in axis) for axis in axes)


@hypothesis.given(SIZES, SIZES)
def test_a_reshape_keeps_every_part_in_order(shape, other):
    total = math.prod(shape)
    target = (*other, total // math.prod(other)) if total % math.prod(other) == 0 else (total,)
    axes = refilled(axes_of_leaf(shape), target)
    if axes is None:
        return
    assert sizes(axes) == target
    parts = [part for axis in axes for part in axis]
    assert [part.axis for part in parts] == sorted(part.axis for part in parts)
    for axis, size in enumerate(shape):
        assert math.prod(part.size for part in parts if part.axis == axis) == size


@hypothesis.given(SIZES)
def test_merging_all_axes_and_splitting_them_again_gives_the_roles_back(shape):
    merged = refilled(axes_of_leaf(shape), (math.prod(shape),))
    assert merged is not None
    again = refilled(merged, shape)
    assert again is not None
    assert sizes(again) == shape
    for axis, parts in enumerate(again):
        assert all(part.axis == axis for part in parts if part.size > 1)


def test_heads():
    kernel = axes_of_leaf((8, 12))
    heads = refilled(kernel, (8, 3, 4))
    assert heads == ((Part(0, 8),), (Part(1, 3),), (Part(1, 4),))
    assert refilled(heads, (8, 12)) == ((Part(0, 8),), (Part(1, 3), Part(1, 4)))


def test_a_misfit_is_not_told():
    assert refilled(axes_of_leaf((4, 6)), (3, 8)) is None
    merged = refilled(axes_of_leaf((4, 6)), (24,))
    assert merged is not None
    assert resized(merged, (9,)) is None
    assert resized(merged, (12,)) == ((Part(0, 2), Part(1, 6)),)


def test_new_axes_are_of_no_leaf():
    axes = broadcast(axes_of_leaf((4, 1)), (2, 4, 5), (1, 2))
    assert axes == ((Part(None, 2),), (Part(0, 4),), (Part(None, 5),))
    assert covered(axes) == 4


def test_side_by_side():
    first, second = axes_of_leaf((4, 6)), axes_of_leaf((4, 2))
    assert concatenated([first, second], 1, (4, 8)) == ((Part(0, 4),), (Part(1, 8),))
    turned = (second[1], second[0])
    assert concatenated([first, turned], 1, (4, 8)) is None
