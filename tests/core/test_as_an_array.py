"""What an array does, done to a compressed leaf: the same, or a message with the mend.

Every row of `READ` gives what the array gives that the leaf stands for, and every row
of `REFUSED` names what to do instead. Between them they hold every public attribute
and every operator of a `jax.Array`.
"""

import copy
import dataclasses
import importlib.util
import json
import operator
import pickle
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.core import corrected as corrected_leaf
from jaxcompress.core import hashed as hashed_leaf
from jaxcompress.core import lowrank, qtensor
from jaxcompress.core import product as product_leaf
from jaxcompress.core import random_code as random_leaf
from jaxcompress.core import rotated as rotated_leaf
from jaxcompress.core.axes import LeafAxes
from jaxcompress.quantize import int4, int8, quantize
from tests.inputs import DENSE, low_rank, rotated

KERNEL = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
INT4 = quantize({"w": jnp.asarray(KERNEL)}, int4())[0]["w"]
LOW_RANK = jc.LowRank.from_factors(
    jnp.asarray(KERNEL[:2].T), jnp.asarray(KERNEL[2:, :4]), dtype=jnp.float32, axes=DENSE
)
CORRECTED = jc.Corrected.from_parts(INT4, low_rank((4, 6), DENSE), dtype=jnp.float32)
ROTATED = rotated(INT4, DENSE, block=4)
HASHED = jc.Hashed.from_values(
    jnp.asarray(KERNEL[0]), (6, 4), seed=0, dtype=jnp.float32, axes=DENSE
)
LEAVES = {"QTensor": INT4, "LowRank": LOW_RANK, "Corrected": CORRECTED, "Rotated": ROTATED}
RANDOM_CODE = jc.RandomCode.from_indices(
    jnp.arange(5), jnp.float32(2**-17), jnp.asarray(KERNEL), bits=9, seed=0, axes=DENSE
)
PRODUCT = jc.ProductQuantized.from_codes(
    jnp.arange(12).reshape(6, 2) % 3,
    jnp.asarray(KERNEL[2:]).reshape(2, 3, 2),
    (4,),
    dtype=jnp.float32,
    axes=DENSE,
)
LEAVES |= {"Hashed": HASHED, "RandomCode": RANDOM_CODE, "ProductQuantized": PRODUCT}
every_leaf = pytest.mark.parametrize("leaf", LEAVES.values(), ids=LEAVES)
X = KERNEL[::-1].copy()


def both_sides(operation):
    """An operator with a number, an array of JAX and one of NumPy, on either side."""
    return {
        f"{operation.__name__} {kind}": function
        for kind, function in {
            "number": lambda w: operation(w, 2),
            "from number": lambda w: operation(2, w),
            "array": lambda w: operation(w, jnp.asarray(X)),
            "from array": lambda w: operation(jnp.asarray(X), w),
            "from NumPy": lambda w: operation(X, w),
            "from a NumPy number": lambda w: operation(np.float32(2), w),
            "itself": lambda w: operation(w, w),
        }.items()
    }


COMPARISONS = (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge)
ARITHMETIC = (operator.add, operator.sub, operator.mul, operator.truediv, operator.mod)
ARITHMETIC += (operator.floordiv, operator.pow)
READ = {
    **{name: row for each in (*COMPARISONS, *ARITHMETIC) for name, row in both_sides(each).items()},
    "divmod": lambda w: divmod(w, 2)[1],
    "matmul": lambda w: w @ X.T,
    "rmatmul": lambda w: X.T @ w,
    "neg": operator.neg,
    "pos": operator.pos,
    "abs": abs,
    "round": lambda w: round(w, 1),
    "in place": lambda w: operator.iadd(w, 1),
    "equal to None": lambda w: w == None,  # noqa: E711 (the operator is what is tried)
    "equal to a text": lambda w: w == "frozen",
    "float": lambda w: float(w.sum()),
    "bool": lambda w: bool(w.any()),
    "len": len,
    "iteration": lambda w: list(w)[-1],
    "reversed": lambda w: next(reversed(w)),
    "unpacked": lambda w: [*w][1],
    "entry": lambda w: w[1, 2],
    "slice": lambda w: w[:, 1:3],
    "mask": lambda w: jnp.where(w > 0, w, 0),
    "np.asarray": np.asarray,
    "np.asarray of a dtype": lambda w: np.asarray(w, np.float64),
    "np.array": lambda w: np.array(w, copy=True),
    "np.stack": lambda w: np.stack([w, w]),
    "np.sum": np.sum,
    "np.sin": np.sin,
    "jnp.asarray": jnp.asarray,
    "jnp.stack": lambda w: jnp.stack([w, w]),
    "jnp.linalg": jnp.linalg.norm,
    "namespace": lambda w: w.__array_namespace__().sum(w),
    "jit": jax.jit(lambda w: 2 * w + w.sum()),
    "vmap": lambda w: jax.vmap(lambda i: w[i].sum())(jnp.arange(4)),
    # Methods and properties.
    "T": lambda w: w.T,
    "all": lambda w: w.all(axis=0),
    "any": lambda w: w.any(),
    "argmax": lambda w: w.argmax(axis=1),
    "argmin": lambda w: w.argmin(),
    "argpartition": lambda w: w.argpartition(2),
    "argsort": lambda w: w.argsort(),
    "astype": lambda w: w.astype(jnp.bfloat16),
    "astype int": lambda w: w.astype(jnp.int32),
    "at": lambda w: w.at[0].set(1.0),
    "block_until_ready": lambda w: w.block_until_ready(),
    "clip": lambda w: w.clip(-0.5, 0.5),
    "compress": lambda w: w.compress(jnp.asarray([True, False]), axis=0),
    "conj": lambda w: w.conj(),
    "conjugate": lambda w: w.conjugate(),
    "copy": lambda w: w.copy(),
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "pickle": lambda w: pickle.loads(pickle.dumps(w)),
    "cumprod": lambda w: w.cumprod(axis=0),
    "cumsum": lambda w: w.cumsum(axis=0),
    "diagonal": lambda w: w.diagonal(),
    "dot": lambda w: w.dot(X.T),
    "dtype": lambda w: w.dtype,
    "flatten": lambda w: w.flatten(),
    "imag": lambda w: w.imag,
    "item": lambda w: w[0, 0].item(),
    "itemsize": lambda w: w.itemsize,
    "mT": lambda w: w.mT,
    "max": lambda w: w.max(axis=0, keepdims=True),
    "mean": lambda w: w.mean(),
    "min": lambda w: w.min(),
    "ndim": lambda w: w.ndim,
    "nonzero": lambda w: w.nonzero()[0],
    "prod": lambda w: w.prod(axis=1),
    "ptp": lambda w: w.ptp(),
    "ravel": lambda w: w.ravel(),
    "real": lambda w: w.real,
    "repeat": lambda w: w.repeat(2, axis=0),
    "reshape": lambda w: w.reshape(2, -1),
    "round to decimals": lambda w: w.round(1),
    "searchsorted": lambda w: w[0].searchsorted(0.5),
    "shape": lambda w: w.shape,
    "size": lambda w: w.size,
    "sort": lambda w: w.sort(),
    "squeeze": lambda w: w[None].squeeze(),
    "std": lambda w: w.std(),
    "sum": lambda w: w.sum(axis=-1),
    "swapaxes": lambda w: w.swapaxes(0, -1),
    "take": lambda w: w.take(jnp.asarray([1, 0]), axis=1),
    "tobytes": lambda w: w.tobytes(),
    "tolist": lambda w: w.tolist(),
    "trace": lambda w: w.trace(),
    "transpose": lambda w: w.transpose(),
    "transpose by numbers": lambda w: w.transpose(1, 0),
    "transpose by a tuple": lambda w: w.transpose((-1, -2)),
    "var": lambda w: w.var(),
    "view": lambda w: w.view(jnp.int32),
    "weak_type": lambda w: w.weak_type,
}
ONE_BUFFER = r"has no '{}'. Its own arrays are jax.tree.leaves\(leaf\), .* jc.materialize\(leaf\)"
PRIMITIVE = (
    r"is no array, and a lax primitive, such as .*jc.materialized\(fn\).*jc.materialize\(params\)"
    if importlib.util.find_spec("jax.experimental.hijax")
    else "Triggering __jax_array__"
)
CONTRACTION = (((1,), (0,)), ((), ()))


def missing(name):
    return lambda w: getattr(w, name), AttributeError, ONE_BUFFER.format(name)


REFUSED = {
    name: missing(name)
    for name in (
        *("addressable_data", "addressable_shards", "committed", "copy_to_host_async", "device"),
        *("devices", "delete", "global_shards", "is_deleted", "is_fully_addressable"),
        *("is_fully_replicated", "nbytes", "sharding", "to_device", "weights"),
    )
} | {
    "dot_general": (
        lambda w: jax.lax.dot_general(jnp.ones((3, 4)), w, CONTRACTION), ValueError, PRIMITIVE
    ),
    "lax.mul": (lambda w: jax.lax.mul(w, w), ValueError, PRIMITIVE),
    "lax.expand_dims": (lambda w: jax.lax.expand_dims(w, (0,)), ValueError, PRIMITIVE),
    "lax under jit": (jax.jit(lambda w: jax.lax.neg(w)), ValueError, PRIMITIVE),
    "flat": (lambda w: w.flat, NotImplementedError, "flatten"),
    "hash": (hash, TypeError, "unhashable type"),
    "truth": (bool, ValueError, r"truth value .* ambiguous"),
    "float of many": (float, TypeError, "[Oo]nly scalar arrays"),
    "int of many": (int, TypeError, "[Oo]nly scalar arrays"),
    "complex of many": (complex, TypeError, "[Oo]nly scalar arrays"),
    "an index": (operator.index, TypeError, "integer scalar arrays"),
    "assignment": (lambda w: operator.setitem(w, 0, 1), TypeError, r"immutable.*\.at\[\]"),
    "a repeated axis": (lambda w: w.transpose(0, 0), ValueError, r"transpose\(axes=\(0, 0\)\)"),
    "an axis too far": (lambda w: w.swapaxes(0, 5), ValueError, "axis 5 is out of bounds"),
    "bits": (lambda w: w & 1, TypeError, "and"),
    "inverted bits": (operator.invert, TypeError, "not"),
}  # fmt: skip


@every_leaf
@pytest.mark.parametrize("name", READ)
def test_it_gives_what_the_array_gives(leaf, name):
    found, expected = outcome(READ[name], leaf), outcome(READ[name], leaf.materialize())
    if isinstance(found, jc.CompressedLeaf):
        assert found.dtype == expected.dtype
        found = found.materialize()
    assert type(found) is type(expected)
    if isinstance(found, jax.Array) and jnp.issubdtype(found.dtype, jnp.floating):
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        # What JAX compiles as one program forms the array in it, and may fuse.
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    else:
        np.testing.assert_array_equal(found, expected, strict=isinstance(found, jax.Array))


def outcome(function, w):
    """What it gives, or that a method is missing, as JAX 0.8.0 lacks argpartition's."""
    try:
        return function(w)
    except AttributeError:
        return AttributeError


@every_leaf
@pytest.mark.parametrize("name", REFUSED)
def test_what_it_does_not_do_says_what_to_do(leaf, name):
    function, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        function(leaf)


def test_the_rows_are_all_that_an_array_does():
    choices = ("byteswap", "choose")  # of integers, and of NumPy
    rows = {*READ, *REFUSED, *choices}
    assert {name for name in dir(jax.Array) if not name.startswith("_")} - rows == set()
    operators = {name for name in dir(jax.Array) if hasattr(operator, name)}
    operators -= {"__getitem__", "__contains__", "__delitem__", "__doc__", "__name__", "__index__"}
    assert all(name in dir(jc.CompressedLeaf) for name in operators)


@every_leaf
def test_what_moves_axes_or_casts_stays_compressed(leaf):
    for moved in (leaf.T, leaf.mT, leaf.swapaxes(0, 1), leaf.astype(jnp.bfloat16), leaf.copy()):
        assert type(moved) is type(leaf)
        assert moved.size_bytes == leaf.size_bytes


def test_a_cast_to_a_dtype_that_is_switched_off_is_that_of_the_array():
    with pytest.warns(UserWarning, match="float64"):
        expected = INT4.materialize().astype(np.float64).dtype
    assert INT4.astype(np.float64).dtype == expected == np.float32


ODD = {
    "None": lambda _: None,
    "numbers": lambda _: 0,
    "norms": lambda a: jnp.float32(a.sum()),
    "shapes": jnp.shape,
    "texts": lambda _: "frozen",
}


@every_leaf
@pytest.mark.parametrize("name", ODD)
def test_a_leaf_mapped_to_anything_shows_what_it_holds(leaf, name):
    odd = jax.tree.map(ODD[name], leaf)
    shown = r"(QTensor\(int4 per channel, codes|LowRank\(left|Corrected\(base|Rotated\(leaf"
    shown += r"|Hashed\(values|RandomCode\(codes|ProductQuantized\(codes)="
    assert re.match(shown, repr(odd))
    with pytest.raises(ValueError, match=r"cannot have .* jc.materialized\(fn\)"):
        odd + 1


def test_its_shape_is_missing_where_its_arrays_are():
    odd = jax.tree.map(lambda _: None, INT4)
    message = r"codes=None, scale=None\) has no 'shape'. .* jax.tree.map"
    with pytest.raises(AttributeError, match=message):
        odd.shape  # noqa: B018 (the property is what is tried)


# What other libraries do with a tree of leaves.

CONV = LeafAxes((1, 2), (0,))


def test_convolutions_of_equinox():
    eqx = pytest.importorskip("equinox")
    model = eqx.nn.Conv1d(3, 4, 3, key=jax.random.key(0))
    params, static = eqx.partition(model, eqx.is_inexact_array)
    axes = jax.tree.map(lambda a: CONV if a.shape[-1] == 3 else jc.LeafAxes((), (0, 1)), params)
    params, _ = quantize(params, int8(), axes=axes, select=jc.matching("weight"))
    fn, x = lambda params, x: jc.combine(params, static)(x), jnp.ones((3, 8))
    with pytest.raises(ValueError, match=PRIMITIVE):
        fn(params, x)
    np.testing.assert_array_equal(
        jc.materialized(fn)(params, x), jc.combine(jc.materialize(params), static)(x)
    )
    # The first tree of `eqx.combine` gives the structure, and a leaf is a node of one.
    assert eqx.tree_equal(eqx.combine(static, params), jc.combine(params, static))
    with pytest.raises(ValueError, match="QTensor"):
        eqx.combine(params, static)


def test_convolutions_of_haiku():
    hk = pytest.importorskip("haiku")
    model = hk.without_apply_rng(hk.transform(lambda x: hk.Conv1D(4, 3)(x)))
    x = jnp.ones((2, 8, 3))
    params, _ = quantize(model.init(jax.random.key(0), x), int8())
    with pytest.raises(ValueError, match=PRIMITIVE):
        model.apply(params, x)
    np.testing.assert_array_equal(
        jc.materialized(model.apply)(params, x), model.apply(jc.materialize(params), x)
    )


def compressed_tree():
    factors, _ = quantize(LOW_RANK.factors, int8(), axes=LOW_RANK.factor_axes)
    low = {"low": LOW_RANK, "both": dataclasses.replace(LOW_RANK, **factors)}
    return {"w": INT4, **low, "corrected": CORRECTED, "rotated": ROTATED}


def equal_trees(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_states_of_flax():
    serialization = pytest.importorskip("flax.serialization")
    tree = jax.tree.map(lambda a: a, compressed_tree())  # made again, now that Flax is loaded
    saved = serialization.to_bytes(tree)
    equal_trees(serialization.from_bytes(jax.tree.map(jnp.zeros_like, tree), saved), tree)
    other = {**tree, "w": quantize({"w": jnp.asarray(KERNEL)}, int8())[0]["w"]}
    with pytest.raises(ValueError, match=r"int8 per channel.* uint8 .*jc.storage.save"):
        serialization.from_bytes(other, saved)


def test_exported_programs():
    tree, x = compressed_tree(), jnp.ones((2, 4))
    fn = jc.materialized(lambda params, x: {name: x @ w for name, w in params.items()})
    exported = jax.export.export(jax.jit(fn))(tree, x)
    expected = jax.jit(fn)(tree, x)
    equal_trees(exported.call(tree, x), expected)
    pytest.importorskip("flatbuffers")
    equal_trees(jax.export.deserialize(exported.serialize()).call(tree, x), expected)


@every_leaf
def test_the_static_part_survives_as_json(leaf):
    """What a saved program holds of a leaf, also where no program can be saved."""
    fields = {
        jc.QTensor: qtensor,
        jc.LowRank: lowrank,
        jc.Corrected: corrected_leaf,
        jc.Rotated: rotated_leaf,
        jc.Hashed: hashed_leaf,
        jc.RandomCode: random_leaf,
        jc.ProductQuantized: product_leaf,
    }[type(leaf)]
    _, static = leaf.tree_flatten_with_keys()
    assert fields.static_from_json(json.loads(json.dumps(fields.static_to_json(static)))) == static
