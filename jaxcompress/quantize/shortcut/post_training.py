"""The shortcut: good methods tried in turn, and the best on held-out data kept."""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.batches import as_batches, as_inputs, count_of
from jaxcompress.core.checks import check_concrete, check_inside, check_share
from jaxcompress.core.kinds import check_kind, check_takes
from jaxcompress.core.leaf import materialize
from jaxcompress.core.messages import shown
from jaxcompress.core.models import check_model
from jaxcompress.core.report import Report, signed
from jaxcompress.core.rules import Rules
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Model, Params, PyTree
from jaxcompress.graph import axes
from jaxcompress.quantize.assignment import RULED, assign, check_spec
from jaxcompress.quantize.equivalent.activation_aware import activation_aware
from jaxcompress.quantize.ranges.errors import mean_squared_error
from jaxcompress.quantize.reconstruction import reconstruct
from jaxcompress.quantize.rounding.gptq import gptq
from jaxcompress.quantize.rounding.nearest import nearest
from jaxcompress.quantize.rounding.rounding import Rounding, check_rounding
from jaxcompress.quantize.shortcut.results import PostTraining, Trial
from jaxcompress.quantize.weights import quantize

Move = Callable[[Model, Params, list[Any], QuantSpec | Rules[QuantSpec]], tuple[Params, Report]]
"""(fn, params, batches, spec) to params of the same function, easier to round."""

Made = tuple[Params, Report]


class Members(NamedTuple):
    """What `post_training` composes; replace one to try another.

    Attributes:
      fitted: rounds without data; tried beside `nearest()`, which is always measured.
      rounding: rounds on the inputs that each leaf meets; one of `quantize.rounding`.
      correction: how far leaves then make up for those before, in [0, 1]; 0 for not.
      moves: transforms that leave the function as it is, each tried before the best of
        what is above; of `quantize.equivalent`. One that does not help is not kept.
    """

    fitted: Rounding = nearest(mean_squared_error)
    rounding: Rounding = gptq(ranges=mean_squared_error)
    correction: float = 0.5
    moves: tuple[Move, ...] = (activation_aware,)


def post_training(
    fn: Model,
    params: Params,
    batches: Iterable[Any],
    spec: QuantSpec | Rules[Any],
    members: Members = Members(),
    *,
    held_out: float = 0.25,
) -> tuple[Params, PostTraining]:
    """Quantizes by the best of several good ways, judged on data held out.

    Not for: large models in haste, since every way is run and judged; `reconstruct`
    runs one.

    For those in a hurry: rounds to nearest, with fitted ranges, on the data that each
    leaf meets, with a correction for leaves before, and after moves of scales; one way
    builds on the best so far. Each is judged by the model's outputs on batches that it
    did not see,

        error = mean (outputs - float outputs)² / mean (float outputs)²

    and the least error is kept, so it is never above that of rounding to nearest there.

    Also known as: post-training quantization (PTQ), automatic calibration.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`, some of them real or complex.
      params: tree of arrays.
      batches: each an input, or a tuple of the model's inputs. One batch alone is split
        along the first axis of its inputs, which are then the examples'.
      spec: a format, or rules of them over leaf names.
      members: the ways, by default `Members()`: mean-squared-error ranges, GPTQ with
        its order and sweeps, half of the corrected target, scales moved as AWQ does
        where the program lets them.
      held_out: share of the batches for judging, the last ones, in (0, 1); at least one
        batch is held out and one is not.

    Returns:
      (params, what was tried and why it was kept or not). Call with
      `materialized(fn)` or `run`.

    Raises:
      TypeError: an argument is not of its kind.
      ValueError: there is no batch, or one that cannot be split; no output is real, all
        are 0, or one is not finite; and what `quantize` and `reconstruct` raise.

    Example:
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> params = {"kernel": jax.random.normal(jax.random.key(0), (8, 4))}
      >>> x = jax.random.normal(jax.random.key(1), (40, 8))
      >>> int4 = jc.quantize.int4()
      >>> quantized, tried = jc.quantize.post_training(fn, params, [x], int4)
      >>> tried.error < tried.trials[0].error
      True

    Source: the members' own; what is tried in turn and judged is ours.
    """
    caller = "post_training"
    check_model(caller, fn)
    check_arrays(caller, "params", params)
    check_spec(caller, spec)
    _check_members(caller, members)
    check_inside(caller, "held_out", held_out, 0, 1)
    check_concrete(caller, params=params)
    seen, judging = _split(caller, as_batches(caller, batches), held_out)
    error = _error(caller, fn, params, judging)
    roles = axes(fn, params, *seen[0])
    assign(caller, params, spec, roles, None, RULED)  # `quantize` would tell of its `select`

    def plain(rounding: Rounding) -> Made:
        return quantize(params, spec, axes=roles, rounding=rounding)

    def on_data(base: Params, correction: float) -> Made:
        return reconstruct(fn, base, seen, spec, members.rounding, correction=correction)

    made = plain(nearest())
    best = _Best((Trial("nearest", error(made[0]), "the measure of all"),), made, params)

    def tried(name: str, made: Made, base: Params = params) -> _Best:
        return best.after(name, error(made[0]), made, base)

    best = tried("nearest, fitted ranges", plain(members.fitted))
    best = tried("rounded on data", on_data(params, 0.0))
    share = members.correction
    if share:
        name = f"rounded on data, correction {share:g}"
        best = tried(name, on_data(params, share))
        share = share if best.trial.name == name else 0.0
    for move in members.moves:
        moved, _ = move(fn, best.base, seen, spec)
        name = f"{shown(move)}, then rounded on data"
        if _same(moved, best.base):
            still = Trial(name, best.trial.error, "not kept: nothing moves in this program")
            best = best._replace(trials=(*best.trials, still))
        else:
            best = tried(name, on_data(moved, share), moved)
    return best.made[0], PostTraining(best.trials, best.trial.name, best.made[1])


class _Best(NamedTuple):
    """The best so far, what it was made of, and all that was tried."""

    trials: tuple[Trial, ...]
    made: Made
    base: Params

    @property
    def trial(self) -> Trial:
        """The best of the trials; among equal ones the first."""
        return min(self.trials, key=lambda trial: trial.error)

    def after(self, name: str, error: float, made: Made, base: Params) -> "_Best":
        """With one more trial."""
        before = self.trial.error
        known = 0 < before < math.inf
        change = signed(error / before - 1, "+.1%") if known else "no better"
        if error < before:
            trials = (*self.trials, Trial(name, error, f"kept: {change}"))
            return _Best(trials, made, base)
        return self._replace(trials=(*self.trials, Trial(name, error, f"not kept: {change}")))


def _split(
    caller: str, batches: list[Any], share: float
) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Batches to calibrate with and batches to judge by, at least one each."""
    inputs = [as_inputs(batch) for batch in batches]
    if len(inputs) > 1:
        count = min(max(1, round(share * len(inputs))), len(inputs) - 1)
        return inputs[:-count], inputs[-count:]
    n = count_of(caller, "batches", inputs[0])
    if n < 2:
        raise ValueError(f"{caller}(batches) holds one example. Give two batches or more.")
    count = min(max(1, round(share * n)), n - 1)
    first, last = (
        jax.tree.map(lambda array, part=part: array[part], inputs[0])
        for part in (slice(None, n - count), slice(n - count, None))
    )
    return [first], [last]


def _error(
    caller: str, fn: Model, params: Params, batches: list[tuple[Any, ...]]
) -> Callable[[Params], float]:
    """Makes quantized params -> relative error of the outputs."""
    run = jax.jit(fn)
    exact = [run(materialize(params), *inputs) for inputs in batches]
    if not any(_real(leaf) for leaf in jax.tree.leaves(exact)):
        raise ValueError(
            f"{caller}(fn): no output is real, so nothing says how far they move. Return the "
            "numbers that decisions are made of."
        )
    squares = jax.jit(_squares)
    signal = sum(float(squares(jax.tree.map(jnp.zeros_like, each), each)) for each in exact)
    if not 0 < signal < math.inf:
        raise ValueError(
            f"{caller}(fn): the sum of squared float outputs is {signal} on the held-out batches. "
            "Give data that outputs depend on, without NaN."
        )

    def error(quantized: Params) -> float:
        coarse = materialize(quantized)
        noise = sum(
            float(squares(run(coarse, *inputs), outputs))
            for inputs, outputs in zip(batches, exact, strict=True)
        )
        return noise / signal if math.isfinite(noise) else math.inf

    return error


def _same(moved: Params, base: Params) -> bool:
    pairs = zip(jax.tree.leaves(moved), jax.tree.leaves(base), strict=True)
    return all(one is other or bool(jnp.array_equal(one, other)) for one, other in pairs)


def _real(leaf: Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


def _squares(outputs: PyTree, exact: PyTree) -> Array:
    """The sum of |outputs - exact|² over all real leaves, float32."""
    total = jnp.zeros((), jnp.float32)
    for one, other in zip(jax.tree.leaves(outputs), jax.tree.leaves(exact), strict=True):
        if _real(one):
            # Masked logits are infinite, and say nothing of how far the others are.
            apart = jnp.where(jnp.isinf(other), 0, one - other)
            total += jnp.sum(jnp.square(jnp.abs(apart).astype(jnp.float32)))
    return total


def _check_members(caller: str, members: Members) -> None:
    check_kind(caller, "members", members, Members, "Call Members(...), or leave it out.")
    check_rounding(f"{caller}(members)", members.fitted)
    check_rounding(f"{caller}(members)", members.rounding)
    check_share(f"{caller}(members)", "correction", members.correction)
    for move in members.moves:
        check_takes(caller, "members", move, 4, "A move is (fn, params, batches, spec).")
