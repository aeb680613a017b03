"""Layers stacked along any axis, taken apart by unmodified programs.

The oracle is always the same program on the arrays that the leaves stand for.
"""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.restacked import Restacked
from jaxcompress.quantize import formats, int4, int8, quantize
from tests.inputs import on_device, rotated

X = np.random.default_rng(0).normal(size=(2, 8)).astype(np.float32)


def normal(*shape):
    return on_device(np.random.default_rng(1).normal(size=shape))


def stack_on(axis, ndim=3):
    """The axes of (in, out) kernels, or of (window, in, out), stacked on an axis."""
    *window, output = (i for i in range(ndim) if i != axis)
    return LeafAxes(tuple(window), (output,), (axis,))


@functools.cache
def low_rank(axis):
    axes = stack_on(axis)
    return jc.LowRank.from_factors(normal(3, 8, 2), normal(3, 2, 8), dtype=jnp.float32, axes=axes)


@functools.cache
def quantized(spec, axis):
    shape = [8, 8]
    shape.insert(axis, 3)
    kernel, axes = {"w": normal(*shape)}, {"w": stack_on(axis)}
    return jax.jit(lambda params: quantize(params, spec, axes=axes)[0]["w"])(kernel)


def corrected(axis):
    base = quantized(int4(), axis)
    return jc.Corrected.from_parts(base, low_rank(axis), dtype=jnp.float32)


def rotated_leaf(axis):
    return rotated(quantized(int4(), axis), stack_on(axis), block=4)


KINDS = {
    "int8 per tensor": functools.partial(quantized, int8(per="tensor")),
    "int4 groups": functools.partial(quantized, int4(group_size=2)),
    "uint4": functools.partial(quantized, formats.uint4()),
    "codebook": functools.partial(quantized, formats.codebook(3)),
    "low rank": low_rank,
    "corrected": corrected,
    "rotated": rotated_leaf,
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def restacked(kind, axis):
    leaf = KINDS[kind](axis)
    return leaf, jc.restack({"w": leaf}, {"w": stack_on(axis)})["w"]


def by_vmap(w, axis):
    return jax.vmap(lambda w: X @ w, in_axes=axis)(w)


def by_vmap_back(w, axis):
    """The leaf comes back with its layers on another axis."""
    return jax.vmap(lambda w: w, in_axes=axis, out_axes=0)(w)


def by_scan_over_moved_axes(w, axis):
    moved = jax.tree.map(lambda a: jnp.moveaxis(a, axis, 0), w)
    return jax.lax.scan(lambda x, w: (x @ w, w.sum()), X, moved)


def kept_beside(w, axis):
    """One axis of layers goes, a new one comes."""
    twice = jax.vmap(lambda _: w, axis_size=2, out_axes=1)(jnp.arange(2))
    return jax.vmap(lambda w: w.sum(), in_axes=axis + (axis >= 1))(twice)


PROGRAMS = {f.__name__: f for f in (by_vmap, by_vmap_back, by_scan_over_moved_axes, kept_beside)}


@every_kind
def test_it_stands_for_the_same_array(kind):
    leaf, moved = restacked(kind, 1)
    assert isinstance(moved, Restacked)
    assert (moved.shape, moved.dtype, moved.ndim) == (leaf.shape, leaf.dtype, 3)
    assert moved.size_bytes == leaf.size_bytes
    assert moved.transpose(2, 0, 1).shape == tuple(leaf.shape[i] for i in (2, 0, 1))
    found, turned, half = jax.jit(
        lambda w: jc.materialize([w, w.transpose(2, 0, 1), w.astype(jnp.bfloat16)])
    )(moved)
    dense = leaf.materialize()
    # In one program the sum of codes and a correction may be fused.
    exact = {"rtol": 0, "atol": 1e-6 if kind == "corrected" else 0}
    np.testing.assert_allclose(found, dense, **exact)
    np.testing.assert_allclose(turned, np.transpose(dense, (2, 0, 1)), **exact)
    assert half.dtype == jnp.bfloat16
    assert repr(moved).endswith(f"shape={leaf.shape}, stacked_axes=(1,))")


def equal(found, expected):
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@every_kind
def test_programs_take_layers_from_axis_1(kind):
    @jax.jit
    def outputs(w):
        return {name: jc.materialize(program(w, 1)) for name, program in PROGRAMS.items()}

    leaf, moved = restacked(kind, 1)
    equal(outputs(moved), outputs(leaf.materialize()))


@pytest.mark.parametrize("kind", ["int8 per tensor", "int4 groups", "low rank"])
def test_vmap_takes_layers_from_the_last_axis(kind):
    leaf, moved = restacked(kind, 2)
    expected = by_vmap(leaf.materialize(), 2)
    equal(jax.jit(lambda w: [by_vmap(w, axis) for axis in (2, -1)])(moved), [expected] * 2)


def test_another_axis_is_refused():
    """JAX refuses to map over axes of several sizes: of one layer the marker has 0."""
    _, moved = restacked("low rank", 1)
    for axis in (0, 2):
        with pytest.raises(ValueError, match="inconsistent sizes"):
            jax.vmap(lambda w: w.sum(), in_axes=axis)(moved)


@pytest.mark.parametrize("kind", ["int4 groups", "uint4"])
def test_without_it_the_message_names_it(kind):
    leaf = KINDS[kind](1)
    with pytest.raises(ValueError, match=r"jc.restack\(params, axes\).*jc.materialized\(fn\)"):
        by_vmap(leaf, 1)


def test_what_leads_and_what_is_plain_stays():
    first = quantized(int8(), 0)
    params = {"first": first, "plain": X, "w": quantized(int8(), 1)}
    axes = {"first": stack_on(0), "plain": stack_on(1, 2), "w": stack_on(1)}
    found = jc.restack(params, axes)
    assert found["first"] is first
    assert found["plain"] is X
    again = jc.restack(found, axes)
    assert again["w"] is found["w"]


def test_files_have_no_form_for_it(tmp_path):
    _, moved = restacked("low rank", 1)
    with pytest.raises(TypeError, match=r"leaf 'w' is a Restacked.* after loading"):
        jc.storage.save(tmp_path / "moved.safetensors", {"w": moved})


def test_a_leaf_mapped_to_anything_is_refused_in_use():
    odd = jax.tree.map(lambda _: None, restacked("low rank", 1)[1])
    assert repr(odd) == "Restacked(0=None, 1=None, marker=None)"
    with pytest.raises(ValueError, match=r"Restacked cannot have 0=None.* jc.materialized\(fn\)"):
        odd.materialize()


def test_leaves_of_other_axes_are_refused():
    leaf = quantized(int8(), 0)
    with pytest.raises(ValueError, match=r"restack\(axes=...\): leaf 'w', QTensor.* same axes"):
        jc.restack({"w": leaf}, {"w": stack_on(1)})
    leaf = low_rank(1)
    wide = jc.LowRank.from_factors(
        normal(3, 2), normal(3, 2, 4, 5), dtype=jnp.float32, axes=LeafAxes((0, 1), (), (2,))
    )
    with pytest.raises(ValueError, match=r"without an axis 2. .* jc.materialized\(fn\)"):
        jc.restack(
            {"w": leaf, "wide": wide}, {"w": stack_on(1), "wide": LeafAxes((0, 1), (), (2,))}
        )


def test_two_stacks():
    kernel = normal(3, 4, 2, 6)
    axes = LeafAxes((1,), (3,), (0, 2))
    leaf = jax.jit(lambda w: quantize({"w": w}, int8(), axes={"w": axes})[0]["w"])(kernel)
    moved, dense = jc.restack({"w": leaf}, {"w": axes})["w"], leaf.materialize()
    for outer, inner in ((0, 1), (2, 0)):
        program = jax.jit(jax.vmap(jax.vmap(lambda w: w.sum(axis=0), in_axes=inner), in_axes=outer))
        np.testing.assert_array_equal(program(moved), program(dense))


# Unmodified layers.


@pytest.fixture
def lenient():
    """Flax adds biases by rank promotion and warns in its own name."""
    with jax.numpy_rank_promotion("allow"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="flax")
        yield


def equal_outputs(fn, params, x):
    """Of the program on codes, and of the one that is given arrays."""
    axes = jc.graph.axes(fn, params, x)
    codes, report = quantize(params, int8(), axes=axes)
    assert any(row.changed for row in report.leaves)
    moved = jc.restack(codes, axes)
    assert any(isinstance(leaf, Restacked) for leaf in jc.named_leaves(moved).values())
    equal(jax.jit(fn)(moved, x), jax.jit(jc.materialized(fn))(codes, x))


@pytest.mark.usefixtures("lenient")
@pytest.mark.parametrize("lifted", ["scan", "vmap"])
def test_linen(lifted):
    nn = pytest.importorskip("flax.linen")

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return nn.tanh(nn.Dense(8)(x)), None

    lift = {
        "scan": functools.partial(nn.scan, length=3),
        "vmap": functools.partial(nn.vmap, in_axes=(0, None)),
    }[lifted]
    module = lift(Block, variable_axes={"params": 1}, split_rngs={"params": True})()
    x = X if lifted == "scan" else np.stack([X, 2 * X, -X])
    params = module.init(jax.random.key(0), x, None)
    equal_outputs(lambda params, x: module.apply(params, x, None)[0], params, x)


@pytest.mark.usefixtures("lenient")
def test_nnx():
    nnx = pytest.importorskip("flax.nnx")
    state_axes = nnx.StateAxes({nnx.Param: 1, ...: None})

    @nnx.vmap(in_axes=0, out_axes=state_axes)
    def layers(key):
        return nnx.Linear(8, 8, rngs=nnx.Rngs(key))

    graph, params = nnx.split(layers(jax.random.split(jax.random.key(0), 3)), nnx.Param)

    @nnx.scan(in_axes=(state_axes, nnx.Carry), out_axes=nnx.Carry)
    def run(layer, x):
        return jnp.tanh(layer(x))

    equal_outputs(lambda params, x: run(nnx.merge(graph, params), x), params, X)
