"""The container: agreement with the reference package, and every way to break it."""

import json

import numpy as np
import pytest

from jaxcompress.storage.container import safetensors
from jaxcompress.storage.container.errors import FileError

ARRAYS = {
    name: np.arange(24, dtype=np.uint8)[: 3 * dtype.itemsize].view(dtype)
    for name, dtype in safetensors.DTYPES.items()
    if name != "BOOL"
} | {
    "BOOL": np.array([True, False, True]),
    "matrix/é": np.arange(6, dtype=np.float32).reshape(2, 3),
    "transposed": np.arange(6, dtype=np.int16).reshape(2, 3).T,
    "scalar": np.asarray(1.5, np.float64),
    "empty": np.zeros((0, 4), np.float32),
}
METADATA = {"about": 'a "quoted" text', "é": "ü"}


def file(tmp_path, content: bytes):
    path = tmp_path / "file.safetensors"
    path.write_bytes(content)
    return path


def container(fields, data: bytes = b"") -> bytes:
    text = (fields if isinstance(fields, str) else json.dumps(fields)).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype="F32", shape=(2,), data_offsets=(0, 8)) -> dict:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(data_offsets)}


def test_arrays_and_texts_come_back(tmp_path):
    path = tmp_path / "file.safetensors"
    assert safetensors.write(path, ARRAYS, METADATA) == path.stat().st_size
    read = safetensors.read(path)
    assert read.metadata == METADATA
    assert list(read.entries) == list(ARRAYS)
    for name, x in ARRAYS.items():
        assert (read.array(name).dtype, read.array(name).shape) == (x.dtype, x.shape)
        assert read.array(name).tobytes() == x.tobytes()
        assert not read.array(name).flags.writeable


def test_arrays_are_aligned(tmp_path):
    safetensors.write(tmp_path / "file", ARRAYS, METADATA)
    read = safetensors.read(tmp_path / "file")
    assert len(safetensors.header(read.entries, METADATA)) % 8 == 0
    for field in read.entries.values():
        assert field.begin % field.dtype.itemsize == 0


def test_the_reference_reads_what_we_write(tmp_path):
    reference = pytest.importorskip("safetensors")
    path = tmp_path / "file.safetensors"
    safetensors.write(path, ARRAYS, METADATA)
    read = dict(reference.deserialize(path.read_bytes()))
    assert read.keys() == ARRAYS.keys()
    for name, x in ARRAYS.items():
        assert safetensors.DTYPES[read[name]["dtype"]] == x.dtype
        assert tuple(read[name]["shape"]) == x.shape
        assert bytes(read[name]["data"]) == x.tobytes()
    with reference.safe_open(path, framework="numpy") as opened:
        assert opened.metadata() == METADATA


def test_we_read_what_the_reference_writes(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    arrays = {name: x for name, x in ARRAYS.items() if x.dtype.isbuiltin == 1}
    arrays["transposed"] = np.ascontiguousarray(arrays["transposed"])
    path = tmp_path / "file.safetensors"
    numpy.save_file(arrays, path, METADATA)
    read = safetensors.read(path)
    assert read.metadata == METADATA
    assert read.entries.keys() == arrays.keys()
    for name, x in arrays.items():
        np.testing.assert_array_equal(read.array(name), x)
        assert read.array(name).dtype == x.dtype


BROKEN = {
    "empty file": (b"", "has 0 bytes and no header"),
    "no header": (b"\0" * 8, "has 8 bytes and no header"),
    "another format": (b"\x93NUMPY" + b"\1" * 90, "claims .* bytes where 88 follow"),
    "absurd length": (b"\xff" * 8 + b"{}", "claims 18446744073709551615 bytes where 2 follow"),
    "no JSON": (container("{]"), "is not JSON"),
    "no text": ((3).to_bytes(8, "little") + b"\xff\xfe\xfd", "is not JSON"),
    "bottomless JSON": (container("[" * 100_000), "is not JSON"),
    "endless number": (container('{"a":' + "9" * 9999 + "}"), "a number of 9999 digits"),
    "a number that is none": (container('{"a":NaN}'), "the number NaN"),
    "half a pair": (container('{"\\ud800":{}}'), "not a text that UTF-8 has"),
    "half a pair in a text": (container({"__metadata__": {"a": "\udfff"}}), "that UTF-8 has"),
    "too many axes": (container({"a": entry(shape=[1] * 65)}, bytes(8)), "an array of 65 axes"),
    "a shape of one number": (container({"a": entry() | {"shape": 2}}, bytes(8)), "not a shape"),
    "no object": (container("[]"), "is not a JSON object"),
    "the same name twice": (container('{"a":{},"a":{}}'), "has 'a' twice"),
    "the same field twice": (container('{"a":{"dtype":"F32","dtype":"F32"}}'), "'dtype' twice"),
    "metadata of numbers": (container({"__metadata__": {"a": 1}}), "from text to text"),
    "metadata as a list": (container({"__metadata__": []}), "from text to text"),
    "entry as a list": (container({"a": []}), r"'a': is described by \[\]"),
    "no shape": (container({"a": {"dtype": "F32"}}), "instead of dtype, shape"),
    "one field more": (container({"a": entry() | {"x": 1}}), "instead of dtype, shape"),
    "unknown dtype": (container({"a": entry("F31")}, bytes(8)), "unknown dtype 'F31'"),
    "dtype as a list": (container({"a": entry() | {"dtype": []}}, bytes(8)), r"unknown dtype \[\]"),
    "negative size": (container({"a": entry(shape=[-2])}, bytes(8)), "-2 is not a size"),
    "broken size": (container({"a": entry(shape=[2.0])}, bytes(8)), "2.0 is not a size"),
    "truth as size": (
        container({"a": entry("U8", [True], [0, 1])}, bytes(1)),
        "True is not a size",
    ),
    "backwards": (container({"a": entry(data_offsets=[8, 0])}, bytes(8)), "ends at byte 0 before"),
    "three offsets": (container({"a": entry(data_offsets=[0, 4, 8])}, bytes(8)), "not two"),
    "shape too large": (container({"a": entry(shape=[3])}, bytes(8)), "do not fill its 8 bytes"),
    "shape too small": (container({"a": entry(shape=[])}, bytes(8)), "do not fill its 8 bytes"),
    "gap before": (container({"a": entry(data_offsets=[4, 12])}, bytes(12)), "leaves a gap"),
    "gap between": (
        container({"a": entry(), "b": entry(data_offsets=[9, 17])}, bytes(17)),
        "'b' begins at byte 9 and leaves a gap",
    ),
    "overlap": (
        container({"a": entry(), "b": entry(data_offsets=[4, 12])}, bytes(12)),
        "'b' begins at byte 4 and overlaps",
    ),
    "the same span twice": (container({"a": entry(), "b": entry()}, bytes(8)), "overlaps"),
    "truncated data": (container({"a": entry()}, bytes(7)), "take 8 bytes and the file holds 7"),
    "appended data": (container({"a": entry()}, bytes(9)), "take 8 bytes and the file holds 9"),
}


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_refused(tmp_path, content, message):
    path = file(tmp_path, content)
    with pytest.raises(FileError, match=message) as caught:
        safetensors.read(path)
    assert str(caught.value).startswith(f"safetensors.read({str(path)!r}): ")


def test_the_broken_files_are_broken_by_one_thing(tmp_path):
    path = file(tmp_path, container({"a": entry()}, bytes(8)))
    assert safetensors.read(path).array("a").shape == (2,)


def test_a_missing_file_is_an_error_of_the_file_system(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        safetensors.read(tmp_path / "missing")


def test_what_the_container_cannot_hold_is_refused(tmp_path):
    with pytest.raises(ValueError, match="array 'x' has dtype complex64"):
        safetensors.write(tmp_path / "file", {"x": np.zeros(2, np.complex64)})
    with pytest.raises(ValueError, match="'__metadata__' is a reserved name"):
        safetensors.write(tmp_path / "file", {"__metadata__": np.zeros(2)})
    assert list(tmp_path.iterdir()) == []
