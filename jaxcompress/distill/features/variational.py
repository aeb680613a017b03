"""Information that the student's features hold about the teacher's, as a bound."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import check_positive
from jaxcompress.core.kinds import check_key
from jaxcompress.core.types import Array, Key, Params, PyTree
from jaxcompress.distill.checks import shape_of, student_and_teacher
from jaxcompress.distill.features.hints import check_axes, check_projection, fitted
from jaxcompress.distill.learned import LearnedLoss
from jaxcompress.distill.projections import Projection, linear

_LEAST_VARIANCE = 1e-5


def variational_information(
    *, projection: Projection = linear(), variance: float = 5.0
) -> LearnedLoss:
    """Log loss of a Gaussian that predicts the teacher's features from the student's.

    Not for: channels that must all be matched, since those that cannot be predicted
    count less; `projected` weighs them alike.

        loss = mean over entries of ½ (log v_c + (teacher - predicted)² / v_c)
        predicted = projection(student),  v_c = softplus(a_c) + 1e-5

    A squared error whose weight is learned for every channel c: channels that the
    student cannot predict count less. Its mean over data, with the sign turned, bounds
    from below what the student's features tell of the teacher's, up to a constant.

    Also known as: variational information distillation (VID).

    Args:
      projection: from the student's channels to the means; the student is resized
        before, as in `projected`.
      variance: of every channel at first, above 1e-5.

    Returns:
      LearnedLoss of features (batch, ..., channels), whose parameters are the
      "projection"'s and "variance" (channels,), the a_c. Values may be negative, at
      least ½ log 1e-5 = -5.76.

    Raises:
      TypeError: `projection` is of another kind; when applied: features are not
        floating.
      ValueError: `variance` is not above 1e-5; when applied: the numbers of axes
        differ, or parameters are of other features.

    Example:
      >>> information = jc.distill.features.variational_information(variance=1.0)
      >>> parameters = information.init(jax.random.key(0), (1, 4), (1, 6))
      >>> information.loss(parameters, jnp.zeros((2, 4)), jnp.ones((2, 6)))
      Array([0.5, 0.5], dtype=float32)

    Source: Ahn et al. 2019, arXiv:1904.05835, equations 4 to 6. Differs: the mean over
    entries in place of the sum, and one linear layer unless `projection` says more.
    """
    check_projection("variational_information", projection)
    check_positive("variational_information", "variance", variance)
    if variance <= _LEAST_VARIANCE:
        raise ValueError(f"variational_information(variance={variance}) must be above 1e-5.")
    # What softplus turns into the rest of the variance, for large and small alike.
    rest = variance - _LEAST_VARIANCE
    start = rest + np.log(-np.expm1(-rest))

    def init(key: Key, student: PyTree, teacher: PyTree) -> Params:
        check_key("variational_information.init", "key", key)
        student = shape_of("variational_information.init", "student", student)
        teacher = shape_of("variational_information.init", "teacher", teacher)
        check_axes("variational_information.init", student, teacher)
        return {
            "projection": projection.init(key, student[-1], teacher[-1]),
            "variance": jnp.full(teacher[-1], start, jnp.float32),
        }

    def loss(parameters: Params, student: Array, teacher: Array) -> Array:
        caller = "variational_information.loss"
        student, teacher = student_and_teacher(caller, student, teacher)
        predicted = fitted(caller, projection, parameters["projection"], student, teacher)
        variances = jax.nn.softplus(parameters["variance"].astype(jnp.float32)) + _LEAST_VARIANCE
        variances = variances.reshape((1,) * (teacher.ndim - 1) + variances.shape)
        entries = (jnp.log(variances) + (teacher - predicted) ** 2 / variances) / 2
        return jnp.mean(entries, axis=tuple(range(1, teacher.ndim)))

    return LearnedLoss(init, loss)
