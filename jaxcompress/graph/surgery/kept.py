"""Which indices of an axis stay when atoms lose some, and where an atom's lie."""

import itertools
from collections.abc import Mapping

import numpy as np

from jaxcompress.graph.surgery.dims import Dim, concatenation, product, reversal, root

RemovedIndices = Mapping[Dim, np.ndarray]
"""Per atom, which indices are removed: bool (size,), or (layers, size)."""


def keep(d: Dim, removed: RemovedIndices) -> np.ndarray:
    """Which indices of the axis stay: bool (size,), or (layers, size)."""
    d = root(d)
    if d.form is None:
        gone = removed.get(d)
        return np.ones(d.size, bool) if gone is None else ~gone
    parts = [keep(part, removed) for part in d.parts]
    lead = np.broadcast_shapes(*(part.shape[:-1] for part in parts))
    parts = [np.broadcast_to(part, (*lead, part.shape[-1])) for part in parts]
    if d.form is concatenation:
        return np.concatenate(parts, axis=-1)
    if d.form is reversal:
        return parts[0][..., ::-1]
    # An index of a product stays where the index of every factor stays, major first.
    kept = parts[0]
    for part in parts[1:]:
        kept = kept[..., :, None] & part[..., None, :]  # (layers…, major, minor)
        kept = kept.reshape(*lead, -1)
    return kept


def positions(d: Dim, atom: Dim) -> np.ndarray:
    """Where an atom's indices lie along the axis: int (atom's size, places of one)."""
    d = root(d)
    if d is atom:
        return np.arange(d.size)[:, None]
    if d.form is reversal:
        return d.size - 1 - positions(d.parts[0], atom)[:, ::-1]
    found = [np.zeros((atom.size, 0), int)]
    if d.form is concatenation:
        begins = itertools.accumulate((part.size for part in d.parts), initial=0)
        found += [
            begin + positions(part, atom) for begin, part in zip(begins, d.parts, strict=False)
        ]
    elif d.form is product:
        # For each factor the axis is (outer, factor, inner): where the factor holds the
        # atom, every outer and inner index repeats the place.
        inner = d.size
        for part in d.parts:
            outer, inner = d.size // inner, inner // part.size
            own = positions(part, atom)[:, None, :, None]  # (atom, 1, places, 1)
            steps = np.arange(outer)[None, :, None, None] * part.size + own
            places = steps * inner + np.arange(inner)  # (atom, outer, places, inner)
            found.append(places.reshape(atom.size, -1))
    together = np.concatenate(found, axis=1)
    # Two parts may hold the atom, as in d × d: index (i, i) is then found twice.
    return np.stack([np.unique(row) for row in together]) if len(found) > 2 else together
