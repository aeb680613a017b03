"""Packed headers: files of format version 3."""

import pathlib
import zlib

import numpy as np
import pytest

from jaxcompress import storage
from jaxcompress.core.names import named_leaves
from jaxcompress.storage import FileError, coders, describe, load, load_leaf, save
from jaxcompress.storage.container import digests, packing, safetensors
from tests.inputs import QTENSORS
from tests.storage.bits import assert_same_bits


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def tree() -> dict:
    random = np.random.default_rng(0)
    layer = {"bias": random.standard_normal(7).astype(np.float32), "steps": 3}
    return {f"dense{i}": {"kernel": QTENSORS["int4 groups"](), **layer} for i in range(4)}


def parts(path: pathlib.Path) -> tuple[bytes, bytes, bytes]:
    """What stands before the leaves, the leaves, and the packed header."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    count = int.from_bytes(content[-4:], "little")
    return content[:start], content[start : -4 - count], content[-4 - count : -4]


def rewrite(path: pathlib.Path, data: bytes, tail: bytes) -> None:
    """A file of these leaves and this packed header."""
    tail += len(tail).to_bytes(4, "little")
    path.write_bytes(packing.before(len(data), tail) + data + tail)


def test_a_small_file_is_packed_and_comes_back(path):
    size_bytes = save(path, tree(), coders=coders.SMALLEST, metadata={"about": "a text"})
    assert size_bytes == path.stat().st_size
    assert size_bytes < 0.6 * save(path.with_name("whole"), tree(), metadata={"about": "a text"})
    report = describe(path)
    assert (report.format_version, report.metadata) == ("3", {"about": "a text"})
    assert report.size_bytes == size_bytes == storage.breakdown(path).size_bytes
    assert_same_bits(load(path), tree())
    with storage.open(path) as opened:
        for name, leaf in named_leaves(tree()).items():
            assert_same_bits(opened[name], leaf)
            assert_same_bits(load_leaf(path, name), leaf)


def test_sizes_are_told_before_anything_is_written(path):
    size_bytes = save(path, tree(), coders=coders.BALANCED)
    assert storage.size(tree(), coders=coders.BALANCED).disk == size_bytes


def test_readers_of_the_container_see_one_array(path):
    save(path, tree(), coders=coders.SMALLEST)
    found = safetensors.read(path)
    assert found.metadata == {"format": "jaxcompress", "format_version": "3"}
    assert list(found.entries) == ["packed"]


@pytest.mark.parametrize(
    ("named", "allowed"),
    [
        (tree(), coders.FAST),
        ({"x": np.random.default_rng(0).standard_normal(200_000)}, coders.BALANCED),
        ({digests.NONE: np.zeros(3)}, coders.SMALLEST),
    ],
    ids=["fast coders", "a large file", "a name like a blank"],
)
def test_other_files_are_not_packed(path, named, allowed):
    save(path, named, coders=allowed)
    assert describe(path).format_version == "2"
    assert_same_bits(load(path), named)


def test_shards_are_not_packed(tmp_path):
    index = tmp_path / "model.safetensors.index.json"
    storage.save_shards(index, tree(), shard_bytes=200, coders=coders.SMALLEST)
    assert_same_bits(load(index), tree())
    for shard in tmp_path.glob("*.safetensors"):
        assert describe(shard).format_version == "2"


def test_a_packed_file_is_a_base_of_differences(tmp_path):
    base, tuned = tree(), tree()
    tuned["dense0"]["bias"] = tuned["dense0"]["bias"] + 1
    save(tmp_path / "base", base, coders=coders.SMALLEST)
    paths = tmp_path / "tuned", tmp_path / "base"
    found = storage.save_delta(paths[0], tuned, base=paths[1], coders=coders.SMALLEST)
    assert found.size_bytes == paths[0].stat().st_size
    assert_same_bits(storage.load_delta(paths[0], base=paths[1]), tuned)


def test_every_changed_byte_is_refused(path):
    save(path, {"codes": QTENSORS["int4 groups"]()}, coders=coders.SMALLEST)
    assert describe(path).format_version == "3"
    sound = path.read_bytes()
    for i in range(len(sound)):
        path.write_bytes(sound[:i] + bytes([sound[i] ^ 1]) + sound[i + 1 :])
        with pytest.raises(FileError):
            load(path)


@pytest.mark.parametrize("lost", [1, 4, 5, 40, 300])
def test_a_file_cut_short_is_refused(path, lost):
    save(path, tree(), coders=coders.SMALLEST)
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(FileError):
        load(path)


def with_more(tail: bytes) -> bytes:
    return tail + bytes(12)


def with_fewer(tail: bytes) -> bytes:
    return tail[:-12]


def of_nothing(tail: bytes) -> bytes:
    return b""


def ended_early(tail: bytes) -> bytes:
    return tail[:20]


def bomb(tail: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(b" " * (1 << 24)) + deflate.flush() + bytes(32)


@pytest.mark.parametrize(
    ("forged", "message"),
    [
        (with_more, "bytes of digests"),
        (with_fewer, "bytes of digests"),
        (of_nothing, "ends early"),
        (ended_early, "ends early|altered"),
        (bomb, f"more than {packing.LARGEST}"),
    ],
)
def test_a_forged_header_is_refused(path, forged, message):
    save(path, tree(), coders=coders.SMALLEST)
    _, data, tail = parts(path)
    rewrite(path, data, tail)
    assert_same_bits(load(path), tree())
    rewrite(path, data, forged(tail))
    with pytest.raises(FileError, match=message):
        load(path)


@pytest.mark.parametrize("version", ["1", "2", "3"])
def test_only_a_sealed_header_of_version_2_is_packed(path, version):
    texts = {"format": "jaxcompress", "format_version": version}
    tail = packing.after(safetensors.header({}, texts), [], digests.UNSEALED)
    rewrite(path, b"", tail[:-4])
    with pytest.raises(FileError, match="no header of format version 2"):
        load(path)


def test_a_packed_header_counts_as_long_as_it_is(path):
    save(path, tree(), coders=coders.SMALLEST)
    with pytest.raises(FileError, match="max_bytes"):
        load(path, max_bytes=10_000)


def test_a_length_beyond_the_file_is_refused(path):
    save(path, tree(), coders=coders.SMALLEST)
    path.write_bytes(path.read_bytes()[:-4] + (1 << 20).to_bytes(4, "little"))
    with pytest.raises(FileError, match="packed header of 1048576 bytes"):
        load(path)
