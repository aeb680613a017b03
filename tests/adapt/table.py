"""Bases of every kind of leaf, and NumPy's own formulas for what adapters add."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxcompress as jc
from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.types import PyTree

EPSILON = float(np.finfo(np.float32).eps)
NF4 = jc.quantize.formats.nf4(group_size=8, scales="codes")
INT8 = jc.quantize.int8()


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def dense(params, x):
    return jnp.tanh(x @ params["w"])


def convolution(params, x):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, params["w"], (1, 1), "SAME", dimension_numbers=numbers)


def stack(params, x):
    return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, params["w"])[0]


def tied(params, tokens):
    return jnp.tanh(jnp.asarray(params["w"])[tokens]) @ params["w"].T


def heads(params, x):
    return jnp.einsum("bi,hdi->bhd", x, params["w"])


class Case(NamedTuple):
    """A model, its params, an input, and what the axes of its weight do."""

    fn: Callable
    weight: Any
    x: np.ndarray
    axes: LeafAxes

    @property
    def params(self) -> PyTree:
        return {"w": self.weight, "bias": np.ones(3, np.float32)}

    @property
    def known(self) -> PyTree:
        return {"w": self.axes, "bias": jc.LeafAxes((), (), primitive="")}


def coded(weight: np.ndarray, axes: LeafAxes, spec: jc.QuantSpec) -> Any:
    return jc.quantize.quantize({"w": weight}, spec, axes={"w": axes})[0]["w"]


DENSE = LeafAxes((0,), (1,))
WINDOW = LeafAxes((0, 1, 2), (3,), primitive="conv_general_dilated")
LAYERS = LeafAxes((1,), (2,), (0,))
TABLE = LeafAxes((1,), (0,), primitive="gather")
HEADS = LeafAxes((2,), (0, 1))
TOKENS = np.array([[0, 3, 11], [7, 1, 1]], np.int32)
CASES = {
    "dense": Case(dense, normal(16, 6), normal(3, 16, seed=1), DENSE),
    "convolution": Case(convolution, normal(3, 3, 4, 5), normal(2, 6, 6, 4, seed=1), WINDOW),
    "stack": Case(stack, normal(3, 8, 8), normal(4, 8, seed=1), LAYERS),
    "table": Case(tied, normal(12, 8), TOKENS, TABLE),
    "nf4": Case(dense, coded(normal(16, 6), DENSE, NF4), normal(3, 16, seed=1), DENSE),
    "nf4 stack": Case(stack, coded(normal(3, 8, 8), LAYERS, NF4), normal(4, 8, seed=1), LAYERS),
    "nf4 table": Case(tied, coded(normal(12, 8), TABLE, NF4), TOKENS, TABLE),
    "int8": Case(heads, coded(normal(2, 5, 8), HEADS, INT8), normal(3, 8, seed=1), HEADS),
}

RANK, ALPHA = 2, 3.0
METHODS = {"lora": jc.adapt.lora, "dora": jc.adapt.dora}


def built(method: str, case: Case, **options):
    """The technique for a case, of rank 2 and a scale of 1.5."""
    start = jc.adapt.starts.random(jax.random.key(0))
    return METHODS[method](RANK, start, alpha=ALPHA, axes=case.known, **options)


def moved(technique: jc.adapt.Adapter, case: Case) -> PyTree:
    """Adapters after some training: no array as it began."""
    leaves, treedef = jax.tree.flatten(jax.eval_shape(technique.init, case.params))
    trained = [0.3 + 0.3 * normal(*leaf.shape, seed=5 + i) for i, leaf in enumerate(leaves)]
    return jax.tree.unflatten(treedef, trained)


def matrices(x, axes: LeafAxes) -> np.ndarray:
    """(batch, outputs, inputs) float64."""
    x = np.asarray(jc.materialize(x), np.float64)
    batch, outputs = (math.prod(x.shape[i] for i in role) for role in (axes.batch, axes.output))
    return np.transpose(x, axes.order).reshape(batch, outputs, -1)


def factors(adapter: PyTree, axes: LeafAxes) -> tuple[np.ndarray, np.ndarray]:
    """(batch, outputs, rank) and (batch, rank, inputs) float64."""
    left, right = (np.asarray(adapter[name], np.float64) for name in ("left", "right"))
    rank, batch = left.shape[-1], math.prod(left.shape[: len(axes.batch)])
    return left.reshape(batch, -1, rank), right.reshape(batch, rank, -1)


class Expected(NamedTuple):
    """What is seen of a weight, and the gradients for a pull on what is seen."""

    seen: np.ndarray
    grads: dict[str, np.ndarray]


def by_lora(weight, adapter, pull, axes: LeafAxes) -> Expected:
    base, pull = matrices(weight, axes), matrices(pull, axes)
    left, right = factors(adapter, axes)
    scale = ALPHA / RANK
    grads = {
        "left": scale * pull @ right.swapaxes(1, 2),
        "right": scale * left.swapaxes(1, 2) @ pull,
    }
    return Expected(base + scale * left @ right, grads)


def by_dora(weight, adapter, pull, axes: LeafAxes) -> Expected:
    total = by_lora(weight, adapter, pull, axes).seen
    norms = np.sqrt(np.sum(total**2, axis=2))
    magnitude = np.asarray(adapter["magnitude"], np.float64).reshape(norms.shape)
    gain = (magnitude / norms)[:, :, None]
    pull = matrices(pull, axes)
    left, right = factors(adapter, axes)
    grads = {
        "left": ALPHA / RANK * (gain * pull) @ right.swapaxes(1, 2),
        "right": ALPHA / RANK * left.swapaxes(1, 2) @ (gain * pull),
        "magnitude": np.sum(pull * total, axis=2) / norms,
    }
    return Expected(gain * total, grads)


ORACLES = {"lora": by_lora, "dora": by_dora}
