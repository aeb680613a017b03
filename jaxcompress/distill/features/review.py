"""Review: stages of the student, deep ones fused into shallow, and the teacher's."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.checks import check_count
from jaxcompress.core.kinds import check_iterable, check_key
from jaxcompress.core.types import Array, Key, Params, PyTree
from jaxcompress.distill.checks import check_matching, shape_of, student_and_teacher
from jaxcompress.distill.features.sizes import pooled, repeated
from jaxcompress.distill.learned import LearnedLoss
from jaxcompress.distill.projections import linear
from jaxcompress.distill.vectors import flat

_POOLS = (4, 2, 1)


def hierarchical_context(student: Array, teacher: Array) -> Array:
    """Mean squared difference of features, and of the same averaged over coarser grids.

    Not for: features of other shapes, which `review` projects and resizes, or without a
    grid, as tokens, which `squared_error` takes.

        loss = (e + e_4 / 2 + e_2 / 4 + e_1 / 8) / (1 + 1/2 + 1/4 + 1/8)
        e_g = mean (student - teacher)², both averaged to g windows along each axis

    Grids that are no coarser than the features are left out, with their weight.

    Also known as: hierarchical context loss (HCL).

    Args:
      student: (batch, ..., channels) with at least one axis between, such as (batch,
        height, width, channels); floating.
      teacher: of the student's shape; floating.

    Returns:
      (batch,) float32: at least 0, and 0 at equality. Finite for features of magnitude
      up to 1e18, whatever their dtype.

    Raises:
      TypeError: features are not floating.
      ValueError: the shapes differ, and the message says which projection mends it; or
        there is nothing between batch and channels.

    Example:
      >>> image = jnp.zeros((1, 2, 2, 1))
      >>> stripes = image.at[0, 0].set(1.0).at[0, 1].set(-1.0)
      >>> jc.distill.features.hierarchical_context(stripes, image)  # 1 / (1 + 1/2)
      Array([0.667], dtype=float32)

    Source: Chen et al. 2021, arXiv:2104.09044, section 3.3. Differs: the grids, which
    the paper draws, are those of the authors' code.
    """
    student, teacher = student_and_teacher("hierarchical_context", student, teacher)
    check_matching("hierarchical_context", student, teacher)
    if student.ndim < 3:
        raise ValueError(
            f"hierarchical_context(student of shape {student.shape}) needs an axis between batch "
            "and channels. Of vectors compare squared_error."
        )
    difference = student - teacher
    largest = max(student.shape[1:-1])
    grids = [grid for grid in _POOLS if grid < largest]
    weights = [0.5**level for level in range(len(grids) + 1)]
    levels = [difference, *(pooled(difference, grid) for grid in grids)]
    errors = [jnp.mean(flat(level) ** 2, axis=-1) for level in levels]
    weighted = [weight * error for weight, error in zip(weights, errors, strict=True)]
    return sum(weighted[1:], weighted[0]) / sum(weights)


def review(*, width: int = 64) -> LearnedLoss:
    """Compares several stages, the student's deep features fused into its shallow ones.

    Not for: tokens, or one stage alone, which `projected` compares.

    From the deepest stage to the shallowest, the student's features x are projected to
    `width` channels and mixed with what came from the stage below, y, by two learned
    maps; a 3 × 3 convolution brings the mixture to the teacher's channels, and
    `hierarchical_context` compares:

        maps = sigmoid(project([x, y]))
        y ← maps_1 · x + maps_2 · y          (the deepest stage: y = x)
        loss = sum over stages of hierarchical_context(convolve(y), teacher)

    Also known as: ReviewKD, knowledge review, attention-based fusion (ABF).

    Args:
      width: channels of the fused features, at least 1.

    Returns:
      LearnedLoss of two lists of features (batch, height, width, channels), as many of
      the student as of the teacher and shallowest first. Sizes and channels may differ;
      the fused features are resized to the teacher's by their nearest positions. The
      parameters are a list of "inner", "maps" and "outer" of each stage; the deepest
      has no maps. The loss is at least 0.

    Raises:
      ValueError: `width` is no count; when applied: the lists differ in length, or
        parameters or features have other shapes.
      TypeError: when applied: there is no list, or features are not floating.

    Example:
      >>> reviewed = jc.distill.features.review(width=8)
      >>> student = [jnp.ones((2, 8, 8, 3)), jnp.ones((2, 4, 4, 6))]
      >>> teacher = [jnp.ones((2, 8, 8, 5)), jnp.ones((2, 4, 4, 7))]
      >>> parameters = reviewed.init(jax.random.key(0), student, teacher)
      >>> reviewed.loss(parameters, student, teacher).shape
      (2,)

    Source: Chen et al. 2021, arXiv:2104.09044, section 3. Differs: biases in place of
    batch norm, so that nothing but parameters is kept.
    """
    width = check_count("review", "width", width)

    def init(key: Key, student: Sequence[Any], teacher: Sequence[Any]) -> Params:
        check_key("review.init", "key", key)
        _check_stages("review.init", student, teacher)
        shapes = [
            (_image("review.init", "student", own), _image("review.init", "teacher", other))
            for own, other in zip(student, teacher, strict=True)
        ]
        keys = jax.random.split(key, len(shapes))
        deepest = len(shapes) - 1
        return [
            _stage(keys[index], own[-1], width, other[-1], fused=index < deepest)
            for index, (own, other) in enumerate(shapes)
        ]

    return LearnedLoss(init, _reviewed)


def _stage(key: Key, inputs: int, width: int, outputs: int, *, fused: bool) -> Params:
    """The parameters of one stage."""
    inner, maps, outer = jax.random.split(key, 3)
    normal = jax.nn.initializers.lecun_normal()
    stage = {
        "inner": linear().init(inner, inputs, width),
        "outer": {
            "kernel": normal(outer, (3, 3, width, outputs), jnp.float32),
            "bias": jnp.zeros(outputs, jnp.float32),
        },
    }
    return stage | ({"maps": linear().init(maps, 2 * width, 2)} if fused else {})


def _reviewed(parameters: Params, student: Sequence[Any], teacher: Sequence[Any]) -> Array:
    """The sum over stages, deepest first."""
    _check_stages("review.loss", student, teacher)
    if len(parameters) != len(student):
        raise ValueError(
            f"review.loss(parameters=...) are of {len(parameters)} stages, the student has "
            f"{len(student)}. Begin with init for these features."
        )
    losses, below = [], None
    for stage, own, other in reversed(list(zip(parameters, student, teacher, strict=True))):
        own, other = student_and_teacher("review.loss", own, other)
        _image("review.loss", "student", own)
        _image("review.loss", "teacher", other)
        below = _fused(stage, own, below, other.shape[1:-1])
        losses.append(hierarchical_context(_convolved(stage["outer"], below), other))
    return sum(losses[1:], losses[0])


def _fused(stage: Params, own: Array, below: Array | None, sizes: tuple[int, ...]) -> Array:
    """What this stage hands on, of the teacher's sizes."""
    own = linear().apply(stage["inner"], own)
    if below is not None:
        below = repeated(below, own.shape[1:-1])
        maps = linear().apply(stage["maps"], jnp.concatenate([own, below], axis=-1))
        maps = jax.nn.sigmoid(maps)  # (batch, height, width, 2)
        own = maps[..., :1] * own + maps[..., 1:] * below
    return repeated(own, sizes)


def _convolved(outer: Params, features: Array) -> Array:
    convolved = jax.lax.conv_general_dilated(
        features,
        outer["kernel"].astype(jnp.float32),
        window_strides=(1, 1),
        padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=jax.lax.Precision.HIGHEST,
    )
    return convolved + outer["bias"].astype(jnp.float32)[None, None, None]


def _check_stages(caller: str, student: object, teacher: object) -> None:
    """Raises unless both are lists of as many features, at least one."""
    mend = "Pass one array per stage, shallowest first."
    check_iterable(caller, "student", student, mend)
    check_iterable(caller, "teacher", teacher, mend)
    if not isinstance(student, Sequence) or not isinstance(teacher, Sequence):
        raise TypeError(f"{caller}(student, teacher) must be lists. {mend}")
    if len(student) != len(teacher) or not student:
        raise ValueError(
            f"{caller}(student of {len(student)} stages, teacher of {len(teacher)} stages) need as "
            f"many, and at least one. {mend}"
        )


def _image(caller: str, argument: str, features: PyTree) -> tuple[int, ...]:
    shape = shape_of(caller, argument, features)
    if len(shape) != 4:
        raise ValueError(
            f"{caller}({argument} of shape {shape}) needs stages of shape (batch, height, width, "
            "channels). Of tokens and vectors use projected()."
        )
    return shape
