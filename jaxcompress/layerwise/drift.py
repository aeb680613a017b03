"""Drift: how pruning has changed what a leaf meets, and how the leaf makes up for it.

With x what a leaf's matrix met in the model as it was, and x' what it meets now, the
means of x x'ᵀ and x' x'ᵀ are all that its weights have to know.
"""

import functools
import glob
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve

from jaxcompress.core.observers import Observer
from jaxcompress.core.rules import Rules
from jaxcompress.core.types import Array, Model, Params
from jaxcompress.graph.observe import observe, windows
from jaxcompress.layerwise.solver import damped
from jaxcompress.layerwise.turns import Sites, Turn

DAMPING = 0.01
"""The share of the mean energy of the inputs that each counts at least."""

Recording = tuple[Array, Array]
"""The vectors of each execution, (executions, …) float32, and how many there were."""

Products = tuple[Array, Array, Array]
"""The sum of x x'ᵀ, how many rows it has, and whether both runs met as many."""


def corrected(weight: Array, cross: Array, second_moment: Array, share: float) -> Array:
    """The weights that answer what is met now more as before.

        W + share · W · (E[x x'ᵀ] - E[x' x'ᵀ]) · E[x' x'ᵀ]⁻¹,   the inverse damped

    With a share of 1 that is the W' of least E[|W x - W' x'|²].

    Args:
      weight: (outputs, inputs) float32.
      cross: (inputs, inputs), the mean of x x'ᵀ.
      second_moment: (inputs, inputs), the mean of x' x'ᵀ.
      share: of the way, in [0, 1].

    Returns:
      (outputs, inputs) float32.

    Example:
      >>> corrected(jnp.eye(1), jnp.array([[2.0]]), jnp.array([[1.0]]), 0.5).round(2)
      Array([[1.5]], dtype=float32)
    """
    high = jax.lax.Precision.HIGHEST
    lost = jnp.matmul(weight, cross - second_moment, precision=high)
    return weight + share * cho_solve(cho_factor(damped(second_moment, DAMPING)), lost.T).T


def cross_moments(
    fn: Model, batches: Sequence[tuple], sites: Sites
) -> Callable[[Params, Params, Turn], Array]:
    """What a leaf met and what it meets: (before, now, turn) -> E[x x'ᵀ].

    A program for each leaf runs the model twice, up to the leaf.

    Raises:
      ValueError: when called, one of the two runs meets the leaf more often than the
        other, or a loop whose length is not known does.
    """

    @functools.cache
    def program_of(name: str) -> Callable:
        executions = max(site.repeats // math.prod(site.stack) for site in sites[name])
        leaves = {glob.escape(site.leaf): _recording(executions) for site in sites[name]}
        observed = observe(fn, Rules(leaves), of=windows)

        @jax.jit
        def products(before: Params, now: Params, inputs: tuple, index: tuple[int, ...]):
            old, new = (observed(params, *inputs)[1] for params in (before, now))
            pairs = [(old[site.name], new[site.name]) for site in sites[name]]
            pairs = jax.tree.map(lambda each: each[index], pairs)
            return functools.reduce(_merged, (_products(*pair) for pair in pairs))

        return products

    def read(before: Params, now: Params, turn: Turn) -> Array:
        name, index = turn
        found = (program_of(name)(before, now, inputs, index) for inputs in batches)
        total, rows, alike = functools.reduce(_merged, found)
        if not alike:
            raise ValueError(
                f"reconstruct(correction=...): once pruned, the model meets leaf {name!r} another "
                "number of times, or it does so in a loop of unknown length. Pass correction=0."
            )
        return total / rows

    return read


def _recording(executions: int) -> Observer:
    """Keeps the vectors of so many executions, those of each layer of a stack apart."""

    def init(x: jax.ShapeDtypeStruct) -> Recording:
        return jnp.zeros((executions, *x.shape), jnp.float32), jnp.zeros((), jnp.int32)

    def update(x: Array, state: Recording) -> Recording:
        kept, count = state
        return kept.at[count].set(x.astype(jnp.float32)), count + 1

    return Observer(init, update, read=lambda state: state, merge=lambda _, last: last)


def _products(met: Recording, meets: Recording) -> Products:
    (x, before), (y, now) = met, meets
    total = jnp.einsum("e...mi,e...mj->...ij", x, y, precision=jax.lax.Precision.HIGHEST)
    return total, now * x.shape[-2], (before == now) & (now <= len(x))


def _merged(first: Products, second: Products) -> Products:
    (total, rows, alike), (more, further, as_well) = first, second
    return total + more, rows + further, alike & as_well
