"""The training of all variants: `train.fit`, given a view, a loss and an optimizer."""

import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import optax

from jaxcompress.bridges.functional import Functional
from jaxcompress.core.selectors import matching, none_of
from jaxcompress.core.types import Array, Params, Selector, View
from jaxcompress.demo.data import Images
from jaxcompress.train import Plan, Recipe, fit
from jaxcompress.train.objectives import supervised_with_state

trainable: Selector = none_of(matching("*/mean", "*/var"))
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
    model: Functional, step: Step, images: Images, teacher_logits: np.ndarray, plan: Plan
) -> Params:
    """Trains the model's weights and updates its norm statistics.

    Args:
      model: gives `train_fn` and the starting params.
      step: optimizer, loss and view.
      images: the training set.
      teacher_logits: (n, classes) of the training set; unused by a loss
        without a teacher.
      plan: how long; its title stands beside the progress bar.

    Returns:
      The params after the last step.
    """
    objective = supervised_with_state(model.train_fn, step.loss, view=step.view)
    recipe = Recipe(objective, step.optimizer, trainable)
    examples = images.images, images.labels, teacher_logits
    found = fit(recipe, model.params, examples, plan)
    if not sys.stdout.isatty():
        print(f"{plan.title}: {plan.steps} steps, loss {found.losses[-1]:.4f}", flush=True)
    return found.params
