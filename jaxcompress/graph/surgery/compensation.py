"""Adds removed units' mean contribution to the layers that read them.

Dots and convolutions are linear, so what such a layer makes of a constant input is
added to its output. Where removed units only had a bias left, that is exact.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.leaf import materialize
from jaxcompress.core.models import check_model
from jaxcompress.core.trees import check_call
from jaxcompress.core.types import Array, Model, Params, PyTree
from jaxcompress.graph.calibrate import check_no_nan
from jaxcompress.graph.surgery.arrays import WHOLE, Shrunk
from jaxcompress.graph.surgery.axis_rules.rule import Record
from jaxcompress.graph.surgery.bodies import equation_of, plain_calls
from jaxcompress.graph.surgery.check import difference
from jaxcompress.graph.surgery.consumers import (
    Contribution,
    consumers,
    contribution,
    summing_records,
)
from jaxcompress.graph.surgery.cutting import cut_params
from jaxcompress.graph.surgery.divisors import divisor_edits
from jaxcompress.graph.surgery.kept import RemovedIndices
from jaxcompress.graph.surgery.removal import Removal, require_removal
from jaxcompress.graph.surgery.resolving import resolve, restored
from jaxcompress.graph.surgery.shrink import shrink
from jaxcompress.graph.surgery.walk import Coupled, couple
from jaxcompress.graph.surgery.writer import Writer, inlined, written


@dataclasses.dataclass(frozen=True)
class Consumer:
    """An equation that sums over removed units and weighs them with params.

    Attributes:
      equation: "primitive (source)".
      spread: largest standard deviation over the batch of a removed unit that it read,
        in the unit's own measure. At 0 the compensation is exact; above, a mean
        replaces what varied.
    """

    equation: str
    spread: float


class Compensated(NamedTuple):
    """A shrunk model with the removed units' mean contribution added.

    Attributes:
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


def compensate(fn: Model, params: Params, removed: Removal, *inputs: PyTree) -> Compensated:
    """Adds removed units' mean contribution to the layers that read them.

    Not for: units whose outputs vary, for which a mean does not stand in; train
    the model on.

    Also known as: bias compensation, mean replacement, constant folding of dead units.

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
    check_call("compensate", fn, params, inputs)
    require_removal("compensate", "removed", removed)
    check_no_nan("compensate", "inputs", inputs)
    if any(jnp.size(leaf) == 0 for leaf in jax.tree.leaves(inputs)):
        raise ValueError("compensate(inputs): the batch holds no example. Pass at least one.")
    coupled = couple(fn, params, *inputs)
    gone = resolve("compensate", removed, coupled.leaves)
    heard = consumers(coupled, gone)
    measured = jax.jit(lambda params, inputs: _measured(coupled, gone, heard, params, inputs))
    found = measured(materialize(params), inputs)
    numbers = [number for number, each in enumerate(found) if bool(each.reached)]
    corrections = {str(number): found[number].correction for number in numbers}
    _check_corrections(corrections)
    records = list(heard)
    given = {records[number]: found[number] for number in numbers}
    small = {"params": cut_params("compensate", params, removed), "compensation": corrections}
    smaller = compensated(fn, removed)
    whole = jax.jit(fn)(params, *inputs)
    return Compensated(
        fn=smaller,
        params=small,
        consumers=tuple(
            Consumer(equation_of(record), float(each.spread)) for record, each in given.items()
        ),
        left_out=tuple(
            equation_of(record)
            for record in summing_records(coupled.body, gone)
            if record not in given
        ),
        without=difference(jax.jit(shrink(fn, removed))(small["params"], *inputs), whole),
        to_whole=difference(jax.jit(smaller)(small, *inputs), whole),
    )


def compensated(fn: Model, removal: Removal) -> Model:
    """The function that `compensate` gave, from the model and what was removed from it.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      removal: what `compensate` was given.

    Returns:
      `fn'(params, *inputs) -> outputs` for params as `compensate` gives them, of a file
      for example.
    """
    check_model("compensated", fn)
    require_removal("compensated", "removal", removal)

    def smaller(params, *inputs):
        before = restored("compensated", params["params"], removal)
        coupled = couple(fn, before, *inputs)
        removed = resolve("compensated", removal, coupled.leaves)
        edits = dict(divisor_edits(removal.divisors, coupled.body, removed))
        # Records live as long as one trace, so arrays are kept by a consumer's number.
        for number, record in enumerate(consumers(coupled, removed)):
            if str(number) in params["compensation"]:
                edits[record] = partial(_corrected, params["compensation"][str(number)])
        writer = Writer(coupled.body, Shrunk(removed), edits)
        return written(writer, coupled, params["params"], inputs)

    return smaller


def _corrected(
    correction: Array, writer: Writer, record: Record, values: list[Any]
) -> Sequence[Any]:
    """An edit: the result with the removed units' mean contribution added."""
    (result,) = writer.unedited(record, values)
    for axis, d in enumerate(record.outputs[0]):
        if correction.shape[axis] == d.size:
            correction = jnp.take(correction, np.flatnonzero(writer.kept(d)), axis=axis)
    _check_shapes(record, result.shape, correction.shape)
    return [result + correction.astype(result.dtype)]


def _measured(
    coupled: Coupled,
    removed: RemovedIndices,
    heard: Mapping[Record, int],
    params: Params,
    inputs: tuple[Any, ...],
) -> list[Contribution]:
    """Per consumer the mean contribution of its removed inputs, over the batch."""
    found: dict[Record, Contribution] = {}

    def measured(writer: Writer, record: Record, values: list[Any]) -> Sequence[Any]:
        found[record] = contribution(record, heard[record], values, removed)
        return writer.unedited(record, values)

    # Calls are inlined, as what is measured inside a jitted function cannot leave it.
    edits = dict.fromkeys(plain_calls(coupled.body), inlined) | dict.fromkeys(heard, measured)
    writer = Writer(coupled.body, WHOLE, edits)
    writer.run(coupled.body, jax.tree.leaves((params, inputs)))
    return [found[record] for record in heard]


def _check_shapes(record: Record, shape: tuple[int, ...], correction: tuple[int, ...]) -> None:
    if any(one not in (1, size) for one, size in zip(correction, shape, strict=True)):
        raise ValueError(
            f"compensate: the result of {equation_of(record)} has shape {shape}, and its "
            f"correction {correction} was measured on inputs of another size. "
            "Compensate on inputs of this size."
        )


def _check_corrections(corrections: Mapping[str, Array]) -> None:
    for number, correction in corrections.items():
        if not bool(jnp.all(jnp.isfinite(correction))):
            raise ValueError(
                f"compensate(inputs): what consumer {number} makes of the removed units' mean is "
                "not finite. Compensate on data and params that are."
            )
