"""Digests, equality and groups against dicts of the plainest kind."""

import hashlib
import itertools
import json

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.validate import leakage
from jaxcompress.validate.leakage import check, exact, fingerprints, groups

RNG = np.random.default_rng(0)
X = RNG.integers(0, 3, (60, 3)).astype(np.float32)  # many of the 27 rows repeat


def by_hand(first, second, same):
    """(pairs, touched) by comparing every example with every other."""
    pairs, touched = [], set()
    for j, b in enumerate(second):
        equal = [i for i, a in enumerate(first) if (a == b).all() and (i < j or not same)]
        if equal:
            pairs.append([equal[0], j])
        touched |= {equal[0]} if equal and same else set(equal)
    return np.array(pairs).reshape(-1, 2), np.array(sorted(touched))


SETS = {"a": X[:25], "b": X[25:30], "c": X[30:]}


@pytest.mark.parametrize("streamed", [False, True])
def test_duplicates_are_those_found_by_comparing_all(streamed):
    sets = {
        name: (lambda x=x: iter([x[:2], x[2:2], x[2:]])) if streamed else x
        for name, x in SETS.items()
    }
    report = check(sets, [exact()])
    assert report.sets == {"a": 25, "b": 5, "c": 30}
    expected = itertools.combinations_with_replacement("abc", 2)
    for found, (first, second) in zip(report.overlaps, expected, strict=True):
        assert (found.kind, found.first, found.second) == ("exact", first, second)
        pairs, touched = by_hand(SETS[first], SETS[second], first == second)
        np.testing.assert_array_equal(found.pairs, pairs)
        np.testing.assert_array_equal(found.touched, touched)


def test_without_what_is_touched_nothing_is_left():
    report = check({"a": SETS["a"], "c": SETS["c"]}, [exact()], pairs=leakage.between_sets)
    kept = np.delete(SETS["c"], report.touched("c"), axis=0)
    assert check({"a": SETS["a"], "c": kept}, [exact()], pairs=leakage.between_sets).clean
    kept = np.delete(SETS["a"], report.touched("a"), axis=0)
    assert check({"a": kept, "c": SETS["c"]}, [exact()], pairs=leakage.between_sets).clean


def test_a_digest_is_that_of_the_bytes():
    expected = [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in X]
    assert fingerprints(X).tobytes() == b"".join(expected)
    assert fingerprints(jnp.asarray(X)).tobytes() == b"".join(expected)
    assert fingerprints(np.asfortranarray(X)).tobytes() == b"".join(expected)
    both = [hashlib.blake2b(row.tobytes() + b"\x01", digest_size=16).digest() for row in X]
    assert fingerprints((X, np.ones(60, np.uint8))).tobytes() == b"".join(both)


def test_a_text_is_hashed_behind_its_length():
    data = ["to be", b"or not", "\u00fc"]
    expected = [
        hashlib.blake2b(len(each).to_bytes(8, "little") + each, digest_size=16).digest()
        for each in (b"to be", b"or not", b"\xc3\xbc")
    ]
    assert fingerprints(data).tobytes() == b"".join(expected)


EQUAL = [  # what counts as equal, two sets, the examples of the second that the first has
    ("nan by its bits", exact(), np.float32([np.nan, 1]), np.float32([np.nan, 2]), [0]),
    ("zeros by their bits", exact(), np.float32([0.0]), np.float32([-0.0]), []),
    ("zeros by value", exact(canonical=leakage.by_value), np.int8([0]), np.float32([-0.0]), [0]),
    (
        "other nan",
        exact(canonical=leakage.by_value),
        np.float32([np.nan]),
        np.float64([-np.nan]),
        [0],
    ),
    ("dtypes", exact(canonical=leakage.by_value), np.int64([5, 6]), jnp.float16([6.5, 6]), [1]),
    ("bools", exact(canonical=leakage.by_value), np.bool_([True]), np.float32([1]), [0]),
    ("bfloat16", exact(), jnp.bfloat16([1, 2]), jnp.bfloat16([2, 3]), [0]),
    (
        "pixels",
        exact(canonical=leakage.pixels),
        np.arange(256, dtype=np.uint8),
        (np.arange(256, dtype=np.float32) / 255),
        list(range(256)),
    ),
    (
        "half pixels",
        exact(canonical=leakage.pixels),
        np.arange(256, dtype=np.uint8),
        (np.arange(256) / 255).astype(np.float16),
        list(range(256)),
    ),
    ("rounded", exact(canonical=leakage.rounded(0.1)), np.float32([0.301]), np.float64([0.3]), [0]),
    ("texts", exact(), ["to be", "ü"], np.array(["or", "ü"]), [1]),
    ("bytes", exact(), [b"to be", "\u00fc"], [b"\xc3\xbc", b"x"], [0]),
    ("ragged", exact(), ["a" * 9, ""], ["", "a" * 8], [0]),
    ("words", exact(canonical=leakage.words), ["To  be\n"], [b" to be", "to  Bee"], [0]),
    ("dates", exact(), np.array(["2020-01-01"], "M8[D]"), np.array(["2020-01-01"], "M8[D]"), [0]),
    ("trees", exact(), (X[:2], [0, 1]), (X[:2], [0, 2]), [0]),
    ("parts", exact(of=lambda e: e[0]), (X[:1], [0]), (X[:1], [2]), [0]),
]


@pytest.mark.parametrize(
    ("looked_for", "first", "second", "equal"), [e[1:] for e in EQUAL], ids=[e[0] for e in EQUAL]
)
def test_what_counts_as_equal(looked_for, first, second, equal):
    report = check({"a": first, "b": second}, [looked_for], pairs=leakage.between_sets)
    assert report.overlaps[0].pairs[:, 1].tolist() == equal


def test_texts_in_a_row_have_one_reading():
    one, other = fingerprints((["ab"], ["c"])), fingerprints((["a"], ["bc"]))
    assert (one != other).any()


def test_groups_of_numbers_and_texts():
    for ids in (np.array([3, 1, 1, 2]), ["c", "a", "a", "b"]):
        sets = {
            "train": {"id": ids},
            "test": {"id": ids[:1] + ids[:1] if isinstance(ids, list) else ids[[0, 0]]},
        }
        (found,) = check(sets, [groups(lambda e: e["id"])]).overlaps
        assert found.kind == "group"
        np.testing.assert_array_equal(found.pairs, [[0, 0], [0, 1]])
        np.testing.assert_array_equal(found.touched, [0])


def test_groups_of_any_width_are_one_and_large_ones_are_apart():
    large = 2**60
    first, second = np.int16([4, 5]), np.int64([5, large + 1])
    (found,) = check({"a": first, "b": second}, [groups(lambda e: e)]).overlaps
    assert found.pairs.tolist() == [[1, 0]]
    (found,) = check({"a": np.int64([large]), "b": second}, [groups(lambda e: e)]).overlaps
    assert found.count == 0


def test_a_check_says_what_counts_as_equal():
    assert exact(canonical=leakage.rounded(0.1)).what == "exact: duplicates, equal by rounded(0.1)"
    assert exact(canonical=lambda x: x).what.endswith("equal by a function of yours")


def test_the_report_says_what_was_found_and_what_was_not_looked_for():
    sets = {"a": np.int32([4, 5]), "b": np.int32([5, 6])}
    report = check(sets, [exact()], pairs=leakage.between_sets)
    assert str(report) == (
        "Leakage between a (2), b (2)\n"
        "  exact  a / b: 1 of 2 in b, b[0] ~ a[1]\n"
        "checked:\n"
        "  exact: duplicates, equal by stored\n"
        "not checked: near duplicates, groups in two sets, order in time, features that give the"
        " target away"
    )
    record = json.loads(json.dumps(report.to_json()))
    assert record["sets"] == {"a": 2, "b": 2}
    assert record["overlaps"][0] | {"n": 2} == {
        "kind": "exact",
        "first": "a",
        "second": "b",
        "n": 2,
        "pairs": [[1, 0]],
        "scores": [1.0],
        "touched": [1],
        "count": 1,
    }
    assert not report.clean
    finding = report.finding()
    assert finding.verdict == "fails"
    assert str(finding.figures[0]) == "exact duplicates, a / b 1"
    assert finding.needs[0] == "A search for near duplicates."
    with pytest.raises(ValueError, match=r"touched\(name='c'\): the sets are a, b"):
        report.touched("c")


IDS = groups(lambda e: e["id"])
BAD = [
    (ValueError, r"check\(sets\) holds no set", {}, exact()),
    (TypeError, r"check\(sets\): the name 3 must be a text", {3: X}, exact()),
    (TypeError, r"check\(checks=exact\).*Did you mean exact\(\.\.\.\)", {"a": X}, exact),
    (ValueError, r"check\(b\) holds no examples", {"a": X, "b": X[:0]}, exact()),
    (ValueError, r"check\(b\) holds no examples", {"a": X, "b": lambda: iter([])}, exact()),
    (TypeError, r"check\(b=.* gives no chunks", {"a": X, "b": lambda: X}, exact()),
    (
        TypeError,
        r"\(a of float32 \[3\], b of float64 \[3\]\).*by_value",
        {"a": X, "b": X.astype(float)},
        exact(),
    ),
    (TypeError, r"\(a of float32 \[3\], b of text \[\]\)", {"a": X, "b": ["x"]}, exact()),
    (
        TypeError,
        r"a chunk has .* float32 \[3\], one of int64",
        {"a": lambda: iter([X, X.astype(int)])},
        exact(),
    ),
    (TypeError, r"of\(examples\) fails with KeyError\('id'\)", {"a": {"x": X}}, IDS),
    (ValueError, r"gives 59 rows for 60 examples", {"a": X}, groups(lambda e: e[1:, 0])),
    (ValueError, r"groups\(of\) gives an array of shape \(60, 3\)", {"a": X}, groups(lambda e: e)),
    (
        ValueError,
        r"pixels\(array\) must lie in \[0, 1\]",
        {"a": X},
        exact(canonical=leakage.pixels),
    ),
    (
        TypeError,
        r"by_value\(array of dtype object\)",
        {"a": ["x"]},
        exact(canonical=leakage.by_value),
    ),
]


@pytest.mark.parametrize(("error", "message", "sets", "looked_for"), BAD)
def test_refuses_what_cannot_be_checked(error, message, sets, looked_for):
    with pytest.raises(error, match=message):
        check(sets, [looked_for])


def test_a_clean_report_holds_as_far_as_was_looked():
    report = check({"a": np.arange(3), "b": np.arange(3, 6)}, [exact()])
    assert report.clean
    assert report.touched("a").size == 0
    finding = report.finding()
    assert (finding.topic, finding.verdict) == ("data leakage", "holds")
    assert finding.statement == "Looked for exact duplicates in a (3), b (3). Nothing was found."


def test_refuses_no_checks():
    with pytest.raises(ValueError, match=r"check\(checks\) holds no check"):
        check({"a": X}, [])


def test_one_set_is_looked_at_within():
    report = jc.validate.leakage.check({"a": X[[0, 1, 0]]}, [exact()])
    assert [each.count for each in report.overlaps] == [1 + int((X[0] == X[1]).all())]


@pytest.mark.parametrize(
    "missing", [np.array([1.0, np.nan]), np.array(["2020-01-01", "NaT"], "M8[D]")]
)
def test_two_examples_without_a_group_are_not_of_one(missing):
    sets = {"train": missing, "test": missing[1:]}
    with pytest.raises(ValueError, match=r"1 of 2 examples have no group, [nN]a"):
        leakage.check(sets, [leakage.groups(lambda examples: examples)])
