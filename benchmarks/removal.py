"""What benchmarks of removal share: training, crops, the cost of a model, latency.

Training is adamw on a cosine, one compiled step per batch. What is trained, on what
loss and for how long is each benchmark's own matter.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxcompress as jc
from benchmarks import runner
from jaxcompress.core.types import Array, Key, Model, Params, PyTree, Selector

Objective = Callable[[Params, PyTree, Key], tuple[Array, Params]]
"""(params, batch, key) to the loss and the params with new statistics."""


class Training(NamedTuple):
    """How long and how fast.

    Attributes:
      epochs: times through the data; an incomplete last batch is dropped.
      learning_rate: where the cosine is highest, after a tenth of the steps.
      batch_size: examples per step.
      weight_decay: of adamw, on leaves of rank 2 and more.
    """

    epochs: int
    learning_rate: float
    batch_size: int = 128
    weight_decay: float = 1e-4


def train(
    objective: Objective,
    params: Params,
    data: PyTree,
    training: Training,
    *,
    seed: int,
    trainable: Selector | None = None,
) -> Params:
    """The params after training.

    Args:
      objective: loss and new statistics.
      params: where training starts; not changed.
      data: arrays whose first axis counts examples.
      training: how long and how fast.
      seed: of the order of examples and of the objective's keys.
      trainable: the leaves that the optimizer moves, by default all; the others are
        taken from what the objective returns.
    """
    select = trainable or jc.everything()
    count = len(jax.tree.leaves(data)[0])
    per_epoch = count // training.batch_size
    steps = training.epochs * per_epoch
    optimizer = optax.adamw(
        optax.warmup_cosine_decay_schedule(0, training.learning_rate, steps // 10, steps),
        weight_decay=training.weight_decay,
        mask=lambda tree: jax.tree.map(lambda leaf: leaf.ndim > 1, tree),
    )
    weights, statistics = jc.partition(jax.tree.map(lambda leaf: leaf.copy(), params), select)
    carry = weights, statistics, optimizer.init(weights)

    # A convolution is several times as slow inside a loop on the CPU, hence no scan.
    @functools.partial(jax.jit, donate_argnums=0)
    def step(carry, data, index, count, key):
        weights, statistics, opt_state = carry
        batch = jax.tree.map(lambda array: array[index], data)

        def loss(weights):
            value, after = objective(
                jc.combine(weights, statistics), batch, jax.random.fold_in(key, count)
            )
            return value, jc.partition(after, select)[1]

        grads, statistics = jax.grad(loss, has_aux=True)(weights)
        updates, opt_state = optimizer.update(grads, opt_state, weights)
        return optax.apply_updates(weights, updates), statistics, opt_state

    generator = np.random.default_rng(seed)
    data = jax.device_put(data)
    key = jax.random.key(seed)
    for epoch in range(training.epochs):
        order = generator.permutation(count)[: per_epoch * training.batch_size]
        for turn, index in enumerate(order.reshape(per_epoch, -1)):
            carry = step(carry, data, index, epoch * per_epoch + turn, key)
    return jc.combine(*carry[:2])


def cropped(images: Array, key: Key, border: int) -> Array:
    """Each image cropped at random out of itself with a border of zeros."""
    count, *shape = images.shape
    padded = jnp.pad(images, ((0, 0), (border, border), (border, border), (0, 0)))
    corners = jax.random.randint(key, (count, 2), 0, 2 * border + 1)

    def crop(image, corner):
        return jax.lax.dynamic_slice(image, (*corner, 0), shape)

    return jax.vmap(crop)(padded, corners)


def macs(fn: Model, params: Params, x: np.ndarray) -> int:
    """Multiply-adds of one example."""
    return jc.graph.cost(jc.graph.trace(fn, params, x[:1])).macs


def cost(fn: Model, params: Params, x: np.ndarray) -> dict[str, Any]:
    """Multiply-adds of one example; numbers, bytes and shapes of the params."""
    leaves = jc.named_leaves(params)
    return {
        "macs": macs(fn, params, x),
        "parameters": sum(leaf.size for leaf in leaves.values()),
        "bytes": sum(leaf.nbytes for leaf in leaves.values()),
        "shapes": {name: list(leaf.shape) for name, leaf in leaves.items()},
    }


def latency(models: dict[str, tuple[Model, Params]], x: np.ndarray) -> dict[str, Any]:
    """Median times of the jitted models, in turn, the first the reference."""
    found = {}
    for batch in (1, 64):
        inputs = jax.device_put(x[:batch])
        calls = {
            name: functools.partial(jax.jit(fn), params, inputs)
            for name, (fn, params) in models.items()
        }
        timings = runner.interleaved(calls, repeats=100)
        found[f"batch {batch}"] = {name: timing._asdict() for name, timing in timings.items()}
    return found
