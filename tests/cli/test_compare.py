"""`compare`: what differs between two files, and the exit status."""

import json

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from safetensors.numpy import save_file

import jaxcompress as jc
from jaxcompress import cli
from jaxcompress.storage.comparison import compare, differences

PARAMS = {
    "dense": {"kernel": np.linspace(-1, 1, 512).reshape(32, 16).astype(np.float32)},
    "bias": np.zeros(16, np.float32),
    "step": 3,
}


@pytest.fixture
def files(tmp_path):
    """Files by name: the same params thrice, in 8 bits, in another shape, by others."""
    small, _ = jc.quantize.quantize(PARAMS, jc.quantize.int8())
    trees = {
        "first": PARAMS,
        "again": PARAMS,
        "int8": small,
        "other": {**PARAMS, "bias": np.zeros(8, np.float32), "more": np.ones(2)},
    }
    for name, tree in trees.items():
        coders = jc.storage.coders.SMALLEST if name == "again" else jc.storage.coders.FAST
        jc.storage.save(tmp_path / name, tree, coders=coders, metadata={"name": name})
    named = {name: np.asarray(x) for name, x in jc.named_leaves(PARAMS).items()}
    save_file(named, tmp_path / "foreign")
    return tmp_path


def told(words: list, status: int, capsys) -> dict:
    assert cli.main(["compare", *map(str, words), "--json"]) == status
    return json.loads(capsys.readouterr().out)


def test_files_of_one_tree_are_the_same_whatever_wrote_their_bytes(files, capsys):
    found = told([files / "first", files / "again"], 0, capsys)
    assert found["same"]
    assert found["size_bytes"] == [(files / name).stat().st_size for name in ("first", "again")]
    assert cli.main(["compare", str(files / "first"), str(files / "again")]) == 0
    assert capsys.readouterr().out.endswith("3 of 3 leaves are the same.\n")


def test_a_quantized_leaf_differs_in_format_and_numbers(files, capsys):
    found = told([files / "first", files / "int8"], 3, capsys)
    leaves = {leaf["name"]: leaf for leaf in found["leaves"]}
    assert leaves["dense/kernel"]["differs_in"] == ["format", "numbers"]
    assert leaves["bias"]["differs_in"] == leaves["step"]["differs_in"] == []
    small = jc.materialize(jc.storage.load(files / "int8"))["dense"]["kernel"]
    kernel = PARAMS["dense"]["kernel"]
    apart = np.abs(kernel.astype(np.float64) - np.asarray(small))
    assert leaves["dense/kernel"]["largest_difference"] == apart.max()
    assert leaves["dense/kernel"]["differing"] == np.sum(kernel != small)
    assert cli.main(["compare", str(files / "first"), str(files / "int8")]) == 3
    text = capsys.readouterr().out
    assert "int8 per channel" in text
    assert "2 of 3 leaves are the same." in text


def test_a_tolerance_decides_by_numbers_alone(files, capsys):
    pair = [files / "first", files / "int8"]
    largest = told(pair, 3, capsys)["leaves"][1]["largest_difference"]
    assert told([*pair, "--tolerance", largest], 0, capsys)["same"]
    assert not told([*pair, "--tolerance", largest / 2], 3, capsys)["same"]
    assert cli.main(["compare", *map(str, pair), "--tolerance", "-1"]) == 1
    assert "compare(tolerance=-1.0) must be in [0, inf)" in capsys.readouterr().err


def test_shapes_and_absent_leaves_differ_at_any_tolerance(files, capsys):
    found = told([files / "first", files / "other", "--tolerance", 9], 3, capsys)
    leaves = {leaf["name"]: leaf for leaf in found["leaves"]}
    assert leaves["bias"]["differs_in"] == ["shape"]
    assert leaves["bias"]["largest_difference"] is None
    assert leaves["more"]["differs_in"] == ["second"]
    assert [name for name, leaf in leaves.items() if not leaf["alike"]] == ["bias", "more"]
    swapped = told([files / "other", files / "first"], 3, capsys)["leaves"]
    assert next(leaf for leaf in swapped if leaf["name"] == "more")["differs_in"] == ["first"]


def test_a_file_of_another_library_is_compared_by_names(files, capsys):
    found = told([files / "first", files / "foreign"], 3, capsys)
    unlike = {leaf["name"]: leaf["differs_in"] for leaf in found["leaves"] if leaf["differs_in"]}
    # A Python number is no array; of it the container has only the bits.
    assert unlike == {"step": ["dtype"]}
    assert told([files / "foreign", files / "foreign"], 0, capsys)["same"]


def test_a_difference_to_a_third_file_is_refused(files, capsys):
    jc.storage.save_delta(files / "delta", PARAMS, base=files / "int8")
    assert cli.main(["compare", str(files / "first"), str(files / "delta")]) == 1
    assert "load_delta" in capsys.readouterr().err


CASES = {
    "nothing": (np.zeros((0, 3)), np.zeros((0, 3)), (0, 0.0, 0)),
    "NaN is NaN": (np.array([np.nan]), np.array([np.nan]), (0, 0.0, 0)),
    "signs of zero": (np.array([0.0]), np.array([-0.0]), (1, 0.0, 0)),
    "not finite": (np.array([np.inf, 1, np.nan]), np.array([1, np.inf, 2.0]), (3, 0.0, 3)),
    "beyond floats": (np.array([1.7e308]), np.array([-1.7e308]), (1, 0.0, 1)),
    "64 bits": (np.array([2**62, 1]), np.array([2**62 + 1, 1]), (1, 1.0, 0)),
    "far apart": (np.array([-(2**63)]), np.array([2**63 - 1]), (1, float(2**64 - 1), 0)),
    "unsigned": (np.array([0], np.uint8), np.array([255], np.uint8), (1, 255.0, 0)),
    "truth": (np.array([True, False]), np.array([True, True]), (1, 1.0, 0)),
    "complex": (np.array([3 + 4j]), np.array([0j]), (1, 5.0, 0)),
    "two dtypes": (np.array([1.0, 2.0]), np.array([1, 3]), (1, 1.0, 0)),
    "two dtypes, NaN": (np.array([np.nan]), np.array([np.nan], np.float32), (0, 0.0, 0)),
    "bfloat16": (
        np.ones(3, ml_dtypes.bfloat16),
        np.array([1, 1, 1.5], ml_dtypes.bfloat16),
        (1, 0.5, 0),
    ),
}


@pytest.mark.parametrize(("first", "second", "expected"), CASES.values(), ids=CASES)
def test_differences_by_hand(first, second, expected):
    assert differences(first, second) == expected
    assert differences(second, first) == expected


@given(arrays_of.arrays(np.float32, (2, 7), elements=st.floats(-9, 9, width=32)))
def test_differences_are_those_of_a_plain_loop(pair):
    first, second = pair
    apart = [abs(float(a) - float(b)) for a, b in zip(first, second, strict=True)]
    unlike = sum(a.tobytes() != b.tobytes() for a, b in zip(first, second, strict=True))
    assert differences(first, second) == (unlike, max(apart), 0)


def test_pieces_are_compared_one_after_the_other():
    first = np.zeros(2**20 + 3, np.int8)
    second = first.copy()
    second[[0, -1]] = 1, 5
    assert differences(first, second) == (2, 5.0, 0)


def test_it_prints_leaves_of_odd_names(tmp_path):
    for name in "ab":
        jc.storage.save(tmp_path / name, {"x\ny": jnp.full(2, ord(name))})
    assert r"'x\ny'" in str(compare(tmp_path / "a", tmp_path / "b"))
