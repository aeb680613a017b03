"""Runs a model on codes, each site in the form that a plan chose.

The forms themselves are in `forms`; what they multiply is in `kernels`; how a plan is
made in `plan`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from jaxcompress.core.kinds import check_kind
from jaxcompress.core.models import check_model
from jaxcompress.core.types import Array, Model, Params
from jaxcompress.graph import Site, rewrite
from jaxcompress.quantize.execution.choices import ExecutionPlan
from jaxcompress.quantize.execution.forms import Form, by_name


def run(fn: Model, plan: ExecutionPlan) -> Model:
    """Runs a model on the codes of its weights, each site in the form that was fastest.

    Nothing is timed here: `plan` has measured. Jit the result. Data that are not finite
    give outputs that are not, and the gradient is that of the model on the arrays that
    the codes stand for, straight through the rounding of the data. In a
    `jax.lax.scan` second derivatives need forward over forward mode: after a reverse
    pass JAX differentiates the rounding itself there.

    Args:
      fn: the model that was planned.
      plan: what `plan_execution(fn, params, *inputs)` gave; data become codes by
        `plan.activations`, as it was planned.

    Returns:
      Function of the same arguments and outputs, for the quantized params or
      `plan.hold(params)`.

    Raises:
      TypeError: `plan` is none.
      ValueError: (when called) on another kind of device than was planned for.

    Example:
      >>> params, _ = jc.quantize.quantize({"kernel": jnp.eye(4)}, jc.quantize.int8())
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> plan = jc.quantize.plan_execution(fn, params, jnp.ones((2, 4)))
      >>> jax.jit(jc.quantize.run(fn, plan))(params, jnp.ones((2, 4))).shape
      (2, 4)
    """
    check_model("run", fn)
    check_kind("run", "plan", plan, ExecutionPlan, "Make it with plan_execution.")
    forms = by_name(plan.activations)
    running = in_forms(fn, {choice.site: forms[choice.form] for choice in plan.choices})

    def on_this_device(params: Params, *inputs):
        if device() != plan.device:
            raise ValueError(
                f"run(plan=...): the plan was made on {plan.device}, this is {device()}. "
                "Plan again here."
            )
        return running(params, *inputs)

    return on_this_device


def in_forms(fn: Model, forms: Mapping[str, Form]) -> Model:
    """Rewrites the model so that each named site runs in its form."""
    other = by_name(None)["materialized"]

    def replacement(site: Site, apply: Callable[..., Any], data: Array, weight):
        return forms.get(site.name, other)(site, apply, data, weight)

    return rewrite(fn, replacement)


def device() -> str:
    """The kind of device that runs by default."""
    return jax.devices()[0].device_kind
