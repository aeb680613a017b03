"""A tree as its difference to another file: exact, small, added to it alone."""

import dataclasses
import os
import pathlib
import shutil
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import storage
from jaxcompress.graph.surgery.removal import LeafCut, Removal
from jaxcompress.storage import (
    FileError,
    breakdown,
    coders,
    describe,
    load,
    load_delta,
    load_leaf,
    load_removal,
    save,
    save_delta,
    save_shards,
)
from jaxcompress.storage.container import ahead, packing
from jaxcompress.storage.container.differences import folded, unfolded
from jaxcompress.storage.container.dtypes import WORD_BITS, known_dtype
from jaxcompress.storage.container.plan import plan
from tests.inputs import COMPOSED, QTENSORS
from tests.storage.bits import assert_same_bits
from tests.storage.costs import traced
from tests.storage.fuzzing.campaign import answer
from tests.storage.fuzzing.files import put_together, taken_apart
from tests.storage.fuzzing.mutations import mutated

MEBIBYTE = 1 << 20


@pytest.fixture
def base(tmp_path):
    return tmp_path / "base.safetensors"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tuned.safetensors"


def weights(seed: int, shape=(40, 50)) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def old_tree() -> dict[str, Any]:
    return {
        "codes": QTENSORS["uint4 groups"](),
        "grown": np.ones((3, 3), np.float32),
        "kernel": weights(0),
        "mask": np.arange(40) % 3 == 0,
        "none": np.zeros((0, 3), np.float32),
        "other codes": QTENSORS["int4 groups"](),
        "product": COMPOSED["corrected by codes"](),
        "recast": np.ones(7, np.float32),
        "steps": 3,
    }


def new_tree() -> dict[str, Any]:
    codes = QTENSORS["int4 groups"]()
    return {
        "added": np.ones(5, np.float32),
        "codes": QTENSORS["uint4 groups"](),
        "grown": np.ones((3, 4), np.float32),
        "kernel": weights(0) + np.float32(1e-4) * weights(1),
        "list": [None, np.zeros(2)],
        "mask": np.arange(40) % 4 == 0,
        "none": np.zeros((0, 3), np.float32),
        "other codes": dataclasses.replace(codes, scale=codes.scale * 2),
        "product": COMPOSED["corrected by codes"](),
        "recast": jnp.ones(7, jnp.bfloat16),
        "steps": 4,
    }


@pytest.mark.parametrize("allowed", [coders.FAST, coders.BALANCED], ids=["fast", "balanced"])
def test_a_tree_comes_back_bit_for_bit(base, path, allowed):
    base_bytes = save(base, old_tree())
    found = save_delta(path, new_tree(), base=base, coders=allowed, metadata={"about": "a text"})
    assert_same_bits(load_delta(path, base=base), new_tree())
    assert_same_bits(load_delta(path, base=base, like=new_tree()), new_tree())
    assert (found.size_bytes, found.base_bytes) == (path.stat().st_size, base_bytes)
    assert found.total_bytes == path.stat().st_size + base_bytes
    assert (found.same, found.differing, found.whole) == (3, 1, 7)
    report = describe(path)
    assert report.base == describe(base).checksum
    assert report.metadata == {"about": "a text"}
    specs = {leaf.name: leaf.spec for leaf in report.leaves}
    assert specs["kernel"] == "difference to the base"
    assert {name for name, spec in specs.items() if spec == "same as the base"} == {
        *("codes", "none", "product")
    }
    assert f"base: sha256 {report.base}" in str(report).splitlines()
    assert breakdown(path).size_bytes == found.size_bytes


def test_an_equal_tree_costs_a_header_alone(base, path):
    tree = {f"{i}": weights(i) for i in range(5)} | {"codes": QTENSORS["int4 groups"]()}
    save(base, tree)
    found = save_delta(path, tree, base=base)
    assert found.size_bytes == describe(path).header_bytes
    assert (found.same, found.differing, found.whole) == (6, 0, 0)
    assert_same_bits(load_delta(path, base=base), jax.device_put(tree))


def test_fine_tuned_floats_take_fewer_bytes(base, path):
    tree = {"a": weights(0, (300, 400))}
    save(base, tree)
    tuned = {"a": tree["a"] * (1 + np.float32(1e-3) * weights(1, (300, 400)))}
    whole = save(path, tuned, coders=coders.BALANCED)
    fast = save_delta(path, tuned, base=base).size_bytes
    balanced = save_delta(path, tuned, base=base, coders=coders.BALANCED).size_bytes
    assert balanced < fast < 0.75 * whole
    sparse = {"a": np.where(np.arange(400) % 50 == 0, tuned["a"], tree["a"])}
    assert save_delta(path, sparse, base=base).size_bytes < 0.2 * whole


def test_numbers_that_share_nothing_are_stored_whole(base, path):
    save(base, {"a": np.random.default_rng(0).integers(2**32, size=999, dtype=np.uint32)})
    tree = {"a": np.random.default_rng(1).integers(2**32, size=999, dtype=np.uint32)}
    found = save_delta(path, tree, base=base)
    assert (found.differing, found.whole) == (0, 1)
    assert found.size_bytes <= save(path, tree) + 90  # the digest of the base
    assert_same_bits(load(path), tree)


@pytest.mark.parametrize("name", WORD_BITS)
def test_differences_of_every_dtype_are_exact(base, path, name):
    dtype = known_dtype(name)
    size = 64 * dtype.itemsize

    def bits(seed: int) -> np.ndarray:
        top = 2 ** min(WORD_BITS[name], 8)
        raw = np.random.default_rng(seed).integers(top, size=size).astype(np.uint8)
        return raw.view(dtype)

    old, new = bits(0), bits(0).copy()
    new[::7] = bits(1)[::7]
    save(base, [old])
    found = save_delta(path, [new], base=base)
    assert found.differing == (WORD_BITS[name] >= 8)
    [loaded] = load_delta(path, base=base)
    assert np.asarray(loaded).tobytes() == new.tobytes()
    assert loaded.dtype == new.dtype


@hypothesis.given(st.sampled_from([8, 16, 32, 64]), st.integers(0, 2**20), st.integers(1, 200))
@hypothesis.settings(max_examples=50, deadline=None)
def test_folding_is_exact_and_small_where_words_are_near(bits, seed, size):
    random = np.random.default_rng(seed)
    old = random.integers(2**bits, size=size, dtype=np.uint64).astype(f"<u{bits // 8}")
    new = random.integers(2**bits, size=size, dtype=np.uint64).astype(old.dtype)
    near = old + random.integers(-3, 4, size).astype(old.dtype)
    for other in (old, new, near):
        np.testing.assert_array_equal(unfolded(folded(other, old), old), other)
    assert folded(near, old).max() <= 6
    # The plainest form: integers of any size.
    steps = [
        (int(a) - int(b) + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)
        for a, b in zip(new, old, strict=True)
    ]
    expected = [2 * step if step >= 0 else -2 * step - 1 for step in steps]
    assert folded(new, old).tolist() == expected


def test_the_base_may_lie_elsewhere_and_in_several_files(tmp_path, base, path):
    save(base, old_tree())
    save_delta(path, new_tree(), base=base)
    shutil.move(base, tmp_path / "moved")
    assert_same_bits(load_delta(path, base=tmp_path / "moved"), new_tree())
    index = tmp_path / "model.safetensors.index.json"
    base_bytes = save_shards(index, old_tree(), shard_bytes=2000)
    assert save_delta(path, new_tree(), base=index).base_bytes == base_bytes
    assert_same_bits(load_delta(path, base=index), new_tree())
    with pytest.raises(FileError, match="this is not the base"):
        load_delta(path, base=tmp_path / "moved")


def test_removals_are_kept(base, path):
    removal = Removal((LeafCut("a", 0, 5, (0, 4)),))
    save(base, {"a": np.ones((3, 2))})
    save_delta(path, {"a": np.ones((3, 2))}, base=base, removal=removal)
    assert load_removal(path) == (removal,)


def test_the_same_tree_gives_the_same_bytes(base, path, monkeypatch):
    old = {f"{i}": weights(i, (300, 400)) for i in range(5)}
    save(base, old)
    new = {name: x * np.float32(1.001) for name, x in old.items()}
    contents = []
    for count in (1, 3):
        monkeypatch.setattr(ahead, "threads", lambda count=count: count)
        save_delta(path, new, base=base)
        contents.append(path.read_bytes())
        assert_same_bits(load_delta(path, base=base), jax.device_put(new))
    assert contents[0] == contents[1]


def test_memory_beside_the_tree_is_that_of_few_leaves(base, path, monkeypatch):
    monkeypatch.setattr(ahead, "threads", lambda: 2)
    old = {f"{i:02}": np.full(MEBIBYTE, i + 1, np.float32) for i in range(12)}
    save(base, old)
    new = {name: x * np.float32(1.001) for name, x in old.items()}
    with traced() as memory:
        save_delta(path, new, base=base)
    assert memory.peak < 6 * 4 * MEBIBYTE  # of 48 MiB: words, planes and codes of two leaves
    assert_same_bits(load_delta(path, base=base), jax.device_put(new))


def test_files_written_before_are_read():
    folder = pathlib.Path(__file__).parent / "golden" / "delta"
    loaded = load_delta(folder / "tuned.safetensors", base=folder / "base.safetensors")
    assert_same_bits(loaded, jax.device_put(golden_tree(1)))
    assert {leaf.spec for leaf in describe(folder / "tuned.safetensors").leaves} == {
        *("", "difference to the base", "same as the base")
    }


def golden_tree(step: int) -> dict[str, Any]:
    """The trees of the golden files: the base is that of step 0."""
    kernel = np.arange(1, 201, dtype=np.float32).reshape(20, 10)
    return {
        "kernel": (kernel.view(np.uint32) + np.uint32(step) * 5).view(np.float32),
        "same": np.arange(30, dtype=np.float32),
        "whole": np.arange(3 + step, dtype=np.int32),
    }


# What is refused.


def test_another_base_is_refused(base, path, tmp_path):
    save(base, old_tree())
    save_delta(path, new_tree(), base=base)
    other = tmp_path / "other"
    save(other, old_tree() | {"steps": 9})
    message = r"^load_delta\('.*other'\): this is not the base: its digest is [0-9a-f]{64} and the"
    with pytest.raises(FileError, match=message):
        load_delta(path, base=other)


def test_doors_for_whole_files_name_the_one_for_both(base, path):
    save(base, old_tree())
    save_delta(path, new_tree(), base=base)
    message = "is stored as the difference to a file with the digest .* Pass both files to load_del"
    for door in (load, lambda path: load_leaf(path, "kernel")):
        with pytest.raises(FileError, match=message):
            door(path)
    with storage.open(path) as opened:
        assert opened.shapes["kernel"].shape == (40, 50)
        np.testing.assert_array_equal(opened["added"], 1)
        with pytest.raises(FileError, match=message):
            opened["codes"]
    assert_same_bits(load_leaf(path, "steps"), 4)


def test_a_file_without_differences_is_not_for_this_door(base, path):
    save(base, old_tree())
    save(path, new_tree())
    with pytest.raises(FileError, match=r"load_delta\('.*tuned.*holds no difference .* by load"):
        load_delta(path, base=base)


def test_a_difference_is_no_base(base, path, tmp_path):
    save(base, old_tree())
    save_delta(path, new_tree(), base=base)
    with pytest.raises(
        FileError, match=r"^save_delta\('.*tuned.*': the base is a difference|itself"
    ):
        save_delta(tmp_path / "third", new_tree(), base=path)
    assert not (tmp_path / "third").exists()


def test_a_base_of_version_1_is_refused(path):
    golden = pathlib.Path(__file__).parent / "golden" / "version_1" / "arrays.safetensors"
    with pytest.raises(FileError, match="a base of format version 1 has no digest"):
        save_delta(path, new_tree(), base=golden)


@pytest.mark.parametrize("file", ["base", "tuned"])
def test_any_altered_byte_is_seen(base, path, file):
    old = {"a": weights(0, (4, 5)), "b": np.arange(6.0)}
    save(base, old)
    save_delta(path, {"a": old["a"] * np.float32(1.001), "b": old["b"]}, base=base)
    altered = base if file == "base" else path
    sound = altered.read_bytes()
    for position in range(0, len(sound), 5):
        content = bytearray(sound)
        content[position] ^= 1
        altered.write_bytes(content)
        with pytest.raises(FileError, match=rf"^load_delta\('.*{file}.safetensors'\): "):
            load_delta(path, base=base)


def test_both_headers_and_all_leaves_count(base, path):
    save(base, {"a": weights(0, (100, 100))})
    save_delta(path, {"a": weights(0, (100, 100))}, base=base)
    with pytest.raises(FileError, match=r"takes .* more than max_bytes=40,000"):
        load_delta(path, base=base, max_bytes=40_000)
    assert load_delta(path, base=base, max_bytes=60_000)["a"].shape == (100, 100)


FORGED = {
    "leaf that the base has not": (
        lambda tree: {"other": tree["a"]},
        "differs from none in the ba",
    ),
    "leaf of another shape": (lambda tree: {"a": tree["a"][1:]}, "differs from none in the base"),
    "leaf of another dtype": (
        lambda tree: {"a": tree["a"].astype(np.float64)},
        "differs from none in the base",
    ),
}


@pytest.mark.parametrize(("forge", "message"), FORGED.values(), ids=FORGED)
def test_a_base_that_does_not_fit_is_refused(base, path, tmp_path, forge, message):
    tree = {"a": weights(0)}
    save(base, tree)
    save_delta(path, {"a": tree["a"] * np.float32(1.001)}, base=base)
    other = tmp_path / "other.safetensors"
    save(other, forge(tree))
    file = taken_apart(path.read_bytes())
    file.texts["base"] = describe(other).checksum
    path.write_bytes(put_together(file))
    describe(path)
    with pytest.raises(FileError, match=message):
        load_delta(path, base=other)


def test_a_difference_to_no_file_or_none_is_refused(base, path):
    save(base, {"a": weights(0)})
    save_delta(path, {"a": weights(0)}, base=base)
    file = taken_apart(path.read_bytes())
    for text, message in ((None, "to no file"), ("x", "no digest"), ("", "to no file")):
        file.texts.pop("base", None)
        file.texts |= {} if text is None else {"base": text}
        path.write_bytes(put_together(file))
        for door in (describe, load, lambda path: load_delta(path, base=base)):
            with pytest.raises(FileError, match=message):
                door(path)


def test_no_mutated_difference_is_believed_or_raises_something_else(base, path):
    old = {"a": weights(0, (8, 5)), "b": np.arange(6.0), "c": QTENSORS["int4 groups"]()}
    save(base, old)
    new = old | {"a": old["a"] * np.float32(1.001), "d": np.ones(3)}
    save_delta(path, new, base=base, coders=coders.BALANCED)
    sound = taken_apart(path.read_bytes())
    outcomes = {"accepted": 0, "refused": 0}
    for seed in range(200):
        path.write_bytes(put_together(mutated(np.random.default_rng(seed), sound)))
        described, _ = answer(describe, path)
        loaded, tree = answer(lambda path: load_delta(path, base=base), path)
        if loaded == "accepted":
            assert described == "accepted"
            assert all(np.ndim(leaf) <= 64 for leaf in jax.tree.leaves(tree))
        outcomes["accepted" if loaded == "accepted" else "refused"] += 1
    assert min(outcomes.values()) > 10


def test_a_header_longer_than_readers_unpack_is_not_packed(base, path, monkeypatch):
    old = {f"layer{i}": weights(i, (300,)) for i in range(30)}
    new = {name: x * np.float32(1.0001) for name, x in old.items()}
    save(base, old)
    # Differences have four parts each, so that their header is longer than the tree's.
    alone = len(plan("save", new, coders=coders.BALANCED).header({}))
    monkeypatch.setattr(packing, "LARGEST", alone + 50)
    found = save_delta(path, new, base=base, coders=coders.BALANCED)
    assert found.differing == 30
    assert_same_bits(load_delta(path, base=base), new)


def test_a_small_difference_of_a_large_tree_has_a_packed_header(base, path):
    old = {f"layer{i}": weights(i, (400, 50)) for i in range(20)}
    save(base, old)
    new = old | {"layer3": old["layer3"] + 1}
    save_delta(path, old | {"layer3": weights(99, (5,))}, base=base, coders=coders.BALANCED)
    assert describe(path).format_version == packing.VERSION
    save_delta(path, new, base=base)
    assert describe(path).format_version == "2"
    assert_same_bits(load_delta(path, base=base), new)


@pytest.mark.parametrize(("old", "new"), [(3.5, np.float64(3.5)), (7, np.int64(8)), (2.0, 3)])
def test_numbers_of_python_and_of_numpy_stay_apart(base, path, old, new):
    for first, last in ((old, new), (new, old)):
        save(base, {"number": first})
        save_delta(path, {"number": last}, base=base)
        found = load_delta(path, base=base)["number"]
        assert found == last
        assert hasattr(found, "dtype") == hasattr(last, "dtype")


def test_paths_may_be_bytes(base, path):
    names = [os.fsencode(each) for each in (base, path)]
    save(names[0], {"kernel": weights(0)})
    save_delta(names[1], {"kernel": weights(0)}, base=names[0])
    assert_same_bits(load_delta(names[1], base=names[0]), {"kernel": weights(0)})
    assert describe(names[1]).path == breakdown(names[1]).path == str(path)
    assert str(path) in str(breakdown(names[1]))
    with pytest.raises(TypeError, match=r"save_delta\(base=...\) must be a text or a pathlib.Path"):
        save_delta(path, {"kernel": weights(0)}, base=3)
