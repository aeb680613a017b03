"""Leaves that hold leaves, codes with a correction and rotated ones, against NumPy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.corrected import Corrected
from jaxcompress.core.hadamard import block_hadamard, drawn_signs, largest_block, rotated_back
from jaxcompress.core.hadamard import rotated as rotated_vectors
from jaxcompress.core.leaf import logical, materialize
from jaxcompress.core.names import named_leaves
from jaxcompress.core.rotated import Rotated
from tests.inputs import COMPOSED, DENSE, INT4, low_rank, qtensor

EPSILON = float(np.finfo(np.float32).eps)
every_leaf = pytest.mark.parametrize("name", COMPOSED)
stacks = pytest.mark.parametrize("name", ["corrected layers", "rotated layers"])


def hadamard(size: int) -> np.ndarray:
    """Entry by entry: the sign is the parity of the bits that row and column share."""
    entries = [[(-1) ** (i & j).bit_count() for j in range(size)] for i in range(size)]
    return np.array(entries) / size**0.5


def oracle(leaf) -> np.ndarray:
    """The array in float64, matrix by matrix."""
    if isinstance(leaf, Corrected):
        return oracle(leaf.base) + oracle(leaf.correction)
    if not isinstance(leaf, Rotated):
        leaf = leaf if isinstance(leaf, jax.Array) else leaf.astype(jnp.float32).materialize()
        return np.asarray(leaf, np.float64)
    stored = oracle(leaf.leaf).transpose(leaf.permutation)
    batch, inputs = leaf.negative.shape[: leaf.batch_ndim], leaf.inputs
    matrices = stored.reshape(-1, stored.size // np.prod(batch, dtype=int) // inputs, inputs)
    blocks = np.kron(np.eye(inputs // leaf.block), hadamard(leaf.block))
    signs = (1 - 2.0 * np.asarray(leaf.negative)).reshape(-1, inputs)
    back = [m @ blocks @ np.diag(s) for m, s in zip(matrices, signs, strict=True)]
    return np.stack(back).reshape(stored.shape).transpose(np.argsort(leaf.permutation))


def assert_close(actual, leaf):
    """Sums of at most 2 · 8 terms below 127 each, and one rounding to the dtype."""
    expected, found = oracle(leaf), np.asarray(actual, np.float64)
    rounding = 32 * EPSILON + float(jnp.finfo(leaf.dtype).eps)
    np.testing.assert_allclose(found, expected, rtol=0, atol=rounding * np.abs(expected).max())


@every_leaf
def test_stands_for_the_array(name):
    """Moved and cast as stored, too."""
    leaf = COMPOSED[name]()
    permutation = tuple(np.roll(range(leaf.ndim), 1))
    moved = leaf.transpose(permutation)
    assert moved.shape == tuple(leaf.shape[axis] for axis in permutation)
    back = moved.transpose(tuple(np.argsort(permutation)))
    assert jax.tree.structure(back) == jax.tree.structure(leaf)
    each = [leaf, moved, leaf.astype(jnp.float16)]
    array, turned, half = jax.jit(lambda leaves: [jnp.asarray(w) for w in leaves])(each)
    assert (array.shape, array.dtype) == (leaf.shape, leaf.dtype)
    assert_close(array, leaf)
    assert_close(np.transpose(turned, np.argsort(permutation)), leaf)
    assert_close(half, leaf.astype(jnp.float16))


@every_leaf
def test_is_a_node_of_its_parts(name):
    leaf = COMPOSED[name]()
    assert leaf.size_bytes == sum(np.asarray(x).nbytes for x in jax.tree.leaves(leaf))
    assert logical(leaf) == jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    assert list(named_leaves({"w": leaf})) == ["w"]
    paths = [jax.tree_util.keystr(p) for p, _ in jax.tree_util.tree_leaves_with_path(leaf)]
    assert paths[0].startswith((".base.codes", ".leaf"))
    again = leaf.with_parts(leaf.parts)
    assert jax.tree.structure(again) == jax.tree.structure(leaf)


@pytest.mark.parametrize("name", ["corrected", "rotated", "rotated layers"])
def test_more_leading_axes_by_vmap(name):
    leaf = COMPOSED[name]()

    @jax.jit
    def every_way(leaf):
        twice = jax.vmap(lambda _: leaf, axis_size=2)(jnp.arange(2))
        assert twice.shape == (2, *leaf.shape)
        assert twice.stacked
        _, layers = jax.lax.scan(lambda _, layer: (None, layer.materialize()), None, twice)
        return twice.materialize()[1], layers[0]

    for array in every_way(leaf):
        assert_close(array, leaf)


@stacks
def test_a_scan_slices_layers(name):
    leaf = COMPOSED[name]()
    assert leaf.stacked
    assert_close(jax.jit(jax.vmap(lambda layer: layer.materialize()))(leaf), leaf)
    assert not COMPOSED[name.removesuffix(" layers")]().stacked


def test_prints_what_it_holds():
    assert repr(COMPOSED["corrected"]()) == (
        "Corrected(uint4 in groups of 4, rank=2, shape=(8, 5), dtype=float32)"
    )
    assert repr(COMPOSED["rotated array"]()) == "Rotated(block=8, shape=(8, 5), dtype=float32)"
    assert repr(COMPOSED["rotated"]()) == (
        "Rotated(QTensor(int4 in groups of 4, shape=(8, 5), dtype=float32), block=4, "
        "shape=(8, 5), dtype=float32)"
    )


CODES = qtensor(INT4, (5, 8), (5, 1), DENSE)
SIGNS = jnp.zeros(8, bool)


def from_parts(base, correction, dtype=jnp.float32):
    return Corrected.from_parts(base, correction, dtype=dtype)


def from_rotated(leaf=CODES, negative=SIGNS, block=8, dtype=jnp.float32, axes=DENSE):
    return Rotated.from_rotated(leaf, negative, block=block, dtype=dtype, axes=axes)


REFUSED = {
    "an array as codes": (lambda: from_parts(jnp.ones((8, 5)), CODES), "base=.* must be a QTensor"),
    "codes as a correction": (lambda: from_parts(CODES, CODES), "must be a LowRank, not QTensor"),
    "another shape": (lambda: from_parts(CODES, low_rank((8, 4), DENSE)), "a product of .8, 4."),
    "integers": (lambda: from_parts(CODES, low_rank((8, 5), DENSE), jnp.int8), "dtype.*int8"),
    "twice": (lambda: from_rotated(COMPOSED["rotated"]()), "must be an array.* not a Rotated"),
    "signs of numbers": (lambda: from_rotated(negative=jnp.ones(8)), "signs of float32"),
    "fewer signs": (
        lambda: from_rotated(negative=SIGNS[:4]),
        r"shape \(4,\) must be \(8,\)",
    ),
    "layers of signs": (lambda: from_rotated(negative=SIGNS[None]), "signs of shape"),
    "a block of 3": (lambda: from_rotated(block=3), "blocks of 3 of 8 inputs"),
    "a block of 16": (lambda: from_rotated(block=16), "blocks of 16 of 8 inputs"),
    "no block": (lambda: from_rotated(block=0), "blocks of 0 of 8 inputs"),
    "an array of integers": (lambda: from_rotated(jnp.ones((8, 5), jnp.int8)), "leaf.*int8"),
    "other axes": (lambda: from_rotated(axes=LeafAxes((1,), (2,), (0,))), "a leaf of shape"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_parts_that_do_not_fit_are_refused(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_parts_changed_apart_are_refused_in_use():
    for leaf in (COMPOSED["corrected"](), COMPOSED["rotated"]()):
        with pytest.raises(ValueError, match=r"cannot have .*jc.materialized\(fn\)"):
            jax.tree.map(lambda a: a * 1.5, leaf)
    leaf = COMPOSED["rotated array"]()
    with pytest.raises(ValueError, match=r"Rotated cannot have signs of float32"):
        jax.tree.map(lambda a: a * 1.5, leaf).materialize()
    other = dataclasses.replace(COMPOSED["corrected"](), correction=low_rank((8, 4), DENSE))
    with pytest.raises(ValueError, match=r"Corrected cannot have .* a product of \(8, 4\)"):
        other.materialize()
    assert repr(other).startswith("Corrected(base=QTensor(")


# The transform itself.


@pytest.mark.parametrize("block", [1, 2, 8, 32])
def test_the_transform_is_the_matrix(block):
    x = np.random.default_rng(0).normal(size=(3, 32)).astype(np.float32)
    matrix, negative = np.kron(np.eye(32 // block), hadamard(block)), drawn_signs(5, 32)[None]

    @jax.jit
    def every_way(x):
        turned = rotated_vectors(x, negative, block)
        return block_hadamard(x, block), turned, rotated_back(turned, negative, block)

    expected = (x @ matrix, np.where(negative, -x, x) @ matrix, x)
    bound = 16 * EPSILON * np.abs(x).max() * block**0.5
    for one, other in zip(every_way(x), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=bound)


def test_enormous_numbers_stay_finite():
    x = jnp.full((1, 64), 1e37)
    assert np.isfinite(jax.jit(block_hadamard, static_argnums=1)(x, 64)).all()


def test_the_largest_block():
    sizes = [(768, 10**6), (768, 128), (768, 100), (453, 128), (1, 1), (0, 8)]
    assert [largest_block(*each) for each in sizes] == [256, 128, 64, 1, 1, 1]


def test_signs_are_those_of_the_seed():
    """Written down: another release must draw the same."""
    drawn = [np.packbits(drawn_signs(seed, 32)).tolist() for seed in (0, 7)]
    assert drawn == [[143, 234, 195, 190], [229, 131, 242, 92]]


def test_gradients_reach_an_array_in_it():
    leaf = COMPOSED["rotated array"]()

    def loss(array):
        return jnp.sum(dataclasses.replace(leaf, leaf=array).materialize() ** 2)

    # A rotation keeps the sum of squares.
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(leaf.leaf), 2 * leaf.leaf, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["rotated", "rotated layers"])
def test_data_may_be_rotated_instead(name):
    leaf = COMPOSED[name]()
    rows = np.random.default_rng(1).normal(size=(*leaf.shape[:-2], 3, 8)).astype("f4")
    found = jax.jit(lambda leaf, x: leaf.rotated_rows(x) @ materialize(leaf.leaf))(leaf, rows)
    expected = rows @ oracle(leaf)
    bound = 64 * EPSILON * np.abs(rows).max() * np.abs(oracle(leaf)).sum(-2).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=bound)
