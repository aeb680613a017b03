"""Names: one readable path per leaf, the same for every container."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import leaf_names, map_named, named_leaves
from tests.inputs import QTENSORS, TREES

NAMED = ["first/bias", "first/kernel", "second/bias", "second/kernel"]
EXPECTED = {
    "dict": NAMED,
    "linen": NAMED,
    "nnx": NAMED,
    "equinox": NAMED,
    "haiku": [f"network/~/{name}" for name in NAMED],
    "named tuples": ["0/bias", "0/kernel", "1/bias", "1/kernel"],
    "tuple": ["0/0", "0/1", "1/0", "1/1"],
    "list": ["0/0", "0/1", "1/0", "1/1"],
    "numbered": ["0/bias", "0/kernel", "1/bias", "1/kernel"],
}


@pytest.mark.parametrize("kind", TREES)
def test_names_in_every_container(kind):
    tree = TREES[kind]()
    assert sorted(named_leaves(tree)) == EXPECTED[kind]
    assert jax.tree.structure(leaf_names(tree)) == jax.tree.structure(tree)
    assert list(named_leaves(tree)) == jax.tree.leaves(leaf_names(tree))


@pytest.mark.parametrize("kind", TREES)
def test_shapes_have_the_names_of_arrays(kind):
    tree = TREES[kind]()
    assert list(named_leaves(jax.eval_shape(lambda: tree))) == list(named_leaves(tree))


@pytest.mark.parametrize("kind", TREES)
def test_leaves_come_with_their_names(kind):
    tree = TREES[kind]()
    for leaf, again in zip(jax.tree.leaves(tree), named_leaves(tree).values(), strict=True):
        assert leaf is again


@pytest.mark.parametrize(
    ("tree", "names"),
    [
        (1.0, ["."]),
        ([], []),
        ({"params": 1.0}, ["params"]),
        ({"params": {"params": 1.0}}, ["params"]),
        ({"a": {"params": 1.0}}, ["a/params"]),
        ({"params": {"a": 1.0}, "state": {"a": 2.0}}, ["a", "state/a"]),
        ({"attention": {"query": 1.0, "value": 2.0}}, ["attention/query", "attention/value"]),
        ({"value": 1.0}, ["value"]),
        (collections.namedtuple("Box", "value other")(1.0, 2.0), [".", "other"]),
        ({"a": collections.namedtuple("Box", "value")(1.0)}, ["a"]),
        ({"a": collections.namedtuple("Box", "value")([1.0])}, ["a/value/0"]),
        ((collections.namedtuple("Box", "params")({"a": 1.0}),), ["0/params/a"]),
        ({3: {"x": 1.0}, 10: 2.0}, ["3/x", "10"]),
        ({"": 1.0}, ["."]),
        ([None, 1.0], ["1"]),
    ],
)
def test_names_by_hand(tree, names):
    assert list(named_leaves(tree)) == names


def test_a_node_without_keys_counts_its_children():
    class Pair(list):
        pass

    jax.tree_util.register_pytree_node(Pair, lambda pair: (pair, None), lambda _, pair: Pair(pair))
    assert list(named_leaves({"a": Pair([1.0, 2.0])})) == ["a/0", "a/1"]


@pytest.mark.parametrize(
    "tree",
    [
        {"a": {"b": 1.0}, "a/b": 2.0},
        {"params": {"state": {"a": 1.0}}, "state": {"a": 2.0}},
    ],
)
def test_two_leaves_of_one_name_are_refused(tree):
    for function in (leaf_names, named_leaves):
        with pytest.raises(ValueError, match=r"two leaves are named '(a/b|state/a)'. Rename one"):
            function(tree)


def test_a_compressed_leaf_has_one_name():
    leaf = QTENSORS["uint4 groups"]()
    assert named_leaves({"a": leaf}) == {"a": leaf}
    assert named_leaves(leaf) == {".": leaf}


def test_map_named_gives_name_and_leaves():
    tree = {"a": jnp.ones(2), "b": [QTENSORS["int2"](), jnp.zeros(3)]}
    again = map_named(lambda name, leaf, other: (name, leaf, other), tree, tree)
    assert again["a"][0] == "a"
    assert again["b"][0][0] == "b/0"
    assert again["b"][0][1] is again["b"][0][2] is tree["b"][0]


def test_map_named_keeps_the_structure():
    tree = TREES["equinox"]()
    doubled = map_named(lambda name, leaf: leaf * 2, tree)
    assert jax.tree.structure(doubled) == jax.tree.structure(tree)
    np.testing.assert_array_equal(doubled.first.bias, tree.first.bias * 2)
    assert not any(map(is_compressed, jax.tree.leaves(doubled)))
