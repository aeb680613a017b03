"""Bytes of a tree, from shapes and dtypes alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.sizes import size_bytes
from tests.inputs import ARRAYS, QTENSORS, TREES


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_bytes_are_those_of_all_arrays(tree):
    assert size_bytes(tree()) == sum(np.asarray(x).nbytes for x in jax.tree.leaves(tree()))


@pytest.mark.parametrize("leaf", QTENSORS.values(), ids=QTENSORS)
def test_of_a_compressed_leaf_the_arrays_it_holds_count(leaf):
    stored = [np.asarray(x).nbytes for x in jax.tree.leaves(leaf())]
    assert is_compressed(leaf())
    assert size_bytes(leaf()) == leaf().size_bytes == sum(stored)
    assert size_bytes(jax.eval_shape(leaf)) == sum(stored)


def test_awkward_arrays_by_hand():
    assert size_bytes(ARRAYS) == sum(x.nbytes for x in ARRAYS.values())
    assert size_bytes(jnp.ones(5, jnp.int4)) == 5
    assert size_bytes({}) == size_bytes(None) == 0
