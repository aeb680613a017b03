"""An open file reads what is asked for, when it is asked for, and verifies it."""

import concurrent.futures
import gc
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import storage
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import named_leaves
from jaxcompress.storage import FileError, describe, load, save
from jaxcompress.storage.container import memory
from tests.inputs import COMPOSED, QTENSORS
from tests.storage.bits import assert_same_array, assert_same_bits
from tests.storage.costs import traced
from tests.storage.golden import cases

MEBIBYTE = 1 << 20
GOLDEN = sorted((pathlib.Path(cases.__file__).parent).glob("version_*/*.safetensors"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def tree():
    return {
        "codes": QTENSORS["uint4 groups"](),
        "dense": {"bias": np.arange(3, dtype=np.float32), "kernel": np.ones((8, 4), jnp.bfloat16)},
        "empty": np.zeros((0, 5), np.float32),
        "mask": np.arange(40).reshape(5, 8) % 3 == 0,
        "product": COMPOSED["corrected by codes"](),
        "pruned": np.where(np.arange(200) == 7, 1.0, 0.0).astype(np.float32),
        "steps": 3,
        "wide": np.arange(9.0),
    }


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_every_leaf_is_the_one_that_is_loaded(file):
    expected = named_leaves(load(file))
    with storage.open(file) as opened:
        assert opened.keys() == expected.keys()
        for name, leaf in opened.items():
            if is_compressed(leaf):
                assert_same_bits(leaf, expected[name])
            else:
                assert_same_array(leaf, expected[name])


def test_what_the_header_says_needs_no_leaf(path, tree, monkeypatch):
    save(path, tree, metadata={"about": "a text"})
    report = describe(path)
    with storage.open(path) as opened:
        monkeypatch.setattr(memory, "aligned", lambda size_bytes: pytest.fail("read"))
        names = [leaf.name for leaf in report.leaves]
        assert list(opened) == list(opened.keys()) == names
        assert len(opened) == len(names)
        assert "steps" in opened
        assert "step" not in opened
        assert 3 not in opened
        assert opened.leaves == report.leaves
        assert opened.metadata == {"about": "a text"}
        assert opened.removals == ()
        for leaf in report.leaves:
            assert opened.shapes[leaf.name].shape == leaf.shape
        assert opened.shapes["dense/kernel"].dtype == jnp.bfloat16
        assert opened.shapes["product"].dtype == np.float32
        lines = repr(opened).splitlines()
        assert lines[:-1] == str(report).splitlines()[: len(lines) - 1]
        assert lines[-1] == "open"
    assert repr(opened).endswith("closed")


def test_plain_arrays_are_the_file_itself(path):
    tree = {f"{i}": np.full(MEBIBYTE, i + 1, np.float32) for i in range(3)}
    save(path, tree)
    with traced() as memory, storage.open(path) as opened:
        kept = dict(opened)
    assert memory.peak < MEBIBYTE // 4
    assert_same_bits(kept, tree)
    assert_same_bits(jax.device_put(kept), jax.device_put(tree))


def test_nothing_that_is_given_can_be_written_to(path, tree):
    save(path, tree)
    before = path.read_bytes()
    with storage.open(path) as opened:
        for leaf in opened.values():
            if isinstance(leaf, np.ndarray):
                with pytest.raises(ValueError, match="read-only"):
                    leaf[...] = 0
    assert path.read_bytes() == before


def test_an_array_stays_after_the_file_is_closed_or_replaced(path, tree):
    save(path, tree)
    with storage.open(path) as opened:
        bias = opened["dense/bias"]
        save(path, {"other": np.zeros(9)})
        np.testing.assert_array_equal(opened["wide"], tree["wide"])
    gc.collect()
    np.testing.assert_array_equal(bias, tree["dense"]["bias"])


def test_each_leaf_is_verified_at_its_first_reading(path, tree):
    save(path, tree)
    with storage.open(path) as opened:
        first = opened["dense/bias"]
        content = path.read_bytes()
        begin = content.index(np.arange(9.0).tobytes())
        with open(path, "r+b") as file:
            file.seek(begin)
            file.write(b"\1")
        assert_same_array(opened["dense/bias"], first)
        for _ in range(2):
            with pytest.raises(FileError, match=r"^open\('.*'\): the checksum of leaf 'wide'"):
                opened["wide"]
        assert_same_array(opened["dense/bias"], first)


def test_an_altered_byte_is_seen_wherever_it_is(path):
    save(path, {"a": np.arange(6, dtype=np.float32), "b": QTENSORS["int4 groups"](), "c": True})
    sound = path.read_bytes()
    for position in range(0, len(sound), 5):
        altered = bytearray(sound)
        altered[position] ^= 1
        path.write_bytes(altered)
        with pytest.raises(FileError, match=r"^open\('"), storage.open(path) as opened:
            dict(opened)


def test_a_file_that_was_cut_before_it_was_mapped_is_refused(path):
    save(path, {"a": np.arange(6, dtype=np.float32)})
    with storage.open(path) as opened:
        os.truncate(path, path.stat().st_size - 4)
        with pytest.raises(FileError, match=r"bytes and had .* was changed meanwhile\. Open it"):
            opened["a"]


def test_a_closed_file_gives_names_and_no_leaf(path, tree):
    save(path, tree)
    with storage.open(path) as opened:
        assert not opened.closed
    opened.close()
    assert opened.closed
    assert list(opened) == [leaf.name for leaf in describe(path).leaves]
    with pytest.raises(ValueError, match=r"^open\('.*'\)\['steps'\]: the file is closed\. Read"):
        opened["steps"]


@pytest.mark.parametrize("name", ["dense/kernal", 3, None, ("dense", "kernel")])
def test_a_name_that_is_not_there_is_a_key_error(path, tree, name: Any):
    save(path, tree)
    with storage.open(path) as opened:
        with pytest.raises(KeyError, match=r"open\('.*'\)\[.*\]: the file has no such leaf, and 9"):
            opened[name]
        assert opened.get(name, "default") == "default"
        with pytest.raises(KeyError, match="Did you mean 'dense/kernel'"):
            opened["dense/kernal"]


def test_a_leaf_counts_together_with_the_header(path):
    save(path, {"large": np.ones(2**16, np.float32), "small": np.ones(3, np.float32)})
    with storage.open(path, max_bytes=100_000) as opened:
        assert opened["small"].shape == (3,)
        with pytest.raises(FileError, match=r"open\(.*more than max_bytes=100,000\."):
            opened["large"]
    with pytest.raises(FileError, match=r"pass max_bytes=\d+\.$"):
        storage.open(path, max_bytes=1000)


def test_a_file_that_nobody_closes_is_closed(path, tree):
    save(path, tree)
    folder = pathlib.Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("counts open files as Linux does")
    gc.collect()  # what tests before have left open
    before = len(list(folder.iterdir()))
    opened = storage.open(path)
    leaf = opened["dense/bias"]
    del opened
    gc.collect()
    # Mapping keeps a descriptor of its own, which goes with the last array.
    np.testing.assert_array_equal(leaf, tree["dense"]["bias"])
    del leaf
    gc.collect()
    assert len(list(folder.iterdir())) == before


def test_open_files_compare_by_identity(path, tree):
    save(path, tree)
    with storage.open(path) as first, storage.open(path) as second:
        assert first == first
        assert first != second
        assert len({first, second}) == 2


def test_threads_read_one_open_file(path):
    tree = {f"{i}": QTENSORS["int4 groups"]() for i in range(8)} | {"x": np.arange(99)}
    save(path, tree)
    with storage.open(path) as opened, concurrent.futures.ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            assert_same_bits(dict(zip(opened, pool.map(opened.get, opened), strict=True)), tree)
