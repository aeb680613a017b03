"""Line search: the zoom search of optax, for params of any dtype."""

import functools
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.types import Array, Params, PyTree
from jaxcompress.optimizers.curvature.curvature import (
    require_argument,
    require_function,
    zeros_in_float32,
)
from jaxcompress.optimizers.curvature.vectors import in_dtypes_of, in_float32


def zoom_search(caller: str) -> optax.GradientTransformationExtraArgs:
    """The zoom search that `optax.lbfgs` has, in float32 for narrow params too.

    Args:
      caller: the name that errors give.

    Returns:
      Transformation with optax's state, its gradient in float32. `update` takes the
      extra arguments `value`, `grad` and `value_fn`, and those of `value_fn`.

    Raises:
      ValueError: in `update`: one of the three is missing.
      TypeError: in `update`: `value_fn` cannot be called.
    """
    search = optax.scale_by_zoom_linesearch(max_linesearch_steps=20, initial_guess_strategy="one")

    def init(params: Params) -> optax.ScaleByZoomLinesearchState:
        # Not `search.init(params)`: it reads a dtype off the first leaf, and in
        # `optax.tree.map_params` there is none.
        state = search.init(jnp.zeros((), jnp.float32))
        # Nor are its numbers weakly typed, which would cost a second trace.
        fixed = jax.tree.map(lambda leaf: jnp.asarray(leaf, leaf.dtype), state)
        return cast(optax.ScaleByZoomLinesearchState, fixed)._replace(grad=zeros_in_float32(params))

    def update(
        updates: optax.Updates,
        state: Any,
        params: Params = None,
        *,
        value: ArrayLike | None = None,
        grad: PyTree | None = None,
        value_fn: Callable[..., Array] | None = None,
        **extra,
    ):
        mend = "optax.value_and_grad_from_state(loss)(params, state=opt_state)"
        value = require_argument(caller, "value", value, f"{mend}[0]")
        grad = require_argument(caller, "grad", grad, f"{mend}[1]")
        function = require_function(caller, "value_fn", value_fn, "loss")

        # The search looks up in the signature which extra arguments the loss takes.
        @functools.wraps(function)
        def wide_loss(*args, **rest) -> Array:
            return jnp.asarray(function(*args, **rest), jnp.float32)

        wide, state = search.update(
            in_float32(updates),
            state,
            in_float32(params),
            value=jnp.asarray(value, jnp.float32),
            grad=in_float32(grad),
            value_fn=wide_loss,
            **extra,
        )
        return in_dtypes_of(wide, updates), state

    return optax.GradientTransformationExtraArgs(init, update)
