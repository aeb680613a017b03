"""AdaRound: for each weight the upper or the lower level, found by gradients."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcompress.core.checks import check_count, check_positive
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.quantize.ranges.extremes import min_max
from jaxcompress.quantize.ranges.grids import Ranges, check_ranges
from jaxcompress.quantize.rounding.losses import Candidate, better, in_bands, output_losses
from jaxcompress.quantize.rounding.matrices import grid_of
from jaxcompress.quantize.rounding.neighbours import neighbours
from jaxcompress.quantize.rounding.rounding import Rounded, Rounding, coded

STEEP, FLAT = 20.0, 2.0
"""Powers in the pull to the levels, after the warm start and at the end."""

WARM = 0.2
"""Share of the steps without a pull."""


def ada_round(
    *,
    steps: int = 1000,
    learning_rate: float = 0.01,
    pull: float = 10.0,
    ranges: Ranges = min_max,
) -> Rounding:
    """Finds by gradients which of the two levels beside it each weight gets.

    Not for: haste, since `gptq` won back about as much at 4 and 3 bits in a third of
    the time, nor 2 bits, where `sign_round` lost less.

    Also known as: AdaRound, adaptive rounding, learned rounding.

    Each weight w is a mixture of its nearest level and of the other one beside it,

        w' = nearest + h · (other - nearest),   h = clip(1.2 · sigmoid(v) - 0.1, 0, 1)

    from h · (other - nearest) = w - nearest on. Adam minimizes, over v,

        trace((w' - w) · H · (w' - w)ᵀ) / m + pull · sum(1 - |2h - 1|**power)

    with m the part of one weight, on average, in that trace of rounding to nearest. The
    pull begins after a fifth of the steps, with the power 20, which falls to 2. At the
    end the level with the larger share is taken, in each row of blocks where that
    lowers the trace: so it is never above that of rounding to nearest. Without data H
    is the identity, and nearest is best; an input that is always 0 counts in it as the
    mean of the others.

    Scales stay. `sign_round`, which tunes them too, most often leaves less error in
    fewer steps.

    Args:
      steps: at least 1.
      learning_rate: of Adam, above 0.
      pull: how much levels weigh against the error, above 0.
      ranges: which range the codes of a block cover.

    Returns:
      Rounding. A weight that is a level, as 0 is, and one beyond all levels, gets it.

    Raises:
      TypeError: `ranges` is no estimator.
      ValueError: an option is outside its range.

    Example:
      >>> solver = jc.quantize.rounding.ada_round().solver(jc.quantize.int4())
      >>> together = jnp.ones((3, 3))  # inputs that are always equal
      >>> solver.solve(jnp.array([[7.0, 1.3, 2.4]]), together).codes
      Array([[7, 1, 3]], dtype=int8)

    Source: Nagel et al. 2020, arXiv:2004.10568, section 3. Differs: the error on a
    second moment in place of samples, divided by that of rounding to nearest, so that
    `pull` has no unit; no activation function; never above nearest.
    """
    steps = check_count("ada_round", "steps", steps)
    check_positive("ada_round", "learning_rate", learning_rate)
    check_positive("ada_round", "pull", pull)
    check_ranges("ada_round", ranges)
    adam = optax.adam(float(learning_rate))

    def round(weight: Array, second_moment: Array, spec: QuantSpec) -> Rounded:
        on = grid_of(weight, spec, ranges, second_moment)
        beside = neighbours(weight, on, spec)
        losses = output_losses(second_moment, on, spec)
        first = losses(beside.value - weight)
        mean = jnp.sum(first) / weight.size
        mean = jnp.where(mean > 0, mean, 1.0)
        between = beside.gap != 0

        def objective(hidden: Array, power: Array, pull: Array) -> Array:
            shares = mixed(hidden)
            errors = beside.value + shares * beside.gap - weight
            pulls = jnp.where(between, 1 - jnp.abs(2 * shares - 1) ** power, 0.0)
            return jnp.sum(losses(errors)) / mean + pull * jnp.sum(pulls)

        def step(state: tuple[Any, ...], now: tuple[Array, Array]) -> tuple[tuple[Any, ...], None]:
            hidden, moments = state
            slope = jax.grad(objective)(hidden, *now)
            with jax.numpy_dtype_promotion("standard"):
                updates, moments = adam.update(slope, moments)
            return (hidden + updates, moments), None

        hidden = hidden_of(beside.share)
        powers, pulls = _schedule(steps, pull)
        schedule = jnp.asarray(powers), jnp.asarray(pulls)
        (hidden, _), _ = jax.lax.scan(step, (hidden, adam.init(hidden)), schedule)
        goes = between & (mixed(hidden) > 0.5)
        last = losses(jnp.where(goes, beside.beyond, beside.value) - weight)
        found = Candidate(in_bands(last, on), jnp.where(goes, beside.other, beside.nearest), on)
        best = better(found, Candidate(in_bands(first, on), beside.nearest, on))
        return Rounded(best.codes, on)

    return coded(round)


def mixed(hidden: Array) -> Array:
    """The share h of the other level: a sigmoid that reaches 0 and 1."""
    return jnp.clip(1.2 * jax.nn.sigmoid(hidden) - 0.1, 0.0, 1.0)


def hidden_of(share: Array) -> Array:
    """The inverse of `mixed`, of shares in [0, 1]."""
    raised = (share + 0.1) / 1.2
    return jnp.log(raised / (1 - raised))


def _schedule(steps: int, pull: float) -> tuple[np.ndarray, np.ndarray]:
    """The power and the pull at each step, float32 (steps,)."""
    done = np.arange(steps) / steps
    cold = np.clip((done - WARM) / (1 - WARM), 0, 1)
    powers = FLAT + (STEEP - FLAT) * (1 - cold)
    pulls = np.where(done < WARM, 0, float(pull))
    return powers.astype(np.float32), pulls.astype(np.float32)
