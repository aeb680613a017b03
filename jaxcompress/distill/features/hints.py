"""Any loss of features of one shape, behind a learned projection."""

import jax.numpy as jnp

from jaxcompress.core.kinds import check_key, check_kind, check_takes
from jaxcompress.core.types import Array, Key, Loss, Params, PyTree
from jaxcompress.distill.checks import shape_of, student_and_teacher
from jaxcompress.distill.features.differences import squared_error
from jaxcompress.distill.features.sizes import resized
from jaxcompress.distill.learned import LearnedLoss
from jaxcompress.distill.projections import Projection, linear


def projected(loss: Loss = squared_error, *, projection: Projection = linear()) -> LearnedLoss:
    """A loss of features whose shapes differ, behind a projection learned beside it.

    Not for: losses without parameters of their own: `attention_transfer` and
    `cka_distance` take other channels as they are.

    The student's features are resized linearly to the sizes that the teacher's have
    between batch and channels, such as height and width, then projected to its
    channels. Tokens should be the same ones: resizing mixes neighbours.

    Also known as: hints with a regressor (FitNets), connector, TinyBERT hidden states
    with W_h.

    Args:
      loss: of (student, teacher) features of one shape, such as `squared_error` and
        `cosine_distance`. Of padding it learns from the step that knows it:
        `projected(functools.partial(squared_error, where=mask))`.
      projection: of the last axis: `projections.linear()`, or a `perceptron`.

    Returns:
      LearnedLoss of features (batch, ..., channels) with as many axes, whose parameters
      are the projection's; the values are those of the loss.

    Raises:
      TypeError: `loss` or `projection` is of another kind; when applied: features are
        not floating.
      ValueError: when applied: the numbers of axes differ, or parameters are of other
        features.

    Example:
      >>> hints = jc.distill.features.projected(jc.distill.features.cosine_distance)
      >>> student, teacher = jnp.ones((2, 4, 4, 3)), jnp.ones((2, 8, 8, 5))
      >>> parameters = hints.init(jax.random.key(0), student, teacher)
      >>> hints.loss(parameters, student, teacher).shape
      (2,)

    Source: Romero et al. 2015, arXiv:1412.6550, section 2.2. Differs: trained beside
    the other losses, in place of a stage of its own, unless you give them no weight.
    """
    check_takes("projected", "loss", loss, 2, "Pass loss(student, teacher).")
    check_projection("projected", projection)

    def init(key: Key, student: PyTree, teacher: PyTree) -> Params:
        check_key("projected.init", "key", key)
        student = shape_of("projected.init", "student", student)
        teacher = shape_of("projected.init", "teacher", teacher)
        check_axes("projected.init", student, teacher)
        return projection.init(key, student[-1], teacher[-1])

    def of_projected(parameters: Params, student: Array, teacher: Array) -> Array:
        student, teacher = student_and_teacher("projected.loss", student, teacher)
        student = fitted("projected.loss", projection, parameters, student, teacher)
        return loss(student, teacher)

    return LearnedLoss(init, of_projected)


def fitted(
    caller: str, projection: Projection, parameters: Params, student: Array, teacher: Array
) -> Array:
    """The student's features resized and projected to the teacher's shape."""
    check_axes(caller, student.shape, teacher.shape)
    student = projection.apply(parameters, resized(student, teacher.shape[1:-1]))
    if student.shape != teacher.shape:
        raise ValueError(
            f"{caller}(parameters=...) project to {student.shape[-1]} channels, and the teacher of "
            f"shape {teacher.shape} has {teacher.shape[-1]}. Begin with init for these features."
        )
    return student.astype(jnp.float32)


def check_axes(caller: str, student: tuple[int, ...], teacher: tuple[int, ...]) -> None:
    """Raises a ValueError unless both shapes have as many axes."""
    if len(student) != len(teacher):
        raise ValueError(
            f"{caller}(student of shape {student}, teacher of shape {teacher}) need as many axes. "
            "A projection mends the last, resizing those between batch and channels; reshape or "
            "average one so that both are, for example, (batch, tokens, channels)."
        )


def check_projection(caller: str, projection: object) -> None:
    """Raises a TypeError unless it is a projection."""
    check_kind(caller, "projection", projection, Projection, "For example projections.linear().")
