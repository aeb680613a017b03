"""One training loop for all variants, given a view, a loss and an optimizer."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
import optax

from jaxcompress.bridges.functional import Functional
from jaxcompress.core.partition import combine, partition
from jaxcompress.core.selectors import matching, none_of
from jaxcompress.core.types import Array, Key, Params, View
from jaxcompress.demo.data import Images
from jaxcompress.demo.progress import progress

REPORT_EVERY = 25
trainable = none_of(matching("*/mean", "*/var"))
"""The weights; the running statistics of the norms are carried along."""


class Step(NamedTuple):
    """What training needs beside the model.

    Attributes:
      optimizer: an optax transformation over the weights.
      loss: (logits, labels, teacher logits) -> one number per example.
      view: how the model sees its weights.
    """

    optimizer: optax.GradientTransformation
    loss: Callable[[Array, Array, Array], Array]
    view: View


def train(
    model: Functional,
    step: Step,
    images: Images,
    teacher_logits: np.ndarray,
    *,
    title: str,
    steps: int,
    batch_size: int,
    seed: int,
) -> Params:
    """Trains the model's weights and updates its norm statistics.

    Args:
      model: gives `train_fn` and the starting params.
      step: optimizer, loss and view.
      images: the training set.
      teacher_logits: (n, classes) of the training set; unused by a loss
        without a teacher.
      title: shown beside the progress bar.
      steps: batches to train on, in epochs of freshly shuffled images.
      batch_size: images per batch; an incomplete last batch of an epoch is dropped.
      seed: of the order of images and of dropout.

    Returns:
      The params after the last step.
    """
    weights, statistics = partition(jax.tree.map(lambda leaf: leaf.copy(), model.params), trainable)
    opt_state = step.optimizer.init(weights)
    update = _train_step(model, step)
    batches = _batches(len(images), batch_size, seed)
    with progress(title, steps) as advance:
        for count in range(steps):
            index = next(batches)
            batch = images.images[index], images.labels[index], teacher_logits[index]
            key = jax.random.fold_in(jax.random.key(seed), count)
            weights, statistics, opt_state, loss = update(
                weights, statistics, opt_state, batch, key
            )
            shown = (count + 1) % REPORT_EVERY == 0 or count + 1 == steps
            advance(f"loss {float(loss):.4f}" if shown else "")
    return combine(weights, statistics)


def _train_step(model: Functional, step: Step) -> Callable:
    @partial(jax.jit, donate_argnums=(0, 1, 2))
    def update(
        weights: Params, statistics: Params, opt_state: optax.OptState, batch: tuple, key: Key
    ):
        x, labels, teacher = batch

        def loss_fn(weights):
            logits, after = model.train_fn(step.view(combine(weights, statistics)), x, key=key)
            return step.loss(logits, labels, teacher).mean(), partition(after, trainable)[1]

        (loss, new_statistics), grads = jax.value_and_grad(loss_fn, has_aux=True)(weights)
        updates, opt_state = step.optimizer.update(grads, opt_state, weights)
        return optax.apply_updates(weights, updates), new_statistics, opt_state, loss

    return update


def _batches(n: int, batch_size: int, seed: int):
    generator = np.random.default_rng(seed)
    size = min(batch_size, n)
    while True:
        order = generator.permutation(n)
        yield from (order[start : start + size] for start in range(0, n - size + 1, size))
