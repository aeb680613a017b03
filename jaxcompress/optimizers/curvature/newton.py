"""Newton's step by conjugate gradients, for small problems."""

import jax
import optax
from jax.typing import ArrayLike

from jaxcompress.core.types import Params
from jaxcompress.optimizers.curvature.curvature import require_function
from jaxcompress.optimizers.curvature.damping import check_search, damped
from jaxcompress.optimizers.curvature.hessian import ScalarLoss
from jaxcompress.optimizers.descent import descending


def scale_by_newton_cg(
    *, damping: float = 1.0, iterations: int = 20, tolerance: float = 1e-4
) -> optax.GradientTransformationExtraArgs:
    """Newton's step: the damped Hessian's inverse times the gradient.

        (H + damping · I) update = g

    by at most `iterations` products H v. Where a direction of negative curvature turns
    up the solution so far is taken, which is still downhill. `update` takes the extra
    argument `loss`, a function of the params; the gradient is of the same batch.

    The ratio of what the step takes off the loss to what the quadratic model says
    steers the damping; a step that would raise the loss is not taken at all:

        damping <- damping · 3/2  below a ratio of 1/4,  · 2/3  above 3/4

    Args:
      damping: the first one, above 0.
      iterations: most products per step, at least 1; with as many as there are params
        the solution is exact but for rounding.
      tolerance: at least 0; it stops when the residual is this share of the gradient.

    Returns:
      Transformation with a `NewtonState`; in float32 inside, updates keep their dtype.
      It takes a learning rate of 1.

    Raises:
      ValueError: a number is outside its range; in `update`: params or `loss` are
        missing.
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> loss = lambda w: jnp.sum(jnp.array([1.0, 100.0]) * w**2) / 2
      >>> scaled = jc.optimizers.scale_by_newton_cg(damping=1e-6)
      >>> w = jnp.array([3.0, -2.0])
      >>> updates, _ = scaled.update(jax.grad(loss)(w), scaled.init(w), w, loss=loss)
      >>> np.asarray(updates).round(3)
      array([ 3., -2.], dtype=float32)

    Source: Martens 2010, "Deep learning via Hessian-free optimization", sections 3 and
    4.1. Differs: the Hessian itself, truncated at negative curvature (Nocedal and
    Wright 2006, algorithm 7.1); no preconditioner; a step that fails is dropped, not
    shortened.
    """
    check_search("scale_by_newton_cg", damping, iterations, tolerance)

    def products(params: Params, *, loss: ScalarLoss | None = None, **extra):
        del extra
        mend = "lambda params: mean_loss(params, batch)"
        loss_of = require_function("scale_by_newton_cg", "loss", loss, mend)
        _, multiply = jax.linearize(jax.grad(loss_of), params)
        return loss_of, multiply

    return damped("scale_by_newton_cg", products, damping, iterations, tolerance)


def newton_cg(
    learning_rate: ArrayLike | optax.Schedule = 1.0,
    *,
    damping: float = 1.0,
    iterations: int = 20,
    tolerance: float = 1e-4,
) -> optax.GradientTransformationExtraArgs:
    """`scale_by_newton_cg`, then the learning rate, by default the whole step.

    Not for: small noisy batches, since it minimizes the loss of each; take `adamw`, or
    `kfac`, which averages curvature.

    Args:
      learning_rate: at least 0: a number, a () array or a schedule.
      damping: the first one, above 0.
      iterations: most products per step.
      tolerance: of the residual, as a share of the gradient. Under
        `inject_hyperparams` all but the rate go into `static_args`.

    Raises:
      ValueError: a number is outside its range.

    Example:
      >>> loss = lambda w: jnp.sum(jnp.array([1.0, 100.0]) * w**2) / 2
      >>> optimizer = jc.optimizers.newton_cg(damping=1e-6)
      >>> w = jnp.array([3.0, -2.0])
      >>> opt_state = optimizer.init(w)
      >>> updates, _ = optimizer.update(jax.grad(loss)(w), opt_state, w, loss=loss)
      >>> np.asarray(updates).round(3)
      array([-3.,  2.], dtype=float32)

    Also known as: Hessian-free optimization, truncated Newton.
    """
    check_search("newton_cg", damping, iterations, tolerance)
    scaled = scale_by_newton_cg(damping=damping, iterations=iterations, tolerance=tolerance)
    return descending("newton_cg", scaled, learning_rate)
