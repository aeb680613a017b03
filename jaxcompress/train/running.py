"""Compiled steps on batches of held examples, on one device or a mesh."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxcompress.core.types import Array, Key, PyTree
from jaxcompress.train.examples import rows
from jaxcompress.train.plan import Plan
from jaxcompress.train.recipe import Recipe
from jaxcompress.train.steps.order import order
from jaxcompress.train.steps.step import State, step
from jaxcompress.train.teacher_cache.rows import Rows

Stepper = Callable[[State, int, int], tuple[State, list[Array]]]
"""(state, first, last) to the state after these steps and the losses of each call."""


def stepper(recipe: Recipe, examples: PyTree, plan: Plan, n: int) -> Stepper:
    """Takes the steps of a run on these examples.

    Arrays of JAX are held on the device and gathered there; of NumPy's, and of those on
    disk, only the rows of one call are sent.
    """
    on_host = all(isinstance(leaf, np.ndarray | Rows) for leaf in jax.tree.leaves(examples))
    held = () if on_host else everywhere(examples, plan)
    orders = _Orders(jax.random.key(plan.seed), plan, n)

    # On a mesh of CPU devices the sums of two calls under way wait for one another.
    in_turn = plan.sharding is not None and jax.default_backend() == "cpu"

    def steps(state: State, first: int, last: int) -> tuple[State, list[Array]]:
        found = []
        for begin in range(first, last, plan.scanned):
            index = orders.of(begin, min(plan.scanned, last - begin))  # (count, batch)
            batches = _sharded(rows(examples, index) if on_host else index, plan)
            state, losses = _advance(recipe, plan.sharding, state, held, batches)
            found.append(losses)
            if in_turn:
                jax.block_until_ready(losses)
        return state, found

    return steps


def everywhere(tree: PyTree, plan: Plan) -> PyTree:
    """The tree on the default device, or whole on each device of the plan's mesh."""
    if plan.sharding is None:
        return jax.tree.map(jnp.asarray, tree)
    return jax.device_put(tree, NamedSharding(plan.sharding.mesh, PartitionSpec()))


def _sharded(batches: PyTree, plan: Plan) -> PyTree:
    """Batches (count, batch, …), each divided among devices as the plan says."""
    if plan.sharding is None:
        return batches
    spec = PartitionSpec(None, *plan.sharding.spec)
    return jax.device_put(batches, NamedSharding(plan.sharding.mesh, spec))


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def _advance(
    recipe: Recipe, sharding: NamedSharding | None, state: State, held: PyTree, batches: PyTree
) -> tuple[State, Array]:
    """The steps of one call: of batches, or of indices of the examples held."""
    update = step(recipe)

    def body(state: State, batch: PyTree) -> tuple[State, Array]:
        return update(state, _gathered(held, batch, sharding) if jax.tree.leaves(held) else batch)

    if jax.tree.leaves(batches)[0].shape[0] == 1:
        # No loop at all: XLA keeps one of a single turn, slow around convolutions.
        state, loss = body(state, jax.tree.map(lambda array: array[0], batches))
        return state, loss[None]
    return jax.lax.scan(body, state, batches)


def _gathered(held: PyTree, index: Array, sharding: NamedSharding | None) -> PyTree:
    if sharding is None:
        return rows(held, index)
    if AxisType.Explicit in sharding.mesh.axis_types:
        return jax.tree.map(lambda array: array.at[index].get(out_sharding=sharding), held)
    return jax.lax.with_sharding_constraint(rows(held, index), sharding)


class _Orders:
    """The order of examples in blocks, each asked for before the one in use ends.

    Waiting for an order would otherwise wait for the steps that are under way.
    """

    def __init__(self, key: Key, plan: Plan, n: int):
        self.size = plan.span
        self.compute = functools.partial(_block, key, self.size, n, plan.batch_size)
        self.blocks = {}

    def of(self, first: int, count: int) -> np.ndarray:
        """(count, batch) int32 of the steps from `first` on."""
        last = first + count - 1
        needed = range(first // self.size, last // self.size + 2)
        self.blocks = {
            each: self.blocks[each] if each in self.blocks else self.compute(each)
            for each in needed
        }
        found = np.concatenate([np.asarray(self.blocks[each]) for each in needed[:-1]])
        begin = first - needed[0] * self.size
        return found[begin : begin + count]


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _block(key: Key, size: int, n: int, batch_size: int, number: int) -> Array:
    steps = number * size + jnp.arange(size, dtype=jnp.int32)
    return order(key, steps, n=n, batch_size=batch_size)
