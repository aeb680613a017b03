"""Data and quantized leaves that every bridge is tried on."""

import jax
import jax.numpy as jnp
import pytest

from jaxcompress.core.axes import assumed_axes, to_canonical
from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.spec import QuantSpec

INT8 = QuantSpec(Integers(8, -127, 127, symmetric=True))


@pytest.fixture
def x(key) -> jax.Array:
    """Six examples of three features."""
    return jax.random.normal(key, (6, 3))


@pytest.fixture
def batches(key) -> list[tuple[jax.Array]]:
    """Four batches whose mean and spread differ."""
    keys = jax.random.split(key, 4)
    return [((1 + i) * jax.random.normal(keys[i], (6, 3)) + i,) for i in range(4)]


def quantized_array(weight) -> QTensor:
    """One scale per output channel, found by the largest magnitude."""
    axes = assumed_axes(weight)
    canonical = to_canonical(weight, axes)  # (outputs, inputs)
    scale = jnp.abs(canonical).max(axis=1, keepdims=True) / 127
    codes = jnp.round(canonical / scale).astype(jnp.int8)
    return QTensor.from_codes(codes, Grid(scale), spec=INT8, dtype=weight.dtype, axes=axes)


@pytest.fixture
def quantized():
    """Params to params with every matrix as a quantized leaf."""

    def transform(params):
        return jax.tree.map(lambda leaf: quantized_array(leaf) if leaf.ndim == 2 else leaf, params)

    return transform
