"""Of which leaves curvature and sensitivities are: digests, and the roles of axes."""

from collections.abc import Iterable, Mapping

from jaxcompress.core.axes import Axes, LeafAxes, assumed_axes
from jaxcompress.core.digests import tree_digest
from jaxcompress.core.leaf import materialize
from jaxcompress.core.names import named_leaves
from jaxcompress.core.sensitivities import LeafSensitivity, Origin, Sensitivities
from jaxcompress.core.trees import named_axes
from jaxcompress.core.types import Params


def origins_of(
    caller: str, params: Params, axes: Axes | None, rows: Iterable[LeafSensitivity]
) -> dict[str, Origin]:
    """What each leaf is of which the rows know something."""
    names = {row.name for row in rows if not row.reason}
    return _origins(caller, params, axes, names)


def check_origins(
    caller: str, table: Sensitivities, params: Params, axes: Axes | None, names: Iterable[str]
) -> None:
    """Raises a ValueError where a leaf is not what it was when its rows were made.

    A table that says nothing of a leaf, as one made by hand, is believed.
    """
    known = {name: table.origins[name] for name in names if name in table.origins}
    check_digests(caller, "table", params, {name: each.digest for name, each in known.items()})
    for name, now in _origins(caller, params, axes, set(known)).items():
        if now.axes != known[name].axes:
            raise ValueError(
                f"{caller}(axes): the rows of leaf {name!r} were made with {known[name].axes}, and "
                f"here it has {now.axes}. Give the axes that the table was made with."
            )


def check_digests(caller: str, argument: str, params: Params, known: Mapping[str, str]) -> None:
    """Raises a ValueError where a leaf is not the one that the argument was made of."""
    for name, digest in digests_of(params, known).items():
        if digest != known[name]:
            raise ValueError(
                f"{caller}(params): the leaf {name!r} is not the one that the {argument} was made "
                f"of: its values differ. Give the params that the {argument} was made of, or make "
                "another of these."
            )


def digests_of(params: Params, names: Iterable[str]) -> dict[str, str]:
    """By leaf the digest of the array that it stands for."""
    leaves, wanted = named_leaves(params), set(names)
    return {name: tree_digest(materialize(leaves[name])) for name in leaves if name in wanted}


def _origins(caller: str, params: Params, axes: Axes | None, names: set[str]) -> dict[str, Origin]:
    roles = named_axes(caller, axes) or {}
    leaves = named_leaves(params)
    return {
        name: Origin(digest, _in_words(roles.get(name, assumed_axes(leaves[name]))))
        for name, digest in digests_of(params, names).items()
    }


def _in_words(axes: LeafAxes) -> str:
    roles = {"contracting": axes.contracting, "output": axes.output, "batch": axes.batch}
    told = [f"{role} {', '.join(map(str, places))}" for role, places in roles.items() if places]
    return f"axes: {'; '.join(told) or 'of no role'}"
