"""Kronecker factors of a model's Fisher matrix, measured on a batch."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.kinds import check_function, check_key, check_kind
from jaxcompress.core.models import check_model
from jaxcompress.core.sharding import gathered
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Key, Model, Params
from jaxcompress.graph.layouts import Dot
from jaxcompress.graph.program import trace
from jaxcompress.graph.rewrite import run_program
from jaxcompress.optimizers.curvature.likelihoods import Likelihood, categorical
from jaxcompress.optimizers.kronecker.factors import AllFactors, Factors
from jaxcompress.optimizers.kronecker.layers import Place, output_axes, places
from jaxcompress.optimizers.matrix.products import product


def kfac_factors(
    fn: Model,
    params: Params,
    inputs: tuple[Any, ...],
    key: Key,
    likelihood: Likelihood = categorical,
) -> AllFactors:
    """The Kronecker factors of every layer that `kfac_layers` finds.

        A = mean over examples of Σ_t a_t a_tᵀ
        S = mean over examples and positions t of s_t s_tᵀ
        Fisher of a layer ≈ A ⊗ S

    a is what the units sum over at a position, with a 1 at its end where the layer has
    a bias: an input vector, or a window of a convolution's. s is the gradient of an
    example's log-likelihood by the units' outputs there, with labels drawn from the
    model. It costs one gradient. An example must not look at others: batch
    normalisation is in its evaluation mode.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of real floating arrays.
      inputs: the batch, as a tuple of the model's inputs.
      key: PRNG key of the labels.
      likelihood: what the outputs say of labels: `categorical`, `gaussian`, or a
        function (outputs, key) -> minus log-likelihoods, one per example.

    Returns:
      `Factors` by the name of each layer's kernel.

    Example:
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> params, x = {"kernel": jnp.zeros((3, 2))}, jnp.ones((5, 3))
      >>> factors = jc.optimizers.kfac_factors(fn, params, (x,), jax.random.key(0))
      >>> factors["kernel"].inputs.shape, float(factors["kernel"].outputs[0, 0])
      ((3, 3), 0.25)

    Source: Martens and Grosse 2015, arXiv:1503.05671, section 3; Grosse and Martens
    2016, arXiv:1602.01407, equation 31, for convolutions.
    """
    check_model("kfac_factors", fn)
    check_arrays("kfac_factors", "params", params)
    check_kind("kfac_factors", "inputs", inputs, tuple | list, "For one input x it is (x,).")
    check_arrays("kfac_factors", "inputs", inputs)
    check_key("kfac_factors", "key", key)
    check_function("kfac_factors", "likelihood", likelihood, "For example categorical.")
    program = trace(fn, params, *inputs)
    found = {place.site.name: place for place in places(program)}
    if not found:
        return {}

    def handler(site, apply, data, weight, state):
        probe, _ = state
        place = found[site.name]
        seen = _second_moment(_input_rows(place, jax.lax.stop_gradient(data)))
        return apply(data, weight) + probe.astype(site.dtype), (probe, seen)

    def total(probes: dict[str, Array]) -> tuple[Array, tuple[Any, ...]]:
        states = {}
        for name, place in found.items():
            sides = (place.layer.inputs, place.layer.inputs)
            states[name] = (probes[name], jnp.zeros((*place.layer.batch, *sides), jnp.float32))
        handlers = dict.fromkeys(found, handler)
        outputs, states = run_program(program, params, inputs, states, handlers)
        losses = likelihood(outputs, key)
        return jnp.sum(losses), (losses.size, {name: seen for name, (_, seen) in states.items()})

    probes = {
        name: jnp.zeros((*place.site.stack, *place.site.output_shape), jnp.float32)
        for name, place in found.items()
    }
    gradients, (examples, moments) = jax.grad(total, has_aux=True)(probes)
    return {
        place.layer.kernel: Factors(
            inputs=moments[name] / examples,
            outputs=_output_moment(place, gradients[name]),
        )
        for name, place in found.items()
    }


def _second_moment(rows: Array) -> Array:
    """The sum of outer products of (…, rows, n), as (…, n, n)."""
    return product(rows.mT, rows)


def _output_moment(place: Place, gradient: Array) -> Array:
    """The mean outer product of (stack…, output…), as (batch…, outputs, outputs)."""
    rows_of = functools.partial(_output_rows, place)
    for _ in place.site.stack:
        rows_of = jax.vmap(rows_of)
    rows = rows_of(gathered(gradient))
    return _second_moment(rows) / max(rows.shape[-2], 1)


def _output_rows(place: Place, y: Array) -> Array:
    """The outputs of one execution as (batch…, rows, outputs)."""
    site, units = place.site, output_axes(place.site, place.eqn)
    batch = len(site.operand_axes.batch)
    if isinstance(site.layout, Dot):
        order = site.layout.permutation
        first = tuple(order.index(position) for position in range(batch))
    else:
        first = ()
    rest = tuple(axis for axis in range(y.ndim) if axis not in first + units)
    ordered = jnp.transpose(y, first + rest + units)
    return ordered.reshape(*ordered.shape[:batch], -1, place.layer.outputs)


def _input_rows(place: Place, data: Array) -> Array:
    """What the units sum over as (batch…, rows, inputs) float32, perhaps with a 1."""
    rows = place.site.windows(gathered(data).astype(jnp.float32))
    if not place.layer.bias:
        return rows
    return jnp.concatenate([rows, jnp.ones((*rows.shape[:-1], 1), jnp.float32)], axis=-1)
