"""The Gauss-Newton step by conjugate gradients: a curvature that is never negative."""

from collections.abc import Callable

import jax
import optax
from jax.typing import ArrayLike

from jaxcompress.core.types import Array, Params, PyTree
from jaxcompress.optimizers.curvature.curvature import require_function
from jaxcompress.optimizers.curvature.damping import check_search, damped
from jaxcompress.optimizers.descent import descending


def scale_by_gauss_newton(
    *, damping: float = 1.0, iterations: int = 20, tolerance: float = 1e-4
) -> optax.GradientTransformationExtraArgs:
    """The Gauss-Newton step: `scale_by_newton_cg` with a positive semi-definite matrix.

        G = Jᵀ H_out J,   (G + damping · I) update = g

    J is the derivative of the outputs by the params, H_out the Hessian of the loss by
    the outputs: for losses that are convex in the outputs G is positive semi-definite,
    for least squares it is JᵀJ. `update` takes the extra arguments `outputs`, a
    function of the params, and `loss`, a function of the outputs.

    Args:
      damping: the first one, above 0; see `scale_by_newton_cg` for how it moves.
      iterations: most products per step, at least 1.
      tolerance: at least 0; it stops when the residual is this share of the gradient.

    Returns:
      Transformation with a `NewtonState`; in float32 inside, updates keep their dtype.
      It takes a learning rate of 1.

    Raises:
      ValueError: a number is outside its range; in `update`: params, `outputs` or
        `loss` are missing.
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> outputs = lambda w: jnp.array([w[0], 10 * (w[1] - w[0] ** 2)])
      >>> loss = lambda outputs: jnp.sum(outputs**2) / 2
      >>> scaled = jc.optimizers.scale_by_gauss_newton(damping=1e-6)
      >>> w = jnp.array([0.5, 1.25])
      >>> grads = jax.grad(lambda w: loss(outputs(w)))(w)
      >>> extra = {"outputs": outputs, "loss": loss}
      >>> update, _ = scaled.update(grads, scaled.init(w), w, **extra)
      >>> (w - update).round(3) + 0.0
      Array([ 0.  , -0.25], dtype=float32)

    Source: Schraudolph 2002, "Fast curvature matrix-vector products"; Martens 2010,
    "Deep learning via Hessian-free optimization", sections 3 and 4.1. Differs: no
    preconditioner; a step that fails is dropped, not shortened.
    """
    check_search("scale_by_gauss_newton", damping, iterations, tolerance)

    def products(
        params: Params,
        *,
        outputs: Callable[[Params], PyTree] | None = None,
        loss: Callable[[PyTree], Array] | None = None,
        **extra,
    ):
        del extra
        caller, mend = "scale_by_gauss_newton", "lambda params: model(params, inputs)"
        outputs_of = require_function(caller, "outputs", outputs, mend)
        mend = "lambda outputs: mean_loss(outputs, labels)"
        loss_of = require_function(caller, "loss", loss, mend)
        predicted, derivative = jax.linearize(outputs_of, params)
        _, curvature = jax.linearize(jax.grad(loss_of), predicted)
        transposed = jax.linear_transpose(derivative, params)

        def multiply(vector: PyTree) -> PyTree:
            return transposed(curvature(derivative(vector)))[0]

        return lambda params: loss_of(outputs_of(params)), multiply

    return damped("scale_by_gauss_newton", products, damping, iterations, tolerance)


def gauss_newton(
    learning_rate: ArrayLike | optax.Schedule = 1.0,
    *,
    damping: float = 1.0,
    iterations: int = 20,
    tolerance: float = 1e-4,
) -> optax.GradientTransformationExtraArgs:
    """`scale_by_gauss_newton`, then the learning rate, by default the whole step.

    Not for: small noisy batches, since it fits the loss of each; `kfac` averages
    curvature over batches.

    Args:
      learning_rate: at least 0: a number, a () array or a schedule.
      damping: the first one, above 0.
      iterations: most products per step.
      tolerance: of the residual, as a share of the gradient. Under
        `inject_hyperparams` all but the rate go into `static_args`.

    Raises:
      ValueError: a number is outside its range.

    Example:
      >>> optimizer = jc.optimizers.gauss_newton(damping=1.0)
      >>> half = lambda y: jnp.sum(y**2) / 2
      >>> w = jnp.array([3.0, -2.0])
      >>> optimizer.update(w, optimizer.init(w), w, outputs=lambda w: w, loss=half)[0]
      Array([-1.5,  1. ], dtype=float32)

    Also known as: Levenberg-Marquardt, where damped.
    """
    check_search("gauss_newton", damping, iterations, tolerance)
    scaled = scale_by_gauss_newton(damping=damping, iterations=iterations, tolerance=tolerance)
    return descending("gauss_newton", scaled, learning_rate)
