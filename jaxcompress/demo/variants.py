"""What is compressed and how, one function per variant, in calls a user would make."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from jaxcompress import graph, quantize, storage, train
from jaxcompress.bridges.functional import Functional
from jaxcompress.core.axes import Axes
from jaxcompress.core.report import Report
from jaxcompress.core.types import Model, Params, PyTree
from jaxcompress.demo import training
from jaxcompress.demo.data import Splits
from jaxcompress.demo.models import Architecture
from jaxcompress.demo.plan import Plan
from jaxcompress.demo.recipe import Recipe
from jaxcompress.demo.steps import combined_step, dense_step, distilling_step, pruning_step
from jaxcompress.validate import predict

CALIBRATION_IMAGES = 256
BATCH = 256


class Shipped(NamedTuple):
    """What a model file holds.

    Attributes:
      params: arrays and quantized leaves.
      ranges: the calibrated range of the data at each site; empty where activations
        stay float.
    """

    params: Params
    ranges: dict[str, PyTree]


@dataclasses.dataclass(frozen=True)
class Variant:
    """One compressed model.

    Attributes:
      name: shown in the table.
      architecture: rebuilds the network in another process.
      model: the network; its own params are those it started from.
      shipped: what the file holds.
      report: what was done to each leaf.
      coders: which coders the file may use.
      before: the params after each stage before, by its name.
    """

    name: str
    architecture: Architecture
    model: Functional
    shipped: Shipped
    report: Report
    coders: tuple[storage.coders.Coder, ...] = storage.coders.FAST
    before: Mapping[str, Params] = dataclasses.field(default_factory=dict)

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

    Attributes:
      recipe: the choices.
      splits: the data; only the training set is read here.
      plan: the networks before training, and what their shapes decide.
      model: the trained dense model, also the teacher.
      teacher_logits: its outputs on the training images, (n, classes) float32.
    """

    recipe: Recipe
    splits: Splits
    plan: Plan
    model: Functional
    teacher_logits: np.ndarray

    @property
    def architecture(self) -> Architecture:
        """Of the dense model."""
        return self.plan.dense.architecture

    @property
    def axes(self) -> Axes:
        """What every axis of the dense model's weights does."""
        return self.plan.dense.axes

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
    return quantize.fake_quantize_activations(model.fn, quantize.execution.static(ranges))


def workshop(recipe: Recipe, splits: Splits, planned: Plan) -> Workshop:
    """Trains the dense model from scratch with AdamW under a cosine schedule."""
    fresh, step = planned.dense.model, dense_step(recipe)
    no_teacher = np.zeros((len(splits.train), 0), np.float32)
    params = _trained(recipe, splits, fresh, step, no_teacher, "dense", recipe.dense_steps)
    model = dataclasses.replace(fresh, params=params)
    logits = predict(model.fn, params, splits.train.images, batch_size=BATCH)
    return Workshop(recipe, splits, planned, model, np.asarray(logits))


def int8_weights_and_activations(shop: Workshop) -> Variant:
    """8-bit weights by rounding, 8-bit activations in ranges from training images."""
    params, report = quantize.quantize(shop.model.params, shop.recipe.int8, axes=shop.axes)
    images = shop.splits.train.images[:CALIBRATION_IMAGES]
    readings = graph.calibrate(
        shop.model.fn, shop.model.params, [(images,)], quantize.ranges.min_max()
    )
    ranges = {site: reading.value for site, reading in readings.items()}
    return Variant("int8", shop.architecture, shop.model, Shipped(params, ranges), report)


def int4_in_groups(shop: Workshop) -> Variant:
    """4-bit weights in groups by rounding; the small first convolution in 8 bits."""
    spec = shop.plan.dense.int4
    params, report = quantize.quantize(shop.model.params, spec, axes=shop.axes)
    return Variant("int4", shop.architecture, shop.model, Shipped(params, {}), report)


def pruned(shop: Workshop) -> Params:
    """Gradual magnitude pruning while the dense model trains on."""
    recipe = shop.recipe
    step = pruning_step(recipe, shop.axes)
    return _trained(
        recipe, shop.splits, shop.model, step, shop.teacher_logits, "pruned", recipe.prune_steps
    )


def pruned_int8(shop: Workshop, sparse: Params) -> Variant:
    """8-bit weights of the pruned model."""
    params, report = quantize.quantize(sparse, shop.recipe.int8, axes=shop.axes)
    return Variant("pruned + int8", shop.architecture, shop.model, Shipped(params, {}), report)


def deep_compression(shop: Workshop, sparse: Params) -> Variant:
    """The pruned model, whose layers share a few values each, entropy coded."""
    spec = quantize.formats.codebook(shop.recipe.codebook_bits, per="tensor")
    shared = quantize.rounding.nearest(quantize.sharing.k_means())
    params, report = quantize.quantize(sparse, spec, axes=shop.axes, rounding=shared)
    return _coded(shop, "deep compression", {"pruned": sparse, "shared": params}, report)


def rate_distortion(shop: Workshop, sparse: Params) -> Variant:
    """The pruned model, codes chosen by their error and their bits, entropy coded."""
    rounding = quantize.rounding.rate_distortion(shop.recipe.slope, quantize.rates.by_lines)
    spec = quantize.int8(per="tensor")
    params, report = quantize.quantize(sparse, spec, axes=shop.axes, rounding=rounding)
    return _coded(shop, "rate-distortion", {"pruned": sparse, "rounded": params}, report)


def _coded(shop: Workshop, name: str, stages: Mapping[str, Params], report: Report) -> Variant:
    """The variant that ships the last stage in as few bytes as coders find."""
    shipped = Shipped(list(stages.values())[-1], {})
    smallest = storage.coders.SMALLEST
    return Variant(name, shop.architecture, shop.model, shipped, report, smallest, stages)


def distilled(shop: Workshop) -> Variant:
    """A student of a quarter of the size, trained on the teacher's soft targets."""
    recipe, student = shop.recipe, shop.plan.student
    params = _trained(
        recipe,
        shop.splits,
        student.model,
        distilling_step(recipe),
        shop.teacher_logits,
        "distilled",
        recipe.distill_steps,
    )
    shipped, report = Shipped(params, {}), Report("distilled", ())
    return Variant("distilled", student.architecture, student.model, shipped, report)


def distilled_pruned_int4(shop: Workshop, start: Variant) -> Variant:
    """The student trained on with soft targets, pruning and a 4-bit view at once."""
    recipe = shop.recipe
    student = dataclasses.replace(start.model, params=start.shipped.params)
    axes, spec = shop.plan.student.axes, shop.plan.student.int4
    step = combined_step(recipe, spec, axes)
    trained = _trained(
        recipe,
        shop.splits,
        student,
        step,
        shop.teacher_logits,
        "distilled + pruned + int4",
        recipe.combined_steps,
    )
    params, report = quantize.quantize(trained, spec, axes=axes)
    shipped = Shipped(params, {})
    return Variant("distilled + pruned + int4", start.architecture, start.model, shipped, report)


def _trained(recipe, splits, model, step, teacher_logits, title, steps) -> Params:
    plan = train.Plan(steps, min(recipe.batch_size, len(splits.train)), recipe.seed, title=title)
    return training.train(model, step, splits.train, teacher_logits, plan)
