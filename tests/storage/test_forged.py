"""Files that someone forged: right digests, and texts that contradict the arrays."""

import numpy as np
import pytest

from jaxcompress.storage import FileError, describe, load, load_leaf
from tests.inputs import INT4
from tests.storage.bits import assert_same_bits
from tests.storage.forging import forged_1, forged_2

FOUR = {"x": np.zeros(4, np.uint8)}
INT4_FIELDS = INT4.to_json()
INT4_FIELDS_1 = {
    "name": "int4",
    "bits": 4,
    "lowest": -7,
    "highest": 7,
    "symmetric": True,
    "per": "channel",
    "group_size": 0,
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


VERSION_1 = {
    "records for more leaves": {"leaves": [0, 0]},
    "no list": {"leaves": 5},
    "no record": {"leaves": [7]},
    "a short record": {"leaves": [["plain", "int8"]]},
    "unknown coder": {"leaves": [["zip", "int8", [4]]]},
    "unknown dtype": {"leaves": [["plain", "object", [4]]]},
    "more numbers than bytes": {"leaves": [["plain", "int8", [10**15]]]},
    "a mask of more entries": {"leaves": [["bitmask", "int8", [10**15]]]},
    "negative size": {"leaves": [["plain", "int8", [-4]]]},
    "size that is no number": {"leaves": [["plain", "int8", ["4"]]]},
    "no such spec": {"leaves": [["plain", "float32", [8], 0, [], [1]]]},
    "scales beyond the bytes": {
        "specs": [INT4_FIELDS_1],
        "leaves": [["plain", "float32", [8, 4], 0, [-1, -2], [8, 1]]],
    },
    "blocks that do not divide": {
        "specs": [INT4_FIELDS_1],
        "leaves": [["plain", "float32", [8], 0, [], [3]]],
    },
    "blocks of another rank": {
        "specs": [INT4_FIELDS_1],
        "leaves": [["plain", "float32", [8], 0, [], [1, 1]]],
    },
    "no order": {"specs": [INT4_FIELDS_1], "leaves": [["plain", "float32", [8], 0, [-2], [1]]]},
    "broken spec": {"specs": [INT4_FIELDS_1 | {"bits": 3}]},
    "half a spec": {"specs": [{"bits": 4}]},
    "no low-rank leaves": {"low_rank": 5},
    "low rank without factors": {"low_rank": {"x": ["float32", [], 1]}},
    "outline of more leaves": {"outline": ["l", 0, 0]},
    "outline of fewer leaves": {"outline": []},
}


def quantized(*sizes, fields=(0, "float32", [-1, -2]), codes=(0, "bits4"), **more) -> dict:
    """The texts of one quantized leaf, codes and scales in this order."""
    parts = {"codes": list(codes), "scale": [0, "float32"]} | more
    layout = ["quantized", list(fields), parts]
    return {"specs": [INT4_FIELDS], "layouts": [layout], "leaves": [[0, *sizes]]}


def array(*sizes, layout=(0, "int8")) -> dict:
    return {"layouts": [list(layout)], "leaves": [[0, *sizes]]}


DEEP = [0, "float32"]
for _ in range(9):
    DEEP = ["low_rank", ["float32", [], 1], {"left": DEEP, "right": [0, "float32"]}]

VERSION_2 = {
    "records for more leaves": {"leaves": [0, 0]},
    "records for fewer leaves": {"leaves": []},
    "no list": {"leaves": 5},
    "no digest": {"leaves": [7]},
    "no such layout": {"leaves": [[0, [4], 4]]},
    "a layout from the end": array([4], 4) | {"leaves": [[-1, [4], 4]]},
    "a truth value as a layout": array([4], 4) | {"leaves": [[False, [4], 4]]},
    "unknown coder": array([4], 4) | {"coders": [["zip", 1]]},
    "later coder": array([4], 4) | {"coders": [["plain", 2]]},
    "half a coder": array([4], 4) | {"coders": [["plain"]]},
    "coder beyond the list": array([4], 4, layout=(2, "int8")),
    "coder from the end": array([4], 4, layout=(-1, "int8")),
    "unknown dtype": array([4], 4, layout=(0, "object")),
    "codes alone": array([8], 4, layout=(0, "bits4")),
    "codes of 9 bits": array([4], 4, layout=(0, "bits9")),
    "too few sizes": array([4]),
    "too many sizes": array([4], 4, [4], 4),
    "no shape": array(4, 4),
    "negative size": array([-4], 4),
    "size that is no number": array(["4"], 4),
    "truth value as a size": array([True], 1),
    "too many axes": array([1] * 33, 4),
    "more numbers than bytes": array([10**15], 4),
    "a mask of more entries": array([10**15], 4, layout=(1, "int8")),
    "bytes beyond the array": array([10**15], 10**15),
    "bytes left over": array([3], 3),
    "kind not known": {"layouts": [["sparse", [], {}]], "leaves": [[0]]},
    "an endless layout": {"layouts": [DEEP], "leaves": [[0]]},
    "no such spec": quantized([1, 4], 2, [1], 2) | {"specs": []},
    "spec from the end": quantized([8], 0, [1, 1], 4, fields=(-1, "float32", [])),
    "no scale": {
        "specs": [INT4_FIELDS],
        "layouts": [["quantized", [0, "float32", []], {"codes": [0, "bits4"]}]],
        "leaves": [[0, [8], 4]],
    },
    "a part too many": quantized([0, 2], 0, [0, 1], 0, [1], 4, bias=[0, "float32"]),
    "a zero point where there is none": quantized(
        [0, 2], 0, [0, 1], 0, [0, 1], 0, zero_point=[0, "bits4"]
    ),
    "codes of another width": quantized([0, 2], 0, [1, 1], 4, codes=(0, "bits8")),
    "codes that are numbers": quantized([0, 2], 0, [1, 1], 4, codes=(0, "int8")),
    "codes without axes": quantized([], 0, [1], 4, fields=(0, "float32", [])),
    "a scale of another dtype": quantized([0, 2], 0, [1, 1], 4, scale=[0, "int32"]),
    "blocks that do not divide": quantized([3, 0], 0, [2, 1], 4),
    "blocks of another rank": quantized([1, 0], 0, [1], 4),
    "no order": quantized([0, 2], 0, [1, 1], 4, fields=(0, "float32", [-1, -1])),
    "an order of more axes": quantized([0, 2], 0, [1, 1], 4, fields=(0, "float32", [-3, -2, -1])),
    "an order of truth values": quantized([0, 2], 0, [1, 1], 4, fields=(0, "float32", [True])),
    "a code of no spec": quantized([0], 0, [1], 4, fields=(0, "float32")),
    "broken spec": {"specs": [INT4_FIELDS | {"sharing": {"kind": "all"}}]},
    "half a spec": {"specs": [{"bits": 4}]},
    "low rank without factors": {
        "layouts": [["low_rank", ["float32", [], 1], {"left": [0, "float32"]}]],
        "leaves": [[0, [1], 4]],
    },
    "factors that do not fit": {
        "layouts": [
            ["low_rank", ["float32", [], 1], {"left": [0, "int8"], "right": [0, "float16"]}]
        ],
        "leaves": [[0, [2, 1], 2, [2, 1], 2]],
    },
    "outline of more leaves": {"outline": ["l", 0, 0]},
    "outline of fewer leaves": {"outline": []},
}
TABLES = [
    *((forged_1, texts) for texts in VERSION_1.values()),
    *((forged_2, texts) for texts in VERSION_2.values()),
]
IDS = [f"1-{name}" for name in VERSION_1] + [f"2-{name}" for name in VERSION_2]


@pytest.mark.parametrize(("forge", "texts"), TABLES, ids=IDS)
def test_a_file_that_contradicts_itself_is_refused(path, forge, texts):
    forge(path, texts, FOUR)
    with pytest.raises(FileError, match="the file contradicts itself") as caught:
        load(path)
    assert len(str(caught.value)) < 1000
    if "outline" not in texts:
        with pytest.raises(FileError, match="the file contradicts itself"):
            load_leaf(path, "x")


VALUES = {
    "a code beyond the spec": (quantized([1, 2], 1, [1, 1], 4), [0x08, 0, 0, 0, 0]),
    "more bytes than codes": (quantized([1, 2], 2, [1, 1], 4), [0, 0, 0, 0, 0, 0]),
}


@pytest.mark.parametrize(("texts", "data"), VALUES.values(), ids=VALUES)
def test_numbers_that_a_spec_has_not_are_refused(path, texts, data):
    forged_2(path, texts, {"x": np.array(data, np.uint8)})
    describe(path)  # reads no numbers
    with pytest.raises(FileError, match=r"outside of \[-7, 7\]|do not fit"):
        load(path)


@pytest.mark.parametrize("coder", ["plain", "bitmask"])
def test_zero_points_of_more_codes_than_bytes_take_no_memory(path, coder):
    spec = INT4_FIELDS_1 | {"lowest": 0, "highest": 15, "symmetric": False, "per": "tensor"}
    leaf = [coder, "float32", [2**40, 1], 0, [], [1, 1]]
    forged_1(path, {"specs": [spec], "leaves": [leaf]}, {"x": np.ones(20, np.uint8)})
    with pytest.raises(FileError, match=r"do(es)? not fit"):
        load(path)


def test_a_record_for_an_array_that_is_no_bytes_is_refused(path):
    forged_1(path, {"leaves": [["plain", "int8", [16]]]}, {"x": np.zeros(4, np.float32)})
    with pytest.raises(FileError, match=r"float32\[4\], not bytes"):
        load(path)
    forged_2(path, array([16], 16), {"x": np.zeros(4, np.float32)})
    with pytest.raises(FileError, match=r"float32\[4\] and not the 16 bytes of its parts"):
        load(path)


def test_the_forger_can_also_write_a_good_file(path):
    forged_1(path, {"leaves": [["plain", "int8", [4]]]}, FOUR)
    assert_same_bits(load(path), {"x": np.zeros(4, np.int8)})
    forged_2(path, array([4], 4), FOUR)
    assert_same_bits(load(path), {"x": np.zeros(4, np.int8)})
    forged_2(path, quantized([1, 2], 1, [1, 1], 4), {"x": np.array([0x71, 0, 0, 0, 64], np.uint8)})
    np.testing.assert_array_equal(load(path)["x"].unpacked_codes, [[1, 7]])
    assert describe(path).leaves[0].shape == (2, 1)
