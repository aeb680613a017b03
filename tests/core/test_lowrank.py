"""The low-rank leaf: every layout against a plain product, and four frameworks."""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.leaf import CompressedLeaf, logical, materialize
from jaxcompress.core.lowrank import LowRank
from jaxcompress.core.names import named_leaves
from tests.inputs import INT8, qtensor

EPSILON = float(np.finfo(np.float32).eps)


class Case(NamedTuple):
    name: str
    shape: tuple[int, ...]
    axes: LeafAxes

    @property
    def stored(self) -> tuple[int, ...]:
        return tuple(self.shape[axis] for axis in self.axes.order)

    @property
    def factors(self) -> tuple[np.ndarray, np.ndarray]:
        """Two random factors of rank 2."""
        random = np.random.default_rng(len(self.name))
        batch, outputs = len(self.axes.batch), len(self.axes.batch + self.axes.output)
        left = random.standard_normal((*self.stored[:outputs], 2)).astype(np.float32)
        right = random.standard_normal((*self.stored[:batch], 2, *self.stored[outputs:]))
        return left, right.astype(np.float32)

    def leaf(self, dtype=jnp.float32) -> LowRank:
        left, right = map(jnp.asarray, self.factors)
        return LowRank.from_factors(left, right, dtype=dtype, axes=self.axes)

    def oracle(self) -> np.ndarray:
        """One matrix after another, in float64."""
        left, right = (factor.astype(np.float64) for factor in self.factors)
        batch = math.prod(self.stored[: len(self.axes.batch)])
        products = [
            a @ b
            for a, b in zip(left.reshape(batch, -1, 2), right.reshape(batch, 2, -1), strict=True)
        ]
        return np.stack(products).reshape(self.stored).transpose(np.argsort(self.axes.order))


CASES = [
    Case("dense", (4, 3), LeafAxes((0,), (1,))),
    Case("dense, outputs first", (4, 3), LeafAxes((1,), (0,))),
    Case("convolution", (3, 2, 4, 5), LeafAxes((0, 1, 2), (3,))),
    Case("convolution, outputs first", (5, 4, 3, 2), LeafAxes((1, 2, 3), (0,))),
    Case("to heads", (6, 2, 3), LeafAxes((0,), (1, 2))),
    Case("from heads", (2, 3, 6), LeafAxes((0, 1), (2,))),
    Case("layers", (3, 4, 5), LeafAxes((1,), (2,), (0,))),
    Case("layers of convolutions", (2, 3, 3, 2, 4), LeafAxes((1, 2, 3), (4,), (0,))),
    Case("experts inside", (4, 3, 5), LeafAxes((0,), (2,), (1,))),
    Case("layers of experts", (2, 3, 4, 5), LeafAxes((2,), (3,), (0, 1))),
]
every_layout = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def assert_product(actual, expected: np.ndarray):
    """Two products and their sum, of factors below 4: at most three roundings of 32."""
    np.testing.assert_allclose(actual, expected, rtol=0, atol=3 * 32 * EPSILON)


@every_layout
def test_stands_for_the_product(case):
    leaf = case.leaf()
    assert (leaf.shape, leaf.dtype, leaf.rank) == (case.shape, np.float32, 2)
    assert (leaf.ndim, leaf.size) == (len(case.shape), math.prod(case.shape))
    assert leaf.size_bytes == sum(factor.nbytes for factor in case.factors)
    assert_product(leaf.materialize(), case.oracle())


@every_layout
def test_is_a_leaf_that_jit_and_trees_take_apart(case):
    leaf = case.leaf()
    paths, treedef = jax.tree_util.tree_flatten_with_path(leaf)
    assert [jax.tree_util.keystr(path) for path, _ in paths] == [".left", ".right"]
    same = jax.tree.unflatten(treedef, [x for _, x in paths])
    assert (same.shape, same.order, same.output_ndim) == (leaf.shape, leaf.order, leaf.output_ndim)
    assert_product(jax.jit(lambda leaf: jnp.asarray(leaf.materialize()))(leaf), case.oracle())
    assert list(named_leaves({"kernel": leaf})) == ["kernel"]
    assert logical(leaf) == jax.ShapeDtypeStruct(case.shape, np.float32)
    assert jax.eval_shape(lambda leaf: leaf, leaf).shape == case.shape


@every_layout
def test_transposes_without_computing(case):
    leaf = case.leaf()
    permutation = tuple(np.roll(range(leaf.ndim), 1))
    moved = leaf.transpose(permutation)
    assert moved.left is leaf.left
    assert moved.right is leaf.right
    assert_product(moved.materialize(), case.oracle().transpose(permutation))
    assert_product(leaf.T.materialize(), case.oracle().T)
    back = moved.transpose(tuple(np.argsort(permutation)))
    assert back.order == leaf.order


@every_layout
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=str)
def test_rounds_to_its_dtype_once(case, dtype):
    leaf = case.leaf().astype(dtype)
    assert leaf.materialize().dtype == dtype
    np.testing.assert_array_equal(leaf.materialize(), case.leaf().materialize().astype(dtype))


@every_layout
def test_more_leading_axes_by_vmap(case):
    leaf = case.leaf()
    twice = jax.vmap(lambda scale: dataclasses.replace(leaf, left=leaf.left * scale))(
        jnp.array([1.0, 2.0])
    )
    assert twice.shape == (2, *case.shape)
    assert twice.stacked
    assert_product(twice.materialize()[1] / 2, case.oracle())


@pytest.mark.parametrize("case", [case for case in CASES if "layers" in case.name], ids=str)
def test_a_scan_slices_it(case):
    leaf = case.leaf()
    assert leaf.stacked
    _, layers = jax.lax.scan(lambda _, layer: (None, layer.materialize()), None, leaf)
    assert_product(layers, case.oracle())
    assert_product(jax.vmap(lambda layer: layer.materialize())(leaf), case.oracle())


@pytest.mark.parametrize("name", ["dense", "experts inside"])
def test_is_not_stacked_where_its_first_axis_is_not_that_of_its_factors(name):
    case = next(case for case in CASES if case.name == name)
    assert not case.leaf().stacked


def test_acts_like_an_array_where_layers_ask():
    leaf, kernel = CASES[0].leaf(), CASES[0].oracle().astype(np.float32)
    x = jnp.ones((2, 4))
    assert leaf[...] is leaf
    np.testing.assert_array_equal(leaf[1], leaf.materialize()[1])
    np.testing.assert_allclose(x @ leaf, x @ kernel, rtol=0, atol=1e-4)
    np.testing.assert_array_equal(jnp.asarray(leaf), leaf.materialize())
    np.testing.assert_array_equal(materialize({"a": leaf})["a"], leaf.materialize())


def test_gradients_reach_the_factors():
    leaf = CASES[0].leaf()
    grads = jax.grad(lambda leaf: jnp.sum(jnp.ones((2, 4)) @ leaf))(leaf)
    left, right = CASES[0].factors
    assert isinstance(grads, LowRank)
    np.testing.assert_allclose(grads.left, 2 * np.tile(right.sum(1), (3, 1)), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        grads.right, 2 * np.tile(left.sum(0)[:, None], (1, 4)), rtol=1e-5, atol=1e-5
    )


def quantized_layers() -> LowRank:
    left = qtensor(INT8, (3, 5, 2), (3, 5, 1), LeafAxes((2,), (1,), (0,)))
    right = qtensor(INT8, (3, 2, 4), (3, 2, 1), LeafAxes((2,), (1,), (0,)), seed=1)
    axes = LeafAxes((1,), (2,), (0,))
    return LowRank.from_factors(left, right, dtype=jnp.float32, axes=axes)


def test_factors_may_be_quantized():
    leaf = quantized_layers()
    assert leaf.factor_axes == {
        "left": LeafAxes((2,), (1,), (0,)),
        "right": LeafAxes((2,), (1,), (0,)),
    }
    left, right = (np.asarray(factor.materialize(), np.float64) for factor in leaf.factors.values())
    expected = np.einsum("lor,lri->lio", left, right)
    scale = np.abs(left).max() * np.abs(right).max()
    np.testing.assert_allclose(leaf.materialize(), expected, rtol=0, atol=4 * EPSILON * scale)
    assert leaf.stacked
    _, layers = jax.lax.scan(lambda _, layer: (None, layer.materialize()), None, leaf)
    np.testing.assert_array_equal(layers, leaf.materialize())
    assert leaf.size_bytes == sum(factor.size_bytes for factor in leaf.factors.values())


def test_prints_its_rank_shape_and_specs():
    assert repr(CASES[0].leaf()) == "LowRank(rank=2, shape=(4, 3), dtype=float32)"
    assert repr(quantized_layers()) == (
        "LowRank(rank=2, shape=(3, 4, 5), dtype=float32, left=int8 per channel, "
        "right=int8 per channel)"
    )


@pytest.mark.parametrize(
    ("left", "right"),
    [((5, 2), (3, 4)), ((5, 2), (2,)), ((2, 5, 2), (2, 4)), ((2, 5, 2), (2, 2, 4))],
    ids=["ranks differ", "no contracting axis", "a batch on the left", "a batch on both"],
)
def test_factors_that_do_not_fit_are_refused(left, right):
    with pytest.raises(ValueError, match=r"from_factors\(left, right\): shapes .* must be"):
        LowRank.from_factors(
            jnp.ones(left), jnp.ones(right), dtype=jnp.float32, axes=LeafAxes((0,), (1,))
        )


DENSE = CASES[0].leaf()
CONVOLUTION = CASES[2].leaf()


def test_linen_takes_it():
    linen = pytest.importorskip("flax.linen")
    x = jnp.ones((2, 4))
    apply = jax.jit(linen.Dense(3, use_bias=False).apply)
    expected = apply({"params": {"kernel": DENSE.materialize()}}, x)
    np.testing.assert_array_equal(apply({"params": {"kernel": DENSE}}, x), expected)

    image = jnp.ones((1, 5, 5, 4))
    apply = jax.jit(linen.Conv(5, (3, 2), use_bias=False).apply)
    expected = apply({"params": {"kernel": CONVOLUTION.materialize()}}, image)
    np.testing.assert_array_equal(apply({"params": {"kernel": CONVOLUTION}}, image), expected)


def test_nnx_takes_it():
    nnx = pytest.importorskip("flax.nnx")
    layer = nnx.Linear(4, 3, use_bias=False, rngs=nnx.Rngs(0))
    layer.kernel = nnx.Param(DENSE)
    x = jnp.ones((2, 4))
    np.testing.assert_array_equal(nnx.jit(lambda m, x: m(x))(layer, x), x @ DENSE.materialize())


def test_equinox_takes_it():
    equinox = pytest.importorskip("equinox")
    layer = equinox.nn.Linear(3, 4, use_bias=False, key=jax.random.key(0))
    layer = equinox.tree_at(lambda layer: layer.weight, layer, DENSE)
    x = jnp.ones(3)
    np.testing.assert_array_equal(equinox.filter_jit(layer)(x), DENSE.materialize() @ x)


def test_haiku_takes_it():
    haiku = pytest.importorskip("haiku")
    model = haiku.without_apply_rng(
        haiku.transform(lambda x: haiku.Linear(3, with_bias=False, name="dense")(x))
    )
    x = jnp.ones((2, 4))
    outputs = jax.jit(model.apply)({"dense": {"w": DENSE}}, x)
    np.testing.assert_array_equal(outputs, x @ DENSE.materialize())


def test_linen_counts_it_as_boxed():
    meta = pytest.importorskip("flax.core.meta")
    assert issubclass(CompressedLeaf, meta.AxisMetadata)
    np.testing.assert_array_equal(DENSE.unbox(), DENSE.materialize())
