"""Leaves that hold leaves in a file: one leaf again, bit for bit, and no wrong one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.storage import describe, load, load_leaf, save, size
from jaxcompress.storage.container.forms.corrected import CORRECTED
from jaxcompress.storage.container.forms.rotated import ROTATED
from jaxcompress.storage.container.limits import leaf_bytes
from tests.inputs import COMPOSED, DENSE, low_rank
from tests.storage.bits import assert_same_bits


def test_they_come_back_bit_for_bit(tmp_path):
    path, tree = tmp_path / "model.safetensors", {name: make() for name, make in COMPOSED.items()}
    assert save(path, tree) == path.stat().st_size == size(tree).disk
    assert_same_bits(load(path), tree)
    like = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in tree.items()}
    assert_same_bits(load(path, like=like), tree)
    assert_same_bits(load_leaf(path, "rotated correction"), tree["rotated correction"])
    told = {stored.name: stored.spec for stored in describe(path).leaves}
    assert told["corrected"] == "uint4 in groups of 4 + low rank: plain · plain"
    assert told["rotated array"] == "plain, rotated in blocks of 8"
    assert told["rotated correction"] == (
        "int4 in groups of 4 + low rank: int8 per channel · int8 per channel, "
        "rotated in blocks of 8"
    )


def test_bytes_are_those_of_the_parts(tmp_path):
    """Signs take a bit each in a file, and a byte in memory."""
    leaf = COMPOSED["rotated array"]()
    stored = save(tmp_path / "leaf", {"w": leaf}) - save(tmp_path / "array", {"w": leaf.leaf})
    [row] = describe(tmp_path / "leaf").leaves
    assert row.size_bytes == 4 * 8 * 5 + 1
    assert stored < 400
    assert leaf_bytes(leaf) == 4 * 8 * 5 + 8
    assert leaf_bytes(COMPOSED["corrected"]()) == 8 * 5 + 2 * 4 * 5 * 2 + 4 * 2 * (5 + 8)


CODES, PRODUCT, SIGNS = (
    COMPOSED["corrected"]().base,
    low_rank((8, 5), DENSE),
    np.zeros((1, 8), bool),
)
ROTATION = ["float32", [-1, -2], 1, 1, 8]
BROKEN = {
    "no correction": (CORRECTED, ["float32"], {"base": CODES}, "no codes and product"),
    "no dtype": (CORRECTED, [], {"base": CODES, "correction": PRODUCT}, "not the dtype"),
    "half a rotation": (ROTATED, ["float32"], {"leaf": CODES, "negative": SIGNS}, "not dtype, o"),
    "no signs": (ROTATED, ROTATION, {"leaf": CODES}, r"parts \['leaf'\]"),
    "codes for signs": (ROTATED, ROTATION, {"leaf": CODES, "negative": CODES}, "signs are none"),
    "integers": (ROTATED, ROTATION, {"leaf": jnp.ones((8, 5), int), "negative": SIGNS}, "of int32"),
    "no order": (
        ROTATED,
        ["float32", [-1, -1], 1, 1, 8],
        {"leaf": CODES, "negative": SIGNS},
        "not an order of 2 axes",
    ),
    "no size": (
        ROTATED,
        ["float32", [-1, -2], 1, 1, -8],
        {"leaf": CODES, "negative": SIGNS},
        "-8 is not a size",
    ),
    "no axes": (
        ROTATED,
        ["float32", [-1, -2], 3, 1, 8],
        {"leaf": CODES, "negative": SIGNS},
        "signs of shape",
    ),
}


@pytest.mark.parametrize(("form", "fields", "parts", "message"), BROKEN.values(), ids=BROKEN)
def test_parts_that_make_no_leaf_are_refused(form, fields, parts, message):
    with pytest.raises(ValueError, match=message):
        form.outlined(fields, parts, ())


def test_what_is_broken_is_one_thing():
    whole = {"leaf": CODES, "negative": SIGNS}
    assert ROTATED.outlined(ROTATION, whole, ()).shape == (8, 5)
    parts = {"base": CODES, "correction": PRODUCT}
    assert CORRECTED.outlined(["float32"], parts, ()).shape == (8, 5)
