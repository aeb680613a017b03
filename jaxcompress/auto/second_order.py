"""Curvature of the loss by traces of the Hessian: HAWQ."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.auto.curvature import Coefficient, Curvature, coefficient
from jaxcompress.auto.origins import digests_of
from jaxcompress.auto.parts import Part, by_part, parts_of, sliced_axes
from jaxcompress.core.batches import as_inputs, as_pairs
from jaxcompress.core.checks import check_concrete, check_count
from jaxcompress.core.kinds import check_key, check_loss
from jaxcompress.core.leaf import materialize
from jaxcompress.core.models import check_model
from jaxcompress.core.names import leaf_names, named_leaves
from jaxcompress.core.sharding import explicit_sharding, placed
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Key, Loss, Model, Params
from jaxcompress.graph import trace
from jaxcompress.graph.program import Program


def second_order(
    fn: Model,
    params: Params,
    loss: Loss,
    batches: Iterable[Any],
    key: Key,
    *,
    probes: int = 100,
) -> Curvature:
    """Finds the curvature of the loss in each part by the trace of its Hessian.

    Not for: few bits, whose changes of weights are no small ones; `auto.sensitivity`
    measures them.

        rise = 1/2 · trace(H) / n · ||W' - W||²,   H = d²(mean loss)/dW², n = W.size
        trace(H) = mean over probes v in {-1, 1}^n of vᵀ H v

    All parts share a probe, one Hessian-vector product per probe and batch; layers of a
    scan are told apart. The interval is that of the probes' mean.

    Also known as: HAWQ, Hessian-aware quantization, Hutchinson's trace estimator,
    Hessian trace sensitivity.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: at a minimum of the loss or near it; compressed leaves count as arrays.
      loss: (outputs, targets) to one number per example.
      batches: (inputs, targets) pairs; examples weigh alike.
      key: of the probes.
      probes: 50 to 200 are usual, at least 2.

    Returns:
      Curvature for `predicted_sensitivity`, of every real leaf that meets data. A
      coefficient below 0 says that the loss falls there.

    Raises:
      TypeError: an argument is not of its kind.
      ValueError: there is no batch, no real weight meets data, a trace is not finite,
        or `probes` is below 2.

    Example:
      >>> loss = lambda outputs, targets: ((outputs - targets) ** 2).sum(-1)
      >>> fn, params = lambda params, x: x @ params["w"], {"w": jnp.ones((2, 1))}
      >>> batches = [(jnp.array([[1.0, 0.0], [0.0, 3.0]]), jnp.zeros((2, 1)))]
      >>> found = jc.auto.second_order(fn, params, loss, batches, jax.random.key(0))
      >>> [round(each.value, 3) for each in found.coefficients.values()]
      [2.5]

    Source: Dong et al. 2020, arXiv:1911.03852, equation 3; Hutchinson 1990. Differs:
    the half of Taylor's series, so that a rise is in the unit of the loss; all leaves
    share a probe, whose cross terms have the mean 0.
    """
    caller = "second_order"
    check_model(caller, fn)
    check_arrays(caller, "params", params)
    check_loss(caller, loss)
    check_key(caller, "key", key)
    probes = check_count(caller, "probes", probes, least=2)
    check_concrete(caller, params=params)
    pairs = [(as_inputs(inputs), targets) for inputs, targets in as_pairs(caller, batches)]
    params = materialize(params)
    program = trace(fn, params, *pairs[0][0])
    parts = parts_of_sites(caller, params, program)
    step = _products(fn, loss, parts)
    keys = jax.random.split(key, probes)
    total, count = dict.fromkeys(parts, 0.0), 0
    for pair in pairs:
        found, losses, examples = jax.device_get(step(params, keys, *pair))
        if not np.isfinite(losses):
            raise ValueError(
                f"{caller}(loss=...) is not finite on a batch. Check the loss and the params."
            )
        total = {name: total[name] + np.float64(found[name]) for name in parts}  # (probes, parts)
        count += int(examples)
    coefficients: dict[Part, Coefficient] = {}
    for name, each in parts.items():
        size = named_leaves(params)[name].size / len(each)
        halves = 0.5 * total[name] / count / size
        if not np.all(np.isfinite(halves)):
            raise ValueError(
                f"{caller}(loss=...): the curvature at leaf {name!r} is not finite. Check the loss "
                "and the params."
            )
        for part, estimates in zip(each, halves.T, strict=True):
            coefficients[part] = coefficient(estimates, 0.95)
    method = f"traces of the Hessian, {probes} probes"
    digests = digests_of(params, parts)
    return Curvature(coefficients, "loss", method, sliced_axes(program), {}, digests=digests)


def parts_of_sites(caller: str, params: Params, program: Program) -> dict[str, list[Part]]:
    """The parts of every real leaf that meets data, by leaf."""
    leaves, sliced = named_leaves(params), sliced_axes(program)
    names = dict.fromkeys(leaf.name for site in program.sites for leaf in site.leaves)
    real = [name for name in names if jnp.issubdtype(leaves[name].dtype, jnp.floating)]
    if not real:
        raise ValueError(f"{caller}(fn): no real weight meets data in this program.")
    return {name: parts_of(name, leaves[name].shape, sliced) for name in real}


def _products(fn: Model, loss: Loss, parts: dict[str, list[Part]]):
    """(params, keys, inputs, targets) -> vᵀ H v (probes, parts) and loss, summed; n."""

    @jax.jit
    def step(params: Params, keys: Array, inputs: tuple[Any, ...], targets: Any):
        leaves = named_leaves(params)
        names = leaf_names(params)

        def total(own: dict[str, Array]) -> Array:
            filled = jax.tree.map(lambda name: own.get(name, leaves[name]), names)
            return jnp.sum(loss(fn(filled, *inputs), targets).astype(jnp.float32))

        own = {name: leaves[name] for name in parts}

        def of_probe(key: Key) -> dict[str, Array]:
            each = dict(zip(own, jax.random.split(key, len(own)), strict=True))
            probe = {name: _probe(each[name], leaf) for name, leaf in own.items()}
            product = jax.jvp(jax.grad(total), (own,), (probe,))[1]
            return {
                name: by_part(parts[name], (probe[name] * product[name]).astype(jnp.float32))
                for name in own
            }

        examples = jax.eval_shape(lambda: loss(fn(params, *inputs), targets)).size
        return jax.lax.map(of_probe, keys), total(own), examples

    return step


def _probe(key: Key, leaf: Array) -> Array:
    """Signs of the leaf's shape and sharding, the same on any mesh."""
    signs = jax.random.rademacher(key, leaf.shape, leaf.dtype)
    return placed(signs, explicit_sharding(leaf))
