"""`inspect`, of our files and of others."""

import json

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

import jaxcompress as jc
from jaxcompress import cli
from jaxcompress.storage.foreign import foreign

LAYERS = {f"model.layers.{i}.mlp.weight": np.full((4, 8), i, np.float16) for i in range(3)}
REST = {"lm_head.weight": np.arange(12, dtype=np.float32).reshape(3, 4), "step": np.array(7)}


def shown(words: list, capsys) -> dict:
    assert cli.main(["inspect", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def checkpoint(tmp_path):
    """An index and two files, as Hugging Face's libraries write them."""
    files = {"model-00001-of-00002": LAYERS, "model-00002-of-00002": REST}
    for name, arrays in files.items():
        save_file(arrays, tmp_path / f"{name}.safetensors", metadata={"format": "pt"})
    named = {array: f"{name}.safetensors" for name, arrays in files.items() for array in arrays}
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 248}, "weight_map": named}))
    return path


def test_a_file_of_ours_is_told_whole(tmp_path, capsys):
    path = tmp_path / "model.safetensors"
    params = {"kernel": jnp.linspace(-1, 1, 512).reshape(32, 16), "bias": jnp.zeros(16)}
    small, _ = jc.quantize.quantize(params, jc.quantize.int8())
    size_bytes = jc.storage.save(path, small, metadata={"note": "a test"})
    told, report = shown([path], capsys), jc.storage.describe(path)
    assert told["size_bytes"] == size_bytes == path.stat().st_size
    assert told["checksum"] == report.checksum
    assert told["metadata"] == {"note": "a test"}
    assert [leaf["name"] for leaf in told["leaves"]] == ["bias", "kernel"]
    assert told["leaves"][1]["spec"] == "int8 per channel"
    sizes = shown([path, "--sizes"], capsys)["leaves"][1]
    assert (sizes["numbers"], sizes["scales"]) == (512, 64)
    assert cli.main(["inspect", str(path)]) == 0
    assert capsys.readouterr().out == f"{report}\n"


def test_a_file_of_another_library_is_told(tmp_path, capsys):
    path = tmp_path / "foreign.safetensors"
    save_file({**LAYERS, **REST}, path, metadata={"format": "pt"})
    told = shown([path], capsys)
    assert told["size_bytes"] == path.stat().st_size
    found = {
        leaf["name"]: (leaf["shape"], leaf["dtype"], leaf["size_bytes"]) for leaf in told["leaves"]
    }
    arrays = {**LAYERS, **REST}
    assert found == {name: (list(x.shape), x.dtype.name, x.nbytes) for name, x in arrays.items()}
    assert told["header_bytes"] + sum(x.nbytes for x in arrays.values()) == told["size_bytes"]
    assert told["metadata"] == {"format": "pt"}
    assert cli.main(["inspect", str(path)]) == 0
    text = capsys.readouterr().out
    assert "safetensors of another library" in text.splitlines()[0]
    assert "lm_head.weight" in text


def test_sizes_of_another_library_have_entropies(tmp_path, capsys):
    path = tmp_path / "foreign.safetensors"
    save_file(
        {"same": np.ones(8), "two": np.tile([1, 2], 32).astype(np.int16), "none": np.ones((0, 3))},
        path,
    )
    told = {leaf["name"]: leaf for leaf in shown([path, "--sizes"], capsys)["leaves"]}
    assert {name: leaf["entropy"] for name, leaf in told.items()} == {
        "same": 0,
        "two": 8,
        "none": 0,
    }
    assert told["two"]["numbers"] == 128
    assert cli.main(["inspect", str(path), "--sizes", "--max-bytes", "2000"]) == 1
    assert "more than max_bytes=2,000" in capsys.readouterr().err


def test_an_index_counts_all_of_its_files(checkpoint, capsys):
    told = shown([checkpoint], capsys)
    files = sum(path.stat().st_size for path in checkpoint.parent.iterdir())
    assert told["files"] == 2
    assert told["size_bytes"] == files
    assert told["metadata"] == {"total_size": "248"}
    assert len(told["leaves"]) == 5


@pytest.mark.parametrize(
    ("depth", "parts"),
    [
        (1, {"model": (3, 96, 192), "lm_head": (1, 12, 48), "step": (1, 1, 8)}),
        (2, {"model.layers": (3, 96, 192), "lm_head.weight": (1, 12, 48), "step": (1, 1, 8)}),
    ],
)
def test_parts_add_up(depth, parts, checkpoint, capsys):
    told = shown([checkpoint, "--depth", depth], capsys)["parts"]
    assert {p["name"]: (p["leaves"], p["weights"], p["size_bytes"]) for p in told} == parts
    assert cli.main(["inspect", str(checkpoint), "--depth", str(depth)]) == 0
    assert "77.4%" in capsys.readouterr().out


def test_a_depth_below_one_is_refused(checkpoint, capsys):
    assert cli.main(["inspect", str(checkpoint), "--depth", "0"]) == 1
    assert "inspect(--depth=0) must be at least 1" in capsys.readouterr().err


@pytest.mark.parametrize("code", ["C64", "F8_E8M0", "F8_E4M3FNUZ", "BF16"])
def test_dtypes_of_other_writers_are_read(code, tmp_path):
    path = tmp_path / "foreign.safetensors"
    size = {"C64": 8, "BF16": 2}.get(code, 1)
    field = {"x": {"dtype": code, "shape": [3], "data_offsets": [0, 3 * size]}}
    header = json.dumps(field).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(3 * size))
    found = foreign("inspect", path)
    assert found is not None
    assert found.array("inspect", "x").shape == (3,)
    assert found.breakdown().total.numbers == 3 * size


def test_numbers_are_those_that_were_written(tmp_path):
    arrays = {
        "x": np.arange(6.0).reshape(2, 3),
        "y": np.ones(4, ml_dtypes.bfloat16),
        "z": np.array([True]),
    }
    save_file(arrays, tmp_path / "foreign")
    found = foreign("inspect", tmp_path / "foreign")
    assert found is not None
    for name, x in arrays.items():
        read = found.array("inspect", name)
        assert read.dtype == x.dtype
        np.testing.assert_array_equal(read, x)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda index: index["weight_map"].update(c="../model.safetensors"), "no plain name"),
        (lambda index: index["weight_map"].update(c="gone.safetensors"), "cannot be opened"),
        (
            lambda index: index["weight_map"].update(c="model-00002-of-00002.safetensors"),
            "is not in",
        ),
        (lambda index: index["weight_map"].update(c=3), "no map from text to text"),
        (lambda index: index.pop("weight_map"), "JSON without a weight_map"),
    ],
)
def test_a_wrong_index_is_refused(change, told, checkpoint, capsys):
    index = json.loads(checkpoint.read_text())
    change(index)
    checkpoint.write_text(json.dumps(index))
    assert cli.main(["inspect", str(checkpoint)]) == 1
    assert told in capsys.readouterr().err


def test_a_truncated_file_of_another_library_is_refused(tmp_path, capsys):
    path = tmp_path / "foreign.safetensors"
    save_file(LAYERS, path)
    path.write_bytes(path.read_bytes()[:-5])
    assert cli.main(["inspect", str(path)]) == 1
    assert "truncated" in capsys.readouterr().err
