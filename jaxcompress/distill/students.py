"""Students that begin as some of the teacher's layers.

A student of fewer units begins as what `structure.remove` leaves of the teacher.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxcompress.core import exports
from jaxcompress.core.checks import check_count, check_whole
from jaxcompress.core.kinds import check_each, check_mapping, check_text
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.messages import shown
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.trees import check_arrays, chosen_by
from jaxcompress.core.types import Array, Params, Selector

exports.list_definitions(globals())


def evenly_spaced(count: int, *, of: int) -> tuple[int, ...]:
    """Which of some layers to keep, the first and the last among them.

        layer_i = round(i · (of - 1) / (count - 1))

    Args:
      count: layers of the student, at least 1; of one it is the first.
      of: layers of the teacher, at least as many.

    Returns:
      Their numbers from 0, rising.

    Raises:
      ValueError: a number is no count, or there are fewer layers than are kept.

    Example:
      >>> jc.distill.students.evenly_spaced(6, of=12)
      (0, 2, 4, 7, 9, 11)

    Source: Sanh et al. 2019, "DistilBERT", arXiv:1910.01108, section 2, one layer out
    of two; these are the layers that its published code takes.
    """
    count = check_count("evenly_spaced", "count", count)
    of = check_count("evenly_spaced", "of", of)
    if count > of:
        raise ValueError(f"evenly_spaced(count={count}, of={of}) keeps more than there are.")
    return tuple(int(each) for each in np.rint(np.linspace(0, of - 1, count)))


def from_layers(
    teacher: Params, layers: Sequence[int], *, select: Selector, axis: int = 0
) -> Params:
    """A student's params from stacked layers of the teacher, as a scan has them.

    Not for: layers that are leaves of their own, which `from_blocks` takes, nor
    narrower ones, which `structure.remove` makes.

    Args:
      teacher: its params.
      layers: numbers from 0, in the student's order; a layer may come again.
      select: the leaves that are stacked, such as `matching("layers/*")`.
      axis: along which they are.

    Returns:
      Tree of the same structure: selected leaves with `len(layers)` layers, copies of
      all others, so that a step may reuse the memory of the student's.

    Raises:
      TypeError: a leaf is no array, or compressed; `layers` is no list.
      ValueError: a leaf has no such axis, leaves differ in their number of layers, or a
        layer is not among them.

    Example:
      >>> teacher = {"embed": jnp.ones(2), "layers": jnp.arange(12.0).reshape(6, 2)}
      >>> students = jc.distill.students
      >>> layers = students.evenly_spaced(3, of=6)
      >>> found = students.from_layers(teacher, layers, select=jc.matching("layers"))
      >>> found["layers"][:, 0]
      Array([ 0.,  4., 10.], dtype=float32)

    Also known as: layer selection, truncated initialization; with layers that come
    again, depth up-scaling.

    Source: Sanh et al. 2019, "DistilBERT", arXiv:1910.01108, section 2.
    """
    _check_plain("from_layers", "teacher", teacher)
    check_whole("from_layers", "axis", axis)
    chosen = chosen_by("from_layers", select, teacher)
    stacked = {name: leaf for name, leaf in named_leaves(teacher).items() if chosen[name]}
    count = _layer_count(stacked, axis)
    check_each("from_layers", "layers", layers, check_whole)
    beyond = [each for each in layers if not 0 <= each < count]
    if beyond or not layers:
        raise ValueError(
            f"from_layers(layers={shown(layers)}) must be numbers from 0 to {count - 1}, one at "
            "least."
        )
    index = np.asarray(layers, np.int32)

    def taken(name: str, leaf: Array) -> Array:
        return jnp.take(leaf, index, axis=axis) if chosen[name] else jnp.array(leaf)

    return map_named(taken, teacher)


def from_blocks(student: Params, teacher: Params, blocks: Mapping[str, str]) -> Params:
    """A student's params with named blocks of the teacher in place of its own.

    Not for: stacked layers, which `from_layers` takes, nor narrower ones, which
    `structure.remove` makes.

    Args:
      student: its params, such as they are before training.
      teacher: its params.
      blocks: by name of a block of the student, that of the teacher that it becomes: a
        leaf, or all leaves whose names begin with it and "/". What is in no block stays
        the student's.

    Returns:
      Tree of the student's structure and dtypes, of copies, so that a step may reuse
      the memory of the student's.

    Raises:
      TypeError: a leaf is no array, or compressed; `blocks` is no mapping of texts.
      ValueError: there is no such block, blocks of the student lie in one another, or
        two that are to be the same differ in their leaves or shapes.

    Example:
      >>> layer = lambda value: {"kernel": jnp.full(2, value)}
      >>> teacher = {f"layer_{i}": layer(float(i)) for i in range(4)}
      >>> student = {f"layer_{i}": layer(9.0) for i in range(2)}
      >>> kept = enumerate(jc.distill.students.evenly_spaced(2, of=4))
      >>> blocks = {f"layer_{own}": f"layer_{other}" for own, other in kept}
      >>> found = jc.distill.students.from_blocks(student, teacher, blocks)
      >>> found["layer_1"]["kernel"]
      Array([3., 3.], dtype=float32)

    Also known as: layer selection, warm-started students.

    Source: Sanh et al. 2019, "DistilBERT", arXiv:1910.01108, section 2.
    """
    _check_plain("from_blocks", "student", student)
    _check_plain("from_blocks", "teacher", teacher)
    check_mapping("from_blocks", "blocks", blocks, "From the student's names to the teacher's.")
    check_each("from_blocks", "blocks", [*blocks, *blocks.values()], check_text)
    own, other = named_leaves(student), named_leaves(teacher)
    found: dict[str, Array] = {}
    for mine, its in blocks.items():
        inside, given = _block("student", own, mine), _block("teacher", other, its)
        _check_alike(mine, its, inside, given)
        twice = [name for name in inside.values() if name in found]
        if twice:
            raise ValueError(f"from_blocks(blocks=...) has leaf {twice[0]!r} in two blocks.")
        found |= {name: other[given[rest]] for rest, name in inside.items()}
        _check_shapes(own, found, inside.values())

    def filled(name: str, leaf: Array) -> Array:
        return jnp.array(found.get(name, leaf), dtype=leaf.dtype)

    return map_named(filled, student)


def _check_plain(caller: str, argument: str, params: Params) -> None:
    check_arrays(caller, argument, params)
    for name, leaf in named_leaves(params).items():
        if is_compressed(leaf) or not hasattr(leaf, "shape"):
            raise TypeError(
                f"{caller}({argument}=...): leaf {name!r} is {shown(leaf)}, no array. Pass "
                "jc.materialize(params), and jnp.asarray of a number."
            )


def _layer_count(stacked: Mapping[str, Any], axis: int) -> int:
    """How many layers the stacked leaves have."""
    if not stacked:
        raise ValueError("from_layers(select=...) selects no leaf of the teacher.")
    for name, leaf in stacked.items():
        if not -leaf.ndim <= axis < leaf.ndim:
            raise ValueError(
                f"from_layers(teacher=..., axis={axis}): leaf {name!r} has shape {leaf.shape} and "
                "no such axis. Leave it out with select=."
            )
    counts = {name: leaf.shape[axis] for name, leaf in stacked.items()}
    first, *others = counts
    for name in others:
        if counts[name] != counts[first]:
            raise ValueError(
                f"from_layers(select=...): leaves differ in their layers: {counts[first]} at "
                f"{first!r}, {counts[name]} at {name!r}. Select those of one stack."
            )
    return counts[first]


def _block(whose: str, leaves: Mapping[str, Any], block: str) -> dict[str, str]:
    """The leaves of a block: what follows the block's name, and the whole name."""
    found = {
        name.removeprefix(block): name
        for name in leaves
        if name == block or name.startswith(f"{block}/")
    }
    if not found:
        raise ValueError(
            f"from_blocks(blocks=...): the {whose} has no block {block!r}. Its leaves are: "
            f"{', '.join(leaves) or 'none'}."
        )
    return found


def _check_alike(mine: str, its: str, inside: Mapping[str, str], given: Mapping[str, str]) -> None:
    differing = sorted(set(inside) ^ set(given))
    if differing:
        rest = differing[0]
        has, lacks = (mine, its) if rest in inside else (its, mine)
        raise ValueError(
            f"from_blocks(blocks={{{mine!r}: {its!r}}}): {has!r} has a leaf {rest.strip('/')!r}, "
            f"and {lacks!r} has none."
        )


def _check_shapes(own: Mapping[str, Any], found: Mapping[str, Any], names: Iterable[str]) -> None:
    for name in names:
        if own[name].shape != found[name].shape:
            raise ValueError(
                f"from_blocks(blocks=...): leaf {name!r} of the student has shape "
                f"{own[name].shape}, and what the teacher has for it {found[name].shape}."
            )
