"""The quantized leaf: invariants, JAX's transformations, layers of four libraries."""

import subprocess
import sys
import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxcompress as jc
from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.formats.coding import decode
from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.formats.sharing import spread
from jaxcompress.core.qtensor import QTensor
from jaxcompress.quantize import formats, int4, int8, quantize
from jaxcompress.quantize.formats import uint4, uint8
from tests.inputs import on_device

SPECS = [
    *(int8(), int4(), int4(group_size=2), uint8(per="tensor"), uint4()),
    *(formats.fp4(group_size=2, scales="e4m3"), formats.codebook(4)),
]
every_spec = pytest.mark.parametrize("spec", SPECS, ids=str)
CONV = LeafAxes((0, 1, 2), (3,))


def normal(*shape, seed=0):
    return on_device(np.random.default_rng(seed).normal(size=shape))


def stored(x, spec, axes=None):
    """Quantized in one program, which compiles faster than operation by operation."""
    axes = None if axes is None else {"w": axes}
    return jax.jit(lambda x: quantize({"w": x}, spec, axes=axes)[0]["w"])(x)


# Invariants


@every_spec
def test_children_and_shapes(spec):
    leaf = stored(normal(3, 1, 4, 5), spec, CONV)
    assert leaf.shape == (3, 1, 4, 5)
    assert (leaf.ndim, leaf.size, leaf.dtype) == (4, 60, jnp.float32)
    assert leaf.stored_shape == (5, 3, 1, 4)
    assert leaf.codes.shape == (5, 3, 1, 4 * spec.bits // 8)
    assert leaf.codes.dtype == spec.stored_dtype
    assert leaf.scale.ndim == leaf.codes.ndim
    assert all(
        size % count == 0 for size, count in zip(leaf.stored_shape, leaf.scale.shape, strict=True)
    )
    assert (leaf.zero_point is None) == spec.symmetric
    assert leaf.size_bytes == sum(child.nbytes for child in jax.tree.leaves(leaf))
    assert repr(leaf) == f"QTensor({spec}, shape=(3, 1, 4, 5), dtype=float32)"


@every_spec
def test_materialize_is_the_plain_arithmetic(spec):
    leaf = stored(normal(3, 1, 4, 5), spec, CONV)
    codes = np.asarray(leaf.unpacked_codes, np.float32)
    assert codes.min() >= spec.lowest
    assert codes.max() <= spec.highest
    values = np.empty_like(codes)
    for index in np.ndindex(codes.shape):
        block = tuple(
            i // (size // count)
            for i, size, count in zip(index, codes.shape, leaf.scale.shape, strict=True)
        )
        zero = 0 if leaf.zero_point is None else np.float32(leaf.zero_point[block])
        level = (
            spec.levels.value(codes[index] - zero)
            if leaf.codebook is None
            else (leaf.codebook[0, 0, 0, 0, int(codes[index])])
        )
        values[index] = np.float32(level) * np.float32(leaf.scales[block])
    np.testing.assert_array_equal(leaf.materialize(), np.transpose(values, (1, 2, 3, 0)))


@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_packed_lengths(length):
    leaf = stored(normal(length, 2), int4())
    assert leaf.codes.shape == (2, -(-length // 2))
    assert leaf.shape == leaf.materialize().shape == (length, 2)


def test_spread_repeats_over_blocks():
    blocks = jnp.asarray([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(
        np.broadcast_to(spread(blocks, (2, 4)), (2, 4)), [[1, 1, 2, 2], [3, 3, 4, 4]]
    )
    values = decode(jnp.ones((2, 4)), Grid(blocks), int4(group_size=2))
    np.testing.assert_array_equal(values[1], [3, 3, 4, 4])


@pytest.mark.parametrize("permutation", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
def test_transpose_is_that_of_the_array(permutation):
    leaf = stored(normal(3, 1, 4, 5), int4(), CONV)
    moved = leaf.transpose(permutation)
    assert moved.codes is leaf.codes
    assert moved.shape == tuple(leaf.shape[axis] for axis in permutation)
    np.testing.assert_array_equal(
        moved.materialize(), jnp.transpose(leaf.materialize(), permutation)
    )
    np.testing.assert_array_equal(leaf.T.materialize(), leaf.materialize().T)


def test_as_an_operand():
    leaf = stored(normal(4, 3), int8())
    dense = leaf.materialize()
    x = normal(2, 4)
    assert leaf[...] is leaf
    np.testing.assert_array_equal(leaf[1], dense[1])
    np.testing.assert_array_equal(x @ leaf, x @ dense)
    np.testing.assert_array_equal(jnp.einsum("ab,bc->ac", x, leaf), x @ dense)
    np.testing.assert_array_equal(
        jnp.take(leaf, jnp.asarray([2, 0]), axis=0), dense[np.asarray([2, 0])]
    )
    np.testing.assert_array_equal(leaf.astype(jnp.int32), dense.astype(jnp.int32))
    half = leaf.astype(jnp.bfloat16)
    assert half.dtype == half.materialize().dtype == jnp.bfloat16


# JAX's transformations


@every_spec
def test_jit_and_closing_over(spec):
    leaf = stored(normal(8, 3), spec)
    expected = leaf.materialize()
    np.testing.assert_array_equal(jax.jit(lambda w: w.materialize())(leaf), expected)
    np.testing.assert_array_equal(jax.jit(lambda: leaf.materialize())(), expected)
    back = jax.jit(lambda w: w)(leaf)
    assert isinstance(back, QTensor)
    assert jax.tree.structure(back) == jax.tree.structure(leaf)


@every_spec
@pytest.mark.parametrize("axes", [LeafAxes((1,), (2,), (0,)), LeafAxes((2,), (1,), (0,))], ids=str)
def test_vmap_and_scan_take_layers_apart(spec, axes):
    leaf = stored(normal(3, 4, 6), spec, axes)
    dense = leaf.materialize()
    mapped = jax.vmap(lambda w: w.materialize())(leaf)
    np.testing.assert_array_equal(mapped, dense)
    _, scanned = jax.lax.scan(lambda carry, w: (carry, w.materialize()), 0, leaf)
    np.testing.assert_array_equal(scanned, dense)
    _, shapes = jax.lax.scan(lambda carry, w: (carry, jnp.zeros(w.shape)), 0, leaf)
    assert shapes.shape == dense.shape


def test_vmap_makes_a_stack():
    stack = normal(3, 4, 2)
    leaf = jax.vmap(lambda w: stored(w, int4()))(stack)
    assert leaf.shape == (3, 4, 2)
    for one, dense in zip(stack, leaf.materialize(), strict=True):
        np.testing.assert_array_equal(dense, stored(one, int4()).materialize())


def test_donation():
    leaf = stored(normal(4, 3), int8())
    expected = np.asarray(leaf.materialize())
    moved = jax.jit(lambda w: w, donate_argnums=0)(leaf)
    assert leaf.codes.is_deleted()
    np.testing.assert_array_equal(moved.materialize(), expected)


@every_spec
def test_eval_shape(spec):
    leaf = stored(normal(8, 3), spec)
    shapes = jax.eval_shape(lambda: leaf)
    assert isinstance(shapes, QTensor)
    assert (shapes.shape, shapes.dtype) == (leaf.shape, leaf.dtype)
    out = jax.eval_shape(lambda w: w.materialize(), shapes)
    assert (out.shape, out.dtype) == (leaf.shape, leaf.dtype)


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=str)
@pytest.mark.parametrize(
    "spec",
    [
        *(int8(), int4(), int4(group_size=2), formats.nf4(scales="e4m3"), formats.codebook(3)),
        formats.fp8_e4m3(block=(2, 2), scales="power_of_two"),
    ],
    ids=str,
)
def test_eight_devices(mesh, axis_type, spec):
    devices = mesh(model=8, axis_type=axis_type)
    leaf = stored(normal(4, 16), spec)
    dense = np.asarray(leaf.materialize())
    sharding = NamedSharding(devices, P("model"))  # the outputs lead in stored order
    whole = NamedSharding(devices, P())  # as what all outputs share must be
    places = jax.tree.map(lambda x: sharding if x.shape[0] % 8 == 0 else whole, leaf)
    spread_out = jax.device_put(leaf, places)
    assert spread_out.codes.sharding == sharding
    with jax.set_mesh(devices):
        np.testing.assert_array_equal(jax.jit(jc.materialize)(spread_out), dense)
        # Quantizing a sharded array gives the same codes.
        sharded = jax.device_put(normal(4, 16), NamedSharding(devices, P(None, "model")))
        again = jax.jit(lambda w: quantize({"w": w}, spec)[0]["w"])(sharded)
    for found, expected in zip(jax.tree.leaves(again), jax.tree.leaves(leaf), strict=True):
        np.testing.assert_array_equal(found, expected)


# Unmodified layers


class Layer(NamedTuple):
    """A layer's function of its params and the inputs to try it on."""

    params: object
    fn: object
    inputs: tuple


def equal_outputs(layer, axes=None, terms=0):
    """Quantized leaves give, in the same layer, what their arrays give.

    The arrays are formed under the same jit: how XLA sums depends on what it fuses. So
    inside a loop, where they are formed elsewhere, `terms` sums in a row may round.
    """
    params, report = quantize(layer.params, int8(), axes=axes)
    assert any(row.changed for row in report.leaves)
    found = jax.jit(layer.fn)(params, *layer.inputs)
    expected = jax.jit(lambda params, *inputs: layer.fn(jc.materialize(params), *inputs))(
        params, *layer.inputs
    )
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        rounding = terms * float(jnp.finfo(jnp.float32).eps)
        np.testing.assert_allclose(one, other, rtol=0, atol=rounding)


@pytest.fixture
def lenient():
    """Flax adds biases by rank promotion and warns in its own name."""
    with jax.numpy_rank_promotion("allow"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="flax")
        yield


X = np.random.default_rng(0).normal(size=(2, 6, 8)).astype(np.float32)
TOKENS = np.asarray([[1, 0, 3]])
LINEN = {
    "Dense": lambda nn: (nn.Dense(5), X),
    "DenseGeneral": lambda nn: (nn.DenseGeneral((3, 2), axis=-1), X),
    "Conv": lambda nn: (nn.Conv(4, (3,)), X),
    "Embed": lambda nn: (nn.Embed(7, 4), TOKENS),
    "Einsum": lambda nn: (nn.Einsum((8, 5), "bti,io->bto"), X),
    "attention": lambda nn: (nn.MultiHeadDotProductAttention(2), X),
    "LSTM": lambda nn: (nn.RNN(nn.LSTMCell(4)), X),
    "remat": lambda nn: (nn.remat(nn.Dense)(5), X),
    "scan": lambda nn: (scanned_layers(nn), X),
}


# Steps or layers times terms of each sum; the outputs are at most 1.
TERMS = {"LSTM": 6 * (8 + 4), "scan": 3 * 8}


def scanned_layers(nn):
    class Block(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return nn.tanh(nn.Dense(8)(x)), None

    return nn.scan(Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)()


@pytest.mark.usefixtures("lenient")
@pytest.mark.parametrize("name", LINEN)
def test_linen(name):
    nn = pytest.importorskip("flax.linen")
    module, x = LINEN[name](nn)
    inputs = (x, None) if name == "scan" else (x,)
    params = module.init(jax.random.key(0), *inputs)
    # Which axis holds the layers only the program knows.
    axes = jc.graph.axes(module.apply, params, *inputs) if name == "scan" else None
    equal_outputs(Layer(params, module.apply, inputs), axes=axes, terms=TERMS.get(name, 0))


NNX = {
    "Linear": lambda nnx: (nnx.Linear(8, 5, rngs=nnx.Rngs(0)), X),
    "LinearGeneral": lambda nnx: (nnx.LinearGeneral(8, (3, 2), rngs=nnx.Rngs(0)), X),
    "Conv": lambda nnx: (nnx.Conv(8, 4, (3,), rngs=nnx.Rngs(0)), X),
    "Embed": lambda nnx: (nnx.Embed(7, 4, rngs=nnx.Rngs(0)), TOKENS),
    "attention": lambda nnx: (
        nnx.MultiHeadAttention(2, 8, decode=False, rngs=nnx.Rngs(0)),
        X,
    ),
}


@pytest.mark.usefixtures("lenient")
@pytest.mark.parametrize("name", NNX)
def test_nnx(name):
    nnx = pytest.importorskip("flax.nnx")
    model, x = NNX[name](nnx)
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    equal_outputs(Layer(params, lambda params, x: nnx.merge(graph, params, rest)(x), (x,)))


def test_equinox():
    eqx = pytest.importorskip("equinox")
    model = eqx.nn.MLP(8, 5, 6, 2, key=jax.random.key(0))
    params, static = eqx.partition(model, eqx.is_inexact_array)
    equal_outputs(Layer(params, lambda params, x: jc.combine(params, static)(x), (X[0, 0],)))


@pytest.mark.usefixtures("lenient")
def test_haiku():
    hk = pytest.importorskip("haiku")
    model = hk.without_apply_rng(hk.transform(lambda x: hk.Linear(5)(x)))
    equal_outputs(Layer(model.init(jax.random.key(0), X), model.apply, (X,)))


@pytest.mark.parametrize("first", ["flax", "jaxcompress"])
def test_import_order_with_flax(first):
    pytest.importorskip("flax")
    second = "flax" if first == "jaxcompress" else "jaxcompress"
    program = f"""
import warnings
import jax, jax.numpy as jnp
warnings.simplefilter("ignore")
import {first}
if {first!r} == "jaxcompress":
    import jaxcompress as jc
    params, _ = jc.quantize.quantize({{"kernel": jnp.ones((8, 5))}}, jc.quantize.int8())
import {second}
import jaxcompress as jc, flax.linen as nn
if {first!r} == "flax":
    params, _ = jc.quantize.quantize({{"kernel": jnp.ones((8, 5))}}, jc.quantize.int8())
layer = nn.Dense(5, use_bias=False)
print(float(jax.jit(layer.apply)({{"params": params}}, jnp.ones((2, 8))).sum()))
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, text=True
    )
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) == 80.0
