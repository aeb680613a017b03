"""NaN in rows of thousands of entries, whose maximum XLA may compile without it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.core.numerics import largest_magnitude
from jaxcompress.kernels import two_digit_matmul
from jaxcompress.optimizers.curvature.vectors import largest_entry

WIDTH = 2048
FORMATS = jc.quantize.formats


def codes_of(format):
    """What a state of one row a block is read back as."""
    return lambda x: format.decode(format.encode(x))


def whole(x):
    """One number as a row each."""
    return jnp.broadcast_to(x, (4, 1))


def executed(x):
    """A product of codes of data with codes of weights."""
    dynamic = jc.quantize.execution.dynamic()
    model = jc.quantize.fake_quantize_model(lambda w, x: x @ w, jc.quantize.int8(), dynamic)
    return model(jnp.ones((WIDTH, 4)), x)


def viewed(spec):
    axes = {"kernel": jc.LeafAxes(contracting=(1,), output=(0,))}
    return lambda x: jc.quantize.fake_quantize(spec, axes=axes)({"kernel": x})["kernel"]


READINGS = {
    "largest_magnitude": lambda x: largest_magnitude(x, 1, keepdims=True),
    "largest_entry": lambda x: whole(largest_entry({"a": x[:2], "b": x[2:]})),
    "two_digit_matmul": lambda x: two_digit_matmul(x, jnp.ones((1, WIDTH), jnp.int8)),
    "fake_quantize_model": executed,
    "view of int8": viewed(jc.quantize.int8()),
    "view of uint4": viewed(FORMATS.uint4()),
    "view of nf4": viewed(FORMATS.nf4(per="channel")),
    "view of two-level scales": viewed(FORMATS.int8(scales="e4m3")),
    "state in dynamic8": codes_of(jc.optimizers.dynamic8(block_size=WIDTH)),
    "state in linear4": codes_of(jc.optimizers.linear4(block_size=WIDTH)),
}


@pytest.fixture(params=READINGS, scope="module")
def read(request):
    return jax.jit(READINGS[request.param])


@pytest.mark.parametrize("place", [0, WIDTH // 2, WIDTH - 1])
def test_a_nan_is_seen_wherever_it_lies(read, place):
    rows = np.ones((4, WIDTH), np.float32)
    assert np.all(np.isfinite(read(rows)))
    rows[1, place] = np.nan
    assert np.all(np.isnan(np.asarray(read(rows))[1]))  # a row is one block in all readings


@pytest.mark.parametrize("low", [-3.0, 0.0])
def test_extremes_are_those_of_numpy(low):
    rows = np.linspace(low, 2.0, 4 * WIDTH, dtype=np.float32).reshape(4, WIDTH)
    np.testing.assert_array_equal(largest_magnitude(jnp.asarray(rows), 1), np.abs(rows).max(1))
    assert largest_magnitude(jnp.zeros((0,))) == 0
