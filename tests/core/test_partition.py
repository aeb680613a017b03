"""Partition and combine: two trees of one outline, and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from tests.inputs import QTENSORS, TREES

SELECTORS = {
    "everything": jc.everything(),
    "nothing": jc.none_of(jc.everything()),
    "weights": jc.weights(),
    "inexact": jc.inexact(),
}
every_selector = pytest.mark.parametrize("select", SELECTORS.values(), ids=SELECTORS)


@every_selector
@pytest.mark.parametrize("kind", TREES)
def test_combine_undoes_partition(select, kind):
    tree = TREES[kind]()
    first, second = jc.partition(tree, select)
    for again in (jc.combine(first, second), jc.combine(second, first)):
        assert jax.tree.structure(again) == jax.tree.structure(tree)
        for leaf, other in zip(jax.tree.leaves(again), jax.tree.leaves(tree), strict=True):
            assert leaf is other


@every_selector
@pytest.mark.parametrize("kind", TREES)
def test_every_leaf_is_in_one_part(select, kind):
    tree = TREES[kind]()
    first, second = jc.partition(tree, select)
    chosen = jc.named_leaves(select(tree))
    assert set(jc.named_leaves(first)) == {name for name in chosen if chosen[name]}
    assert set(jc.named_leaves(second)) == {name for name in chosen if not chosen[name]}


@every_selector
def test_compressed_leaves_stay_whole(select):
    tree = {"kernel": QTENSORS["uint4 groups"](), "bias": jnp.ones(3), "steps": jnp.int32(1)}
    first, second = jc.partition(tree, select)
    again = jc.combine(first, second)
    assert all(again[name] is tree[name] for name in tree)


def test_a_gradient_beside_frozen_leaves():
    tree = {"kernel": jnp.ones((2, 2)), "steps": jnp.int32(3), "codes": QTENSORS["int4 groups"]()}
    trainable, frozen = jc.partition(tree, jc.matching("kernel"))

    @jax.jit
    def loss(trainable):
        params = jc.combine(trainable, frozen)
        return jnp.sum(params["kernel"]) * params["steps"] + params["codes"].materialize().sum()

    gradient = jax.grad(loss)(trainable)
    np.testing.assert_array_equal(gradient["kernel"], np.full((2, 2), 3.0))
    assert gradient["steps"] is gradient["codes"] is None


def test_none_in_the_tree_stays_none():
    tree = {"a": None, "b": jnp.ones(2)}
    first, second = jc.partition(tree, jc.everything())
    assert jc.combine(first, second)["a"] is None


def test_a_leaf_in_both_trees_is_refused():
    with pytest.raises(ValueError, match=r"a leaf of shape \(2,\) is in both trees. Pass the two"):
        jc.combine({"a": jnp.ones(2)}, {"a": jnp.ones(2)})
