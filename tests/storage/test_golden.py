"""Files of every version that was ever written load to this day, bit for bit."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import LowRank, QTensor, materialize, named_leaves
from jaxcompress.core.leaf import is_compressed
from jaxcompress.storage import describe, load, load_leaf, load_removal, save
from tests.storage.bits import assert_same_bits
from tests.storage.golden import cases

FOLDER = pathlib.Path(__file__).parent / "golden"
FILES = sorted(FOLDER.glob("version_*/*.safetensors"))
every_file = pytest.mark.parametrize(
    "path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}"
)
VERSIONS = {
    "version_1": cases.TREES,
    "version_2": [*cases.TREES_2, "formats"],
    "version_3": cases.NAMES_3,
}
every_version = pytest.mark.parametrize("version", VERSIONS)
KINDS = {"Codes": QTensor, "Product": LowRank, "array": (jax.Array, np.ndarray)}


def test_no_file_is_missing():
    found = {version: [] for version in VERSIONS}
    for path in FILES:
        found[path.parent.name].append(path.stem)
    assert found == {version: sorted(trees) for version, trees in VERSIONS.items()}


@pytest.fixture
def kept(path) -> dict[str, np.ndarray]:
    """The arrays that were kept when the file of this version, or of 2, was written."""
    folder = "version_1" if path.parent.name == "version_1" else "version_2"
    with np.load(FOLDER / folder / f"{path.stem}.npz") as arrays:
        return dict(arrays)


@every_file
def test_every_leaf_comes_back_bit_for_bit(path, kept):
    leaves = with_factors(named_leaves(load(path)))
    described = json.loads(str(kept["|leaves"]))
    assert set(leaves) == set(described)
    for name, leaf in leaves.items():
        kind, dtype, shape = described[name]
        assert isinstance(leaf, KINDS[kind]) if kind in KINDS else type(leaf).__name__ == kind
        value = np.asarray(materialize(leaf))
        assert (value.dtype.name, list(value.shape)) == (dtype, shape)
        assert value.tobytes() == kept[name].tobytes(), name
        if isinstance(leaf, QTensor):
            assert_same_parts(leaf, kept, name)


def with_factors(leaves: dict) -> dict:
    """The leaves with the two factors of each low-rank one beside it."""
    factors = [
        (f"{name}|{part}", factor)
        for name, leaf in leaves.items()
        if isinstance(leaf, LowRank)
        for part, factor in leaf.factors.items()
    ]
    return leaves | dict(factors)


def assert_same_parts(leaf: QTensor, kept: dict, name: str) -> None:
    np.testing.assert_array_equal(leaf.unpacked_codes, kept[f"{name}|codes"])
    for part, x in leaf.grid._asdict().items():
        assert (x is None) == (f"{name}|{part}" not in kept)
        if x is not None:
            assert np.asarray(x).tobytes() == kept[f"{name}|{part}"].tobytes()


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.stem in cases.TREES_2],
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_containers_come_back(path):
    structures = [
        jax.tree.structure(tree, is_leaf=lambda node: cases.is_leaf(node) or is_compressed(node))
        for tree in (load(path), cases.TREES_2[path.stem]())
    ]
    assert structures[0] == structures[1]


@every_file
def test_a_description_has_every_leaf(path, kept):
    report = describe(path)
    described = json.loads(str(kept["|leaves"]))
    stored = {leaf.name: leaf for leaf in report.leaves}
    for name, (kind, dtype, shape) in described.items():
        if kind != "Product" and "|" not in name:
            named = f"python {kind}" if kind in ("bool", "int", "float", "complex") else dtype
            assert (stored[name].dtype, list(stored[name].shape)) == (named, shape)
    assert report.size_bytes == path.stat().st_size


@every_version
def test_texts_come_back(version):
    path = FOLDER / version / "containers.safetensors"
    assert describe(path).metadata == cases.METADATA


@pytest.mark.parametrize("version", ["version_2", "version_3"])
def test_removals_come_back(version):
    found = load_removal(FOLDER / version / "removed.safetensors")
    assert [each.to_json() for each in found] == cases.REMOVED


@every_version
def test_a_state_of_nnx_comes_back_with_a_template(version):
    nnx = pytest.importorskip("flax.nnx")

    class Dense(nnx.Module):
        def __init__(self, inputs, outputs):
            self.kernel = nnx.Param(jnp.zeros((inputs, outputs)))
            self.bias = nnx.Param(jnp.zeros(outputs))

    template = nnx.state(nnx.Dict(first=Dense(4, 3), second=Dense(3, 2)))
    path = FOLDER / version / "nnx.safetensors"
    loaded = load(path, like=template)
    assert jax.tree.structure(materialize(loaded)) == jax.tree.structure(template)
    assert named_leaves(loaded).keys() == named_leaves(load(path)).keys()


@every_file
def test_any_leaf_is_read_by_its_name(path):
    for name, leaf in named_leaves(load(path)).items():
        assert_same_bits(load_leaf(path, name), leaf)


@pytest.mark.parametrize("name", VERSIONS["version_2"])
def test_what_is_written_today_is_what_was_written(tmp_path, name):
    path = FOLDER / "version_2" / f"{name}.safetensors"
    metadata = cases.METADATA if name == "containers" else {}
    save(tmp_path / "again", load(path), metadata=metadata, removal=load_removal(path))
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
