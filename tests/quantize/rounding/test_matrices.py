"""Matrices of a leaf are rounded as the leaf is that lies in its own order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.quantize import formats, int4, int8, quantize
from jaxcompress.quantize.assignment import Assignment
from jaxcompress.quantize.rounding import nearest
from jaxcompress.quantize.rounding.rounding import without_data

AXES = {
    "kernel": ((8, 6), jc.LeafAxes(contracting=(0,), output=(1,))),
    "transposed": ((6, 8), jc.LeafAxes(contracting=(1,), output=(0,))),
    "scanned": ((3, 8, 6), jc.LeafAxes(contracting=(1,), output=(2,), batch=(0,))),
    "heads": ((2, 4, 3, 2), jc.LeafAxes(contracting=(0, 1), output=(2, 3))),
    "image": ((3, 3, 8, 4), jc.LeafAxes(contracting=(0, 1, 2), output=(3,))),
    "experts last": ((8, 6, 3), jc.LeafAxes(contracting=(0,), output=(1,), batch=(2,))),
}
SPECS = [
    int8(),
    int4(),
    formats.uint4(),
    formats.int3(per="tensor"),
    int4(group_size=4),
    formats.uint2(group_size=2, scales="bfloat16"),
    formats.nf4(group_size=4, scales="e4m3"),
    formats.int4(block=(2, 4)),
    formats.codebook(3),
    formats.codebook(2, group_size=4),
    formats.int8(per="row"),
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("case", AXES.values(), ids=AXES)
def test_matrices_are_rounded_as_the_leaf_that_lies(case, spec):
    """Bit for bit, in whatever order the leaf stores its axes."""
    shape, axes = case
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
    choice = Assignment(spec, axes)
    # One program, since two may divide differently.
    by_matrices, as_it_lies = jax.jit(
        lambda x: (without_data(nearest().solver)(x, choice), nearest().array(x, choice))
    )(x)
    assert by_matrices.shape == as_it_lies.shape
    np.testing.assert_array_equal(by_matrices.unpacked_codes, as_it_lies.unpacked_codes)
    np.testing.assert_array_equal(by_matrices.materialize(), as_it_lies.materialize())


def test_a_rounding_that_is_not_called_is_refused():
    with pytest.raises(TypeError, match=r"quantize\(rounding=nearest\).* Did you mean nearest\("):
        quantize({"w": jnp.ones((2, 2))}, int8(), rounding=nearest)
