"""Post-training quantization of weights: params in, `QTensor` leaves out."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxcompress.core.axes import Axes
from jaxcompress.core.checks import check_finite
from jaxcompress.core.corrected import Corrected
from jaxcompress.core.hashed import Hashed
from jaxcompress.core.leaf import CompressedLeaf, is_compressed
from jaxcompress.core.left_out import is_constant
from jaxcompress.core.masks import fitted, full_masks
from jaxcompress.core.names import named_leaves
from jaxcompress.core.product import ProductQuantized
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.random_code import RandomCode
from jaxcompress.core.report import KEPT, LeafReport, Report
from jaxcompress.core.rotated import Rotated
from jaxcompress.core.rules import Rules
from jaxcompress.core.sizes import size_bytes
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Masks, Params, Selector
from jaxcompress.quantize.assignment import Assignment, assign, check_choice
from jaxcompress.quantize.rounding.nearest import nearest
from jaxcompress.quantize.rounding.rounding import Rounding, check_rounding


def quantize(
    params: Params,
    spec: QuantSpec | Rules[Any],
    *,
    axes: Axes | None = None,
    select: Selector | None = None,
    rounding: Rounding = nearest(),
    masks: Masks | None = None,
) -> tuple[Params, Report]:
    """Quantizes weights to low-bit codes and reports what was done to each leaf.

    Not for: few bits where data are at hand; `reconstruct` loses less.

    Also known as: post-training quantization (PTQ), weight-only quantization, RTN.

    `materialized(fn)` takes the result where `fn` took the params, for every program;
    `run` multiplies the codes themselves where that is faster. Rounded to nearest, the
    arrays that the `QTensor` leaves stand for are bit for bit what `fake_quantize` with
    the same ranges gives. `reconstruct` rounds with calibration data.

    Args:
      params: arrays, or `jax.ShapeDtypeStruct`s for the report alone.
      spec: one spec, or rules over the names of the selected leaves; a leaf without a
        rule stays, and so does one whose spec does not fit it, unless it was asked for
        by name.
      axes: what `graph.axes` gave. Without it, the last axis of a weight is taken as
        its output, all others as contracting, and the report says "assumed".
      select: which leaves; without it every weight that meets data.
      rounding: which code each weight gets, from the weights alone; one of
        `quantize.rounding`, whose options say which range the codes of a block cover.
      masks: which weights are pruned. They are checked to be exactly 0, and stay so.

    Returns:
      (params, report). Leaves that are not quantized are the same objects as before.

    Raises:
      TypeError: what a leaf gets is no QuantSpec; `rounding` is no Rounding; a leaf
        that `select` or a rule other than "*" names is already quantized, or of an
        integer, bool or complex dtype.
      ValueError: a leaf to quantize holds NaN or infinity, or blocks have to know its
        axes, which are only assumed at rank 3 and more; a leaf that is asked for by
        name is empty or a scalar, or blocks do not divide its axes; or all are such;
        a selector or a rule matches nothing; a pruned weight is not 0, or its format
        has no zero, or `rounding` mixes it with others.

    Example:
      >>> kernel = jnp.array([[1.0, 0.3], [-0.6, 0.0]])
      >>> params = {"kernel": kernel, "bias": jnp.zeros(2)}
      >>> quantized, report = jc.quantize.quantize(params, jc.quantize.int4())
      >>> quantized["kernel"]
      QTensor(int4 per channel, shape=(2, 2), dtype=float32)
      >>> jc.materialize(quantized)["kernel"][1]
      Array([-0.571,  0.   ], dtype=float32)
      >>> report.kept[0].reason
      'not selected: rank 1'
    """
    check_choice("quantize", spec, axes, select)
    check_rounding("quantize", rounding)
    assigned = assign("quantize", params, spec, axes, select)
    kept = named_leaves(full_masks(params) if masks is None else fitted("quantize", masks, params))
    leaves = {}
    for name, leaf in named_leaves(params).items():
        choice = assigned[name]
        if isinstance(choice, Assignment):
            check_values("quantize", name, leaf)
            if masks is not None:
                _check_masked(name, leaf, kept[name])
                _check_zero(name, choice.spec, kept[name])
            leaf = _quantized(leaf, choice, rounding)
            if masks is not None:
                _check_stays_zero(name, leaf, kept[name])
        leaves[name] = leaf
    treedef = jax.tree.structure(params, is_leaf=is_compressed)
    rows = (
        row(name, leaf, leaves[name], assigned[name]) for name, leaf in named_leaves(params).items()
    )
    return jax.tree.unflatten(treedef, leaves.values()), Report("quantize", tuple(rows))


def explain(tree: Params) -> Report:
    """Reports from shapes alone what each leaf of a tree is stored as.

    Args:
      tree: arrays, shapes and compressed leaves, for example what `quantize` returned.

    Returns:
      Report; bytes before are those of the arrays the leaves stand for.

    Example:
      >>> params = {"kernel": jnp.ones((8, 4))}
      >>> quantized, _ = jc.quantize.quantize(params, jc.quantize.int8())
      >>> report = jc.quantize.explain(quantized)
      >>> report.bytes_before, report.bytes_after
      (128, 48)
    """
    check_arrays("explain", "tree", tree)
    rows = []
    for name, leaf in named_leaves(tree).items():
        if is_constant(leaf):
            rows.append(LeafReport(name, (), KEPT, f"a Python {type(leaf).__name__}", 0, 0))
            continue
        action = stored_as(leaf)
        reason = (
            f"stored as {type(leaf).__name__}" if is_compressed(leaf) else f"stored as {leaf.dtype}"
        )
        before = leaf.size * leaf.dtype.itemsize
        rows.append(LeafReport(name, tuple(leaf.shape), action, reason, before, size_bytes(leaf)))
    return Report("explain", tuple(rows))


def stored_as(leaf: Any) -> str:
    """The format of a leaf with codes, and what lies beside or around them."""
    match leaf:
        case QTensor():
            return str(leaf.spec)
        case Corrected():
            return f"{leaf.base.spec} + rank {leaf.rank}"
        case Rotated() if (held := stored_as(leaf.leaf)) != KEPT:
            return f"{held}, rotated in blocks of {leaf.block}"
        case Hashed():
            return f"{leaf.buckets} values, hashed"
        case RandomCode():
            return f"{leaf.blocks} random codes of {leaf.bits} bits"
        case ProductQuantized():
            return leaf.form
    return KEPT


def _quantized(leaf, choice: Assignment, rounding: Rounding) -> CompressedLeaf:
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return jax.eval_shape(lambda x: rounding.array(x, choice), leaf)
    return rounding.array(jnp.asarray(leaf), choice)


def check_values(caller: str, name: str, leaf: Any) -> None:
    """Checks what only concrete values show; traced arrays and shapes pass."""
    if not isinstance(leaf, jax.ShapeDtypeStruct | Tracer):
        check_finite(caller, name, leaf)


def _check_masked(name: str, leaf, mask) -> None:
    """Checks that pruned weights are 0; traced arrays and shapes pass."""
    if isinstance(leaf, jax.ShapeDtypeStruct | Tracer) or isinstance(mask, Tracer):
        return
    alive = int(jnp.sum(jnp.where(mask, 0, leaf) != 0))
    if alive:
        raise ValueError(
            f"quantize(masks=...): leaf {name!r} holds {alive} weights outside its mask that "
            "are not 0. Apply the masks to the params first."
        )


def _check_zero(name: str, spec: QuantSpec, mask) -> None:
    if not spec.has_zero and (isinstance(mask, Tracer) or not bool(jnp.all(mask))):
        raise ValueError(
            f"quantize(masks=...): leaf {name!r} has pruned weights, and {spec} has no exact zero "
            "for them. Give it a format with one."
        )


def _check_stays_zero(name: str, leaf: CompressedLeaf, mask) -> None:
    """What is mixed with other weights, or added to, keeps no zeros."""
    if isinstance(leaf, QTensor):
        return
    if isinstance(mask, Tracer) or not bool(jnp.all(mask)):
        raise ValueError(
            f"quantize(masks=...): leaf {name!r} has pruned weights, which do not stay 0 in a "
            f"{type(leaf).__name__}. Give it a rounding without rotation and correction."
        )


def row(name: str, leaf: Any, result: Any, choice: Assignment | str) -> LeafReport:
    """What was done to a leaf: its assignment, or the reason why it has none."""
    if isinstance(choice, str):
        action, reason = KEPT, choice
    else:
        action = stored_as(result)
        reason = "axes assumed" if choice.axes.assumed else "axes from the program"
    return LeafReport(name, np.shape(leaf), action, reason, size_bytes(leaf), size_bytes(result))
