"""Chooses networks, axes and groups, and checks them before training."""

import dataclasses
import importlib.util
import math

import jax
import jax.numpy as jnp

from jaxcompress import graph, quantize
from jaxcompress.bridges.functional import Functional
from jaxcompress.core.axes import Axes
from jaxcompress.core.formats.sharing import Group
from jaxcompress.core.names import named_leaves
from jaxcompress.core.partition import partition
from jaxcompress.core.rules import Rules
from jaxcompress.core.selectors import weights
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Params, PyTree
from jaxcompress.demo.data import Splits
from jaxcompress.demo.models import Architecture, network
from jaxcompress.demo.recipe import Recipe
from jaxcompress.demo.steps import combined_step, dense_step, distilling_step, pruning_step
from jaxcompress.demo.training import Step, trainable


@dataclasses.dataclass(frozen=True)
class Subject:
    """A network before training, and what its shapes decide.

    Attributes:
      architecture: rebuilds the network in another process.
      model: the network with freshly drawn params.
      axes: what every axis of its weights does.
      int4: the recipe's 4-bit rules with groups that divide these weights.
    """

    architecture: Architecture
    model: Functional
    axes: Axes
    int4: Rules[QuantSpec]


@dataclasses.dataclass(frozen=True)
class Plan:
    """Both networks of the demo; every choice of the recipe fits their shapes."""

    dense: Subject
    student: Subject


def plan(recipe: Recipe, splits: Splits) -> Plan:
    """The networks for these images, after every check that needs no training.

    Args:
      recipe: all choices.
      splits: the images, whose size decides that of the hidden layer.

    Returns:
      Plan.

    Raises:
      ImportError: Flax, or matplotlib, which draws the picture at the end, is missing.
      ValueError: a spec, a rule, a schedule or a loss of the recipe cannot be.
    """
    for package, use in {"matplotlib": "picture", "flax": "network"}.items():
        if importlib.util.find_spec(package) is None:
            raise ImportError(f"The demo's {use} needs {package}: pip install 'jaxcompress[demo]'.")
    dense = _subject(recipe, recipe.widths, splits, recipe.seed)
    student = _subject(recipe, recipe.student_widths, splits, recipe.seed + 1)
    for spec in (recipe.int8, dense.int4):
        quantize.quantize(_shapes(dense.model.params), spec, axes=dense.axes)
    _check_step(dense_step(recipe), dense)
    _check_step(pruning_step(recipe, dense.axes), dense)
    _check_step(distilling_step(recipe), student)
    _check_step(combined_step(recipe, student.int4, student.axes), student)
    return Plan(dense, student)


def fitting(rules: Rules[QuantSpec], params: Params, axes: Axes) -> Rules[QuantSpec]:
    """The rules with one line for each weight, whose groups divide that weight.

    A group that does not divide the last contracting axis becomes the greatest common
    divisor of the two: groups of 64 over 1,568 inputs become groups of 32.

    Raises:
      ValueError: a rule matches nothing, or a group has no divisor but 1 in common.
    """
    chosen = named_leaves(weights(axes)(params))
    specs = rules.assign([name for name, selected in chosen.items() if selected])
    leaves, known = named_leaves(params), named_leaves(axes)
    return Rules(
        {
            name: _fitted(name, spec, leaves[name].shape, known[name].contracting)
            for name, spec in specs.items()
        }
    )


def changed_groups(recipe: Recipe, planned: Plan) -> list[str]:
    """One line for each group that became another, for people to read."""
    lines = []
    for title, subject in {"dense": planned.dense, "student": planned.student}.items():
        fitted = dict(subject.int4.pairs)
        for name, asked in recipe.int4.assign(list(fitted)).items():
            if (size := _group_size(fitted[name])) != _group_size(asked):
                lines.append(
                    f"{title}, {name}: groups of {size}, since {_group_size(asked)} does not "
                    "divide its inputs."
                )
    return lines


def _group_size(spec: QuantSpec) -> int:
    """Weights in a group of a spec, 0 where nothing is in groups."""
    return spec.sharing.size if isinstance(spec.sharing, Group) else 0


def _fitted(
    name: str, spec: QuantSpec, shape: tuple[int, ...], contracting: tuple[int, ...]
) -> QuantSpec:
    if not isinstance(spec.sharing, Group) or not contracting:
        return spec
    length = shape[contracting[-1]]
    size = math.gcd(spec.sharing.size, length)
    if size == 1:
        raise ValueError(
            f"Recipe: leaf {name!r} has {length} weights along its last contracting axis, which no "
            f"group of {spec.sharing.size} or of a divisor of it fits. Give it a spec per channel."
        )
    return dataclasses.replace(spec, sharing=Group(size))


def _subject(recipe: Recipe, widths: tuple[int, int, int], splits: Splits, seed: int) -> Subject:
    image = splits.train.images.shape[1:]
    architecture = Architecture(recipe.framework, widths, image, splits.classes)
    if not architecture.features:
        raise ValueError(
            f"{splits.source}: images of {image[0]}×{image[1]} leave the hidden layer nothing to "
            "read. Use images of 2×2 or more."
        )
    model = network(architecture, seed)
    axes = graph.axes(model.fn, model.params, splits.train.images[:1])
    return Subject(architecture, model, axes, fitting(recipe.int4, model.params, axes))


def _check_step(step: Step, subject: Subject) -> None:
    """Traces the parts of a training step on shapes; what cannot be raises here."""
    params = _shapes(subject.model.params)
    logits = jax.ShapeDtypeStruct((1, subject.architecture.classes), jnp.float32)
    labels = jax.ShapeDtypeStruct((1,), jnp.int32)
    jax.eval_shape(step.optimizer.init, partition(params, trainable)[0])
    jax.eval_shape(step.view, params)
    jax.eval_shape(step.loss, logits, labels, logits)


def _shapes(params: Params) -> PyTree:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)
