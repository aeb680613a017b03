"""How far leaves make up for the drift of their inputs: a number, or chosen on data."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.batches import as_batches, as_inputs
from jaxcompress.core.checks import check_share, is_number
from jaxcompress.core.messages import shown
from jaxcompress.core.types import Array, Model, Params
from jaxcompress.layerwise.drift import change_of, output_error
from jaxcompress.layerwise.frontier import Frontier
from jaxcompress.layerwise.plan import Plan, plans_of
from jaxcompress.layerwise.stream import Programs

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


class HeldOut(NamedTuple):
    """Shares to choose from, and the data that choose; made by `held_out`.

    Attributes:
      batches: tuples of the model's inputs.
      shares: rising, in [0, 1].
    """

    batches: tuple[tuple[Any, ...], ...]
    shares: tuple[float, ...]


Correction = float | HeldOut
"""The share of the way, in [0, 1], or what chooses it for each layer."""


def held_out(batches: Iterable[Any], *, shares: Sequence[float] = SHARES) -> HeldOut:
    """Chooses the share of a correction for each layer, by its error on held-out data.

    For the `correction` of `prune.reconstruct` and other layer-wise verbs. A layer is
    solved once for each share s, and the solution W' is taken whose outputs differ
    least from those of the model as it was, on data that no solver sees:

        E[|W' x' - W x|²]

    with x what the layer met in the model as it was, and x' what it meets now. The more
    rows the calibration data have for each input, the more of the way pays. Among equal
    errors the lower share is taken. A share of 0 alone leaves all as without a
    correction, bit for bit.

    Time: a solution for each share, and the held-out batches twice through the model.
    Memory: beside what a correction takes, the values at a cut of the held-out batches
    for both models, two moments (inputs, inputs), and the solutions of one layer.

    Args:
      batches: each an input or a tuple of the model's inputs; other rows than those of
        the calibration data and of a later test.
      shares: in [0, 1], at least one.

    Returns:
      HeldOut. The report of the verb says which share each leaf has got, layer by
      layer.

    Raises:
      ValueError: there is no batch or an empty one, or no share, or one outside [0, 1].

    Example:
      >>> fn = lambda params, x: x @ params["in"] @ params["out"]
      >>> params = {"in": jnp.eye(2) + 0.1, "out": jnp.eye(2)}
      >>> x = jnp.array([[1.0, 0.5], [0.2, 1.0], [0.7, 0.3], [0.1, 0.9]])
      >>> solver, by_rest = jc.prune.solvers.sparsegpt(), jc.layerwise.held_out([x[2:]])
      >>> target = jc.Rules({"in": 0.5, "out": 0.0})
      >>> _, report = jc.prune.reconstruct(
      ...     fn, params, [x[:2]], solver, target, correction=by_rest
      ... )
      >>> report.leaves[1].reason.partition("; ")[2]
      'share 0.5 of the correction, by held-out batches'

    Source: Arai and Ichikawa 2025, arXiv:2504.09629, and Li et al. 2025,
    arXiv:2504.02692, take one share for all layers. Differs: each layer has its own, by
    its held-out error.
    """
    found = tuple(as_inputs(batch) for batch in as_batches("held_out", batches))
    if is_number(shares) or isinstance(shares, (str, Mapping)) or not isinstance(shares, Iterable):
        raise TypeError(f"held_out(shares={shown(shares)}) must be a sequence of numbers.")
    shares = tuple(shares)
    if not shares:
        raise ValueError("held_out(shares=()) holds no share. Pass at least one, such as 0.5.")
    for share in shares:
        check_share("held_out", "shares", share)
    return HeldOut(found, tuple(sorted({float(share) for share in shares})))


def check_correction(caller: str, correction: object) -> None:
    """Raises a ValueError unless it is a share, or what `held_out` gives.

    Example:
      >>> check_correction("reconstruct", 2.0)
      Traceback (most recent call last):
      ValueError: reconstruct(correction=2.0) must be in [0, 1].
    """
    if not isinstance(correction, HeldOut):
        check_share(caller, "correction", correction)


def shares_of(correction: Correction) -> tuple[float, ...]:
    """The shares to choose from: one where it is a number."""
    return correction.shares if isinstance(correction, HeldOut) else (float(correction),)


def moved(weight: Array, cross: Array, met: Array, shares: Sequence[float]) -> list[Array]:
    """The weights with each share of the correction, where they are not 0.

    Args:
      weight: (batch…, outputs, inputs).
      cross: (batch…, inputs, inputs), the mean of x x'ᵀ.
      met: (batch…, inputs, inputs), the mean of x' x'ᵀ.
      shares: in [0, 1]; 0 gives the weight itself.
    """
    flat = flat_matrices(weight)
    change = _changes(flat, flat_matrices(cross), flat_matrices(met))
    return [_part_of_the_way(weight, change, share) if share else weight for share in shares]


@jax.jit
def _part_of_the_way(weight: Array, change: Array, share: float) -> Array:
    corrected = flat_matrices(weight) + share * change
    return jnp.where(weight != 0, corrected.reshape(weight.shape), 0)


@jax.jit
def _changes(weight: Array, cross: Array, met: Array) -> Array:
    return jax.lax.map(lambda matrices: change_of(*matrices), (weight, cross, met))


@jax.jit
def flat_matrices(matrices: Array) -> Array:
    """(batch…, rows, columns) with one batch axis, float32."""
    return matrices.reshape(-1, *matrices.shape[-2:]).astype(jnp.float32)


def judging_plans(
    fn: Model, params: Params, correction: Correction, plans: Sequence[Plan]
) -> list[Plan]:
    """The plans of held-out batches; none where there is nothing to choose.

    Raises:
      ValueError: the batches make a program that meets the leaves in another order than
        the calibration data.
    """
    if not isinstance(correction, HeldOut) or len(correction.shares) == 1:
        return []
    found = plans_of("held_out", fn, params, correction.batches, plans[0].axes)
    if found[0].turns != plans[0].turns:
        raise ValueError(
            "held_out(batches=...): batches of this shape make a program that meets the leaves in "
            "another order than the calibration data do. Give batches of the same shape."
        )
    return found


class Judge:
    """Tells the best of a layer's solutions by the held-out batches, cut by cut.

    Args:
      plans: of the held-out batches; none where there is never more than one solution.
      now: the leaves as they are, by name; they may change between segments.
      before: the leaves as they were.
      programs: what is compiled.
    """

    def __init__(
        self,
        plans: Sequence[Plan],
        now: Mapping[str, Any],
        before: Mapping[str, Any],
        programs: Programs,
    ):
        self.plans = plans
        self.frontier = Frontier("held_out", plans, now, before, programs)

    def advance(self, stage: int) -> None:
        """Runs both models to the cut of a stage."""
        self.frontier.advance([plan.stages[stage] for plan in self.plans])

    def best(
        self, place: tuple[int, int], weight: Array, solved: Sequence[Array], needed: bool
    ) -> int:
        """Which of the solved matrices answer most like the weight as it was.

        Args:
          place: which stage, and which of its readings.
          weight: (batch…, outputs, inputs), as it was.
          solved: each (matrices, outputs, inputs).
          needed: a matrix that meets no held-out row but zeros is refused; else it has
            no say.

        Raises:
          ValueError: a matrix meets no held-out row but zeros, or some not finite.
        """
        if len(solved) == 1:
            return 0
        stage, reading = place
        readings = [plan.stages[stage].readings[reading] for plan in self.plans]
        met = self.frontier.second_moment(readings, needed)
        cross = self.frontier.cross_moment(readings)
        flat = [flat_matrices(each) for each in (weight, cross, met)]
        return int(np.argmin([_error(each, *flat) for each in solved]))


_error = jax.jit(output_error)
