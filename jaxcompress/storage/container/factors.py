"""A `LowRank` leaf as two factors, stored as leaves of their own, and back."""

from collections.abc import Mapping
from typing import NamedTuple

from jaxcompress.core.lowrank import LowRank
from jaxcompress.core.order import permutation_of
from jaxcompress.storage.coders.words import known_dtype


class Joint(NamedTuple):
    """What makes one leaf of two factors. Files hold it as a JSON list.

    Fields:
      dtype: of the array the leaf stands for.
      order: the leaf's order.
      output_ndim: how many output axes it has.
    """

    dtype: str
    order: tuple[int, ...]
    output_ndim: int


def split(caller: str, leaves: Mapping[str, object]) -> dict[str, object]:
    """The leaves with "name/left" and "name/right" for each low-rank one.

    Raises:
      ValueError: a factor would have the name of another leaf.
    """
    parts: dict[str, object] = {}
    for name, leaf in leaves.items():
        named = {name: leaf}
        if isinstance(leaf, LowRank):
            named = {f"{name}/{part}": factor for part, factor in leaf.factors.items()}
        for part, factor in named.items():
            if part in parts:
                raise ValueError(f"{caller}(tree): two leaves are named {part!r}. Rename one.")
            parts[part] = factor
    return parts


def joints(leaves: Mapping[str, object]) -> dict[str, Joint]:
    """What each low-rank leaf is beside its factors, by name."""
    return {
        name: Joint(leaf.dtype.name, leaf.order, leaf.output_ndim)
        for name, leaf in leaves.items()
        if isinstance(leaf, LowRank)
    }


def from_json(fields: Mapping[str, list]) -> dict[str, Joint]:
    """The joints that a file lists."""
    return {
        name: Joint(dtype, tuple(order), output_ndim)
        for name, (dtype, order, output_ndim) in dict(fields).items()
    }


def joined(parts: Mapping[str, object], known: Mapping[str, Joint]) -> dict[str, object]:
    """The leaves whose parts `split` gave, in the order of their first parts.

    Raises:
      ValueError: a factor is missing, or two do not fit each other.
    """
    owners = {f"{name}/{part}": name for name in known for part in ("left", "right")}
    missing = owners.keys() - parts.keys()
    if missing:
        raise ValueError(f"the factors {', '.join(sorted(missing))} are not there")
    names = dict.fromkeys(owners.get(part, part) for part in parts)
    return {name: _joined(name, parts, known) if name in known else parts[name] for name in names}


def _joined(name: str, parts: Mapping, known: Mapping[str, Joint]) -> LowRank:
    left, right = parts[f"{name}/left"], parts[f"{name}/right"]
    dtype, order, output_ndim = known[name]
    leaf = LowRank(left, right, known_dtype(dtype), order, output_ndim)
    batch = leaf.batch_ndim
    shared = batch >= 0 and left.shape[:batch] == right.shape[:batch]
    if not shared or right.shape[batch : batch + 1] != left.shape[-1:]:
        raise ValueError(f"the factors of {name!r} have shapes {left.shape} and {right.shape}")
    ndim = len(leaf.stored_shape)
    if sorted(permutation_of(order, ndim)) != list(range(ndim)):
        raise ValueError(f"the order {list(order)} of {name!r} is no order of {ndim} axes")
    return leaf
