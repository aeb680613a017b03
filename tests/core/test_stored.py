"""What `QTensor.from_codes` takes: dtypes, shapes and values that make a leaf."""

import re

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.spec import QuantSpec
from jaxcompress.quantize import formats
from tests.inputs import CONVOLUTION, DENSE, INT4, INT4_GROUPS, INT8, LAYERS, UINT4_GROUPS, UINT8

ONE_BIT = QuantSpec(Integers(1, 0, 1, symmetric=False))
NAN = float("nan")


def parts(spec, shape, blocks, axes):
    """Codes 0, scales 1 and zero points at the lowest code, as NumPy arrays."""
    return {
        "codes": np.full(shape, max(spec.lowest, 0), np.int32),
        "scale": np.ones(blocks, np.float32),
        "zero_point": None if spec.symmetric else np.full(blocks, spec.lowest, np.int32),
        "spec": spec,
        "dtype": jnp.float32,
        "axes": axes,
    }


GOOD = {
    "int8": parts(INT8, (5, 8), (5, 1), DENSE),
    "int4": parts(INT4, (5, 8), (5, 1), DENSE),
    "uint8 per tensor": parts(UINT8, (5, 8), (1, 1), DENSE),
    "groups": parts(INT4_GROUPS, (5, 8), (5, 2), DENSE),
    "asymmetric groups": parts(UINT4_GROUPS, (5, 8), (5, 2), DENSE),
    "convolution": parts(INT4, (4, 3, 3, 1), (4, 1, 1, 1), CONVOLUTION),
    "layers": parts(INT4, (2, 5, 8), (2, 5, 1), LAYERS),
    "layers per tensor": parts(UINT8, (2, 5, 8), (2, 1, 1), LAYERS),
    "one bit": parts(ONE_BIT, (5, 8), (5, 1), DENSE),
    "a vector": parts(INT8, (8,), (1,), LeafAxes((0,), ())),
    "no rows": parts(INT8, (0, 8), (0, 1), DENSE),
    "blocks": parts(formats.int4(block=(5, 2)), (5, 8), (1, 4), DENSE),
    "rows": parts(formats.int4(per="row"), (4, 3, 3, 2), (4, 3, 3, 1), CONVOLUTION),
    "two levels": parts(formats.nf4(group_size=4, scales="e4m3"), (5, 8), (5, 2), DENSE)
    | {"scale": np.ones((5, 2), np.uint8), "second_scale": np.ones((1, 1), np.float32)},
    "powers": parts(formats.fp4(scales="power_of_two"), (5, 8), (5, 1), DENSE)
    | {"scale": np.full((5, 1), 127, np.uint8)},
    "codebook": parts(formats.codebook(2), (5, 8), (5, 1), DENSE)
    | {"codebook": np.tile(np.float32([0, 3, -1, 2]), (1, 1, 1))},
    "codebooks": parts(formats.codebook(2), (5, 8), (5, 1), DENSE)
    | {"codebook": np.tile(np.float32([0, 3, -1, 2]), (5, 1, 1))},
}
PARTS = ("codes", "scale", "second_scale", "zero_point", "codebook")


def built(given) -> QTensor:
    arrays = {name: given[name] for name in PARTS if name in given}
    codes, *others = jax.tree.map(jnp.asarray, list(arrays.values()))
    grid = Grid(**dict(zip(list(arrays)[1:], others, strict=True)))
    static = {name: given[name] for name in ("spec", "dtype", "axes")}
    return QTensor.from_codes(codes, grid, **static)


@pytest.mark.parametrize("name", GOOD)
def test_what_fits_is_taken(name):
    given = GOOD[name]
    leaf = built(given)
    np.testing.assert_array_equal(leaf.unpacked_codes, given["codes"])
    traced = jax.eval_shape(lambda codes: built({**given, "codes": codes}), given["codes"])
    assert (traced.shape, traced.spec) == (leaf.shape, leaf.spec)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint32, ml_dtypes.int4])
def test_codes_of_any_integer_dtype(dtype):
    codes = np.arange(8).reshape(1, 8).astype(dtype)
    given = parts(INT4, (1, 8), (1, 1), DENSE) | {"codes": codes}
    np.testing.assert_array_equal(built(given).materialize()[:, 0], np.arange(8.0))


def change(name, argument, value):
    return {**GOOD[name], argument: value}


def entry(name, argument, value):
    """The part with one entry changed."""
    part = GOOD[name][argument].copy()
    part.flat[3 % part.size] = value
    return change(name, argument, part)


SHAPES = [
    (change("int8", "codes", np.ones((5, 8), np.float32)), "codes=...): dtype float32 must be an"),
    (change("int8", "codes", np.ones((5, 8), bool)), "codes=...): dtype bool must be an"),
    (change("int8", "codes", np.ones(8, np.int32)), "codes=...): shape (8,) must have the 2 axes"),
    (change("int8", "axes", LAYERS), "codes=...): shape (5, 8) must have the 3 axes"),
    (
        change("groups", "codes", np.zeros((5, 6), np.int32)),
        "codes=...): shape (5, 6) is not a whole number of blocks: int4 in groups of 4",
    ),
    (change("int8", "scale", np.ones((5, 1), np.float16)), "scale=...): dtype float16 must be"),
    (change("int8", "scale", np.ones((5, 1), np.int32)), "scale=...): dtype int32 must be"),
    (change("int8", "scale", np.ones((3, 1), np.float32)), "scale=...): shape (3, 1) must be (5,"),
    (change("int8", "scale", np.ones((1, 5), np.float32)), "scale=...): shape (1, 5) must be (5,"),
    (change("int8", "scale", np.ones((5, 2), np.float32)), "scale=...): shape (5, 2) must be (5,"),
    (change("int8", "scale", np.ones(5, np.float32)), "scale=...): shape (5,) must be (5, 1)"),
    (change("groups", "scale", np.ones((5, 4), np.float32)), "shape (5, 4) must be (5, 2)"),
    (change("int8", "zero_point", np.zeros((5, 1), np.int32)), "int8 per channel has no zero"),
    (change("asymmetric groups", "zero_point", None), "uint4 in groups of 4 has a zero point"),
    (
        change("asymmetric groups", "zero_point", np.zeros((5, 2), np.int8)),
        "zero_point=...): dtype int8 must be int32",
    ),
    (
        change("asymmetric groups", "zero_point", np.zeros((5, 1), np.int32)),
        "zero_point=...): shape (5, 1) must be (5, 2)",
    ),
    (change("two levels", "second_scale", None), "none is given, and nf4 in groups of 4, e4m3"),
    (change("int8", "second_scale", np.ones((1, 1), np.float32)), "one is given, and int8 per ch"),
    (
        change("two levels", "second_scale", np.ones((5, 4), np.float32)),
        "second_scale=...): shape (5, 4) must go with that of the scale, (5, 2)",
    ),
    (change("two levels", "scale", np.ones((5, 2), np.float32)), "dtype float32 must be uint8"),
    (change("powers", "scale", np.ones((5, 1), np.float32)), "dtype float32 must be uint8"),
    (change("codebook", "codebook", None), "none is given, and codebook of 4 per channel has a"),
    (
        change("codebook", "codebook", np.zeros((1, 1, 3), np.float32)),
        "codebook=...): shape (1, 1, 3) must go with that of the scale, (5, 1)",
    ),
    (change("codebook", "codebook", np.zeros(4, np.float32)), "shape (4,) must go with that of"),
    (change("codebook", "codebook", np.zeros((1, 1, 4), np.float16)), "codebook=...): dtype"),
    (change("blocks", "scale", np.ones((5, 4), np.float32)), "shape (5, 4) must be (1, 4)"),
    (change("blocks", "codes", np.zeros((6, 8), np.int32)), "is not a whole number of blocks"),
    (change("int8", "dtype", np.int8), "dtype=int8) must be a real floating dtype"),
    (change("int8", "dtype", np.complex64), "dtype=complex64) must be a real floating dtype"),
]
VALUES = [
    (entry("int4", "codes", 9), "codes=...): entries reach from 0 to 9, and int4 per channel has"),
    (entry("int4", "codes", -8), "codes=...): entries reach from -8 to 0, and int4 per channel"),
    (entry("int8", "codes", -128), "has the codes from -127 to 127. Clip them first"),
    (entry("uint8 per tensor", "codes", 256), "codes=...): entries reach from 0 to 256"),
    (entry("one bit", "codes", 2), "codes=...): entries reach from 0 to 2"),
    (entry("asymmetric groups", "zero_point", 16), "zero_point=...): entries reach from 0 to 16"),
    (entry("asymmetric groups", "zero_point", -1), "zero_point=...): entries reach from -1 to 0"),
    (entry("int8", "scale", 0), "scale=...): entries reach from 0.0 to 1.0, and must be finite"),
    (entry("int8", "scale", -1), "scale=...): entries reach from -1.0 to 1.0"),
    (entry("int8", "scale", NAN), "scale=...): entries reach from nan to nan"),
    (entry("powers", "scale", 255), "scale=...): entries reach from nan to nan"),
    (entry("two levels", "scale", 127), "scale=...): entries reach from nan to nan"),
    (entry("two levels", "codes", 9), "entries reach from 0 to 9, and nf4 in groups of 4, e4m3"),
    (entry("codebook", "codebook", np.inf), "codebook=...): entries reach from -1.0 to inf"),
    (change("codebook", "codebook", np.ones((1, 1, 4), np.float32)), "level of code 0 must be 0"),
    (entry("int8", "scale", np.inf), "scale=...): entries reach from 1.0 to inf"),
]


@pytest.mark.parametrize(("given", "message"), SHAPES + VALUES)
def test_what_does_not_fit_is_refused(given, message):
    with pytest.raises(ValueError, match=r"^QTensor.from_codes\(.*" + re.escape(message)):
        built(given)


def as_traced(given):
    arrays = {name: given[name] for name in PARTS if name in given}
    return jax.eval_shape(lambda arrays: built({**given, **arrays}), arrays)


@pytest.mark.parametrize(("given", "message"), SHAPES)
def test_of_traced_arrays_dtypes_and_shapes_are_known(given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        as_traced(given)


@pytest.mark.parametrize("given", [given for given, _ in VALUES])
def test_of_traced_arrays_no_value_is_known(given):
    assert isinstance(as_traced(given), QTensor)
