"""Descriptions: what a file holds, from its header alone."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.names import named_leaves
from jaxcompress.storage import FileError, describe, save
from jaxcompress.storage.coders import bitmask
from jaxcompress.storage.container import memory
from tests.inputs import ARRAYS, QTENSORS


@pytest.fixture
def tree():
    return {
        "arrays": {name.replace(" ", "-"): x for name, x in ARRAYS.items()},
        "codes": [leaf() for leaf in QTENSORS.values()],
    }


@pytest.fixture
def path(tmp_path, tree):
    save(tmp_path / "file", tree, metadata={"about": "a text"})
    return tmp_path / "file"


def test_every_leaf_is_there_with_its_logical_shape_and_dtype(path, tree):
    found = {leaf.name: (leaf.shape, leaf.dtype) for leaf in describe(path).leaves}
    expected = {name: (x.shape, x.dtype.name) for name, x in named_leaves(tree).items()}
    assert found == expected
    assert list(found) == list(expected)


def test_specs_are_told(path, tree):
    specs = {leaf.name: leaf.spec for leaf in describe(path).leaves}
    for name, leaf in named_leaves(tree).items():
        assert specs[name] == str(getattr(leaf, "spec", ""))


def test_bytes_add_up_to_the_file(path):
    report = describe(path)
    assert report.size_bytes == path.stat().st_size
    leaves = sum(leaf.size_bytes for leaf in report.leaves)
    assert report.header_bytes + leaves == report.size_bytes


def test_arrays_of_numbers_are_verified_without_being_kept(tmp_path, monkeypatch):
    def follow(file, size_bytes, *seen, following=memory.following):
        assert size_bytes < 2000  # the header, and no array
        return following(file, size_bytes, *seen)

    save(tmp_path / "file", {"a": np.arange(999.0), "b": np.arange(999, dtype=np.int8)})
    monkeypatch.setattr(memory, "following", follow)
    assert len(describe(tmp_path / "file").leaves) == 2


def test_the_text_is_a_table(tmp_path):
    kernel = np.where(np.arange(400).reshape(20, 20) % 20 == 0, 1.0, 0.0).astype(np.float32)
    save(tmp_path / "file", {"bias": jnp.ones(3), "kernel": kernel, "steps": 3})
    report = describe(tmp_path / "file")
    title, header, bias, kernel_row, steps, header_row, total, checksum = str(report).splitlines()
    assert title == f"{tmp_path / 'file'}, format version 2"
    assert header.split() == ["leaf", "shape", "dtype", "spec", "coder", "bytes"]
    assert bias.split() == ["bias", "3", "float32", "-", "plain", "12"]
    assert kernel_row.split() == ["kernel", "20×20", "float32", "-", bitmask.name, "130"]
    assert steps.split()[:4] == ["steps", "()", "python", "int"]
    assert header_row.split() == ["header", f"{report.header_bytes:,}"]
    assert total.split() == ["total", f"{report.size_bytes:,}"]
    assert checksum == f"checksum ok: sha256 {report.checksum}"


def test_texts_are_shown(path):
    assert "\nabout: a text\n" in str(describe(path))


def test_an_altered_file_is_refused(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        FileError, match=r"describe\('.*'\): the checksum of leaf '.*' does not match"
    ):
        describe(path)
