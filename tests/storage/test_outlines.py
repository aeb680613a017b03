"""Outlines: plain containers come back as they were, others leave only names."""

import collections

import jax
import pytest

from jaxcompress.core.names import named_leaves
from jaxcompress.storage.container.outlines import NameClashError, from_names, from_text, to_text

PLAIN = {
    "leaf": 1,
    "none": None,
    "empty dict": {},
    "empty list": [],
    "empty tuple": (),
    "names say it all": {"dense": {"bias": 1, "kernel": 2}},
    "dropped params": {"params": {"dense": {"kernel": 2}}, "state": {"mean": 3}},
    "list in tuple in dict": {"a": ([1, 2], 3), "b": [None, {}]},
    "number keys": {2: 1, 10: {-1: 2}},
    "slash in a key": {"a/b": 1, "a": {"c": 2}},
    "clashing names": {"a": 1, "a/b": 2},
    "dot": {".": 1},
    "empty key": {"": 1},
    "keys that look like ours": {"l": 1, "t": {"d": 2}},
}
FOREIGN = {
    "ordered dict": collections.OrderedDict(a=1),
    "named tuple": collections.namedtuple("Pair", "a b")(1, 2),
    "deep inside": [{"a": collections.OrderedDict(a=1)}],
    "truth keys": {True: 1},
}


@pytest.mark.parametrize("tree", PLAIN.values(), ids=PLAIN)
def test_plain_containers_come_back(tree):
    text, leaves = to_text(tree), named_leaves(tree)
    again = from_text(text, leaves.values()) if text else from_names(leaves)
    assert again == tree
    assert jax.tree.structure(again) == jax.tree.structure(tree)


@pytest.mark.parametrize("name", ["leaf", "empty dict", "names say it all"])
def test_what_names_say_takes_no_outline(name):
    assert to_text(PLAIN[name]) == ""


@pytest.mark.parametrize("tree", FOREIGN.values(), ids=FOREIGN)
def test_other_nodes_have_none(tree):
    assert to_text(tree) == ""


def test_names_nest_in_any_order():
    assert from_names({"a/x": 1, "b": 2, "a/y": 3}) == {"a": {"x": 1, "y": 3}, "b": 2}


@pytest.mark.parametrize("names", [["a", "a/b"], ["a/b", "a"], ["a/b/c", "a/b"]])
def test_a_leaf_that_is_a_folder_is_refused(names):
    with pytest.raises(NameClashError, match=r"'a(/b)?' names both a leaf and a folder"):
        from_names(dict.fromkeys(names, 1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('["l",0]', "more leaves"),
        ('["l",0,0,0]', "more leaves"),
        ('["x",0,0]', "not the outline"),
        ("[]", "not the outline"),
        ('"l"', "not the outline"),
        ("[", "Expecting"),
        ("0", "fewer leaves"),
    ],
)
def test_a_wrong_outline_is_refused(text, message):
    leaves = [] if message == "more leaves" and text.count("0") == 1 else [1, 2]
    with pytest.raises(ValueError, match=message):
        from_text(text, leaves)
