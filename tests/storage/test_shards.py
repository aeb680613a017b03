"""Several files and their index are one tree, whole and believed only together."""

import itertools
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import storage
from jaxcompress.core.names import named_leaves
from jaxcompress.graph.surgery.removal import LeafCut, Removal
from jaxcompress.storage import FileError, describe, load, load_leaf, load_removal, save_shards
from jaxcompress.storage.container import ahead, digests, disk
from tests.inputs import QTENSORS
from tests.storage.bits import assert_same_bits
from tests.storage.costs import traced
from tests.storage.fuzzing.campaign import answer, opened_leaves
from tests.storage.fuzzing.mutations import OF_JSON, chosen, places

MEBIBYTE = 1 << 20
NAME = "model.safetensors.index.json"


@pytest.fixture
def path(tmp_path):
    return tmp_path / NAME


def tree() -> dict[str, Any]:
    return {
        "blocks": [
            {"bias": np.arange(3, dtype=np.float32), "kernel": np.full((8, 5), i, jnp.bfloat16)}
            for i in range(1, 4)
        ],
        "codes": QTENSORS["uint4 groups"](),
        "mask": np.arange(40).reshape(5, 8) % 3 == 0,
        "none": None,
        "steps": 3,
    }


def files(path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir())


def shards(path) -> list[pathlib.Path]:
    return [path.parent / name for name in json.loads(path.read_text())["metadata"]["shards"]]


@pytest.mark.parametrize("shard_bytes", [1, 60, 100, 300, 10**6])
def test_a_tree_comes_back_from_shards_of_any_size(path, shard_bytes):
    size_bytes = save_shards(path, tree(), shard_bytes=shard_bytes, metadata={"about": "a text"})
    assert_same_bits(load(path), tree())
    assert_same_bits(load(path, like=tree()), tree())
    assert size_bytes == sum(file.stat().st_size for file in path.parent.iterdir())
    report = describe(path)
    assert (report.size_bytes, report.files) == (size_bytes, len(shards(path)))
    assert report.metadata == {"about": "a text"}
    assert [leaf.name for leaf in report.leaves] == list(named_leaves(tree()))
    stored = {leaf.name: leaf.size_bytes for leaf in report.leaves}
    assert report.header_bytes == size_bytes - sum(stored.values())
    weight_map = json.loads(path.read_text())["weight_map"]
    held = [[n for n in weight_map if weight_map[n] == shard.name] for shard in shards(path)]
    assert [name for names in held for name in names] == list(stored)
    for names in held:
        assert len(names) == 1 or sum(stored[name] for name in names) <= shard_bytes
    # Another leaf would not have fitted.
    for names, following in itertools.pairwise(held):
        assert sum(stored[name] for name in names) + stored[following[0]] > shard_bytes
    count = len(held)
    assert files(path) == sorted(
        [f"model-{i:05}-of-{count:05}.safetensors" for i in range(1, count + 1)] + [NAME]
    )


def test_each_shard_is_a_file_of_its_own(path):
    save_shards(path, {"a": {"b": np.ones(9)}, "c": np.zeros(7)}, shard_bytes=1)
    first, second = shards(path)
    assert_same_bits(load(first), {"a": {"b": np.ones(9)}})
    assert_same_bits(load(second), {"c": np.zeros(7)})
    assert "2 files" in str(describe(path)).splitlines()[0]


def test_a_tree_without_leaves_has_one_shard(path):
    save_shards(path, {"a": [None, {}]})
    assert_same_bits(load(path), {"a": [None, {}]})
    assert len(shards(path)) == 1


def test_readers_of_the_common_index_find_each_array(path):
    numpy = pytest.importorskip("safetensors.numpy")
    params = {"a": {"b": np.arange(9.0), "c": np.ones((3, 2), np.float16)}, "d": np.arange(4)}
    save_shards(path, params, shard_bytes=40)
    index = json.loads(path.read_text())
    assert set(index) == {"metadata", "weight_map"}
    for name, x in named_leaves(params).items():
        loaded = numpy.load_file(path.parent / index["weight_map"][name])
        np.testing.assert_array_equal(loaded[name], x)
    assert index["metadata"]["total_size"] == sum(x.nbytes for x in named_leaves(params).values())


def test_one_leaf_needs_its_own_shard_alone(path):
    save_shards(path, tree(), shard_bytes=100)
    names = json.loads(path.read_text())["weight_map"]
    for shard in shards(path):
        if shard.name != names["codes"]:
            shard.unlink()
    assert_same_bits(load_leaf(path, "codes"), tree()["codes"])
    with pytest.raises(KeyError, match="Did you mean 'codes'"):
        load_leaf(path, "code")
    with pytest.raises(FileError, match=r"cannot be opened: .* Copy it beside the index"):
        load_leaf(path, "blocks/0/bias")


def test_an_open_index_is_one_mapping(path):
    save_shards(path, tree(), shard_bytes=100, metadata={"about": "a text"})
    expected = named_leaves(tree())
    with storage.open(path) as opened:
        assert list(opened) == list(expected)
        assert_same_bits(dict(opened), {**expected, "codes": load_leaf(path, "codes")})
        assert isinstance(opened["blocks/0/kernel"], np.ndarray)
        assert opened.metadata == {"about": "a text"}
        assert repr(opened).splitlines()[1:-1] == str(describe(path)).splitlines()[1:-2]


def test_removals_are_kept_in_the_index(path):
    removal = Removal((LeafCut("in", 1, 5, (0, 4)), LeafCut("out", 0, 5, (0, 4))))
    save_shards(path, {"in": np.ones((3, 3)), "out": np.ones((3, 2))}, removal=removal)
    assert load_removal(path) == describe(path).removals == (removal,)
    other = Removal((LeafCut("in", 1, 9, (0, 4)), LeafCut("out", 0, 9, (0, 4)))).to_json()
    change(path, lambda index: index["metadata"].update(removed=[other]))
    refused(path, "contradicts itself")


def test_memory_beside_the_tree_is_that_of_few_leaves(path, monkeypatch):
    monkeypatch.setattr(ahead, "threads", lambda: 2)
    mask = np.arange(MEBIBYTE) % 10 == 0
    params = {f"{i:02}": np.where(mask, i + 1, 0).astype(np.int32) for i in range(16)}
    with traced() as memory:
        save_shards(path, params, shard_bytes=MEBIBYTE)
    assert len(shards(path)) > 4
    assert memory.peak < 3 * 4 * MEBIBYTE  # of 64 MiB
    assert_same_bits(load(path), params)


def test_files_written_before_are_read():
    golden = pathlib.Path(__file__).parent / "golden" / "several" / NAME
    assert_same_bits(load(golden), golden_tree())
    assert (describe(golden).files, describe(golden).metadata) == (2, {"about": "a text"})


def golden_tree() -> dict[str, Any]:
    """The tree of the golden index and its two files."""
    return {
        "layers": [np.arange(30.0), (np.arange(90) % 9 == 0).reshape(10, 9)],
        "steps": 7,
    }


# Writing.


def test_the_index_comes_last_and_names_are_given_at_the_end(path, monkeypatch):
    events = []

    def replaced(source, target, replace=os.replace):
        temporaries = [file for file in files(path) if file.endswith(".tmp")]
        events.append((os.path.basename(target), len(temporaries)))
        replace(source, target)

    monkeypatch.setattr(disk.os, "replace", replaced)
    save_shards(path, {name: np.ones(9) for name in "abc"}, shard_bytes=1)
    assert events[-1][0] == NAME
    assert [count for _, count in events] == [3, 2, 1, 1]


@pytest.mark.parametrize("when", [0, 1, 2, 3])
def test_a_save_that_fails_is_never_believed_in_part(path, monkeypatch, when):
    old = {name: np.full(9, 1.0) for name in "abc"}
    new = {name: np.full(9, 2.0) for name in "abc"}
    save_shards(path, old, shard_bytes=1)
    before, calls = files(path), iter(range(9))

    def replaced(source, target, replace=os.replace):
        if next(calls) == when:
            raise OSError("the power went")
        replace(source, target)

    monkeypatch.setattr(disk.os, "replace", replaced)
    with pytest.raises(OSError, match="the power went"):
        save_shards(path, new, shard_bytes=1)
    assert files(path) == before
    if when == 0:
        assert_same_bits(load(path), old)
    else:
        for door in (load, describe, lambda path: load_leaf(path, "c")):
            with pytest.raises(FileError, match="is not the file that the index names"):
                door(path)


def test_an_array_that_cannot_be_stored_leaves_the_old_files(path):
    save_shards(path, {"a": np.ones(3)}, shard_bytes=1)
    before = {file: file.read_bytes() for file in path.parent.iterdir()}
    with pytest.raises(TypeError, match=r"save_shards\(tree\): leaf 'b' is of type str"):
        save_shards(path, {"a": np.zeros(3), "b": "text"}, shard_bytes=1)
    assert {file: file.read_bytes() for file in path.parent.iterdir()} == before


def test_shards_of_the_index_before_are_removed_and_nothing_else(path):
    others = ["model-00007-of-00009.safetensors", "other-00001-of-00001.safetensors"]
    for name in others:
        (path.parent / name).touch()
    save_shards(path, {name: np.ones(3) for name in "abcd"}, shard_bytes=1)
    save_shards(path, {name: np.ones(3) for name in "ab"}, shard_bytes=1)
    assert files(path) == sorted(
        [*others, "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", NAME]
    )


def test_the_same_tree_gives_the_same_files(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        save_shards(tmp_path / name / NAME, tree(), shard_bytes=100)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


@pytest.mark.parametrize("name", ["model.safetensors", "index.json", ".safetensors.index.json"])
def test_a_path_that_is_no_index_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"save_shards\(path='.*'\) must end with .* Pass 'model"):
        save_shards(tmp_path / name, tree())


def test_texts_that_no_reader_would_take_are_refused(path):
    with pytest.raises(ValueError, match=r"save_shards: names and texts hold '\\ud800'"):
        save_shards(path, tree(), metadata={"about": "\ud800"})
    with pytest.raises(ValueError, match="reserved name 'sha256'"):
        save_shards(path, tree(), metadata={"sha256": "0"})
    assert files(path) == []


# Reading what is not as it was.


def change(path: pathlib.Path, do: Callable[[dict], object]) -> None:
    """Changes the JSON of an index and seals it anew."""
    index = json.loads(path.read_text())
    do(index)
    if isinstance(index.get("metadata"), dict):
        index["metadata"]["sha256"] = digests.UNSEALED
    path.write_bytes(digests.sealed(json.dumps(index, separators=(",", ":")).encode()))


def refused(path, message: str) -> None:
    for door in (load, describe, load_removal, lambda path: dict(storage.open(path))):
        with pytest.raises(FileError, match=message) as caught:
            door(path)
        assert len(str(caught.value)) < 600 + len(str(path))
        assert str(caught.value).isprintable()


def test_a_missing_shard_is_named(path):
    save_shards(path, tree(), shard_bytes=100)
    shards(path)[1].unlink()
    refused(
        path, r"shard 'model-00002-of-.*' cannot be opened|shard 'model-00002-of-.*': it cannot"
    )


def test_shards_in_each_others_places_are_refused(path):
    save_shards(path, {name: np.ones(9) for name in "ab"}, shard_bytes=1)
    first, second = shards(path)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    refused(path, "it is not the file that the index names")


def test_a_shard_of_another_save_is_refused(path, tmp_path):
    save_shards(path, {name: np.ones(9) for name in "ab"}, shard_bytes=1)
    (tmp_path / "other").mkdir()
    save_shards(tmp_path / "other" / NAME, {name: np.zeros(9) for name in "ab"}, shard_bytes=1)
    shards(path)[1].write_bytes(shards(tmp_path / "other" / NAME)[1].read_bytes())
    refused(path, "it is not the file that the index names")


@pytest.mark.parametrize("kind", [0, 1])
def test_any_altered_byte_is_seen(path, kind):
    save_shards(path, {"a": np.ones(5), "b": QTENSORS["int4 groups"]()}, shard_bytes=1)
    file = [path, shards(path)[1]][kind]
    sound = file.read_bytes()
    for position in range(0, len(sound), 7):
        altered = bytearray(sound)
        altered[position] ^= 1
        file.write_bytes(altered)
        with pytest.raises(FileError, match=r"^load\('.*'\): "):
            load(path)
    for length in range(0, len(sound), 29):
        file.write_bytes(sound[:length])
        with pytest.raises(FileError, match=r"^load\('.*'\): "):
            load(path)


NAMES = {
    "above": "../x.safetensors",
    "below": "folder/x.safetensors",
    "absolute": "/etc/x.safetensors",
    "of Windows": "..\\x.safetensors",
    "with a drive": "C:x.safetensors",
    "hidden": ".x.safetensors",
    "folder": "..",
    "nothing": "",
    "with a zero": "x\0.safetensors",
    "with an escape": "\x1b[31m.safetensors",
    "index itself": NAME,
    "half a pair": "\ud800.safetensors",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_an_index_leads_nowhere_else(path, name):
    save_shards(path, {"a": np.ones(3)})
    [shard] = shards(path)
    (path.parent.parent / "x.safetensors").write_bytes(shard.read_bytes())

    def renamed(index):
        index["metadata"]["shards"] = {name: index["metadata"]["shards"][shard.name]}
        index["weight_map"] = {"a": name}

    change(path, renamed)
    refused(path, r"no plain name of a safetensors file|is not a text that UTF-8 has")


def test_an_index_in_a_shards_place_is_refused(path):
    save_shards(path, {"a": np.ones(3)})
    [shard] = shards(path)
    shard.write_bytes(path.read_bytes())
    refused(path, "shard 'model-00001-of-00001.safetensors': the header claims")


def test_a_folder_or_a_pipe_in_a_shards_place_is_refused(path):
    save_shards(path, {"a": np.ones(3)})
    [shard] = shards(path)
    shard.unlink()
    shard.mkdir()
    refused(path, "this is a folder, a pipe or a device")
    shard.rmdir()
    os.mkfifo(shard)
    refused(path, "this is a folder, a pipe or a device")


def test_a_link_to_a_shard_is_followed(path, tmp_path):
    (tmp_path / "blobs").mkdir()
    save_shards(path, {"a": np.ones(3)})
    for file in (path, *shards(path)):
        file.rename(tmp_path / "blobs" / file.name)
        file.symlink_to(tmp_path / "blobs" / file.name)
    assert_same_bits(load(path), {"a": np.ones(3)})


def _two_places(index: dict) -> None:
    index["weight_map"]["b"] = next(iter(index["metadata"]["shards"]))


FORGED: dict[str, tuple[Callable[[dict], object], str]] = {
    "leaf of another shard": (_two_places, "holds other leaves than the index says"),
    "leaf that is not there": (
        lambda index: index["weight_map"].update(c=next(iter(index["metadata"]["shards"]))),
        "holds other leaves than the index says",
    ),
    "leaf left out": (lambda index: index["weight_map"].pop("b"), "holds other leaves"),
    "leaf in no shard": (lambda index: index["weight_map"].update(b="x"), "which is no shard"),
    "leaf without name": (
        lambda index: index["weight_map"].update({"": index["weight_map"]["a"]}),
        "has the name ''",
    ),
    "shard without digest": (
        lambda index: index["metadata"]["shards"].update({"x.safetensors": 3}),
        "no map from text to text",
    ),
    "no shards": (lambda index: index["metadata"].pop("shards"), "shards are None and no map"),
    "no weight_map": (lambda index: index.pop("weight_map"), "weight_map are None and no map"),
    "outline": (lambda index: index["metadata"].update(outline="[0]"), "contradicts itself"),
    "outline of another kind": (lambda index: index["metadata"].update(outline=3), "outline"),
    "removals": (lambda index: index["metadata"].update(removed=[3]), "describes no removal"),
    "texts": (lambda index: index["metadata"].update(texts=[3]), "no map from text to text"),
    "later version": (
        lambda index: index["metadata"].update(format_version="3"),
        "index has format version '3'.* Update jaxcompress",
    ),
    "foreign": (lambda index: index.update(metadata={}), "JSON that jaxcompress did not write"),
    "no metadata": (lambda index: index.pop("metadata"), "JSON that jaxcompress did not write"),
}


@pytest.mark.parametrize(("do", "message"), FORGED.values(), ids=FORGED)
def test_an_index_that_contradicts_its_shards_is_refused(path, do, message):
    save_shards(path, {name: np.ones(9) for name in "ab"}, shard_bytes=1)
    change(path, do)
    refused(path, message)


def test_a_leaf_named_twice_is_refused(path):
    save_shards(path, {"a": np.ones(3)})
    text = path.read_text().replace('"weight_map":{', '"weight_map":{"a":"x",')
    path.write_text(text)
    refused(path, "'a' twice")


def test_a_shard_of_version_1_is_refused(path):
    save_shards(path, {"a": np.ones(3)})
    [shard] = shards(path)
    golden = pathlib.Path(__file__).parent / "golden" / "version_1" / "arrays.safetensors"
    shard.write_bytes(golden.read_bytes())
    claimed = digests.digits_of(golden.read_bytes())
    change(path, lambda index: index["metadata"]["shards"].update({shard.name: claimed}))
    refused(path, "it is not the file that the index names")


def test_all_shards_count_together(path):
    params = {name: np.ones(4096, np.float32) for name in "abcd"}
    save_shards(path, params, shard_bytes=1)
    for door in (load, describe):
        with pytest.raises(FileError, match=r"takes .* more than max_bytes=80,000\."):
            door(path, max_bytes=80_000)
        door(path, max_bytes=200_000)
    assert load_leaf(path, "a", max_bytes=80_000).shape == (4096,)
    with storage.open(path, max_bytes=80_000) as opened:
        assert len([opened[name] for name in opened]) == 4
    for door in (load, describe, load_removal, storage.open):  # the headers alone
        with pytest.raises(FileError, match=r"pass max_bytes=\d+\.$"):
            door(path, max_bytes=15_000)


def test_no_mutated_index_is_believed_or_raises_something_else(path):
    save_shards(path, tree(), shard_bytes=100, metadata={"about": "a text"})
    sound, outcomes = path.read_bytes(), {"accepted": 0, "refused": 0}
    for seed in range(150):
        random = np.random.default_rng(seed)

        def mutate(index, random=random):
            for _ in range(int(random.integers(1, 3))):
                within = [place for place in places(index) if place.key != "sha256"]
                chosen(random, OF_JSON)(random, chosen(random, within), within)

        path.write_bytes(sound)
        change(path, mutate)
        answers = [answer(door, path)[0] for door in (load, describe, opened_leaves)]
        # Of names alone no tree is made.
        told = ["accepted" if "Pass a template as like=" in each else each for each in answers]
        ended = ["accepted" if each == "accepted" else "refused" for each in told]
        assert len(set(ended)) == 1, (seed, answers)
        outcomes[ended[0]] += 1
    assert min(outcomes.values()) > 10
