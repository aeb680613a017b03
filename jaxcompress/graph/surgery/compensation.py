"""What removed units still said on average, given to those that heard them.

Dots and convolutions are linear, so what a consumer would have made of a constant input
is added to its output. Where units only had a bias left, that is exact.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from jaxcompress.core.leaf import materialize
from jaxcompress.core.types import Array, Model, Params
from jaxcompress.graph.calibrate import check_no_nan
from jaxcompress.graph.primitives import PLAIN_CALLS
from jaxcompress.graph.surgery.axis_rules import rule_of
from jaxcompress.graph.surgery.axis_rules.rule import Body, Record, bind
from jaxcompress.graph.surgery.check import difference
from jaxcompress.graph.surgery.couplings import equation_of, plain_records
from jaxcompress.graph.surgery.divisors import Divisors
from jaxcompress.graph.surgery.kept import RemovedIndices, keep
from jaxcompress.graph.surgery.removal import Removal, resolve, restored
from jaxcompress.graph.surgery.shrink import shrink, slice_params
from jaxcompress.graph.surgery.walk import Coupled, couple
from jaxcompress.graph.surgery.writer import Masked, Shrunk, emitted


@dataclasses.dataclass(frozen=True)
class Consumer:
    """An equation that sums over removed units and weighs them with params.

    Fields:
      equation: "primitive (source)".
      spread: largest standard deviation over the batch of a removed unit that it read,
        in the unit's own measure. At 0 the compensation is exact, above it puts a mean
        in place of what varied.
    """

    equation: str
    spread: float


class Compensated(NamedTuple):
    """A shrunk model that adds what removed units said on average.

    Fields:
      fn: the smaller model, `fn(params, *inputs) -> outputs`; jit it.
      params: {"params": the sliced params, "compensation": one array per consumer, by
        its number in program order}.
      consumers: in the order of their numbers.
      left_out: equations that sum over removed units and are not compensated: in loops,
        branches and functions with a gradient of their own, where both operands depend
        on the inputs, or where no data but zeros arrived on the batch.
      without: largest difference of the merely shrunk model's outputs on the batch to
        those of the whole model, as a share of the largest.
      to_whole: the same with compensation.
    """

    fn: Model
    params: Params
    consumers: tuple[Consumer, ...]
    left_out: tuple[str, ...]
    without: float
    to_whole: float


def compensate(fn: Model, params: Params, removed: Removal, *inputs) -> Compensated:
    """The shrunk model with the mean of what was removed added where it was read.

    For a consumer with weights W that reads z, of which R is removed:

        y = W z[kept] + W[R] · mean of z[R]

    The mean is over the batch and over positions. The consumer itself runs once on the
    constant, so that at the border of a padded convolution it is exact too.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: all of its params, not compressed: as they were, or with the weights into
        the removed units at zero and their biases alive.
      removed: what goes, from `Couplings.removal`.
      inputs: a batch of arrays, on which means are taken.

    Returns:
      Compensated. Its function takes any batch size; where convolutions are
      compensated, images of the same size.

    Raises:
      ValueError: the removal does not fit the params or the program; the inputs hold a
        NaN or no example; a mean of removed units is not finite.

    Example:
      >>> def fn(params, x):
      ...     return jax.nn.relu(x @ params["in"] + params["bias"]) @ params["out"]
      >>> params = {
      ...     "in": jnp.array([[1.0, 0.0], [0.0, 0.0]]),
      ...     "bias": jnp.array([[0.0, 2.0]]),
      ...     "out": jnp.array([[1.0], [3.0]]),
      ... }
      >>> x = jnp.array([[1.0, 5.0], [4.0, 7.0]])
      >>> removed = jc.graph.couplings(fn, params, x).removal({"in:1": [1]})
      >>> small = jc.graph.surgery.compensate(fn, params, removed, x)
      >>> small.fn(small.params, x)[:, 0], small.consumers[0].spread
      (Array([ 7., 10.], dtype=float32), 0.0)

    Source: Ye et al. 2018, arXiv:1802.00124, fold constant channels into the next
    layer. Differs: the constant is measured, not derived, its spread is told, and the
    consumer itself runs on it, which padding needs.
    """
    check_no_nan("compensate(inputs): the batch", inputs)
    if any(jnp.size(leaf) == 0 for leaf in jax.tree.leaves(inputs)):
        raise ValueError("compensate(inputs): the batch holds no example. Pass at least one.")
    coupled = couple(fn, params, *inputs)
    gone = resolve(removed, coupled.leaves)
    heard = _heard(coupled, gone)
    readings = jax.jit(lambda params, inputs: _read(coupled, gone, heard, params, inputs))
    found = readings(materialize(params), inputs)
    numbers = [number for number, each in enumerate(found) if bool(each.reached)]
    corrections = {str(number): found[number].correction for number in numbers}
    _check_corrections(corrections)
    records = list(heard)
    given = {records[number]: found[number] for number in numbers}
    small = {"params": slice_params(params, removed), "compensation": corrections}
    smaller = _compensated(fn, removed)
    whole = jax.jit(fn)(params, *inputs)
    return Compensated(
        fn=smaller,
        params=small,
        consumers=tuple(
            Consumer(equation_of(record), float(each.spread)) for record, each in given.items()
        ),
        left_out=tuple(
            equation_of(record) for record in _summing(coupled.body, gone) if record not in given
        ),
        without=difference(jax.jit(shrink(fn, removed))(small["params"], *inputs), whole),
        to_whole=difference(jax.jit(smaller)(small, *inputs), whole),
    )


def _compensated(fn: Model, removed: Removal) -> Model:
    def compensated(params, *inputs):
        before = restored(params["params"], removed)
        coupled = couple(fn, before, *inputs)
        gone = resolve(removed, coupled.leaves)
        heard = _heard(coupled, gone)
        corrections = {
            record: params["compensation"][str(number)]
            for number, record in enumerate(heard)
            if str(number) in params["compensation"]
        }
        writer = _Adding(coupled.body, gone, corrections, removed.divisors)
        return emitted(writer, coupled, params["params"], inputs)

    return compensated


def _read(
    coupled: Coupled,
    gone: RemovedIndices,
    heard: Mapping[Record, int],
    params: Params,
    inputs: tuple,
) -> list["_Said"]:
    """Per consumer what removed units said to it."""
    reading = _Reading(coupled.body, gone, heard)
    reading.run(coupled.body, jax.tree.leaves((params, inputs)))
    return [reading.found[record] for record in heard]


class _Said(NamedTuple):
    """What a consumer makes of the mean of its removed inputs.

    Fields:
      correction: of the consumer's output's rank.
      spread: () the largest standard deviation of a removed input.
      reached: () whether it read anything but zeros.
    """

    correction: Array
    spread: Array
    reached: Array


class _Reading(Masked):
    """The whole program, its plain calls inlined, taking means on the way."""

    def __init__(self, body: Body, gone: RemovedIndices, heard: Mapping[Record, int]):
        super().__init__(body, {})
        self.gone = gone
        self.heard = heard
        self.found: dict[Record, _Said] = {}

    def write(self, record: Record, values: list) -> Sequence:
        if record.eqn.primitive.name in PLAIN_CALLS:
            return self.run(record.bodies[0], values)
        if record in self.heard:
            self.found[record] = _correction(record, self.heard[record], values, self.gone)
        return super().write(record, values)


class _Adding(Shrunk):
    """The shrunk program whose consumers add their corrections."""

    def __init__(
        self,
        body: Body,
        gone: RemovedIndices,
        corrections: Mapping[Record, Array],
        divisors: Divisors,
    ):
        super().__init__(body, gone, divisors)
        self.corrections = corrections

    def write(self, record: Record, values: list) -> Sequence:
        results = super().write(record, values)
        if record not in self.corrections:
            return results
        (result,), correction = results, self.corrections[record]
        for axis, d in enumerate(record.outputs[0]):
            if correction.shape[axis] == d.size:
                correction = jnp.take(correction, np.flatnonzero(self.kept(d)), axis=axis)
        _check_shapes(record, result.shape, correction.shape)
        return [result + correction.astype(result.dtype)]


def _check_shapes(record: Record, shape: tuple[int, ...], correction: tuple[int, ...]) -> None:
    if any(one not in (1, size) for one, size in zip(correction, shape, strict=True)):
        raise ValueError(
            f"compensate: the result of {equation_of(record)} has shape {shape}, and its "
            f"correction {correction} was measured on inputs of another size. "
            "Compensate on inputs of this size."
        )


def _correction(record: Record, operand: int, values: Sequence, gone: RemovedIndices) -> _Said:
    """What the equation makes of the mean of its removed inputs, and their spread."""
    value = values[operand]
    summed = _summed_axes(record, operand)
    averaged = tuple(axis for axis in range(value.ndim) if axis not in _kept_axes(record, operand))
    mean = jnp.mean(value.astype(jnp.float32), axis=averaged, keepdims=True)
    deviation = jnp.std(value.astype(jnp.float32), axis=averaged, keepdims=True)
    stays = np.ones((1,) * value.ndim, bool)
    for axis in summed:
        kept = keep(record.inputs[operand][axis], gone)
        stays = stays & np.expand_dims(kept, [i for i in range(value.ndim) if i != axis])
    constant = jnp.where(stays, 0, mean).astype(value.dtype)
    operands = list(values)
    operands[operand] = jnp.broadcast_to(constant, _shape_of_one(record, value.shape, constant))
    (correction,) = bind(record, operands)
    return _Said(correction, jnp.max(jnp.where(stays, 0, deviation)), jnp.any(value != 0))


def _check_corrections(corrections: Mapping[str, Array]) -> None:
    for number, correction in corrections.items():
        if not bool(jnp.all(jnp.isfinite(correction))):
            raise ValueError(
                f"compensate(inputs): what consumer {number} makes of the removed units' mean is "
                "not finite. Compensate on data and params that are."
            )


def _summed_axes(record: Record, operand: int) -> list[int]:
    reductions = rule_of(record.eqn.primitive.name).reduces(record)
    return [reduction.axis for reduction in reductions if reduction.operand == operand]


def _kept_axes(record: Record, operand: int) -> list[int]:
    """Those whose entries the equation does not treat alike."""
    summed = _summed_axes(record, operand)
    if record.eqn.primitive.name == "dot_general":
        _, batch = record.params["dimension_numbers"]
        return [*summed, *batch[operand]]
    return summed


def _shape_of_one(record: Record, shape: tuple[int, ...], constant: Array) -> tuple[int, ...]:
    """The operand's shape for one example; a convolution also needs its positions."""
    if record.eqn.primitive.name == "dot_general":
        return constant.shape
    batch = record.params["dimension_numbers"].lhs_spec[0]
    return tuple(1 if axis == batch else size for axis, size in enumerate(shape))


def _heard(coupled: Coupled, gone: RemovedIndices) -> dict[Record, int]:
    """The consumers, and which operand of each is the data."""
    leaves = len(coupled.leaves)
    given = [index < leaves for index in range(len(coupled.body.operands))]
    summing = set(_summing(coupled.body, gone))
    return {
        record: operands.index(False)
        for record, operands in _given(coupled.body, given)
        if record in summing and operands.count(False) == 1 and _only_dots(record, operands, gone)
    }


def _only_dots(record: Record, operands: Sequence[bool], gone: RemovedIndices) -> bool:
    """A dot or a convolution over its data, of which all layers lose the same units."""
    if record.eqn.primitive.name not in ("dot_general", "conv_general_dilated"):
        return False
    if record.eqn.primitive.name == "conv_general_dilated" and operands[0]:
        return False
    return all(indices.ndim == 1 for indices in gone.values())


def _summing(body: Body, gone: RemovedIndices) -> Iterator[Record]:
    """The records, at any depth, that sum over something removed."""
    for record in plain_records(body):
        reductions = rule_of(record.eqn.primitive.name).reduces(record)
        if any(not keep(record.inputs[r.operand][r.axis], gone).all() for r in reductions):
            yield record


def _given(body: Body, operands: Sequence[bool]) -> Iterator[tuple[Record, list[bool]]]:
    """Every equation outside of loops, and which operands no input reaches."""
    inner = body.jaxpr.jaxpr
    known = dict.fromkeys(map(id, inner.constvars), True)
    known |= {id(operand): each for operand, each in zip(inner.invars, operands, strict=True)}
    for record in body.records:
        given = [isinstance(atom, Literal) or known[id(atom)] for atom in record.eqn.invars]
        known |= dict.fromkeys(map(id, record.eqn.outvars), all(given))
        if record.eqn.primitive.name in PLAIN_CALLS:
            yield from _given(record.bodies[0], given)
        else:
            yield record, given
