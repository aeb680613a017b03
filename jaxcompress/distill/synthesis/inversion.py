"""Inputs made from a model alone, by the statistics of its batch norms.

For distillation where the training data are gone, and for calibration.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcompress.core.batches import count_of
from jaxcompress.core.checks import check_concrete, check_count, check_size
from jaxcompress.core.kinds import (
    check_each,
    check_key,
    check_kind,
    check_loss,
    check_takes,
    check_transformation,
)
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Key, Model, Params, PyTree
from jaxcompress.distill.outputs import hard_targets
from jaxcompress.distill.outputs.arrays import as_float32
from jaxcompress.distill.synthesis.distances import (
    Statistics,
    check_statistics,
    statistics_distance,
    total_variation,
)
from jaxcompress.graph.capture import capture
from jaxcompress.graph.program import trace


@dataclasses.dataclass(frozen=True)
class Inversion:
    """How inputs are found.

    Args:
      shape: of one input, such as (height, width, channels).
      steps: of the optimizer, at least 1.
      optimizer: of optax; behind `optimizers.clip_weights(low, high, select=…)` inputs
        stay within bounds.
      loss: `loss(outputs, targets) -> (b,)`, what inputs are to be of the targets.
      statistics: weight of `statistics_distance`, at least 0.
      variation: weight of `total_variation`, at least 0.
      size: weight of the mean square of the inputs, at least 0.
      jitter: pixels by which images are moved around, at random in each step, at least
        0; of inputs with height and width.

    Raises:
      ValueError: a number is out of range.
      TypeError: a field is of another kind.
    """

    shape: Sequence[int]
    steps: int = 1000
    optimizer: optax.GradientTransformation = dataclasses.field(
        default_factory=lambda: optax.adam(0.1)
    )
    loss: Callable[..., Array] = hard_targets
    statistics: float = 1.0
    variation: float = 0.1
    size: float = 0.0
    jitter: int = 2

    def __post_init__(self) -> None:
        check_each("Inversion", "shape", self.shape, check_count)
        check_count("Inversion", "steps", self.steps)
        check_transformation("Inversion", "optimizer", self.optimizer)
        check_loss("Inversion", self.loss)
        for field in ("statistics", "variation", "size"):
            check_size("Inversion", field, getattr(self, field))
        check_count("Inversion", "jitter", self.jitter, least=0)


class Synthetic(NamedTuple):
    """Inputs that were found, and how the search went.

    Attributes:
      inputs: (b, *shape) float32.
      losses: (steps,) what was minimised, before each step.
      distances: (steps,) of it `statistics_distance`.
    """

    inputs: Array
    losses: np.ndarray
    distances: np.ndarray


def synthesize(
    fn: Model, params: Params, statistics: Statistics, targets: PyTree, key: Key, plan: Inversion
) -> Synthetic:
    """Finds inputs that a model takes for given classes and that look like its data.

    Not for: models without batch norms, whose statistics it needs, nor where real
    inputs are left, which need no labels.

        mean loss(fn(params, x), targets) + statistics · distance of batch statistics
        + variation · total variation of x + size · mean x²

    is minimised over x from normal noise. The statistics are those that batch norms
    keep: `{site: (mean, variance)}` for the site whose output a norm reads. Where a
    bias lies between the two, it is to be subtracted from the mean.

    Args:
      fn: `fn(params, inputs) -> outputs`, in evaluation mode.
      params: tree of arrays.
      statistics: by site; those of all norms are best.
      targets: (b, …) what the loss takes, such as labels (b,): as many inputs are
        found. The statistics are of a batch: take b as large as memory allows.
      key: of the noise and the jitter.
      plan: how.

    Returns:
      Synthetic.

    Raises:
      TypeError: an argument is of another kind, or traced.
      ValueError: a site is not in the program, or has other channels than its
        statistics.

    Example:
      >>> fn = lambda params, x: jnp.mean(x @ params["layer"], (1, 2))
      >>> params, synthesis = {"layer": jnp.eye(2)}, jc.distill.synthesis
      >>> data = {"layer": (jnp.array([3.0, -1.0]), jnp.array([0.5, 2.0]))}
      >>> plan = synthesis.Inversion((4, 4, 2), steps=200, variation=0.0, jitter=0)
      >>> labels, key = jnp.array([0, 0]), jax.random.key(0)
      >>> found = synthesis.synthesize(fn, params, data, labels, key, plan)
      >>> found.inputs.shape, bool(found.distances[-1] < 0.1 * found.distances[0])
      ((2, 4, 4, 2), True)

    Also known as: DeepInversion, data-free distillation, model inversion by batch-norm
    statistics, data-free calibration.

    Source: Yin et al. 2020, "Dreaming to Distill", arXiv:1912.08795, equations 2 to 4.
    Differs: means in place of sums in the priors; images are moved but not flipped; no
    competition with a student (its Adaptive variant).
    """
    _check(fn, params, statistics, targets, key, plan)
    noise, moves = jax.random.split(key)
    count = len(jax.tree.leaves(targets)[0])
    inputs = jax.random.normal(noise, (count, *plan.shape), jnp.float32)
    _check_sites(fn, params, statistics, inputs)
    objective = _objective(capture(fn, list(statistics)), plan)

    @jax.jit
    def step(inputs: Array, state: optax.OptState, key: Key, given: tuple[Any, ...]):
        (loss, distance), grads = jax.value_and_grad(objective, has_aux=True)(inputs, key, given)
        updates, state = plan.optimizer.update(grads, state, inputs)
        return optax.apply_updates(inputs, updates), state, (loss, distance)

    state, found, given = plan.optimizer.init(inputs), [], (params, dict(statistics), targets)
    for number in range(plan.steps):
        inputs, state, seen = step(inputs, state, jax.random.fold_in(moves, number), given)
        found.append(seen)
    losses, distances = np.asarray(found, np.float32).T
    return Synthetic(inputs, losses, distances)


def _objective(captured: Callable[..., Any], plan: Inversion) -> Callable[..., Any]:
    """(inputs, key, (params, statistics, targets)) -> (loss, distance)."""
    weights = [as_float32(each) for each in (1, plan.statistics, plan.variation, plan.size)]

    def objective(inputs: Array, key: Key, given: tuple[Any, ...]) -> tuple[Array, Array]:
        params, statistics, targets = given
        outputs, values = captured(params, _moved(key, inputs, plan.jitter))
        distance = statistics_distance(values, statistics)
        losses = jnp.mean(plan.loss(outputs, targets).astype(jnp.float32))
        priors = jnp.mean(total_variation(inputs)), jnp.mean(jnp.square(inputs))
        parts = jnp.stack([losses, distance, *priors])
        return jnp.sum(jnp.stack(weights) * parts), distance

    return objective


def _moved(key: Key, inputs: Array, jitter: int) -> Array:
    """The inputs rolled by up to `jitter` along each axis but first and last."""
    axes = tuple(range(1, inputs.ndim - 1))
    if not (jitter and axes):
        return inputs
    shifts = jax.random.randint(key, (len(axes),), -jitter, jitter + 1)
    return jnp.roll(inputs, shifts, axes)


def _check(fn, params, statistics, targets, key, plan) -> None:
    caller = "synthesize"
    check_takes(caller, "fn", fn, 2, "It is the model, fn(params, inputs).")
    check_arrays(caller, "params", params)
    check_statistics(caller, statistics)
    check_arrays(caller, "targets", targets)
    count_of(caller, "targets", targets)
    check_key(caller, "key", key)
    check_kind(caller, "plan", plan, Inversion, "For example Inversion((32, 32, 3)).")
    check_concrete(caller, params=params, statistics=dict(statistics), targets=targets, key=key)


def _check_sites(fn: Model, params: Params, statistics: Statistics, inputs: Array) -> None:
    """Raises unless each site is there, once."""
    sites = {site.name: site for site in trace(fn, params, inputs).sites}
    for name in statistics:
        if name not in sites:
            raise ValueError(
                f"synthesize(statistics=...) names site {name!r}, which is not in the program. "
                f"Its sites are: {', '.join(sites) or 'none'}."
            )
        if sites[name].scans:
            raise ValueError(
                f"synthesize(statistics=...): site {name!r} lies in a scan, whose turns have "
                "statistics of their own. Leave it out, or write the layers one by one."
            )
