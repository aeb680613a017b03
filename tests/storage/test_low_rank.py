"""Low-rank leaves in a file: two stored factors, one leaf again, and no wrong one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.lowrank import LowRank
from jaxcompress.storage import describe, load, save, size
from jaxcompress.storage.container.forms.low_rank import LOW_RANK
from tests.inputs import INT4, INT8, on_device, qtensor
from tests.storage.bits import assert_same_bits


def normal(*shape):
    return on_device(np.random.default_rng(0).standard_normal(shape))


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
    [stored] = describe(path).leaves
    assert (stored.name, stored.shape, stored.dtype) == ("a", low_rank.shape, low_rank.dtype.name)
    assert stored.spec.startswith("low rank: ")
    assert stored.size_bytes < sizes.disk


def test_specs_of_factors_are_told(path):
    save(path, {"a": LEAVES["quantized"], "b": LEAVES["half quantized"]})
    specs = [stored.spec for stored in describe(path).leaves]
    assert specs == [
        f"low rank: {INT8} · {INT4}",
        f"low rank: {INT8} · plain",
    ]


def test_a_tree_without_one_has_no_word_of_it(path):
    save(path, {"a": jnp.ones(3)})
    assert b"low_rank" not in path.read_bytes()


def test_a_leaf_may_have_the_name_of_a_factor(path):
    tree = {"a": LEAVES["dense"], "a/left": jnp.ones(3)}
    save(path, tree)
    assert_same_bits(load(path), tree)


FACTORS = {"left": normal(6, 2), "right": normal(2, 8)}
BROKEN = {
    "no right factor": ([{"left": FACTORS["left"]}], r"parts \['left'\] in a low-rank leaf"),
    "ranks differ": (
        [FACTORS | {"right": normal(3, 8)}],
        r"shapes \(6, 2\) and \(3, 8\) have no product",
    ),
    "too many output axes": ([FACTORS, "float32", [-1, -2], 9], "have no product"),
    "no order": ([FACTORS, "float32", [-1, -1]], r"\[-1, -1\] is not an order of 2 axes"),
    "unknown dtype": ([FACTORS, "object"], "'object' is not a dtype"),
    "a factor of ints": ([FACTORS | {"left": jnp.ones((6, 2), int)}], "has a left factor of int32"),
    "no number of axes": ([FACTORS, "float32", [], -1], "-1 is not a size"),
}


def built(factors, dtype="float32", order=(), output_ndim=1):
    return LOW_RANK.outlined([dtype, list(order), output_ndim], factors, ())


@pytest.mark.parametrize(("arguments", "message"), BROKEN.values(), ids=BROKEN)
def test_factors_that_make_no_leaf_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        built(*arguments)


def test_the_factors_are_broken_by_one_thing():
    assert built(FACTORS).shape == (6, 8)


def test_the_order_of_leaves_is_kept(path):
    leaves = {"a": 1.0, "b": LEAVES["dense"], "c": 2.0}
    save(path, leaves)
    assert [stored.name for stored in describe(path).leaves] == list(leaves)
