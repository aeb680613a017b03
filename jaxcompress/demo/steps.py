"""What each variant trains with: its optimizer, its loss and its view of weights."""

from typing import Any

import optax

from jaxcompress import distill, prune, quantize
from jaxcompress.core.axes import Axes
from jaxcompress.core.rules import Rules
from jaxcompress.core.schedules import cubic, every
from jaxcompress.core.types import Array, Params
from jaxcompress.demo.recipe import Recipe
from jaxcompress.demo.training import Step

PRUNE_EVERY = 20


def dense_step(recipe: Recipe) -> Step:
    """A step that trains from scratch on the labels alone."""
    return Step(_from_scratch(recipe, recipe.dense_steps), _cross_entropy, _as_it_is)


def pruning_step(recipe: Recipe, axes: Axes) -> Step:
    """A step that goes on training the dense model while pruning it."""
    optimizer = _pruning(recipe, recipe.prune_steps, axes)
    return Step(optimizer, _cross_entropy, _as_it_is)


def distilling_step(recipe: Recipe) -> Step:
    """A step that trains a student from scratch on the teacher's outputs and labels."""
    return Step(_from_scratch(recipe, recipe.distill_steps), _soft_and_hard(recipe), _as_it_is)


def combined_step(recipe: Recipe, spec: Rules[Any], axes: Axes) -> Step:
    """A step that goes on training the student, pruned and rounded to `spec`."""
    optimizer = _pruning(recipe, recipe.combined_steps, axes)
    return Step(optimizer, _soft_and_hard(recipe), quantize.fake_quantize(spec, axes=axes))


def _from_scratch(recipe: Recipe, steps: int) -> optax.GradientTransformation:
    return optax.adamw(
        optax.warmup_cosine_decay_schedule(0.0, recipe.learning_rate, steps // 20, steps)
    )


def _pruning(recipe: Recipe, steps: int, axes: Axes) -> optax.GradientTransformation:
    """Prunes through the first two thirds of the steps and lets the rest recover."""
    end = 2 * steps // 3
    return prune.prune(
        optax.adamw(optax.cosine_decay_schedule(recipe.learning_rate / 3, steps)),
        prune.criteria.magnitude(),
        prune.Target(
            cubic(0.0, recipe.sparsity, begin=0, end=end),
            allocate=prune.allocations.globally,
            axes=axes,
        ),
        when=every(PRUNE_EVERY, end=end),
    )


def _as_it_is(params: Params) -> Params:
    return params


def _cross_entropy(logits: Array, labels: Array, teacher_logits: Array) -> Array:
    del teacher_logits
    return distill.outputs.hard_targets(logits, labels)


def _soft_and_hard(recipe: Recipe):
    def loss(logits: Array, labels: Array, teacher_logits: Array) -> Array:
        soft = distill.outputs.soft_targets(logits, teacher_logits, temperature=recipe.temperature)
        return distill.mix(
            distill.outputs.hard_targets(logits, labels), soft, weight=recipe.soft_weight
        )

    return loss
