"""L0 regularization: weights behind gates that learn to close.

A gate stands before one weight, or before a group that shares it. The maths of gates is
in `hard_concrete`.
"""

import math

import jax.numpy as jnp

from jaxcompress.core.checks import check_positive, check_range
from jaxcompress.core.companions import (
    Companion,
    Companions,
    Step,
    keys_of,
    seen,
    that_broadcasts,
)
from jaxcompress.core.kinds import check_select
from jaxcompress.core.names import named_leaves
from jaxcompress.core.types import Array, Params, Selector
from jaxcompress.prune.companions import hard_concrete
from jaxcompress.prune.companions.beside import fitting, per_weight
from jaxcompress.prune.kinds import real_leaves


def l0_gates(opening: float = 0.9, *, select: Selector | None = None) -> Companion:
    """Multiplies weights by random gates whose chances to be 0 are learned.

    Not for: a share of weights that is given, which the penalty only steers; `prune`
    meets it, on LeNets with 2 % of their weights at a lower error.

    The companions are one log_alpha for each weight. Training sees one draw of the
    gates, another for each key; what is shipped is multiplied by gates without noise,
    many of them exactly 0. The penalty is the expected number of weights that are not
    0. For gates that groups share, give sizes of 1 along the group in place of what
    `init` gives, for example (1, outputs).

    Also known as: L0 regularization, hard-concrete gates.

    Args:
      opening: the chance that a gate is not 0 at first, in (0, 1).
      select: which leaves; by default those that meet data.

    Returns:
      Companion, whose view wants a `Step` with a key.

    Raises:
      ValueError: `opening` is outside (0, 1); when applied: gates are of no leaf, or of
        a shape that does not broadcast to it; the step has no key.
      TypeError: when applied: a selected leaf is not real floating, or is already
        compressed.

    Example:
      >>> technique = jc.prune.companions.l0_gates()
      >>> params = {"kernel": jnp.ones((1, 2)), "bias": jnp.ones(2)}
      >>> technique.init(params)
      {'kernel': Array([[0.599, 0.599]], dtype=float32)}
      >>> learned = {"kernel": jnp.array([[20.0, -20.0]])}
      >>> step = jc.Step(key=jax.random.key(0))
      >>> technique.view(params, learned, step)["kernel"]
      Array([[1., 0.]], dtype=float32)
      >>> technique.penalty(params, learned)
      Array(1., dtype=float32)

    Source: Louizos et al. 2018, arXiv:1712.01312, section 2.2, equations 12 and 13.
    """
    check_positive("l0_gates", "opening", opening)
    check_range("l0_gates", "opening", opening, 0, 1)
    check_select("l0_gates", select)
    threshold = hard_concrete.TEMPERATURE * math.log(-hard_concrete.LOW / hard_concrete.HIGH)
    log_alpha = math.log(opening / (1 - opening)) + threshold

    def init(params: Params) -> Companions:
        return per_weight(params, real_leaves("l0_gates", params, select), log_alpha)

    def view(params: Params, companions: Companions, step: Step = Step()) -> Params:
        companions = fitting("l0_gates", params, companions, that_broadcasts)
        keys = keys_of("l0_gates", companions, step)
        draws = {name: hard_concrete.sample(each, keys[name]) for name, each in companions.items()}
        return _times(params, draws)

    def freeze(params: Params, companions: Companions, step: Step = Step()) -> Params:
        del step
        companions = fitting("l0_gates", params, companions, that_broadcasts)
        return _times(
            params, {name: hard_concrete.at_test(each) for name, each in companions.items()}
        )

    return Companion(init, view, freeze, _expected_count)


def _expected_count(params: Params, log_alphas: Companions) -> Array:
    """How many of the gated weights are not 0 on average, () float32."""
    log_alphas = fitting("l0_gates", params, log_alphas, that_broadcasts)
    leaves = named_leaves(params)
    return sum(
        (
            hard_concrete.penalty(each, leaves[name].size / each.size)
            for name, each in log_alphas.items()
        ),
        jnp.zeros((), jnp.float32),
    )


def _times(params: Params, factors: dict[str, Array]) -> Params:
    return seen(params, factors, lambda name, leaf: leaf * factors[name].astype(leaf.dtype))
