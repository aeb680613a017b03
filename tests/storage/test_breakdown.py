"""Every byte of a file has one place, and the entropy is that of sizes."""

import json
import math
import pathlib
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import cli
from jaxcompress.storage import (
    FileError,
    breakdown,
    coders,
    describe,
    load,
    save,
    save_shards,
    size,
)
from jaxcompress.storage.coders.frequencies import counted, normalized, table
from tests.inputs import COMPOSED, QTENSORS
from tests.storage.forging import forged_2

GOLDEN = sorted((pathlib.Path(__file__).parent / "golden" / "version_2").glob("*.safetensors"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def tree() -> dict[str, Any]:
    random = np.random.default_rng(0)
    return {
        "codes": QTENSORS["uint4 groups"](),
        "dense": random.standard_normal((20, 30), np.float32),
        "mask": random.random((40, 5)) < 0.1,
        "none": np.zeros((0, 3), np.float32),
        "product": COMPOSED["corrected by codes"](),
        "pruned": np.where(random.random((50, 40)) < 0.9, 0, 1).astype(np.float32),
        "steps": 3,
    }


@pytest.mark.parametrize("allowed", [coders.FAST, coders.BALANCED], ids=["fast", "balanced"])
def test_every_byte_has_one_place(path, allowed):
    size_bytes = save(path, tree(), coders=allowed, metadata={"about": "a text"})
    found, report = breakdown(path), describe(path)
    assert found.size_bytes == size_bytes
    assert found.header_bytes == report.header_bytes
    for leaf, stored in zip(found.leaves, report.leaves, strict=True):
        assert (leaf.name, leaf.size_bytes) == (stored.name, stored.size_bytes)
        assert leaf.weights == math.prod(stored.shape)
    assert found.total.entropy == size(tree()).entropy
    assert found.bits_per_weight == 8 * size_bytes / sum(leaf.weights for leaf in found.leaves)


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_files_written_before_have_one_too(file):
    found = breakdown(file)
    assert found.size_bytes == file.stat().st_size
    assert found.total.entropy == size(load(file)).entropy


def test_parts_are_told_apart(path):
    pruned = np.where(np.arange(800).reshape(20, 40) % 10 == 0, 7, 0).astype(np.float32)
    leaf = QTENSORS["int4 groups"]()
    save(path, {"codes": leaf, "pruned": pruned})
    codes, sparse = breakdown(path).leaves
    assert (sparse.numbers, sparse.masks, sparse.tables, sparse.scales) == (320, 100, 0, 0)
    assert codes.scales == leaf.scale.size * 4
    assert codes.numbers == math.prod(leaf.stored_shape) // 2
    assert sparse.bits_per_weight == 8 * 420 / 800


def test_tables_of_an_entropy_coder_are_counted(path):
    random = np.random.default_rng(0)
    values = random.binomial(255, 0.5, (200, 300)).astype(np.uint8)
    save(path, {"x": values}, coders=(coders.rans,))
    [leaf] = breakdown(path).leaves
    counts = counted(values.reshape(-1), 8)
    lengths = [1 + len(table(normalized(counts, precision))) for precision in (8, 10, 12, 14)]
    assert leaf.tables in lengths
    assert leaf.entropy < leaf.size_bytes < leaf.weights


def test_codebooks_are_tables():
    [file] = [file for file in GOLDEN if file.stem == "formats"]
    leaves = load(file)
    codebooks = {name for name, leaf in leaves.items() if leaf.grid.codebook is not None}
    assert codebooks
    assert {leaf.name for leaf in breakdown(file).leaves if leaf.tables} == codebooks


def test_several_files_have_one_breakdown(tmp_path):
    path = tmp_path / "model.safetensors.index.json"
    size_bytes = save_shards(path, tree(), shard_bytes=2000)
    found = breakdown(path)
    assert found.size_bytes == size_bytes
    assert found.total.entropy == size(tree()).entropy


def test_it_prints_as_a_table_and_is_plain_values(path):
    save(path, {"b": np.arange(3, dtype=np.float32), "steps": 3})
    found = breakdown(path)
    title, header, bias, steps, total, above, whole = str(found).splitlines()
    assert title == str(path)
    assert header.split()[:4] == ["leaf", "weights", "numbers", "masks"]
    assert bias.split() == ["b", "3", "12", "0", "0", "0", "12", "1", "32"]
    assert steps.split() == ["steps", "1", "8", "0", "0", "0", "8", "0", "64"]
    assert total.split() == ["total", "4", "20", "0", "0", "0", "20", "1", "40"]
    assert above.split() == ["header", f"{found.header_bytes:,}"]
    assert whole.split() == ["file", f"{found.size_bytes:,}", f"{found.bits_per_weight:.3g}"]
    assert json.loads(json.dumps(found.to_json()))["leaves"][0]["numbers"] == 12


def test_a_tree_without_numbers_has_no_bits_per_weight(path):
    save(path, {"a": None})
    assert math.isnan(breakdown(path).bits_per_weight)
    assert math.isnan(breakdown(path).total.bits_per_weight)


def test_what_is_no_sound_file_is_refused(path):
    save(path, {"a": np.arange(99.0), "b": QTENSORS["int4 groups"]()})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"^breakdown\('.*'\): the checksum of leaf '.' does not"):
        breakdown(path)
    with pytest.raises(FileError, match=r"^breakdown\(.*more than max_bytes=1,000"):
        breakdown(path, max_bytes=1000)
    old = pathlib.Path(__file__).parent / "golden" / "version_1" / "arrays.safetensors"
    with pytest.raises(FileError, match="format version 1, whose leaves have no parts"):
        breakdown(old)


def test_a_mask_of_more_than_its_numbers_is_refused(path):
    record = [1, "float32"]
    data = np.full(3, 255, np.uint8)
    forged_2(path, {"layouts": [record], "leaves": [[0, [20], 3]]}, {"x": data})
    with pytest.raises(FileError, match=r"leaf 'x': .* contradicts itself"):
        breakdown(path)


def test_the_command_inspect_shows_it(path, capsys):
    save(path, {"x": jnp.ones(7)})
    assert cli.main(["inspect", str(path), "--sizes"]) == 0
    assert capsys.readouterr().out == f"{breakdown(path)}\n"
    assert cli.main(["inspect", str(path), "--sizes", "--max-bytes", "100"]) == 1
    assert "more than max_bytes=100" in capsys.readouterr().err
