"""Trees put together from arrays of compressed leaves: what passes, what is refused."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

import jaxcompress as jc
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.lowrank import LowRank
from jaxcompress.quantize import formats, quantize
from tests.inputs import DENSE, QTENSORS

# As NumPy arrays, since few changes of them compile anything.
EVERY = {name: jax.tree.map(np.asarray, make()) for name, make in QTENSORS.items()}
EVERY |= {
    str(spec): jax.tree.map(
        np.asarray,
        quantize({"w": np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)}, spec)[0][
            "w"
        ],
    )
    for spec in (formats.nf4(group_size=4, scales="e4m3"), formats.codebook(3, group_size=2))
}
INT8, UINT4 = EVERY["int8 per channel"], EVERY["uint4 groups"]
SMALL = [INT8, UINT4, EVERY["int4 layers"], *list(EVERY.values())[-2:]]
every_kind = pytest.mark.parametrize("leaf", SMALL, ids=str)


# What stays a leaf, and stands for what the same change makes of the array.

STILL_LEAVES = {
    "nothing": (lambda a: a, lambda w: w),
    "to NumPy": (np.asarray, lambda w: w),
    "a stack": (lambda a: np.stack([a, a]), lambda w: np.stack([w, w])),
    "one of a stack": (lambda a: np.stack([a, a])[1], lambda w: w),
}


@every_kind
@pytest.mark.parametrize("name", STILL_LEAVES)
def test_what_is_done_to_whole_arrays_is_done_to_the_leaf(leaf, name):
    function, oracle = STILL_LEAVES[name]
    changed = jax.tree.map(function, leaf)
    np.testing.assert_array_equal(changed.materialize(), oracle(leaf.materialize()))


def test_numbers_of_one_code_each_may_be_sliced_and_moved():
    """Eight-bit codes lie one by one; along the outputs packed ones do too."""
    dense = INT8.materialize()  # stored as (outputs, inputs)
    for cut, expected in [
        (lambda a: a[1:3], dense[:, 1:3]),
        (lambda a: a[:, :3], dense[:3]),
        (lambda a: a.T, dense.T),
    ]:
        changed = jax.tree.map(cut, INT8)
        assert changed.shape == expected.shape
        np.testing.assert_array_equal(changed.materialize(), expected)
    np.testing.assert_array_equal(
        jax.tree.map(lambda a: a[1:3], UINT4).materialize(), UINT4.materialize()[:, 1:3]
    )


def test_a_shard_of_the_contracting_axis_is_a_leaf(mesh):
    devices, x = mesh(model=4), jnp.arange(24.0).reshape(3, 8)

    def product(leaf, x):
        assert leaf.shape == (2, 5)
        return jax.lax.psum(x @ leaf, "model")

    columns = P(None, "model")
    codes = jax.tree.map(lambda a: columns if a.shape[1] > 1 else P(), INT8)
    sharded = jax.shard_map(product, mesh=devices, in_specs=(codes, columns), out_specs=P())
    np.testing.assert_allclose(sharded(INT8, x), x @ INT8.materialize(), rtol=1e-5)


# What is no leaf and no weight: it passes, and is refused where it is used.

OUTLINE = jax.tree.structure(UINT4)
BESIDE = {
    "None": lambda leaf: jax.tree.map(lambda _: None, leaf),
    "a sentinel": lambda leaf: jax.tree.map(lambda _: object(), leaf),
    "axes of vmap": lambda leaf: jax.tree.map(lambda _: 0, leaf),
    "masks": lambda leaf: jax.tree.map(lambda a: a.ndim > 1, leaf),
    "labels": lambda leaf: jax.tree.map(lambda _: "frozen", leaf),
    "shapes": lambda leaf: jax.tree.map(jnp.shape, leaf),
    "bytes": lambda leaf: jax.tree.map(lambda a: a.nbytes, leaf),
    "lists": lambda leaf: jax.tree.map(lambda a: a.tolist(), leaf),
    "shardings": lambda leaf: jax.tree.map(lambda a: jnp.asarray(a).sharding, leaf),
    "partitions": lambda leaf: jax.tree.map(lambda _: P(), leaf),
    "norms": lambda leaf: jax.tree.map(lambda a: jnp.float32(a.sum()), leaf),
    "NumPy scalars": lambda leaf: jax.tree.map(np.max, leaf),
    "counts": lambda leaf: jax.tree.map(lambda a: jnp.int32(a.size), leaf),
    "predicates": lambda leaf: jax.tree.map(np.isfinite, leaf),
    "keys": lambda leaf: _keys(jax.random.key, leaf),
    "raw keys": lambda leaf: _keys(jax.random.PRNGKey, leaf),
    "float0": lambda leaf: jax.tree.map(lambda a: np.zeros(a.shape, jax.dtypes.float0), leaf),
    "half of a partition": lambda leaf: jax.tree.map(
        lambda a: a if jnp.issubdtype(a.dtype, jnp.inexact) else None, leaf
    ),
    "masked nodes": lambda leaf: jax.tree.map(lambda _: optax.MaskedNode(), leaf),
    "statistics": lambda leaf: jax.tree.map(lambda _: np.arange(5.0), leaf),
}


def _keys(seed, leaf):
    leaves, outline = jax.tree.flatten(leaf)
    return jax.tree.unflatten(outline, list(jax.random.split(seed(0), len(leaves))))


@every_kind
@pytest.mark.parametrize("name", BESIDE)
def test_what_is_no_array_of_weights_passes_and_is_refused_in_use(leaf, name):
    beside = BESIDE[name](leaf)
    assert isinstance(beside, jc.QTensor)
    with pytest.raises(ValueError, match=r"^QTensor\(.*\) cannot have .* jc.materialized\(fn\)"):
        jc.materialize({"w": beside})


def test_shapes_stay_shapes():
    shapes = jax.eval_shape(lambda leaf: leaf, UINT4)
    assert shapes.shape == UINT4.shape
    assert jax.eval_shape(jc.materialize, shapes) == jax.ShapeDtypeStruct((8, 5), jnp.float32)


def gradients(leaf):
    return jax.grad(lambda leaf: jnp.sum(leaf.materialize()), allow_int=True)(leaf)


TRANSFORMED = {
    "vmap": lambda leaf: jax.vmap(lambda leaf: leaf)(jax.tree.map(lambda a: a[None], leaf)),
    "vmap of some": lambda leaf: jax.vmap(lambda leaf, x: leaf, (None, 0), None)(leaf, jnp.ones(2)),
    "scan": lambda leaf: jax.lax.scan(lambda c, _: (c, None), leaf, None, length=2)[0],
    "cond": lambda leaf: jax.lax.cond(True, lambda leaf: leaf, lambda leaf: leaf, leaf),
    "remat": lambda leaf: jax.checkpoint(lambda leaf: leaf)(leaf),
    "integer gradients": gradients,
    "linearize": lambda leaf: jax.linearize(lambda leaf: leaf.materialize(), leaf)[0],
    "lowered": lambda leaf: jax.jit(lambda leaf: leaf).lower(leaf).args_info,
    "callback": lambda leaf: jax.debug.callback(lambda leaf: leaf.materialize(), leaf),
    "put on a device": lambda leaf: jax.device_put(leaf, jax.devices()[0]),
    "a template": lambda leaf: jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), leaf),
    "adam": lambda leaf: optax.adam(1e-3).init({"w": leaf}),
    "masked adam": lambda leaf: optax.masked(
        optax.adam(1e-3, mu_dtype=jnp.float32), lambda tree: jax.tree.map(lambda _: False, tree)
    ).init({"w": leaf}),
    "partition": lambda leaf: jc.combine(*jc.partition({"w": leaf}, jc.inexact())),
}


@every_kind
@pytest.mark.parametrize("name", TRANSFORMED)
def test_transformations_take_it_apart(leaf, name):
    jax.block_until_ready(TRANSFORMED[name](leaf))


# What surely is a fault: arrays of numbers of another dtype or of an impossible shape.

CAST = r"cannot have .* instead of .* jc.materialized\(fn\)"
MOVED = r"cannot have .* of shape .* jc.materialized\(fn\)"
FAULTS = {
    "a cast": (lambda a: a.astype(jnp.bfloat16), EVERY.values(), CAST),
    "a cast of floats alone": (
        lambda a: a.astype(jnp.bfloat16) if jnp.issubdtype(a.dtype, jnp.floating) else a,
        EVERY.values(),
        CAST,
    ),
    "squares": (lambda a: np.square(a.astype(np.float32)), EVERY.values(), CAST),
    "a product": (lambda a: np.float32(0.9) * a, EVERY.values(), CAST),
    "a mean of two": (lambda a: (a + a) / 2, EVERY.values(), CAST),
    "noise": (lambda a: a + np.random.default_rng(0).normal(size=a.shape), EVERY.values(), CAST),
    "wider codes": (lambda a: a.astype(np.int32), EVERY.values(), CAST),
    "zeros of float32": (lambda a: np.zeros(a.shape, np.float32), EVERY.values(), CAST),
    "other shapes": (lambda a: jax.ShapeDtypeStruct(a.shape, jnp.float16), EVERY.values(), CAST),
    "JAX arrays": (lambda a: jnp.asarray(a, jnp.float32), EVERY.values(), CAST),
    "a flat array": (lambda a: a.reshape(-1), [UINT4], MOVED),
    "part of a packed axis": (lambda a: a[..., :1], [UINT4], MOVED),
    "a new last axis": (lambda a: np.stack([a, a], axis=-1), [UINT4], MOVED),
    "the transpose of packed codes": (np.transpose, [UINT4], MOVED),
    "part of a group": (lambda a: a[..., 1:], [EVERY["int4 groups"]], MOVED),
    "a layer of none": (lambda a: a[0], [UINT4, INT8], MOVED),
}


@pytest.mark.parametrize("name", FAULTS)
def test_arrays_that_cannot_be_the_leafs_are_refused(name):
    function, leaves, message = FAULTS[name]
    for leaf in leaves:
        with pytest.raises(ValueError, match=message):
            jax.tree.map(function, {"layer": [leaf]})


def test_they_are_refused_under_jit_and_through_optax():
    params = {"w": INT8}
    with pytest.raises(ValueError, match=CAST):
        jax.eval_shape(lambda p: jax.tree.map(lambda a: a * 0.5, p), params)
    with pytest.raises(ValueError, match=CAST):
        optax.adam(1e-3, mu_dtype=jnp.float32).init(params)
    with pytest.raises(ValueError, match=CAST):
        jax.eval_shape(lambda p: optax.incremental_update(p, p, 0.1), params)


def test_the_message_names_the_leaf_the_fault_and_the_mend():
    message = (
        "QTensor(int8 per channel) cannot have codes of float32 instead of int8. Code that maps "
        "over a tree, such as jax.tree.map over the params, changes the arrays of a compressed "
        "leaf apart. Give a model plain arrays by jc.materialized(fn)"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        jax.tree.map(lambda a: a.astype(np.float32), INT8)


# Low-rank factors are floats that train, so their node holds any state of an optimizer.

LOW_RANK = LowRank.from_factors(jnp.ones((5, 2)), jnp.ones((2, 8)), dtype=jnp.float32, axes=DENSE)


def test_any_state_of_an_optimizer_goes_where_factors_were():
    def step(optimizer, params):
        grads = jax.grad(lambda p: jnp.sum(p["w"].materialize()))(params)
        updates, _ = optimizer.update(grads, optimizer.init(params), params)
        return optax.apply_updates(params, updates)

    for optimizer in (optax.adafactor(1e-3, 1), optax.sgd(1e-3, 0.9), optax.adam(1e-3)):
        after = jax.eval_shape(functools.partial(step, optimizer), {"w": LOW_RANK})
        assert after["w"].shape == (8, 5)
    jax.eval_shape(jax.hessian(lambda leaf: jnp.sum(leaf.materialize() ** 2)), LOW_RANK)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda a: None, r"LowRank cannot have a left factor of NoneType"),
        (lambda a: a > 0, r"LowRank cannot have a left factor of bool"),
        (lambda a: a.astype(jnp.int32), r"LowRank cannot have a left factor of int32"),
        (jnp.ravel, r"LowRank cannot have factors of shapes \(10,\) and \(16,\)"),
        (jnp.transpose, r"LowRank cannot have factors of shapes \(2, 5\) and \(8, 2\)"),
        (jnp.sum, r"LowRank cannot have factors of shapes \(\) and \(\)"),
    ],
)
def test_what_has_no_product_is_refused_in_use(function, message):
    changed = jax.tree.map(function, LOW_RANK)
    assert is_compressed(changed)
    with pytest.raises(ValueError, match=message + r".*jc.materialized\(fn\)"):
        changed.materialize()
