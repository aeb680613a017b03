"""Awkward arrays and trees, each named once, that whole families of things are run on.

`ARRAYS` are float leaves, `TREES` the same four weights in every container that holds
parameters, `QTENSORS` quantized leaves of every kind of sharing and width, `COMPOSED`
leaves that hold leaves.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.corrected import Corrected
from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.formats.sharing import Group, Tensor
from jaxcompress.core.hadamard import drawn_signs
from jaxcompress.core.leaf import CompressedLeaf
from jaxcompress.core.lowrank import LowRank
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.random_code import RandomCode
from jaxcompress.core.rotated import Rotated
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import PyTree


def on_device(values: np.ndarray) -> jax.Array:
    """The values in float32; `jnp.asarray` would compile something for every shape."""
    return jax.device_put(np.float32(values))


def _random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


ARRAYS: dict[str, np.ndarray] = {
    "empty": np.zeros((0, 3), np.float32),
    "scalar": np.float32(-1.5).reshape(()),
    "one entry": np.full((1, 1), 0.25, np.float32),
    "all zeros": np.zeros((4, 6), np.float32),
    "all equal": np.full((4, 6), 0.3, np.float32),
    "one huge outlier": np.where(np.arange(24).reshape(4, 6) == 17, 1e30, _random(4, 6)).astype(
        "f4"
    ),
    "subnormal": (_random(4, 6) * 1e-41).astype(np.float32),
    "bfloat16": _random(4, 6).astype(ml_dtypes.bfloat16),
    "float16": _random(4, 6).astype(np.float16),
    "no group divides": _random(7, 5),
    "convolution": _random(3, 3, 2, 4),
    "layers": _random(2, 4, 6),
}
"""Float leaves that have broken someone's library."""


class Layer(NamedTuple):
    """One dense layer as a named tuple."""

    kernel: jax.Array
    bias: jax.Array


def layers() -> dict[str, Layer]:
    """The two dense layers of every tree in `TREES`."""
    return {
        "first": Layer(jnp.asarray(_random(4, 3, seed=1)), jnp.asarray(_random(3, seed=2))),
        "second": Layer(jnp.asarray(_random(3, 2, seed=3)), jnp.asarray(_random(2, seed=4))),
    }


def plain_dict() -> PyTree:
    """Names are "first/kernel", "first/bias" and so on, as in all trees with names."""
    return {name: layer._asdict() for name, layer in layers().items()}


def linen_variables() -> PyTree:
    """A leading `params`, which names leave out."""
    return {"params": plain_dict()}


def nnx_state() -> PyTree:
    """What `nnx.split` gives; leaves are under the attribute key `value`."""
    nnx = pytest.importorskip("flax.nnx")

    class Dense(nnx.Module):
        def __init__(self, layer: Layer):
            self.kernel, self.bias = nnx.Param(layer.kernel), nnx.Param(layer.bias)

    class Network(nnx.Module):
        def __init__(self):
            for name, layer in layers().items():
                setattr(self, name, Dense(layer))

    return nnx.state(Network())


def equinox_module() -> PyTree:
    """The array half of `equinox.partition`: where the activation was there is None."""
    equinox = pytest.importorskip("equinox")

    class Dense(equinox.Module):
        kernel: jax.Array
        bias: jax.Array

    class Network(equinox.Module):
        first: Dense
        second: Dense
        activation: Callable

    dense = {name: Dense(layer.kernel, layer.bias) for name, layer in layers().items()}
    return equinox.partition(Network(**dense, activation=jax.nn.relu), equinox.is_array)[0]


def haiku_params() -> PyTree:
    """Module names that hold slashes themselves."""
    return {f"network/~/{name}": layer._asdict() for name, layer in layers().items()}


TREES: dict[str, Callable[[], PyTree]] = {
    "dict": plain_dict,
    "linen": linen_variables,
    "nnx": nnx_state,
    "equinox": equinox_module,
    "haiku": haiku_params,
    "named tuples": lambda: tuple(layers().values()),
    "tuple": lambda: tuple(tuple(layer) for layer in layers().values()),
    "list": lambda: [list(layer) for layer in layers().values()],
    "numbered": lambda: dict(enumerate(plain_dict().values())),
}
"""The same weights in everything that may hold parameters."""


def qtensor(
    spec: QuantSpec, shape: tuple[int, ...], blocks: tuple[int, ...], axes: LeafAxes, seed: int = 0
) -> QTensor:
    """A leaf with random codes, scales and zero points; sizes are in stored order."""
    random = np.random.default_rng(seed)
    codes = random.integers(spec.lowest, spec.highest, shape, np.int32, endpoint=True)
    zero_point = random.integers(spec.lowest, spec.highest, blocks, np.int32, endpoint=True)
    scale = jnp.asarray(random.uniform(0.01, 1, blocks).astype(np.float32))
    grid = Grid(scale, zero_point=None if spec.symmetric else jnp.asarray(zero_point))
    return QTensor.from_codes(jnp.asarray(codes), grid, spec=spec, dtype=jnp.float32, axes=axes)


INT8 = QuantSpec(Integers(8, -127, 127, symmetric=True))
INT8_ASYMMETRIC = QuantSpec(Integers(8, -128, 127, symmetric=False))
UINT8 = QuantSpec(Integers(8, 0, 255, symmetric=False), Tensor())
INT4 = QuantSpec(Integers(4, -7, 7, symmetric=True))
INT4_GROUPS = QuantSpec(Integers(4, -7, 7, symmetric=True), Group(4))
UINT4_GROUPS = QuantSpec(Integers(4, 0, 15, symmetric=False), Group(4))
INT2 = QuantSpec(Integers(2, -1, 1, symmetric=True))

DENSE = LeafAxes((0,), (1,))
CONVOLUTION = LeafAxes((0, 1, 2), (3,))
LAYERS = LeafAxes((1,), (2,), (0,))

QTENSORS: dict[str, Callable[[], QTensor]] = {
    "int8 per channel": lambda: qtensor(INT8, (5, 8), (5, 1), DENSE),
    "int8 asymmetric": lambda: qtensor(INT8_ASYMMETRIC, (5, 8), (5, 1), DENSE),
    "uint8 per tensor": lambda: qtensor(UINT8, (5, 8), (1, 1), DENSE),
    "int4 odd length": lambda: qtensor(INT4, (5, 7), (5, 1), DENSE),
    "int4 groups": lambda: qtensor(INT4_GROUPS, (5, 8), (5, 2), DENSE),
    "uint4 groups": lambda: qtensor(UINT4_GROUPS, (5, 8), (5, 2), DENSE),
    "int4 convolution": lambda: qtensor(INT4, (4, 3, 3, 1), (4, 1, 1, 1), CONVOLUTION),
    "int4 layers": lambda: qtensor(INT4, (2, 5, 8), (2, 5, 1), LAYERS),
    "int2": lambda: qtensor(INT2, (5, 9), (5, 1), DENSE),
    "int8 bfloat16": lambda: qtensor(INT8, (5, 8), (5, 1), DENSE).astype(jnp.bfloat16),
}
"""Quantized leaves of every sharing, width, symmetry and rank."""


def low_rank(shape: tuple[int, ...], axes: LeafAxes, seed: int = 1) -> LowRank:
    """A leaf of random factors of rank 2; `shape` is that of the array."""
    stored, batch = [shape[axis] for axis in axes.order], len(axes.batch)
    outputs = batch + len(axes.output)
    left = _random(*stored[:outputs], 2, seed=seed)
    right = _random(*stored[:batch], 2, *stored[outputs:], seed=seed + 1)
    return LowRank.from_factors(jnp.asarray(left), jnp.asarray(right), dtype=jnp.float32, axes=axes)


def corrected(base: QTensor, axes: LeafAxes) -> Corrected:
    """Codes and random factors."""
    return Corrected.from_parts(base, low_rank(base.shape, axes), dtype=base.dtype)


def rotated(leaf: jax.Array | CompressedLeaf, axes: LeafAxes, block: int) -> Rotated:
    """The leaf, taken as a rotated one; layers have signs of their own."""
    stored, batch = [leaf.shape[axis] for axis in axes.order], len(axes.batch)
    sizes = (*stored[:batch], math.prod(stored[batch + len(axes.output) :]))
    negative = jnp.asarray(drawn_signs(3, math.prod(sizes)).reshape(sizes))
    return Rotated.from_rotated(leaf, negative, block=block, dtype=leaf.dtype, axes=axes)


def corrected_codes() -> Corrected:
    """Factors that are codes themselves."""
    leaf, matrix = corrected(QTENSORS["int4 groups"](), DENSE), LeafAxes((1,), (0,))
    codes = {"left": qtensor(INT8, (5, 2), (5, 1), matrix)}
    codes |= {"right": qtensor(INT8, (2, 8), (2, 1), matrix)}
    return dataclasses.replace(leaf, correction=leaf.correction.with_parts(codes))


def random_code(bits: int = 9) -> RandomCode:
    """Two layers of six inputs and three outputs, in five blocks each."""
    indices = np.random.default_rng(0).integers(0, 2**bits, (2, 5))
    like = jax.ShapeDtypeStruct((2, 6, 3), jnp.float32)
    scale = jnp.array([2**-17, 2**-16], jnp.float32)
    axes = LeafAxes(contracting=(1,), output=(2,), batch=(0,))
    return RandomCode.from_indices(jnp.asarray(indices), scale, like, bits=bits, seed=3, axes=axes)


COMPOSED: dict[str, Callable[[], Corrected | Rotated]] = {
    "corrected": lambda: corrected(QTENSORS["uint4 groups"](), DENSE),
    "corrected by codes": corrected_codes,
    "corrected layers": lambda: corrected(QTENSORS["int4 layers"](), LAYERS),
    "corrected convolution": lambda: corrected(QTENSORS["int4 convolution"](), CONVOLUTION),
    "corrected bfloat16": lambda: corrected(QTENSORS["int8 bfloat16"](), DENSE),
    "rotated array": lambda: rotated(jnp.asarray(_random(8, 5)), DENSE, 8),
    "rotated": lambda: rotated(QTENSORS["int4 groups"](), DENSE, 4),
    "rotated layers": lambda: rotated(QTENSORS["int4 layers"](), LAYERS, 8),
    "rotated odd": lambda: rotated(QTENSORS["int4 odd length"](), DENSE, 1),
    "rotated heads": lambda: rotated(jnp.asarray(_random(2, 4, 5)), LeafAxes((0, 1), (2,)), 8),
    "rotated factors": lambda: rotated(low_rank((8, 5), DENSE), DENSE, 2),
    "rotated bfloat16": lambda: rotated(QTENSORS["int8 bfloat16"](), DENSE, 8),
    "rotated correction": lambda: rotated(corrected_codes(), DENSE, 8),
}
"""Leaves of several parts, some of them in one another."""
