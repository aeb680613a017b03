"""Files that someone forged: right digests, and texts that contradict the arrays."""

import pathlib
import re

import numpy as np
import pytest

from jaxcompress.storage import FileError, describe, load, load_leaf
from jaxcompress.storage.container.errors import LONGEST_MESSAGE
from jaxcompress.storage.container.limits import DEEPEST
from tests.inputs import INT4
from tests.storage.bits import assert_same_bits
from tests.storage.costs import measured, traced
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


def nested(depth: int):
    """The outline of a leaf in so many lists."""
    return ["l", nested(depth - 1)] if depth else 0


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
    "a bound with a fraction": {"specs": [INT4_FIELDS_1 | {"highest": 7.5}]},
    "bits that are a truth value": {"specs": [INT4_FIELDS_1 | {"bits": True}]},
    "a group of no size": {"specs": [INT4_FIELDS_1 | {"per": "group", "group_size": None}]},
    "half a spec": {"specs": [{"bits": 4}]},
    "no specs": {"specs": {}},
    "truth value as a record": {"leaves": [False]},
    "a Python number with axes": {"leaves": [["plain", "python bool", [4]]]},
    "codes of an integer dtype": {
        "specs": [INT4_FIELDS_1],
        "leaves": [["plain", "int32", [0], 0, [], [1]]],
    },
    "an order that is no list": {
        "specs": [INT4_FIELDS_1],
        "leaves": [["plain", "float32", [0], 0, 5, [1]]],
    },
    "no low-rank leaves": {"low_rank": 5},
    "a low-rank leaf that is no list": {"low_rank": {"x": None}},
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


def table(**fields) -> dict:
    """A spec of a table of levels."""
    levels = {"kind": "table", "name": "two", "values": [-1, 1]} | fields
    return {"specs": [INT4_FIELDS | {"levels": levels}]}


def low_rank(left, right, *sizes, fields=("float32", [], 1)) -> dict:
    parts = {"left": [0, left], "right": [0, right]}
    return {"layouts": [["low_rank", list(fields), parts]], "leaves": [[0, *sizes]]}


LEVELS = INT4_FIELDS["levels"]
PRODUCT = ["float32", [], 1]
FACTORS = ["low_rank", PRODUCT, {"left": [0, "float32"], "right": [0, "float32"]}]
CODES = ["quantized", [0, "float32", []], {"codes": [0, "bits4"], "scale": [0, "float32"]}]
DEEP = [0, "float32"]
for _ in range(9):
    DEEP = ["low_rank", ["float32", [], 1], {"left": DEEP, "right": [0, "float32"]}]

VERSION_2 = {
    "records for more leaves": {"leaves": [0, 0]},
    "records for fewer leaves": {"leaves": []},
    "no list": {"leaves": 5},
    "no digest": {"leaves": [7]},
    "no specs": {"specs": 5},
    "no layouts": {"layouts": {}},
    "no coders": {"coders": {"plain": 1}},
    "a coder with a number for a name": {"coders": [[1, 1]]},
    "a coder with a truth value for a version": array([4], 4) | {"coders": [["plain", "1"]]},
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
    "too many axes": array([1] * 65, 4),
    "a size without end": array([10**19, 0], 0),
    "a Python number with axes": array([4], 32, layout=(0, "python int")),
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
    "codes of an integer dtype": quantized([0, 2], 0, [1, 1], 4, fields=(0, "int32", [])),
    "an order that is no list": quantized([0, 2], 0, [1, 1], 4, fields=(0, "float32", 5)),
    "a field too few": quantized([0, 2], 0, [1, 1], 4, fields=(0, "float32")),
    "a dtype that is a dict": quantized([0, 2], 0, [1, 1], 4, fields=(0, {}, [])),
    "a scale that is a leaf": {
        "specs": [INT4_FIELDS],
        "layouts": [["quantized", [0, "float32", []], {"codes": [0, "bits4"], "scale": CODES}]],
        "leaves": [[0, [0, 2], 0, [0, 2], 0, [0, 1], 0]],
    },
    "broken spec": {"specs": [INT4_FIELDS | {"sharing": {"kind": "all"}}]},
    "a spec that is a list": {"specs": [[]]},
    "a name that is a dict": table(name={}),
    "a name that no report shows": table(name="nf4\n"),
    "a name without end": table(name="x" * 10**5),
    "levels that are a dict": table(values={}),
    "levels that are texts": table(values=["-1", "1"]),
    "levels that are truth values": table(values=[-1, True]),
    "levels without end": table(values=[-1, 1] * 10**5),
    "a level that no float holds": table(values=[-1, 10**19, 1e300]),
    "a bound with a fraction": {"specs": [INT4_FIELDS | {"levels": LEVELS | {"highest": 7.5}}]},
    "a sign that is a number": {"specs": [INT4_FIELDS | {"levels": LEVELS | {"symmetric": 1}}]},
    "a group of None": {"specs": [INT4_FIELDS | {"sharing": {"kind": "group", "size": None}}]},
    "a group of NaN": {"specs": [INT4_FIELDS | {"sharing": {"kind": "group", "size": np.nan}}]},
    "half a spec": {"specs": [{"bits": 4}]},
    "factors that are Python numbers": low_rank("python float", "python float", [], 8, [], 8),
    "factors that are integers": low_rank("int32", "int32", [1, 0], 0, [0, 1], 0),
    "factors that are codes": low_rank("bits4", "bits4", [1, 0], 0, [0, 1], 0),
    "a low-rank factor": {
        "layouts": [["low_rank", PRODUCT, {"left": FACTORS, "right": [0, "float32"]}]],
        "leaves": [[0, [1, 0], 0, [0, 0], 0, [0, 1], 0]],
    },
    "a product of integers": low_rank(
        "float32", "float32", [1, 0], 0, [0, 1], 0, fields=("int32", [], 1)
    ),
    "axes that are a truth value": low_rank(
        "float32", "float32", [1, 0], 0, [0, 1], 0, fields=("float32", [], True)
    ),
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
    "an outline of another name": {"outline": {"y": 0}},
    "an outline of a truth value": {"outline": False},
    "an outline without end": {"outline": nested(DEEPEST + 1)},
}
TABLES = [
    *((forged_1, texts) for texts in VERSION_1.values()),
    *((forged_2, texts) for texts in VERSION_2.values()),
]
IDS = [f"1-{name}" for name in VERSION_1] + [f"2-{name}" for name in VERSION_2]


MENDS = (
    *("Save it again.", "Update jaxcompress.", "Write the file again."),
    *("Copy it again.", "Copy the file again."),
)
DOORS = {
    "load": load,
    "describe": describe,
    "load_leaf": lambda path, **options: load_leaf(path, "x", **options),
}


def refused(path: pathlib.Path, message: str) -> None:
    """Every door refuses the file in a short message, in no time and at no cost."""
    for door in DOORS.values():
        with measured() as clock, pytest.raises(FileError, match=message) as caught:
            door(path)
        with traced() as memory, pytest.raises(FileError):
            door(path)
        assert clock.seconds < 1
        assert memory.peak < 8 * 2**20 + 64 * path.stat().st_size
        text = str(caught.value)
        assert len(text) - len(str(path)) <= LONGEST_MESSAGE
        assert text.isprintable()
        assert text.count(str(path)) == 1
        assert text.endswith(MENDS) or re.search(r"pass max_bytes=\d+\.$", text)


@pytest.mark.parametrize(("forge", "texts"), TABLES, ids=IDS)
def test_a_file_that_contradicts_itself_is_refused(path, forge, texts):
    forge(path, texts, FOUR)
    refused(path, "the file contradicts itself|Update jaxcompress|no size has|the number NaN")


UNSIGNED = {"kind": "integers", "bits": 2, "lowest": 0, "highest": 2, "symmetric": False}
VALUES_2 = {
    "a code beyond the spec": (quantized([1, 2], 1, [1, 1], 4), [0x08, 0, 0, 0, 0]),
    "more bytes than codes": (quantized([1, 2], 2, [1, 1], 4), [0, 0, 0, 0, 0, 0]),
    "a zero point beyond the spec": (
        quantized(
            *([1, 4], 1, [1, 1], 4, [1, 1], 1),
            codes=(0, "bits2"),
            scale=[0, "float32"],
            zero_point=[0, "bits2"],
        )
        | {"specs": [INT4_FIELDS | {"levels": UNSIGNED}]},
        [0, 0, 0, 0, 0, 3],
    ),
    "a mask of other counts": (array([8], 2, layout=(1, "int8")), [3, 9]),
    "a mask without its words": (array([8], 1, layout=(1, "float64")), [1]),
}
VALUES_1 = {
    "a code beyond the spec": (
        {"specs": [INT4_FIELDS_1], "leaves": [["plain", "float32", [2], 0, [], [1]]]},
        [0, 0, 0, 0, 0xFF],
    ),
    "a zero point beyond the spec": (
        {
            "specs": [INT4_FIELDS_1 | {"lowest": 0, "highest": 9, "symmetric": False}],
            "leaves": [["plain", "float32", [2], 0, [], [1]]],
        },
        [0, 0, 0, 0, 10, 0],
    ),
    "more bytes than codes": (
        {"specs": [INT4_FIELDS_1], "leaves": [["plain", "float32", [2], 0, [], [1]]]},
        [0, 0, 0, 0, 0, 0],
    ),
    "a mask without its words": ({"leaves": [["bitmask", "int8", [8]]]}, [3]),
}
VALUES = [
    *((forged_1, *case) for case in VALUES_1.values()),
    *((forged_2, *case) for case in VALUES_2.values()),
]


@pytest.mark.parametrize(
    ("forge", "texts", "data"),
    VALUES,
    ids=[f"1-{name}" for name in VALUES_1] + [f"2-{name}" for name in VALUES_2],
)
def test_numbers_that_a_spec_has_not_are_refused(path, forge, texts, data):
    forge(path, texts, {"x": np.array(data, np.uint8)})
    refused(path, r"leaf 'x': (has a (code|zero point) outside of \[|.* do not fit)")


@pytest.mark.parametrize("forge", [forged_1, forged_2])
def test_a_leaf_without_name_is_refused(path, forge):
    forge(path, {}, {"": np.ones(3, np.float32)})
    refused(path, "a leaf has the name ''")


@pytest.mark.parametrize("forge", [forged_1, forged_2])
def test_a_truth_value_of_two_is_refused(path, forge):
    forge(path, {}, {"x": np.array([0, 1, 2], np.uint8).view(bool)})
    refused(path, "truth values? of")


HUGE = {
    "an array": [2**40],
    "an array without entries": [2**40, 2**40, 0],
    "an array of no entry": [10**8, 256, 0],
}


@pytest.mark.parametrize("coder", ["plain", "bitmask"])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("shape", HUGE.values(), ids=HUGE)
def test_codes_of_more_than_the_bytes_take_no_memory(path, coder, symmetric, shape):
    grid = {"lowest": -7 if symmetric else 0, "highest": 7, "symmetric": symmetric}
    spec = INT4_FIELDS_1 | grid | {"per": "tensor"}
    leaf = [coder, "float32", [*shape, 1], 0, [], [1] * (len(shape) + 1)]
    forged_1(path, {"specs": [spec], "leaves": [leaf]}, {"x": np.ones(20, np.uint8)})
    refused(path, "the file contradicts itself|pass max_bytes=")
    position = ["plain", "bitmask"].index(coder)
    layouts = [0, "bits4"], [position, "float32"], [position, "bool"], [position, "complex128"]
    for layout in layouts:
        texts = quantized(*(shape, 20, [1], 0), codes=layout) if layout[1] == "bits4" else None
        forged_2(path, texts or array(shape, 20, layout=layout), {"x": np.ones(20, np.uint8)})
        refused(path, "the file contradicts itself|pass max_bytes=")


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_what_is_accepted_is_the_callers_to_say(path, door):
    count = 4 * 10**5 * 256
    forged_2(path, array([10**5, 256, 0], 0, layout=(0, "float32")), {"x": np.zeros(0, np.uint8)})
    door(path)
    with pytest.raises(FileError, match=r"takes [\d,]+ bytes in memory, more than max_") as caught:
        door(path, max_bytes=count)
    door(path, max_bytes=int(str(caught.value).rpartition("=")[2].rstrip(".")))
    for wrong in (0, -1, 1.5, True, None):
        with pytest.raises(ValueError, match=rf"max_bytes={wrong}\) must be at least 1, and an"):
            door(path, max_bytes=wrong)


def test_the_forger_can_also_write_a_good_file(path):
    forged_1(path, {"leaves": [["plain", "int8", [4]]]}, FOUR)
    assert_same_bits(load(path), {"x": np.zeros(4, np.int8)})
    forged_2(path, array([4], 4), FOUR)
    assert_same_bits(load(path), {"x": np.zeros(4, np.int8)})
    forged_2(path, quantized([1, 2], 1, [1, 1], 4), {"x": np.array([0x71, 0, 0, 0, 64], np.uint8)})
    np.testing.assert_array_equal(load(path)["x"].unpacked_codes, [[1, 7]])
    assert describe(path).leaves[0].shape == (2, 1)
    forged_2(path, low_rank("float32", "float32", [1, 0], 0, [0, 1], 0), {"x": np.zeros(0, "u1")})
    assert describe(path).leaves[0].shape == load(path)["x"].shape == (1, 1)
    forged_2(path, table() | {"outline": {"x": 0}}, {"x": np.ones(3, np.float32)})
    assert_same_bits(load(path), {"x": np.ones(3, np.float32)})
