"""Rules: the first match wins, and none is idle."""

from fnmatch import fnmatchcase

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from jaxcompress.core.rules import Rules, as_rules
from jaxcompress.core.selectors import matching

NAMES = ["body/0/kernel", "body/0/bias", "body/1/kernel", "head/kernel", "scale"]
PATTERNS = ["*", "*/kernel", "body/*", "head/*", "*bias", "scale", "body/?/kernel", "x"]


def first_match(pairs, name):
    for index, (pattern, _) in enumerate(pairs):
        if fnmatchcase(name, pattern):
            return index
    return None


@hypothesis.given(
    patterns=st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=4, unique=True),
    names=st.lists(st.sampled_from(NAMES), unique=True),
)
def test_against_a_loop(patterns, names):
    pairs = [(pattern, 10 * i) for i, pattern in enumerate(patterns)]
    winners = {name: first_match(pairs, name) for name in names}
    idle = set(range(len(pairs))) - set(winners.values())
    if names and idle:
        with pytest.raises(ValueError, match=r"^Rules: "):
            Rules(pairs).assign(names)
    else:
        assigned = Rules(pairs).assign(names)
        assert assigned == {name: 10 * i for name, i in winners.items() if i is not None}
        assert list(assigned) == [name for name in names if name in assigned]


def test_a_mapping_and_pairs_are_the_same():
    pairs = {"head/*": 8, "*": 4}
    assert Rules(pairs) == Rules(pairs.items()) == Rules(list(pairs.items()))
    assert hash(Rules(pairs)) == hash(Rules(iter(pairs.items())))


def test_a_pattern_that_matches_nothing_lists_the_names():
    with pytest.raises(ValueError, match=r"'tail/\*' matches nothing. Names are: head, body/x"):
        Rules({"head": 1, "tail/*": 2}).assign(["head", "body/x"])


def test_a_name_of_pattern_characters_is_told_as_a_pattern():
    names = ["layer[0]", "out?"]
    with pytest.raises(ValueError, match=r"nothing. In patterns .* leaf 'layer\[\[\]0\]'. Names"):
        Rules({"layer[0]": 8}).assign(names)
    values = Rules({"layer[[]0]": 8, "out[?]": 4}).assign(names)
    assert values == {"layer[0]": 8, "out?": 4}
    tree = {name: np.ones((2, 2)) for name in names}
    with pytest.raises(ValueError, match=r"no leaf. In patterns .* leaf 'layer\[\[\]0\]'. Leaves"):
        matching("layer[0]")(tree)
    assert matching("layer[[]0]")(tree) == {"layer[0]": True, "out?": False}


def test_a_shadowed_pattern_names_what_was_taken():
    with pytest.raises(ValueError, match=r"'head' is never used, earlier rules take head. Move it"):
        Rules({"*": 1, "head": 2}).assign(["head", "body"])


def test_values_may_be_false():
    assert Rules({"a": None, "b": 0}).assign(["a", "b", "c"]) == {"a": None, "b": 0}


@pytest.mark.parametrize(
    "pairs", ["int8", 8, None, ["a"], [("a", 1, 2)], {1: "a"}, [(None, 1)], lambda: 1]
)
def test_what_is_no_pair_is_refused(pairs):
    with pytest.raises(TypeError, match=r"^Rules\(pairs=.*\) must be a dict from pattern to value"):
        Rules(pairs)


def test_no_rule_is_refused():
    for nothing in ({}, [], iter(())):
        with pytest.raises(ValueError, match=r"Rules\(pairs\) needs at least one"):
            Rules(nothing)


def test_one_value_is_a_rule_for_every_name():
    assert as_rules(3).assign(NAMES) == dict.fromkeys(NAMES, 3)
    rules = Rules({"head/*": 1})
    assert as_rules(rules) is rules
    assert as_rules({"head/*": 1}).assign(["x"]) == {"x": {"head/*": 1}}
