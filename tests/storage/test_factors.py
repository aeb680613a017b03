"""Low-rank leaves in a file: two stored factors, one leaf again, and no wrong one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.lowrank import LowRank
from jaxcompress.storage import describe, load, save, size
from jaxcompress.storage.container.factors import Joint, joined, joints, split
from tests.inputs import INT4, INT8, qtensor
from tests.storage.bits import assert_same_bits


def normal(*shape):
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape), jnp.float32)


def leaf(left, right, axes, dtype=jnp.float32) -> LowRank:
    return LowRank.from_factors(left, right, dtype=dtype, axes=axes)


MATRIX = LeafAxes((1,), (0,))
DENSE = LeafAxes((0,), (1,))
LEAVES = {
    "dense": leaf(normal(6, 2), normal(2, 8), DENSE),
    "bfloat16": leaf(
        normal(6, 2).astype(jnp.bfloat16), normal(2, 8).astype(jnp.bfloat16), DENSE, jnp.bfloat16
    ),
    "convolution": leaf(normal(6, 2), normal(2, 3, 3, 4), LeafAxes((0, 1, 2), (3,))),
    "layers of heads": leaf(normal(2, 6, 3, 2), normal(2, 2, 8), LeafAxes((1,), (2, 3), (0,))),
    "quantized": leaf(
        qtensor(INT8, (6, 2), (6, 1), MATRIX), qtensor(INT4, (2, 8), (2, 1), MATRIX), DENSE
    ),
    "half quantized": leaf(qtensor(INT8, (6, 2), (6, 1), MATRIX), normal(2, 8), DENSE),
}
every_leaf = pytest.mark.parametrize("name", LEAVES)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@every_leaf
@pytest.mark.parametrize("container", ["dict", "list", "root"])
def test_comes_back_bit_for_bit(path, name, container):
    low_rank = LEAVES[name]
    tree = {"dict": {"a": low_rank, "b": jnp.ones(3)}, "list": [low_rank, None, (low_rank,)]}
    tree = tree.get(container, low_rank)
    assert save(path, tree) == path.stat().st_size
    assert_same_bits(load(path), tree)
    assert_same_bits(load(path, like=tree), tree)


@every_leaf
def test_loads_into_a_template_of_the_array_it_stands_for(path, name):
    low_rank = LEAVES[name]
    save(path, {"a": low_rank})
    like = {"a": jax.ShapeDtypeStruct(low_rank.shape, low_rank.dtype)}
    assert_same_bits(load(path, like=like), {"a": low_rank})


@every_leaf
def test_the_size_is_that_of_its_factors(path, name):
    low_rank = LEAVES[name]
    sizes = size({"a": low_rank})
    assert sizes.disk == save(path, {"a": low_rank})
    assert sizes.dense == 4 * low_rank.size
    assert sizes.memory == low_rank.size_bytes
    assert 0 < sizes.entropy == size(low_rank.factors).entropy
    assert [stored.name for stored in describe(path).leaves] == ["a/left", "a/right"]
    assert sum(stored.size_bytes for stored in describe(path).leaves) < sizes.disk


def test_a_tree_without_one_has_no_word_of_it(path):
    save(path, {"a": jnp.ones(3)})
    assert b"low_rank" not in path.read_bytes()


def test_a_name_that_a_factor_takes_is_refused(path):
    with pytest.raises(ValueError, match=r"save\(tree\): two leaves are named 'a/left'"):
        save(path, {"a": LEAVES["dense"], "a/left": jnp.ones(3)})


def parts(name="dense"):
    return split("save", {"a": LEAVES[name]}), joints({"a": LEAVES[name]})


BROKEN = {
    "no right factor": (lambda p, j: ({"a/left": p["a/left"]}, j), "factors a/right are not there"),
    "ranks differ": (
        lambda p, j: (p | {"a/right": normal(3, 8)}, j),
        r"'a' have shapes \(6, 2\) and \(3, 8\)",
    ),
    "too many output axes": (
        lambda p, j: (p, {"a": j["a"]._replace(output_ndim=9)}),
        "have shapes",
    ),
    "no order": (
        lambda p, j: (p, {"a": j["a"]._replace(order=(-1, -1))}),
        r"order \[-1, -1\] of 'a' is no order",
    ),
    "unknown dtype": (lambda p, j: (p, {"a": Joint("object", (), 1)}), "object"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_factors_that_make_no_leaf_are_refused(name):
    change, message = BROKEN[name]
    with pytest.raises(ValueError, match=message):
        joined(*change(*parts()))


def test_the_order_of_leaves_is_kept():
    leaves = {"b": 1.0, "a": LEAVES["dense"], "c": 2.0}
    again = joined(split("save", leaves), joints(leaves))
    assert list(again) == ["b", "a", "c"]
