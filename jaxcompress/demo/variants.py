"""What is compressed and how, one function per variant, in calls a user would make."""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np
import optax

from jaxcompress import distill, graph, prune, quantize
from jaxcompress.bridges.functional import Functional
from jaxcompress.core.axes import Axes
from jaxcompress.core.observers import min_max
from jaxcompress.core.report import Report
from jaxcompress.core.schedules import cubic, every
from jaxcompress.core.types import Array, Model, Params, PyTree
from jaxcompress.demo.data import Splits
from jaxcompress.demo.models import Architecture, network
from jaxcompress.demo.recipe import Recipe
from jaxcompress.demo.training import Step, train
from jaxcompress.validate import predict

CALIBRATION_IMAGES = 256
PRUNE_EVERY = 20
BATCH = 256


class Shipped(NamedTuple):
    """What a model file holds.

    Fields:
      params: arrays and quantized leaves.
      ranges: the calibrated range of the data at each site; empty where activations
        stay float.
    """

    params: Params
    ranges: dict[str, PyTree]


@dataclasses.dataclass(frozen=True)
class Variant:
    """One compressed model.

    Fields:
      name: shown in the table.
      architecture: rebuilds the network in another process.
      model: the network; its own params are those it started from.
      shipped: what the file holds.
      report: what was done to each leaf.
    """

    name: str
    architecture: Architecture
    model: Functional
    shipped: Shipped
    report: Report

    @functools.cached_property
    def fn(self) -> Model:
        """The function that is judged."""
        return inference(self.model, self.shipped.ranges)

    @property
    def file_name(self) -> str:
        return self.name.replace(" + ", "-").replace(" ", "-") + ".safetensors"


@dataclasses.dataclass(frozen=True)
class Workshop:
    """What every variant starts from.

    Fields:
      recipe: the choices.
      splits: the data; only the training set is read here.
      architecture: of the dense model.
      model: the trained dense model, also the teacher.
      axes: what every axis of its weights does.
      teacher_logits: its outputs on the training images, (n, classes) float32.
    """

    recipe: Recipe
    splits: Splits
    architecture: Architecture
    model: Functional
    axes: Axes
    teacher_logits: np.ndarray

    @property
    def dense(self) -> Variant:
        params = self.model.params
        return Variant(
            "dense", self.architecture, self.model, Shipped(params, {}), Report("dense", ())
        )


def inference(model: Functional, ranges: dict[str, PyTree]) -> Model:
    """The function that is judged: 8-bit activations where ranges were calibrated."""
    if not ranges:
        return model.fn
    return quantize.fake_quantize_activations(model.fn, quantize.static(ranges))


def workshop(recipe: Recipe, splits: Splits) -> Workshop:
    """Trains the dense model from scratch with AdamW under a cosine schedule."""
    image = splits.train.images.shape[1:]
    architecture = Architecture(recipe.framework, recipe.widths, image, splits.classes)
    fresh = network(architecture, recipe.seed)
    step = Step(_from_scratch(recipe, recipe.dense_steps), _cross_entropy, _as_it_is)
    no_teacher = np.zeros((len(splits.train), 0), np.float32)
    params = _trained(recipe, splits, fresh, step, no_teacher, "dense", recipe.dense_steps)
    model = dataclasses.replace(fresh, params=params)
    logits = predict(model.fn, params, splits.train.images, batch_size=BATCH)
    return Workshop(recipe, splits, architecture, model, _axes(model, splits), np.asarray(logits))


def int8_weights_and_activations(shop: Workshop) -> Variant:
    """8-bit weights by rounding, 8-bit activations in ranges from training images."""
    params, report = quantize.quantize(shop.model.params, shop.recipe.int8, axes=shop.axes)
    images = shop.splits.train.images[:CALIBRATION_IMAGES]
    ranges = graph.calibrate(shop.model.fn, shop.model.params, [(images,)], min_max())
    return Variant("int8", shop.architecture, shop.model, Shipped(params, ranges), report)


def int4_in_groups(shop: Workshop) -> Variant:
    """4-bit weights in groups by rounding; the small first convolution in 8 bits."""
    params, report = quantize.quantize(shop.model.params, shop.recipe.int4, axes=shop.axes)
    return Variant("int4", shop.architecture, shop.model, Shipped(params, {}), report)


def pruned_int8(shop: Workshop) -> Variant:
    """Gradual magnitude pruning while the dense model trains on, then 8-bit weights."""
    recipe = shop.recipe
    optimizer = _pruning(
        _fine_tuning(recipe, recipe.prune_steps), recipe, recipe.prune_steps, shop.axes
    )
    step = Step(optimizer, _cross_entropy, _as_it_is)
    sparse = _trained(
        recipe, shop.splits, shop.model, step, shop.teacher_logits, "pruned", recipe.prune_steps
    )
    params, report = quantize.quantize(sparse, recipe.int8, axes=shop.axes)
    return Variant("pruned + int8", shop.architecture, shop.model, Shipped(params, {}), report)


def distilled(shop: Workshop) -> Variant:
    """A student of a quarter of the size, trained on the teacher's soft targets."""
    recipe = shop.recipe
    architecture = dataclasses.replace(shop.architecture, widths=recipe.student_widths)
    student = network(architecture, recipe.seed + 1)
    step = Step(_from_scratch(recipe, recipe.distill_steps), _soft_and_hard(recipe), _as_it_is)
    params = _trained(
        recipe, shop.splits, student, step, shop.teacher_logits, "distilled", recipe.distill_steps
    )
    return Variant("distilled", architecture, student, Shipped(params, {}), Report("distilled", ()))


def distilled_pruned_int4(shop: Workshop, start: Variant) -> Variant:
    """The student trained on with soft targets, pruning and a 4-bit view at once."""
    recipe = shop.recipe
    student = dataclasses.replace(start.model, params=start.shipped.params)
    axes = _axes(student, shop.splits)
    optimizer = _pruning(
        _fine_tuning(recipe, recipe.combined_steps), recipe, recipe.combined_steps, axes
    )
    step = Step(optimizer, _soft_and_hard(recipe), quantize.fake_quantize(recipe.int4, axes=axes))
    trained = _trained(
        recipe,
        shop.splits,
        student,
        step,
        shop.teacher_logits,
        "distilled + pruned + int4",
        recipe.combined_steps,
    )
    params, report = quantize.quantize(trained, recipe.int4, axes=axes)
    shipped = Shipped(params, {})
    return Variant("distilled + pruned + int4", start.architecture, start.model, shipped, report)


def _trained(recipe, splits, model, step, teacher_logits, title, steps) -> Params:
    return train(
        model,
        step,
        splits.train,
        teacher_logits,
        title=title,
        steps=steps,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
    )


def _axes(model: Functional, splits: Splits) -> Axes:
    return graph.axes(model.fn, model.params, splits.train.images[:1])


def _from_scratch(recipe: Recipe, steps: int) -> optax.GradientTransformation:
    return optax.adamw(
        optax.warmup_cosine_decay_schedule(0.0, recipe.learning_rate, steps // 20, steps)
    )


def _fine_tuning(recipe: Recipe, steps: int) -> optax.GradientTransformation:
    return optax.adamw(optax.cosine_decay_schedule(recipe.learning_rate / 3, steps))


def _pruning(inner, recipe: Recipe, steps: int, axes: Axes) -> optax.GradientTransformation:
    """Prunes through the first two thirds of the steps and lets the rest recover."""
    end = 2 * steps // 3
    return prune.prune(
        inner,
        prune.magnitude(),
        sparsity=cubic(0.0, recipe.sparsity, begin=0, end=end),
        allocate=prune.globally,
        axes=axes,
        when=every(PRUNE_EVERY, end=end),
    )


def _as_it_is(params: Params) -> Params:
    return params


def _cross_entropy(logits: Array, labels: Array, teacher_logits: Array) -> Array:
    del teacher_logits
    return distill.hard_targets(logits, labels)


def _soft_and_hard(recipe: Recipe):
    def loss(logits: Array, labels: Array, teacher_logits: Array) -> Array:
        soft = distill.soft_targets(logits, teacher_logits, temperature=recipe.temperature)
        return distill.mix(distill.hard_targets(logits, labels), soft, weight=recipe.soft_weight)

    return loss
