"""Params rotated so that outliers spread over many entries, and the outputs stay."""

from collections.abc import Sequence

import numpy as np

from jaxcompress.core.checks import check_concrete, check_count, check_finite
from jaxcompress.core.names import named_leaves
from jaxcompress.core.report import KEPT, LeafReport, Report
from jaxcompress.core.sizes import size_bytes
from jaxcompress.core.trees import check_call
from jaxcompress.core.types import Model, Params, PyTree
from jaxcompress.graph import symmetries
from jaxcompress.graph.paragraphs import short
from jaxcompress.graph.symmetries import Blocked, Rotation, Rotations


def rotate(fn: Model, params: Params, *inputs: PyTree, seed: int = 0) -> tuple[Params, Report]:
    """Multiplies all that may be rotated by random Hadamard matrices, before rounding.

    Not for: weights alone in 4 bits where no channel stands out: there `gptq` without
    it lost no more on a small transformer.

    An outlier channel of the residual stream, or one of a weight, becomes a little of
    every channel, so that the ranges of codes shrink. The outputs stay, up to rounding
    in float32: what may be rotated is found in the program, and scales in the way are
    folded first, of norms into what reads them, of layers (LayerScale) into what makes
    the values. Nothing is left to compute when the model runs.

    Behind a nonlinearity, as at the inputs of an MLP's second layer, no leaf could
    absorb a matrix; the report says so. There a leaf may be stored rotated
    (`jc.Rotated`), and its data be rotated at run time.

    Also known as: QuaRot, incoherence processing.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of arrays.
      inputs: trees of arrays or shapes.
      seed: 0 or above; the same seed gives the same matrices in every release of JAX.

    Returns:
      (params, report): the same structure, shapes and dtypes; by leaf what
      it was multiplied by, and why its other axes were not.

    Raises:
      TypeError: `fn` is no function, a leaf no array, or a value is traced.
      ValueError: the seed is no int of at least 0; a leaf is compressed, or one that is
        rotated is not finite.

    Example:
      >>> fn = lambda params, x: x @ params["in"] @ params["out"]
      >>> params = {"in": jnp.array([[8.0, 0.0], [0.0, 1.0]]), "out": jnp.eye(2)}
      >>> rotated, report = jc.quantize.equivalent.rotate(fn, params, jnp.ones((1, 2)))
      >>> jnp.abs(rotated["in"]).round()
      Array([[6., 6.],
             [1., 1.]], dtype=float32)
      >>> report.leaves[0].action
      'axis 1 by in:1'

    Source: Ashkboos et al. 2024, arXiv:2404.00456, sections 4 and 5, the part
    that needs nothing at run time. Differs: the rotations are derived from the program,
    and a model with layer norms keeps them.
    """
    check_call("rotate", fn, params, inputs)
    check_count("rotate", "seed", seed, least=0)
    check_concrete("rotate", params=params)
    found = symmetries.rotations(fn, params, *inputs)
    leaves, rotated = named_leaves(params), params
    for name in dict.fromkeys(place.leaf for each in found.found for place in each.places):
        check_finite("rotate", name, leaves[name])
    for index, each in enumerate(found.found):
        matrix = symmetries.random_matrix(each, seed + index)
        rotated = symmetries.rotate(rotated, each, matrix)
    return rotated, rotation_report("rotate", params, found)


def rotation_report(title: str, params: Params, rotations: Rotations) -> Report:
    """What rotations do to each leaf, and why its other axes stay."""
    rows = tuple(
        LeafReport(
            name,
            np.shape(leaf),
            _action(name, rotations.found),
            _reason(name, rotations.found, rotations.blocked),
            size_bytes(leaf),
            size_bytes(leaf),
        )
        for name, leaf in named_leaves(params).items()
    )
    changed = sum(row.changed for row in rows)
    return Report(f"{title}: {len(rotations.found)} rotations of {changed} leaves", rows)


def _action(leaf: str, found: Sequence[Rotation]) -> str:
    turned = [
        f"axis {place.axis} by {each.name}"
        for each in found
        for place in each.places
        if place.leaf == leaf
    ]
    for fold in (fold for each in found for fold in each.folds if fold.scale.leaf == leaf):
        turned.append(f"folded into {', '.join(dict.fromkeys(p.leaf for p in fold.into))}")
    return ", ".join(turned) or KEPT


def _reason(leaf: str, found: Sequence[Rotation], blocked: Sequence[Blocked]) -> str:
    equal = [
        f"axis {place.axis}: its entries are equal"
        for each in found
        for place in each.equal
        if place.leaf == leaf
    ]
    stopped = [
        f"axis {place.axis}: {short(each.reason)}"
        for each in blocked
        for place in each.places
        if place.leaf == leaf
    ]
    return "; ".join(equal + stopped) or "from the program"
