"""A file is read once, into memory that the arrays keep, and nothing is compiled."""

import dataclasses
import gc
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.storage import FileError, describe, load, save
from jaxcompress.storage.container import memory, safetensors
from jaxcompress.storage.container.dtypes import WORD_BITS, known_dtype
from tests.inputs import QTENSORS
from tests.storage.bits import assert_same_bits
from tests.storage.costs import traced

MEBIBYTE = 1 << 20


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture(scope="module")
def compiled():
    """The programs that XLA has compiled since, one entry each."""
    found = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: found.append(event) if "backend_compile" in event else None
    )
    jax.jit(lambda x: x + 1)(np.arange(1237)).block_until_ready()
    assert found, "the event that counts compilations has another name"
    return found


TREES = {
    "fifty shapes": lambda: {f"{i:02}": np.full((i + 1, 7), i, np.float32) for i in range(50)},
    "pruned": lambda: {f"{i:02}": np.eye(20 + i, dtype=np.float32) for i in range(10)},
    "every dtype": lambda: {
        name: np.arange(97).astype(known_dtype(name)).reshape(1, 97) for name in WORD_BITS
    },
    "quantized": lambda: {name: leaf() for name, leaf in QTENSORS.items()},
}


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_loading_compiles_nothing(path, compiled, tree):
    expected = tree()
    save(path, expected)
    before = len(compiled)
    loaded = load(path)
    assert len(compiled) == before
    assert_same_bits(loaded, expected)


@pytest.fixture
def buffers(monkeypatch):
    """Where every buffer lies that a file was read into."""
    found = []

    def aligned(size_bytes, aligned=memory.aligned):
        found.append(aligned(size_bytes))
        return found[-1]

    monkeypatch.setattr(memory, "aligned", aligned)
    return found


@pytest.mark.parametrize("name", sorted(safetensors.DTYPES.keys() - {"BOOL"}))
def test_an_array_is_the_memory_it_was_read_into(path, buffers, name):
    # Sizes that leave the next array at no multiple of 64 bytes in the file.
    dtype = safetensors.DTYPES[name]
    tree = {"a": np.arange(13).astype(dtype), "b": np.arange(1001).astype(dtype)}
    save(path, tree)
    loaded = load(path)
    places = {buffer.ctypes.data for buffer in buffers}
    for leaf in loaded.values():
        place = leaf.unsafe_buffer_pointer() if isinstance(leaf, jax.Array) else leaf.ctypes.data
        assert place in places
        assert place % memory.ALIGNMENT == 0
    assert_same_bits(loaded, tree)


def test_memory_stays_while_an_array_does_and_goes_with_it(path):
    tree = {"a": np.arange(MEBIBYTE, dtype=np.float32), "b": np.ones(3, np.float32)}
    save(path, tree)
    with traced() as memory:
        loaded = load(path)
        gc.collect()
        others = [np.full(MEBIBYTE, 7, np.float32) for _ in range(3)]  # would take freed memory
        np.testing.assert_array_equal(loaded["a"], tree["a"])
        del others, loaded["a"]
        gc.collect()
    assert memory.held < MEBIBYTE


def test_a_donated_leaf_changes_no_other(path):
    tree = {"a": np.arange(4096, dtype=np.float32), "b": np.ones(4096, np.float32)}
    save(path, tree)
    loaded = load(path)
    step = jax.jit(lambda x: x.at[0].add(1.0) * 2, donate_argnums=0)
    moved = step(loaded["a"])
    for _ in range(3):
        moved = step(moved)
    np.testing.assert_array_equal(loaded["b"], tree["b"])
    assert_same_bits(load(path), tree)


def test_a_dense_file_is_in_memory_once(path):
    tree = {f"{i}": np.full((MEBIBYTE // 4 + i, 3), i + 1, np.float32) for i in range(4)}
    size_bytes = save(path, tree)
    with traced() as loading:
        loaded = load(path)
    with traced() as describing:
        describe(path)
    assert size_bytes <= loading.peak <= 1.01 * size_bytes + MEBIBYTE
    # The test above says that XLA holds no copy of its own.
    assert describing.peak <= 1.5 * MEBIBYTE
    assert_same_bits(loaded, tree)


def test_a_quantized_leaf_is_decoded_before_the_next(path):
    leaf = QTENSORS["int8 per channel"]()
    codes = jnp.zeros((512, 2048), jnp.int8)
    tree = [
        dataclasses.replace(
            leaf, codes=codes + i, scale=jnp.ones((512, 1), jnp.float32), length=2048
        )
        for i in range(1, 7)
    ]
    size_bytes = save(path, tree)
    with traced() as memory:
        loaded = load(path)
    assert memory.peak <= 1.4 * size_bytes
    assert_same_bits(loaded, tree)


def altering(path, when: int, alter):
    """`memory.aligned`, altering the file before the buffer of this number is read."""
    calls = iter(range(1000))

    def aligned(size_bytes, aligned=memory.aligned):
        if next(calls) == when:
            alter(path)
        return aligned(size_bytes)

    return aligned


def zeroed(path):
    with open(path, "r+b") as file:
        file.write(bytes(path.stat().st_size))


def tail_zeroed(path):
    with open(path, "r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(bytes(8))


def appended(path):
    with open(path, "ab") as file:
        file.write(b"more")


def replaced(path):
    save(path, {"other": np.ones(3, np.float32)})


def four_bytes_shorter(path):
    os.truncate(path, path.stat().st_size - 4)


HEADER, FIRST, LAST = 1, 2, 3
WENT, ALTERED = "bytes were lost while the file was read", r"checksum of leaf '.' does not match"
CHANGES = {
    "emptied under the header": (load, HEADER, lambda path: os.truncate(path, 0), WENT),
    "cut before the arrays": (load, FIRST, lambda path: os.truncate(path, 99), WENT),
    "cut inside an array": (load, LAST, four_bytes_shorter, "4 " + WENT),
    "rewritten before the arrays": (load, FIRST, zeroed, ALTERED),
    "rewritten before the last array": (load, LAST, tail_zeroed, ALTERED),
    "appended to": (load, FIRST, appended, ""),
    "replaced by another": (load, FIRST, replaced, ""),
    "cut while it is described": (describe, FIRST, four_bytes_shorter, "4 " + WENT),
    "rewritten while it is described": (describe, FIRST, tail_zeroed, ALTERED),
    "replaced while it is described": (describe, FIRST, replaced, ""),
}


@pytest.mark.parametrize(("do", "when", "alter", "message"), CHANGES.values(), ids=CHANGES)
def test_a_file_that_changes_while_it_is_read(path, monkeypatch, do, when, alter, message):
    tree = {"a": np.arange(1000, dtype=np.float32), "b": np.arange(9, dtype=np.int8)}
    save(path, tree)
    monkeypatch.setattr(memory, "aligned", altering(path, when, alter))
    if message:
        with pytest.raises(FileError, match=message):
            do(path)
    elif do is load:
        assert_same_bits(do(path), tree)
    else:
        assert [leaf.name for leaf in do(path).leaves] == ["a", "b"]


@pytest.mark.parametrize("alter", [zeroed, lambda path: os.truncate(path, 0), os.unlink])
def test_what_was_read_does_not_follow_the_file(path, alter):
    tree = {"a": np.arange(1000, dtype=np.float32), "wide": np.arange(9)}
    save(path, tree)
    loaded, container = load(path), safetensors.read(path)
    alter(path)
    assert_same_bits(loaded, tree)
    np.testing.assert_array_equal(container.array("a"), tree["a"])


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, MEBIBYTE, MEBIBYTE + 1])
def test_pieces_are_the_bytes_of_the_file_in_order(tmp_path, size):
    content = np.random.default_rng(size).integers(0, 256, size + 5, np.uint8).tobytes()
    (tmp_path / "file").write_bytes(content)
    pieces = []
    with open(tmp_path / "file", "rb", buffering=0) as file:
        first = memory.following(file, size, lambda piece: pieces.append(bytes(piece)))
        rest = memory.following(file, 5, lambda piece: pieces.append(bytes(piece)))
    assert first.tobytes() + rest.tobytes() == b"".join(pieces) == content
    assert not size or first.ctypes.data % memory.ALIGNMENT == 0
    passed = []
    with open(tmp_path / "file", "rb", buffering=0) as file:
        memory.pass_by(file, size + 5, lambda piece: passed.append(bytes(piece)))
    assert b"".join(passed) == content
