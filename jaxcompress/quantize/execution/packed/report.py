"""What became of each leaf of a packed model."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxcompress.core.names import named_leaves
from jaxcompress.core.report import KEPT, LeafReport, Report
from jaxcompress.core.sizes import size_bytes
from jaxcompress.core.types import PyTree
from jaxcompress.quantize.execution.packed.check import Agreement
from jaxcompress.quantize.execution.packed.weights import Found


def packed_report(
    tree: tuple[Any, ...],
    alive: tuple[Any, ...],
    found: Found,
    floats: Mapping[str, str],
    compared: Agreement | None,
) -> Report:
    """One row for each leaf, and for each site of signs that shares one.

    Args:
      tree: (params, weights by site, thresholds by site).
      alive: of the same structure, whether each array is held.
      found: the sites.
      floats: by site, why its data come as floats.
      compared: how outputs agree with training's.
    """
    params, signs, joined = tree
    kept, kept_signs, kept_joined = alive
    rows = []
    leaf_of = {name: name.partition("#")[0] for name in (*found.sites, *found.reasons)}
    for name, leaf in named_leaves(params).items():
        before = leaf.size * leaf.dtype.itemsize
        after = _bytes(leaf, named_leaves(kept)[name])
        for site in [each for each in found.sites if leaf_of[each] == name]:
            own = _bytes(signs[site], kept_signs[site])
            own += _bytes(joined[site], kept_joined[site]) if site in joined else 0
            reason = f"data packed from floats: {floats[site]}" if site in floats else ""
            reason = reason or "data are bits of sums, by thresholds"
            rows.append(LeafReport(site, tuple(leaf.shape), "bits", reason, before, own + after))
            before = after = 0
        if before:
            rows.append(_other(name, leaf, before, after, found))
    held = sum(row.bytes_after for row in rows)
    count = sum(site not in floats for site in found.sites)
    title = (
        f"packed: {len(found.sites)} sites multiply words of bits, {count} of them without floats "
        f"before; {held:,} bytes; {compared or 'outputs were not compared'}"
    )
    return Report(title, tuple(rows))


def _other(name: str, leaf, before: int, after: int, found: Found) -> LeafReport:
    shape = tuple(np.shape(leaf))
    if not after:
        return LeafReport(name, shape, "folded", "into thresholds", before, 0)
    reason = found.reasons.get(name, "meets real numbers")
    return LeafReport(name, shape, KEPT, reason, before, after)


def _bytes(tree: PyTree, alive: PyTree) -> int:
    arrays = jax.tree.leaves(tree)
    flags = jax.tree.leaves(alive)
    return sum(size_bytes(x) for x, live in zip(arrays, flags, strict=True) if live)
