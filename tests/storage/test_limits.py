"""Reading takes a constant plus four times the file and what it counts for."""

import contextlib
import dataclasses
import json
import os
import pathlib
import stat
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import LowRank, QTensor, cli
from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.formats.sharing import Group
from jaxcompress.core.names import named_leaves
from jaxcompress.core.spec import QuantSpec
from jaxcompress.storage import FileError, coders, describe, load, load_leaf, save
from jaxcompress.storage.container import safetensors
from jaxcompress.storage.container.dtypes import WORD_BITS, known_dtype
from jaxcompress.storage.container.limits import HEADER_WEIGHT, array_bytes, leaf_bytes
from tests.inputs import DENSE
from tests.storage.costs import measured, traced
from tests.storage.forging import forged_1, forged_2

MEBIBYTE = 1 << 20


def peak(do, *arguments) -> int:
    """Bytes that a call took beside what there was."""
    with traced() as memory:
        kept = do(*arguments)
    del kept
    return memory.peak


def codes(bits: int, symmetric: bool, zeros: bool) -> QTensor:
    """A leaf of 2**16 codes, in groups of 64 with zero points of their own."""
    low, high = (1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1) if symmetric else (0, 2**bits - 1)
    spec = QuantSpec(Integers(bits, low, high, symmetric=symmetric), Group(64))
    random = np.random.default_rng(bits)
    values = random.integers(low, high, (64, 1024), endpoint=True)
    zero_point = random.integers(low, high, (64, 16), endpoint=True).astype(np.int32)
    offsets = np.repeat(zero_point, 64, axis=1) if not symmetric else 0
    values = np.where(random.random(values.shape) < 0.95, offsets, values) if zeros else values
    grid = Grid(
        jnp.ones((64, 16), jnp.float32),
        zero_point=None if symmetric else jnp.asarray(zero_point),
    )
    return QTensor.from_codes(jnp.asarray(values), grid, spec=spec, dtype=jnp.float32, axes=DENSE)


def numbers(name: str, zeros: bool) -> np.ndarray:
    x = np.ones((128, 512), known_dtype(name))
    x[np.arange(128) % 16 > 0] = 0 if zeros else 1
    return x


LEAVES = (
    {f"codes of {bits} bits": (codes, bits, True) for bits in range(2, 9)}
    | {f"codes of {bits} bits, zero points": (codes, bits, False) for bits in range(1, 9)}
    | {name: (numbers, name) for name in WORD_BITS}
)


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("make", LEAVES.values(), ids=LEAVES)
def test_memory_of_every_leaf_is_within_the_bound(tmp_path, make, zeros):
    leaf = make[0](*make[1:], zeros)
    size_bytes = save(tmp_path / "file", [leaf])
    bound = MEBIBYTE // 16 + 4 * (size_bytes + leaf_bytes(leaf))
    for door in (load, describe, lambda path: load_leaf(path, "0")):
        assert peak(door, tmp_path / "file") <= bound


@pytest.mark.parametrize("coder", coders.CODERS, ids=lambda coder: coder.name)
@pytest.mark.parametrize("zeros", [False, True])
def test_memory_of_every_coder_is_within_the_bound(tmp_path, coder, zeros):
    leaves = [codes(4, True, zeros), numbers("float32", zeros), numbers("bool", zeros)]
    size_bytes = save(tmp_path / "file", leaves, coders=[coder])
    load(tmp_path / "file")  # tables that are made once
    bound = MEBIBYTE + 4 * (size_bytes + sum(map(leaf_bytes, leaves)))
    assert peak(load, tmp_path / "file") <= bound


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("coder", ["plain", "bitmask"])
def test_memory_of_version_1_is_within_the_bound(tmp_path, bits, coder):
    spec = {"name": "", "bits": bits, "lowest": 0, "highest": 2**bits - 1, "symmetric": False}
    spec |= {"per": "group", "group_size": 64}
    count, blocks = 1 << 16, 1 << 10
    present = np.zeros(count // 8, np.uint8) if coder == "bitmask" else np.zeros(count * bits // 8)
    data = np.concatenate([np.zeros(5 * blocks, np.uint8), present.astype(np.uint8)])
    record = [coder, "float32", [64, 1024], 0, [-1, -2], [64, 16]]
    forged_1(tmp_path / "file", {"specs": [spec], "leaves": [record]}, {"x": data})
    bound = MEBIBYTE // 16 + 4 * (data.size + leaf_bytes(load(tmp_path / "file")["x"]))
    for door in (load, describe):
        assert peak(door, tmp_path / "file") <= bound


HEADERS = {
    "empty lists": "[" + "[]," * 10**4 + "[]]",
    "empty objects": "[" + "{}," * 10**4 + "{}]",
    "objects": "[" + '{"":[]},' * 10**4 + "{}]",
    "texts": "[" + '"ab",' * 10**4 + "0]",
    "numbers": "[" + "12345," * 10**4 + "0]",
    "nests": "[" * 90 + "]" * 90,
}


@pytest.mark.parametrize("place", ["layouts", "outline"])
@pytest.mark.parametrize("text", HEADERS.values(), ids=HEADERS)
def test_a_header_takes_no_more_than_it_counts_for(tmp_path, text, place):
    path = tmp_path / "file"
    forged_2(path, {place: json.loads(text)}, {"x": np.ones(3, np.float32)})

    def door():
        with contextlib.suppress(FileError):
            load(path)

    assert peak(door) <= MEBIBYTE // 16 + 4 * (1 + HEADER_WEIGHT) * path.stat().st_size


def test_many_leaves_take_no_more_than_their_header_counts_for(tmp_path):
    tree = {f"{i}": np.float32(i).reshape(()) for i in range(300)}
    size_bytes = save(tmp_path / "file", tree)
    for door in (load, describe):
        assert peak(door, tmp_path / "file") <= MEBIBYTE + 4 * (1 + HEADER_WEIGHT) * size_bytes


def bare(entries: str, data: bytes = b"") -> bytes:
    """A file whose header is this text."""
    text = entries.encode()
    return len(text).to_bytes(8, "little") + text + data


def offsets(name: str) -> str:
    return f'{json.dumps(name)}:{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'


LONG = {
    "one name twice": bare("{" + ",".join(map(offsets, [*map(str, range(30_000)), "7"])) + "}"),
    "a name of slashes": bare("{" + offsets("/" * 10**6) + "}"),
    "a long name": bare("{" + offsets("x" * 10**6) + "}"),
    "a long text": bare('{"__metadata__":{"a":"' + "x" * 10**6 + '"}}'),
    "a long size": bare('{"a":{"dtype":"U8","shape":[' + "9" * 10**6 + '],"data_offsets":[0,0]}}'),
    "many sizes": bare('{"a":{"dtype":"U8","shape":[' + "9," * 10**4 + '0],"data_offsets":[0,0]}}'),
    "a long dtype": bare('{"a":{"dtype":"' + "x" * 10**6 + '","shape":[0],"data_offsets":[0,0]}}'),
    "open lists": bare("[" * 10**6),
    "open objects": bare('{"":' * 10**6),
}


@pytest.mark.parametrize("content", LONG.values(), ids=LONG)
def test_long_headers_are_refused_in_linear_time(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(FileError) as caught, measured() as clock:
        load(tmp_path / "file")
    assert clock.seconds < 1
    assert len(str(caught.value)) < 800


NAMES = {
    "slashes": ["/" * 10**5, "a"],
    "long": ["x" * 10**5, "y" * 10**5],
    "many": [f"{i}/{i}" for i in range(300)],
    "deep": ["/".join("x" * 100), "a"],
    "special": ["two\nlines", "\x1b[31mred", "\u202eleft", "é", ""],
}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_any_name_is_read_described_and_sought_in_linear_time(tmp_path, names):
    tree = dict.fromkeys(sorted(names), np.float32(1))
    save(tmp_path / "file", tree, metadata={"about": "two\nlines" * 1000})
    with measured() as clock:
        assert sorted(named_leaves(load(tmp_path / "file"))) == sorted(
            name or "." for name in names
        )
        table = str(describe(tmp_path / "file"))
        assert all(len(line) < 500 for line in table.splitlines())
        assert "\x1b" not in table
        with pytest.raises(KeyError, match="the file has no such leaf"):
            load_leaf(tmp_path / "file", "x" * 10**4 + "z")
    assert clock.seconds < 2


def test_names_without_outline_need_a_template_where_they_are_deep(tmp_path):
    name = "/".join("x" * 101)
    forged_2(tmp_path / "file", {}, {name: np.ones(3, np.float32)})
    describe(tmp_path / "file")
    with pytest.raises(FileError, match=r"has more than 100 parts.* Pass a template as like="):
        load(tmp_path / "file")
    np.testing.assert_array_equal(load(tmp_path / "file", like={name: jnp.ones(3)})[name], 1)


def test_an_empty_axis_counts_as_one():
    assert array_bytes((), 8) == 8
    assert array_bytes((10**8, 256, 0), 4) == 4 * 256 * 10**8
    assert leaf_bytes(codes(4, True, False)) == 2**16 + 4 * 2**10
    low_rank = LowRank(jnp.ones((6, 2)), jnp.ones((2, 8)), np.dtype(np.float32), (), 1)
    assert leaf_bytes(low_rank) == 4 * (12 + 16)
    assert leaf_bytes(dataclasses.replace(low_rank, left=codes(8, True, False))) == (
        2**16 + 4 * 2**10 + 4 * 16
    )


def test_a_leaf_counts_alone(tmp_path):
    path = tmp_path / "file"
    save(path, {"large": np.ones(2**16, np.float32), "small": np.ones(3, np.float32)})
    for door in (load, describe):
        with pytest.raises(FileError, match=r"the tree takes .* more than max_bytes=100,000\."):
            door(path, max_bytes=100_000)
    assert load_leaf(path, "small", max_bytes=100_000).shape == (3,)
    with pytest.raises(FileError, match=r"pass max_bytes=\d+\.$"):
        load_leaf(path, "large", max_bytes=100_000)
    with pytest.raises(FileError, match=r"pass max_bytes=\d+\.$"):  # the header alone
        load_leaf(path, "small", max_bytes=1000)


def test_the_command_inspect_takes_a_limit_too(tmp_path, capsys):
    path = str(tmp_path / "file")
    save(path, {"x": np.ones(2**10, np.float32)})
    assert cli.main(["inspect", path, "--max-bytes", "5000"]) == 1
    assert "more than max_bytes=5,000" in capsys.readouterr().err
    assert cli.main(["inspect", path, "--max-bytes", "50000"]) == 0


def pipe(path: pathlib.Path) -> str:
    os.mkfifo(path)
    assert stat.S_ISFIFO(path.stat().st_mode)
    return str(path)


PATHS = {
    "bytes": (lambda path: bytes(path), FileNotFoundError, "file"),
    "number": (lambda path: 0, TypeError, r"\(path=\.\.\.\) must be a text or .* not int"),
    "None": (lambda path: None, TypeError, r"\(path=\.\.\.\) must be a text or .* not NoneType"),
    "array": (lambda path: np.ones(3), TypeError, r"must be a text or .* not ndarray"),
    "character 0": (lambda path: "a\0b", ValueError, "must not hold the character 0"),
    "nothing": (lambda path: "", FileNotFoundError, "No such file"),
    "folder": (lambda path: path.parent, FileError, "is a folder, a pipe or a device"),
    "pipe": (pipe, FileError, "is a folder, a pipe or a device"),
    "device": (lambda path: "/dev/zero", FileError, "is a folder, a pipe or a device"),
    "no file": (lambda path: path, FileNotFoundError, "file"),
}
DOORS = {
    "load": load,
    "load_leaf": lambda path: load_leaf(path, "x"),
    "describe": describe,
    "safetensors.read": safetensors.read,
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(("path", "kind", "message"), PATHS.values(), ids=PATHS)
def test_a_wrong_path_blames_no_file(tmp_path, path, kind, message, door):
    with pytest.raises(kind, match=message) as caught:
        DOORS[door](path(tmp_path / "file"))
    assert "contradicts" not in str(caught.value)
    if kind is not FileNotFoundError:
        assert str(caught.value).startswith(f"{door}(")


def test_bytes_are_a_path_too(tmp_path):
    save(tmp_path / "file", {"x": np.ones(3, np.float32)})
    path: Any = bytes(tmp_path / "file")
    np.testing.assert_array_equal(load(path)["x"], 1)


def test_a_template_of_texts_is_refused(tmp_path):
    save(tmp_path / "file", {"x": np.ones(3, np.float32)})
    with pytest.raises(TypeError, match=r"leaf 'x' of like= is of type str, no array. Pass arrays"):
        load(tmp_path / "file", like={"x": "text"})


def test_templates_with_many_other_names_give_short_errors(tmp_path):
    save(tmp_path / "file", {f"{i}" * 50: np.float32(1) for i in range(99)})
    with pytest.raises(ValueError, match=r"and 94 others\. Only in like=: none") as caught:
        load(tmp_path / "file", like={})
    assert len(str(caught.value)) < 800
