"""Files: what is saved comes back bit for bit, and nothing else is ever believed."""

import contextlib
import dataclasses
import enum
import fractions
import json
import os
import subprocess
import sys
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.leaf import logical, materialize
from jaxcompress.core.names import named_leaves
from jaxcompress.core.qtensor import QTensor
from jaxcompress.storage import FileError, describe, load, load_leaf, save, size
from jaxcompress.storage.container import disk, header, memory, safetensors
from jaxcompress.storage.container.dtypes import WORD_BITS, known_dtype
from jaxcompress.storage.container.parts import decoded, encoded, of_codes, planned
from tests.inputs import ARRAYS, DENSE, INT4, QTENSORS, TREES
from tests.storage.bits import assert_same_bits, assert_same_leaves
from tests.storage.formats import of_every_format

LEAVES = (
    ARRAYS
    | {
        "one bit of each": (1 << np.arange(32, dtype=np.uint32)).view(np.float32),
        "NaN payloads": np.array([0x7FC00001, 0xFF800001, 0x7F800000], np.uint32).view("f4"),
        "negative zeros": np.where(np.arange(99) == 50, -0.0, 0.0).astype(np.float32),
        "pruned": np.where(np.arange(300) % 10 == 0, np.arange(300) - 9.5, 0).astype(np.float32),
        "mask": np.arange(99).reshape(9, 11) % 3 == 0,
        "no bool": np.zeros((0,), bool),
        "numbers as bool": np.asarray(True),
        "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "counter": np.asarray(7, np.uint32),
        "NumPy scalar": np.float16(1.5),
        "NumPy truth": np.bool_(True),
        "NumPy double": np.float64(0.1),
        "memory map": np.ones(3, np.float32).view(np.memmap),
        "python bool": True,
        "python int": -(2**63),
        "python float": 0.1,
        "python complex": 1 - 2j,
        "JAX array": jnp.arange(5),
    }
    | {f"dtype {name}": np.arange(3).astype(known_dtype(name)) for name in WORD_BITS}
    | {f"quantized {name}": leaf() for name, leaf in QTENSORS.items()}
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("leaf", LEAVES.values(), ids=LEAVES)
def test_every_leaf_comes_back_bit_for_bit(path, leaf):
    tree = {"leaf": leaf, "beside it": jnp.ones(3)}
    assert save(path, tree) == path.stat().st_size
    assert_same_bits(load(path), tree)
    assert_same_bits(load(path, like=tree), tree)


@hypothesis.given(
    name=st.sampled_from(list(WORD_BITS)),
    shape=st.lists(st.integers(0, 5), max_size=3),
    sparsity=st.sampled_from([0.0, 0.6, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_bits_of_any_dtype_come_back(tmp_path_factory, name, shape, sparsity, seed):
    dtype, random = known_dtype(name), np.random.default_rng(seed)
    highest = 2 if name == "bool" else 2 ** min(WORD_BITS[name], 8)
    values = random.integers(0, highest, (*shape, dtype.itemsize), np.uint8)
    x = np.where(random.random((*shape, 1)) < sparsity, np.uint8(0), values).view(dtype)[..., 0]
    file = tmp_path_factory.mktemp("any") / "file"
    save(file, [x])
    assert_same_bits(load(file), [x])


def test_quantized_leaves_keep_what_is_not_an_array(path):
    tree = {name: leaf() for name, leaf in QTENSORS.items()}
    save(path, tree)
    for name, leaf in load(path).items():
        expected = tree[name]
        assert isinstance(leaf, QTensor)
        assert (leaf.spec, leaf.dtype, leaf.order, leaf.length, leaf.shape) == (
            (expected.spec, expected.dtype, expected.order, expected.length, expected.shape)
        )


def test_pruned_codes_come_back_and_save_bytes(path):
    dense = QTENSORS["uint4 groups"]()
    at_zero = np.repeat(np.asarray(dense.zero_point), 4, axis=1)
    codes = np.where(np.arange(40).reshape(5, 8) % 5 == 0, dense.unpacked_codes, at_zero)
    packed = codes[:, :4] | codes[:, 4:] << 4
    pruned = dataclasses.replace(dense, codes=jnp.asarray(packed, jnp.uint8))
    assert np.mean(np.asarray(pruned.materialize()) == 0) >= 0.8
    save(path, pruned)
    assert_same_bits(load(path), pruned)
    [leaf] = describe(path).leaves
    assert leaf.coder == "bitmask"
    assert leaf.size_bytes < 5 * 10 + 20  # scales and zero points; 20 bytes of packed codes


def test_the_smaller_coder_is_chosen(path):
    random = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    keep = np.arange(1000) % 10 == 0
    coders = {
        "dense": "plain",
        "pruned": "bitmask",
        "dense codes": "plain",
        "pruned codes": "bitmask",
    }
    codes = np.where(keep, 3, 0).reshape(10, 100)
    quantized = [
        QTensor.from_codes(
            jnp.asarray(numbers), Grid(jnp.ones((10, 1))), spec=INT4, dtype=jnp.float32, axes=DENSE
        )
        for numbers in (np.full_like(codes, 3), codes)
    ]
    tree = dict(zip(coders, [random, np.where(keep, random, 0), *quantized], strict=True))
    save(path, tree)
    leaves = {leaf.name: leaf for leaf in describe(path).leaves}
    assert {name: leaf.coder for name, leaf in leaves.items()} == coders
    assert leaves["pruned"].size_bytes == 125 + 4 * 100
    assert leaves["pruned codes"].size_bytes == 4 * 10 + 125 + 50


def test_saving_twice_gives_the_same_bytes(tmp_path):
    tree = {name: leaf() for name, leaf in QTENSORS.items()} | {"a": np.ones(3), "list": [1, None]}
    contents = []
    for name in ("first", "second"):
        save(tmp_path / name, tree, metadata={"about": "text"})
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]


def test_big_endian_numbers_keep_their_values(path):
    save(path, np.arange(6, dtype=">f4"))
    assert_same_bits(load(path), np.arange(6, dtype=np.float32))


def test_wide_numbers_are_numpy_arrays_that_outlive_the_file(path):
    save(path, {"wide": np.arange(3), "narrow": np.arange(3, dtype=np.int32)})
    tree = load(path)
    path.unlink()
    assert isinstance(tree["narrow"], jax.Array)
    assert isinstance(tree["wide"], np.ndarray)
    tree["wide"] += 1
    np.testing.assert_array_equal(tree["wide"], [1, 2, 3])


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_every_container_comes_back_with_a_template(path, tree):
    expected = tree()
    save(path, expected)
    for like in (expected, logical(expected), jax.eval_shape(lambda: expected)):
        assert_same_bits(load(path, like=like), expected)


@pytest.mark.parametrize("name", ["dict", "linen", "haiku", "tuple", "list", "numbered"])
def test_plain_containers_need_no_template(path, name):
    expected = TREES[name]()
    save(path, expected)
    assert_same_bits(load(path), expected)


@pytest.mark.parametrize("name", ["nnx", "equinox"])
def test_other_containers_load_as_nested_dicts(path, name):
    save(path, TREES[name]())
    beside = {"activation": None} if name == "equinox" else {}
    assert_same_bits(load(path), TREES["dict"]() | beside)


@pytest.mark.parametrize("name", ["nnx", "equinox", "linen"])
def test_a_file_moves_between_containers_of_one_naming(path, name):
    template = TREES[name]()
    save(path, TREES["dict"]())
    assert_same_bits(load(path, like=template), template)


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_quantized_leaves_load_into_a_template_of_arrays(path, tree):
    template = tree()
    quantized = jax.tree.map(lambda x: quantized_like(x) if x.ndim == 2 else x, template)
    save(path, quantized)
    loaded = load(path, like=logical(template))
    assert_same_leaves(loaded, quantized)
    assert jax.tree.structure(materialize(loaded)) == jax.tree.structure(template)


def quantized_like(x) -> QTensor:
    codes = jnp.round(x.T * 7 / jnp.max(jnp.abs(x))).astype(jnp.int32)
    return QTensor.from_codes(
        codes, Grid(jnp.ones((x.shape[1], 1))), spec=INT4, dtype=x.dtype, axes=DENSE
    )


def test_a_sharded_array_is_gathered(tmp_path, mesh):
    x = jnp.arange(32.0).reshape(8, 4)
    save(tmp_path / "whole", {"x": x})
    devices = mesh(data=4, axis_type=AxisType.Explicit)
    for name, places in {"split": PartitionSpec("data"), "copied": PartitionSpec()}.items():
        save(tmp_path / name, {"x": jax.device_put(x, NamedSharding(devices, places))})
        assert (tmp_path / name).read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_fresh_process_computes_the_same(path):
    names = ("int8 per channel", "uint4 groups", "int4 convolution")
    tree = {"layers": [QTENSORS[name]() for name in names], "bias": jnp.arange(3.0)}
    save(path, tree)
    program = f"""
import jax, json, numpy as np
from jaxcompress.core.leaf import materialize
from jaxcompress.storage import load
outputs = [np.asarray(x).tobytes().hex() for x in jax.tree.leaves(materialize(load({str(path)!r})))]
print(json.dumps(outputs))
"""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        check=False,
        cwd=os.path.dirname(os.path.dirname(os.path.dirname(__file__))),
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        text=True,
    )
    assert result.returncode == 0, result.stderr
    outputs = [np.asarray(x).tobytes().hex() for x in jax.tree.leaves(materialize(tree))]
    assert json.loads(result.stdout) == outputs


def test_one_leaf_is_read_by_name(path, monkeypatch):
    tree = {"codes": [QTENSORS["int4 groups"](), LEAVES["pruned"]], "wide": np.arange(99.0)}
    save(path, tree)
    read = []

    def aligned(size_bytes, aligned=memory.aligned):
        read.append(size_bytes)
        return aligned(size_bytes)

    monkeypatch.setattr(memory, "aligned", aligned)
    for name, leaf in named_leaves(tree).items():
        read.clear()
        assert_same_bits(load_leaf(path, name), leaf)
        [stored] = [stored for stored in describe(path).leaves if stored.name == name]
        assert read[2] == stored.size_bytes  # after the length of the header and the header
    assert_same_bits(load_leaf(path, "wide"), load(path)["wide"])


def test_a_leaf_that_is_not_there_is_named_beside_those_like_it(path):
    save(path, {"dense": {"kernel": np.ones(3), "bias": np.ones(2)}})
    message = r"load_leaf\('.*', 'dense/kernal'\): .* and 2 others. Did you mean 'dense/kernel'"
    with pytest.raises(KeyError, match=message):
        load_leaf(path, "dense/kernal")


WRONG: Any = [1]
DESCRIPTOR: Any = 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda path: load_leaf(path, WRONG),
            r"load_leaf\(name=...\) must be of type str, not list",
        ),
        (
            lambda path: save(path, {}, metadata=WRONG),
            r"save\(metadata=...\) must be of type Mapping",
        ),
        (lambda path: load(DESCRIPTOR), r"load\(path=...\) must be a text or a .* not int"),
        (lambda path: describe(DESCRIPTOR), r"describe\(path=...\) must be a text .* not int"),
        (lambda path: save(DESCRIPTOR, {}), "not '?int"),
    ],
)
def test_arguments_of_another_type_do_not_blame_the_file(path, call, message):
    save(path, {"x": np.ones(3)})
    with pytest.raises(TypeError, match=message):
        call(path)


def test_an_altered_leaf_hides_no_other(path):
    save(path, {"a": np.ones(300, np.float32), "b": np.arange(300, dtype=np.float32)})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert_same_bits(load_leaf(path, "a"), jnp.ones(300))
    for do in (load, describe, lambda path: load_leaf(path, "b")):
        with pytest.raises(FileError, match="the checksum of leaf 'b' does not match"):
            do(path)


def test_an_array_that_changes_while_it_is_saved_is_refused(path, monkeypatch):
    changing = np.zeros(300, np.float32)
    tree = {"a": changing}

    @contextlib.contextmanager
    def replacing(caller, path, replacing=disk.replacing):
        changing[7] = 1
        with replacing(caller, path) as file:
            yield file

    monkeypatch.setattr(disk, "replacing", replacing)
    with pytest.raises(ValueError, match="an array changed while it was saved"):
        save(path, tree)
    assert not path.exists()


def test_every_format_comes_back_in_its_own_bits(path):
    tree = of_every_format()
    save(path, tree)
    assert_same_bits(load(path), tree)
    assert size(tree).disk == path.stat().st_size
    for stored in describe(path).leaves:
        leaf = tree[stored.name]
        assert isinstance(leaf, QTensor)
        others = sum(x.nbytes for x in jax.tree.leaves(dataclasses.replace(leaf, codes=None)))
        assert stored.spec == str(leaf.spec)
        assert stored.size_bytes <= 32 * 32 * leaf.spec.bits // 8 + others


@pytest.mark.parametrize("bits", range(1, 9))
def test_codes_of_any_width_take_no_more_bits(bits):
    codes = np.random.default_rng(bits).integers(0, 2**bits, (3, 11)).astype(np.uint8)
    source = of_codes((3, 11), bits, lambda: codes)
    part = planned(source)[0]
    assert part.size_bytes <= -(-33 * bits // 8)
    np.testing.assert_array_equal(decoded(part, encoded(source, part)), codes)


@pytest.fixture
def small(path) -> bytes:
    """A file of every kind of text and leaf, as bytes."""
    tree = {
        "codes": QTENSORS["uint4 groups"](),
        "bias": np.arange(3, dtype=np.float32),
        "pruned": np.where(np.arange(200) == 7, 1.0, 0.0).astype(np.float32),
        "list": [True, None],
    }
    save(path, tree, metadata={"sha256 of": '"sha256":"' + "0" * 64 + '"'})
    return path.read_bytes()


@pytest.mark.parametrize("flip", [1, 255])
def test_any_altered_byte_is_seen(path, small, flip):
    load(path)
    for position in range(len(small)):
        altered = bytearray(small)
        altered[position] ^= flip
        path.write_bytes(altered)
        with pytest.raises(FileError, match=r"^load\('.*model.safetensors'\): "):
            load(path)


def test_any_truncation_is_seen(path, small):
    for length in range(len(small)):
        path.write_bytes(small[:length])
        with pytest.raises(FileError, match=r"^load\('.*model.safetensors'\): "):
            load(path)


def test_a_swap_of_two_bytes_is_seen(path, small):
    path.write_bytes(small[:-8] + small[-4:] + small[-8:-4])
    with pytest.raises(FileError, match=r"the checksum of leaf '.*' does not match: it was"):
        load(path)


def test_a_foreign_file_is_refused(path):
    safetensors.write(path, {"x": np.ones(3)})
    message = r"jaxcompress did not write.*storage.container.safetensors.read"
    with pytest.raises(FileError, match=message):
        load(path)


def test_a_later_format_is_refused(path, small):
    path.write_bytes(small.replace(b'"format_version":"2"', b'"format_version":"4"'))
    message = r"has format version '4'.*reads '1', '2', '3'. Update jaxcompress"
    with pytest.raises(FileError, match=message):
        load(path)


UNSTORABLE = {
    "random key": (jax.random.key, "leaf 'a/0' is a random key.*jax.random.key_data"),
    "function": (lambda _: np.sin, "leaf 'a/0' is of type ufunc.*arrays only"),
    "text": (lambda _: "text", "leaf 'a/0' is of type str"),
    "shape": (lambda _: jax.ShapeDtypeStruct((3,), jnp.float32), "leaf .* type ShapeDtypeStruct"),
    "abstract codes": (
        lambda _: jax.eval_shape(QTENSORS["int2"]),
        "leaf 'a/0' is of type ShapeDtypeStruct",
    ),
    "text array": (lambda _: np.array(["text"]), "leaf 'a/0' has dtype <U4"),
    "objects": (lambda _: np.array([None]), "leaf 'a/0' has dtype object.*Cast it to one of bool"),
    "long double": (lambda _: np.longdouble(1), "leaf 'a/0' has dtype (float128|float96)"),
    "huge number": (lambda _: 2**63, "leaf 'a/0' has dtype uint64"),
    "enum": (lambda _: enum.IntEnum("Kind", "A").A, "leaf 'a/0' is of type Kind"),
    "fraction": (lambda _: fractions.Fraction(1, 2), "leaf 'a/0' is of type Fraction"),
    "masked array": (
        lambda _: np.ma.masked_array([1.0, 2.0], [False, True]),
        r"leaf 'a/0' is a masked array, whose mask .* Pass leaf.filled\(value\), or",
    ),
    "matrix": (lambda _: np.ones((1, 1)).view(np.matrix), r"leaf 'a/0' is a matrix, .*np.asarray"),
    "key of a dict": (lambda _: {b"k": 1}, "the dict at 'a/0' has the key b'k' of type bytes"),
}


@pytest.mark.parametrize("do", [save, lambda path, tree: size(tree)], ids=["save", "size"])
@pytest.mark.parametrize(("leaf", "message"), UNSTORABLE.values(), ids=UNSTORABLE)
def test_what_cannot_be_stored_is_refused_by_name(path, leaf, message, do):
    path.write_bytes(b"before")
    with pytest.raises(TypeError, match=rf"^(save|size)\(tree\): {message}"):
        do(path, {"a": [leaf(0)], "b": np.ones(3)})
    assert [file.read_bytes() for file in path.parent.iterdir()] == [b"before"]


@pytest.mark.parametrize("do", [save, lambda path, tree: size(tree)], ids=["save", "size"])
@pytest.mark.parametrize("made", [lambda: jnp.ones(3), QTENSORS["int2"]], ids=["array", "codes"])
def test_numbers_that_are_not_there_are_refused_by_name(path, do, made):
    deleted = made()
    jax.tree.leaves(deleted)[0].delete()
    with pytest.raises(ValueError, match=r"\(tree\): leaf 'a' is deleted: it was donated"):
        do(path, {"a": deleted})
    with pytest.raises(TypeError, match=r"\(tree\): leaf 'a' is traced by jit.* Call (save|size)"):
        jax.jit(lambda leaf: do(path, {"a": leaf}))(made())
    assert not path.exists()


def test_the_key_of_a_dropout_layer_is_named(path):
    nnx = pytest.importorskip("flax.nnx")
    state = nnx.state({"dropout": nnx.Dropout(0.5, rngs=nnx.Rngs(0))})
    with pytest.raises(TypeError, match=r"leaf 'dropout/rngs/.*key.*' is a random key"):
        save(path, state)
    save(path, nnx.filter_state(state, nnx.Not(nnx.RngKey)))


def test_a_quantized_leaf_that_breaks_its_promise_is_refused(path):
    leaf, narrow = QTENSORS["uint4 groups"](), QTENSORS["int4 groups"]()
    broken = {
        "outside": dataclasses.replace(leaf, zero_point=jnp.asarray(leaf.zero_point) + 16),
        "missing": dataclasses.replace(leaf, zero_point=None),
        "half": dataclasses.replace(leaf, scale=leaf.scale.astype(jnp.float16)),
        "code": dataclasses.replace(narrow, codes=narrow.codes | jnp.uint8(15)),
    }
    messages = {
        "outside": r"'outside' has a zero point outside of \[0, 15\]. Quantize it again",
        "code": r"'code' has a code outside of \[-7, 7\]. Quantize it again",
        "missing": "'missing' has a zero point of NoneType instead of int32",
        "half": "'half' has a scale of float16 instead of float32",
    }
    for name, message in messages.items():
        with pytest.raises(ValueError, match=message):
            save(path, {name: broken[name]})


@pytest.mark.parametrize("failing", ["write", "fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(path, monkeypatch, failing):
    def broken(*_):
        raise OSError("the disk is full")

    save(path, {"x": np.ones(3)})
    before = path.read_bytes()
    if failing == "write":
        with pytest.raises(TypeError):
            save(path, {"x": np.ones(3), "y": "text"})
    else:
        monkeypatch.setattr(os, failing, broken)
        with pytest.raises(OSError, match="the disk is full"):
            save(path, {"x": np.zeros(4)})
    assert [file.read_bytes() for file in path.parent.iterdir()] == [before]


def test_a_file_is_as_readable_as_any_other(tmp_path):
    (tmp_path / "other").write_bytes(b"")
    save(tmp_path / "ours", {"x": np.ones(3)})
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_texts_of_the_user_are_kept(path):
    save(path, {"x": np.ones(3)}, metadata={"about": 'a "quoted" text'})
    assert describe(path).metadata == {"about": 'a "quoted" text'}
    assert safetensors.read(path).metadata["about"] == 'a "quoted" text'
    with pytest.raises(ValueError, match=r"save\(metadata=...\) has the reserved name 'sha256'"):
        save(path, {}, metadata={"sha256": "0"})
    numbers: Any = {"seed": 1}
    with pytest.raises(TypeError, match=r"save\(metadata=...\) has 'seed': 1; .* text"):
        save(path, {}, metadata=numbers)


LONGEST = 3_000


@pytest.mark.parametrize("letter", ["a", "é"])
def test_no_header_is_written_that_is_longer_than_readers_take(path, monkeypatch, letter):
    for module in (header, safetensors):
        monkeypatch.setattr(module, "LARGEST_HEADER", LONGEST)
    tree = {"x": np.ones(3)}
    save(path, tree)
    room = LONGEST - describe(path).header_bytes - len('"about":"",')
    letters = room // len(letter.encode())
    save(path, tree, metadata={"about": letter * letters})
    assert describe(path).metadata == {"about": letter * letters}
    before = path.read_bytes()
    message = "names and texts take .* readers take at most 3000. Keep long texts in"
    with pytest.raises(ValueError, match=message):
        save(path, tree, metadata={"about": letter * (letters + 16)})
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("tree", "metadata"),
    [({"a\ud800": np.ones(3)}, {}), ({"a\ud800": {}}, {}), ({}, {"a": "a\udc00"})],
)
def test_texts_that_utf8_does_not_have_are_refused(path, tree, metadata):
    with pytest.raises(ValueError, match=r"hold '.ud[8c]00', half a surrogate pair, .* in '.*a.ud"):
        save(path, tree, metadata=metadata)
    assert not path.exists()


def test_a_reserved_leaf_name_is_refused(path):
    with pytest.raises(ValueError, match=r"'__metadata__' is a reserved name. Rename the leaf"):
        save(path, {"__metadata__": np.ones(3)})


def test_a_template_that_does_not_fit_is_refused(path):
    save(path, {"kernel": jnp.ones((2, 3)), "bias": QTENSORS["int2"]()})
    fitting = {"kernel": jnp.ones((2, 3)), "bias": jnp.ones((9, 5))}
    load(path, like=fitting)
    wrong = {
        r"'kernel' is float32\[2, 3\] in the file and float32\[3, 2\]": {
            "kernel": jnp.ones((3, 2))
        },
        r"'kernel' is float32\[2, 3\] in the file and int32\[2, 3\]": {
            "kernel": jnp.ones((2, 3), jnp.int32)
        },
        r"'bias' is float32\[9, 5\] in the file and float32\[5, 9\]": {"bias": jnp.ones((5, 9))},
        r"'bias' is float32\[9, 5\] in the file and float16": {
            "bias": jnp.ones((9, 5), jnp.float16)
        },
        "Only in the file: none. Only in like=: more, most": {"more": 1, "most": 2},
    }
    for message, change in wrong.items():
        with pytest.raises(ValueError, match=message) as caught:
            load(path, like=fitting | change)
        assert str(caught.value).startswith(f"load({str(path)!r}, like=...)")
    with pytest.raises(ValueError, match=r"Only in the file: bias. Only in like=: none"):
        load(path, like={"kernel": jnp.ones((2, 3))})


def test_a_node_with_clashing_names_comes_back(path):
    class Clash(dict):
        pass

    jax.tree_util.register_pytree_with_keys(
        Clash,
        lambda node: ([(jax.tree_util.DictKey(key), node[key]) for key in node], tuple(node)),
        lambda keys, children: Clash(zip(keys, children, strict=True)),
    )
    tree = Clash({"a": jnp.ones(1), "a/b": jnp.ones(2)})
    save(path, tree)
    assert_same_bits(load(path, like=tree), tree)
    assert_same_bits(load(path), dict(tree))


def test_headers_stay_small(path):
    leaf, sizes = QTENSORS["int4 groups"](), []
    for count in (10, 20):
        save(path, {f"{i:02}": leaf for i in range(count)})
        sizes.append(describe(path).header_bytes)
    # "00":{"dtype":"U8","shape":[60],"data_offsets":[600,660]}, and digest and sizes
    assert sizes[1] - sizes[0] <= 10 * (62 + 60)
    assert sizes[0] <= 10 * (62 + 60) + 500
