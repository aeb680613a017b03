"""Equality down to the last bit: NaN payloads and signs of zero count."""

import jax
import numpy as np

from jaxcompress.core.leaf import is_compressed


def assert_same_bits(actual, expected):
    """Trees of one structure whose leaves agree in kind, dtype, shape and every bit."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for first, second in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert_same_array(first, second)


def assert_same_leaves(actual, expected):
    """The leaves alone, whatever holds them."""
    leaves = [jax.tree.leaves(tree, is_leaf=is_compressed) for tree in (actual, expected)]
    assert_same_bits(*leaves)


def assert_same_array(actual, expected):
    if isinstance(expected, (bool, int, float, complex)) and not isinstance(expected, np.generic):
        assert type(actual) is type(expected)
    first, second = np.asarray(actual), np.asarray(expected)
    assert (first.dtype, first.shape) == (second.dtype, second.shape)
    assert first.tobytes() == second.tobytes()
