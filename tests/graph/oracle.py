"""The law of removal as a number: how far a shrunk program is from the masked."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun

from jaxcompress.core.leaf import materialize
from jaxcompress.graph import surgery

QUICKLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Compiler options for programs that run once."""
if jax.__version_info__ < (0, 12):  # later compilers have no such option
    QUICKLY["xla_cpu_use_fusion_emitters"] = False


TOLERANCE = 1e-9
"""Far above rounding in float64, far below any wrong index."""


class Difference(NamedTuple):
    """Largest differences of shrunk and masked, as a share of the largest entry."""

    outputs: float
    gradients: float


def widened(tree):
    """The tree with its floating arrays in float64, where rounding hides no mistake."""

    def wide(leaf):
        # By NumPy, as are the differences: JAX compiles both for every shape.
        floating = jnp.issubdtype(leaf.dtype, jnp.floating)
        return jax.device_put(np.asarray(leaf, np.float64)) if floating else jnp.asarray(leaf)

    return jax.tree.map(wide, tree)


def traced_once(fn, params, inputs):
    """The same function, whose Python code runs no more."""
    jaxpr, outputs = jax.make_jaxpr(fn, return_shape=True)(params, *inputs)
    flat = jaxpr_as_fun(jaxpr)
    structure = jax.tree.structure(outputs)
    return lambda *arguments: jax.tree.unflatten(structure, flat(*jax.tree.leaves(arguments)))


def difference(
    fn, params, inputs, removed, *, gradients: bool = True, tolerance: float = TOLERANCE
) -> Difference:
    """Runs both programs on the same params; gradients are compared sliced.

    What differs by more than the tolerance when compiled is run once more equation by
    equation. The gradient of a maximum asks which entries equal it; where XLA computes
    the entries twice and rounds them otherwise, that is none, and the gradient of any
    model is 0 / 0.
    """

    def compared(params):
        # Sliced inside: outside, XLA compiles a program for every leaf's shape.
        small = surgery.slice_params(params, removed)
        shrunk = readings(surgery.shrink(fn, removed), small, inputs, gradients)
        output, gradient = readings(surgery.masked(fn, removed), params, inputs, gradients)
        return shrunk, (output, surgery.slice_params(gradient, removed))

    def measured(run) -> Difference:
        shrunk, masked = run(params)
        return Difference(*map(apart, shrunk, masked))

    lowered = jax.jit(compared).lower(params)
    found = measured(lowered.compile(compiler_options=QUICKLY))
    settled = all(each <= tolerance for each in found)
    return found if settled else measured(compared)


def readings(fn, params, inputs, gradients: bool):
    """Outputs, and the gradient of a sum of their sines; zeros if none is wanted."""

    def loss(params):
        outputs = fn(params, *inputs)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(outputs)), outputs

    if not gradients:
        return loss(params)[1], jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), params)
    (_, outputs), gradient = jax.value_and_grad(loss, has_aux=True, allow_int=True)(params)

    def dense(slope, leaf):
        return jnp.zeros(leaf.shape) if slope.dtype == jax.dtypes.float0 else slope

    return outputs, jax.tree.map(dense, gradient, params)


def apart(one, other) -> float:
    one, other = jax.device_get((one, other))
    pairs = list(zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))
    scale = max((float(np.max(np.abs(b), initial=0)) for _, b in pairs), default=0.0)
    worst = max((float(np.max(np.abs(a - b), initial=0)) for a, b in pairs), default=0.0)
    return worst / max(scale, 1e-30)


def plain(tree):
    """The tree with its compressed leaves as arrays."""
    return materialize(tree)
