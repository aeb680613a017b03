"""Learned rate: steps and weights trained for what an entropy coder will spend."""

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import Axes
from jaxcompress.core.checks import check_positive
from jaxcompress.core.companions import Companion, Companions, Step, begin, require, seen
from jaxcompress.core.flax_leaf import unwrapped
from jaxcompress.core.kinds import check_kind
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array, Params, Selector
from jaxcompress.quantize.assignment import Assignment, Choice
from jaxcompress.quantize.companions.steps import (
    check_steps,
    in_steps,
    leaf_in_steps,
    seen_in_steps,
    step_shape,
    steps_of,
)
from jaxcompress.quantize.formats.integers import int8
from jaxcompress.quantize.weights import check_values


def learned_rate(
    spec: QuantSpec = int8(per="tensor"),
    *,
    axes: Axes | None = None,
    select: Selector | None = None,
    start: float = 0.4,
    offset: float = 0.01,
) -> Companion:
    """Trains weights for short codes: the penalty is nearly what a code of them takes.

    Not for: models that are not trained further, whose codes `rounding.rate_distortion`
    chooses by error and bits alone.

    The companions are the logarithms of the steps. A model sees

        value = step · clip(round(w / step), lowest, highest)

    with gradients straight through the rounding, to the weights and to the steps. With
    x = w / step, the penalty of all leaves together is

        sum_i log((|x_i| + offset) / offset)   nats,

    which grows as a universal code of whole numbers does and presses small weights to
    exactly 0. Add it to the mean loss of an example times about 2 / (number of
    weights), raised from 0; a larger weight gives a smaller file. In the end fix the
    codes and train what is left, then let an entropy coder write the file.

    Also known as: entropy-penalized reparameterization (EPR), here with its log
    penalty.

    Args:
      spec: integers around zero under float32 scales. With 8 bits and one step per leaf
        the weights use as many codes as pay.
      axes: what `graph.axes` gave; without it the layout default, as in `quantize`.
      select: which leaves; without it every weight that meets data.
      start: of each step, as a share of the mean magnitude of its weights that are not
        0; above 0.
      offset: of the penalty, in steps, above 0: the smaller, the more a code other than
        0 costs beside a larger one.

    Returns:
      Companion. `freeze` gives `QTensor`s, bit for bit what the view shows.

    Raises:
      TypeError: `spec` is no QuantSpec; when applied: as `quantize`.
      ValueError: `spec` has no integers around zero or no float32 scales; a number is
        not above 0; when applied: as `quantize`, or there are no companions, or some
        are of no leaf or not of its steps' shape.

    Example:
      >>> technique = jc.quantize.companions.learned_rate()
      >>> params = {"kernel": jnp.array([[1.0, -0.2], [0.4, 0.0]])}
      >>> companions = {"kernel": jnp.log(jnp.array([[0.5]]))}
      >>> technique.view(params, companions)["kernel"]
      Array([[1. , 0. ],
             [0.5, 0. ]], dtype=float32)
      >>> technique.freeze(params, companions)["kernel"]
      QTensor(int8 per tensor, shape=(2, 2), dtype=float32)

    Source: Oktay et al. 2020, arXiv:1906.06624, sections 2 and 3. Differs: the penalty
    stands for their learned density, weights are stored and not coordinates, and
    kernels of convolutions are not transformed.
    """
    check_kind("learned_rate", "spec", spec, QuantSpec, "Call a format, as int8().")
    check_steps("learned_rate", spec)
    choice = Choice("learned_rate", spec, axes, select)
    check_positive("learned_rate", "start", start)
    check_positive("learned_rate", "offset", offset)

    def init(params: Params) -> Companions:
        chosen = choice.assigned(params)

        def log_steps(name: str, leaf) -> Array:
            check_values("learned_rate", name, leaf)
            return jnp.log(steps_of(jnp.asarray(leaf), start, chosen[name]))

        return begin(params, map_named(lambda name, _: name in chosen, params), log_steps)

    def view(params: Params, companions: Companions, step: Step = Step()) -> Params:
        del step
        chosen = choice.assigned(params)
        companions = _fitting(params, companions, chosen)

        def shown(name: str, leaf) -> Array:
            return seen_in_steps(jnp.asarray(leaf), jnp.exp(companions[name]), chosen[name])

        return seen(params, companions, shown)

    def freeze(params: Params, companions: Companions, step: Step = Step()) -> Params:
        del step
        chosen = choice.assigned(params)
        companions = _fitting(params, companions, chosen)

        def shipped(name: str, leaf):
            check_values("learned_rate", name, leaf)
            return leaf_in_steps(jnp.asarray(leaf), jnp.exp(companions[name]), chosen[name])

        return seen(params, companions, shipped)

    def penalty(params: Params, companions: Companions) -> Array:
        chosen = choice.assigned(params)
        companions = _fitting(params, companions, chosen)
        leaves = named_leaves(params)
        terms = [
            _nats(in_steps(jnp.asarray(leaves[name]), jnp.exp(each), chosen[name]), offset)
            for name, each in companions.items()
        ]
        return sum(terms[1:], start=terms[0])

    return Companion(init, view, freeze, penalty)


def _fitting(params: Params, companions: Companions, chosen: dict[str, Assignment]) -> Companions:
    """The companions by name; raises where they are not of these leaves' steps."""
    companions = dict(unwrapped(companions))
    shapes = {
        name: jax.ShapeDtypeStruct(step_shape(tuple(leaf.shape), chosen[name]), jnp.float32)
        for name, leaf in named_leaves(params).items()
        if name in chosen
    }
    require("learned_rate", shapes, companions, lambda own, step: own.shape == step.shape)
    return companions


def _nats(x: Array, offset: float) -> Array:
    """What a code of numbers in steps takes, nearly: () float32."""
    return jnp.sum(jnp.log1p(jnp.abs(x) / offset))
