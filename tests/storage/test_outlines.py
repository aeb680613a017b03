"""Outlines: plain containers come back as they were, others leave only names."""

import collections
import math

import jax
import numpy as np
import pytest

from jaxcompress.core.names import named_leaves
from jaxcompress.storage.container.errors import FileError
from jaxcompress.storage.container.outlines import NamesError, from_names, from_text, to_text

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
    "truth keys": {True: 1, False: [2]},
    "numbers of all kinds": {False: 1, 2: 2, 0.5: (3,), -1e300: 4},
    "tuple keys": {("a", 1): 1, ("a", 2): (None, [2])},
    "tuples of anything": {((), (None,)): 1, (("b", True), (2.5,)): [2]},
    "key that is none": {None: [1]},
    "slash in a key": {"a/b": 1, "a": {"c": 2}},
    "clashing names": {"a": 1, "a/b": 2},
    "dot": {".": 1},
    "empty key": {"": 1},
    "keys that look like ours": {"l": 1, "t": {"d": 2}},
}
Pair = collections.namedtuple("Pair", "a b")
Single = collections.namedtuple("Single", "value")
OTHERS = {
    "ordered dict": (collections.OrderedDict(b=1, a=[2]), {"b": 1, "a": [2]}),
    "default dict": (collections.defaultdict(list, b=1, a=2), {"b": 1, "a": 2}),
    "named tuple": (Pair([1], None), {"a": [1], "b": None}),
    "named tuple without fields": ((collections.namedtuple("Empty", "")(),), ({},)),
    "named tuple of a value": (Single(1), {"value": 1}),
    "beside it": ([{"c": Pair(1, 2)}, (3, None)], [{"c": {"a": 1, "b": 2}}, (3, None)]),
    "partial": (jax.tree_util.Partial(max, (1,), key=2), {"0": ((1,),), "1": {"key": 2}}),
}
KEYS = {
    "bytes": ({b"a": 1}, r"has the key b'a' of type bytes"),
    "NumPy number": ({np.int64(3): 1}, r"has the key 3 of type int64"),
    "NaN": ({float("nan"): 1}, "has the key nan of type float"),
    "infinity": ({-math.inf: 1}, "has the key -inf of type float"),
    "large number": ({2**63: 1}, "has the key 9223372036854775808 of type int"),
    "in a tuple": ({("a", b"b"): 1}, r"has the key \('a', b'b'\) of type tuple"),
    "kinds": ({"a": 1, ("a", 1): 2}, "has keys of the kinds str, tuple, which JAX cannot sort"),
}


@pytest.mark.parametrize("tree", PLAIN.values(), ids=PLAIN)
def test_plain_containers_come_back(tree):
    text, leaves = to_text("save", tree), named_leaves(tree)
    again = from_text(text, leaves) if text else from_names(leaves)
    assert again == tree
    assert jax.tree.structure(again) == jax.tree.structure(tree)


@pytest.mark.parametrize("name", ["leaf", "empty dict", "names say it all"])
def test_what_names_say_takes_no_outline(name):
    assert to_text("save", PLAIN[name]) == ""


@pytest.mark.parametrize(("tree", "expected"), OTHERS.values(), ids=OTHERS)
def test_other_nodes_come_back_as_dicts_and_change_none_around_them(tree, expected):
    text, leaves = to_text("save", tree), named_leaves(tree)
    assert (from_text(text, leaves) if text else from_names(leaves)) == expected


@pytest.mark.parametrize(("node", "message"), KEYS.values(), ids=KEYS)
def test_keys_that_would_not_come_back_are_refused(node, message):
    with pytest.raises(TypeError, match=rf"^save\(tree\): the dict at 'x/1' {message}.* Use "):
        to_text("save", {"x": [0, node]})


def test_names_nest_in_any_order():
    assert from_names({"a/x": 1, "b": 2, "a/y": 3}) == {"a": {"x": 1, "y": 3}, "b": 2}


@pytest.mark.parametrize("names", [["a", "a/b"], ["a/b", "a"], ["a/b/c", "a/b"]])
def test_a_leaf_that_is_a_folder_is_refused(names):
    with pytest.raises(NamesError, match=r"'a(/b)?' names both a leaf and a folder"):
        from_names(dict.fromkeys(names, 1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('["l",0]', "more leaves"),
        ('["l",0,0,0]', "more leaves"),
        ('["x",0,0]', "not the outline"),
        ("[]", "not the outline"),
        ('"l"', "not the outline"),
        ('["l",0,false]', "False is not the outline"),
        ('{"0":0,"2":0}', "calls leaf '1' '2'"),
        ('["d",[0,0],["1",0]]', "have no order"),
        ('["d",[[0],0],[["1"],0]]', "have no order"),
        ('["d",[0,0],[false,0]]', "two are equal"),
        ('["d",[0,0],[0,0]]', "two are equal"),
        ('["d",[0,0],1]', "is not a key and an outline"),
        ('["d",[0,0],[{},0]]', "is not a key of a dict"),
        ('["d",[0,0],[1e999,0]]', "inf is not a key of a dict"),
        ('["d",[0,0],[' + "[" * 300 + "]" * 300 + ",0]]", "is not a key of a dict"),
        ('{"0":0,"0":0}', "'0' twice"),
        ('["l",0,' + '["l",' * 200 + "0" + "]" * 201, "nests deeper than 100"),
        ('["l",' * 99_999 + "]" * 99_999, "is not JSON"),
        ("[", "is not JSON"),
        ('["l",0]', "fewer leaves"),
    ],
)
def test_a_wrong_outline_is_refused(text, message):
    leaves = {} if message == "more leaves" and text.count("0") == 1 else {"0": 1, "1": 2}
    with pytest.raises(FileError, match=message):
        from_text(text, leaves)


@pytest.mark.parametrize("text", ["x" + "/x" * 100, "/" * 10**6])
def test_names_of_too_many_parts_give_no_tree(text):
    with pytest.raises(NamesError, match="has more than 100 parts"):
        from_names({"a": 1, text: 2})


def test_a_tree_that_is_too_deep_is_refused():
    tree = [1]
    for _ in range(99):
        tree = [tree]
    assert from_text(to_text("save", tree), named_leaves(tree)) == tree
    with pytest.raises(ValueError, match=r"^save\(tree\): the node at .* in more than 100 others"):
        to_text("save", [tree])
