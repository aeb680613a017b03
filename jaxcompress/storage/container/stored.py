"""One leaf as the container will hold it, by one coder or another."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.spec import QuantSpec
from jaxcompress.storage.coders import FAST, Coder, plain
from jaxcompress.storage.container import safetensors
from jaxcompress.storage.container.arrays import check_storable, source
from jaxcompress.storage.container.dtypes import WORD_BITS, known_dtype
from jaxcompress.storage.container.errors import ContradictionError
from jaxcompress.storage.container.forms import form_of, outlined
from jaxcompress.storage.container.parts import Part, Source, encoded, planned
from jaxcompress.storage.container.records import Node, Record, parts, sizes, with_parts
from jaxcompress.storage.container.texts import compact

_ANEW = (
    "Make it by quantize, factorize, QTensor.from_codes, LowRank.from_factors, "
    "Corrected.from_parts, Rotated.from_rotated, Hashed.from_values, RandomCode.from_indices or "
    "ProductQuantized.from_codes."
)


class Stored(NamedTuple):
    """One leaf as the container will hold it.

    Attributes:
      record: how it lies there; None where the container's own array is the leaf.
      struct: shape and dtype of the container's array.
      parts: how each of its arrays is coded, in the order of bytes.
      sources: these arrays by path: "", "codes", "left/scale".
      options: for each array the parts that were weighed, the smallest first.
    """

    record: Record | None
    struct: jax.ShapeDtypeStruct
    parts: list[Part]
    sources: dict[str, Source]
    options: list[list[Part]]

    @property
    def size_bytes(self) -> int:
        return sum(part.size_bytes for part in self.parts)

    @property
    def text_bytes(self) -> int:
        """Bytes of the header that are the leaf's own, beside name and digest."""
        return 0 if self.record is None else len(compact(sizes(self.record)))

    def pieces(self) -> Iterator[memoryview]:
        """Its bytes, part by part, encoded when they are asked for.

        Raises:
          ValueError: an array has changed since the file was planned.
        """
        for part_source, part in zip(self.sources.values(), self.parts, strict=True):
            yield encoded(part_source, part).data


def stored(
    caller: str, name: str, leaf: Any, specs: Sequence[QuantSpec], coders: Sequence[Coder] = FAST
) -> Stored:
    """The leaf in its smallest stored form.

    Raises:
      TypeError: the leaf has no numbers, or of a dtype that cannot be stored.
      ValueError: its numbers break what its kind promises.
    """
    compressed = is_compressed(leaf)
    if compressed and form_of(leaf) is None:
        raise TypeError(
            f"{caller}(tree): leaf {name!r} is a {type(leaf).__name__}, which files have no form "
            "for. Store the params as they were compressed, and change them after loading."
        )
    for part in jax.tree.leaves(leaf) if compressed else [leaf]:
        check_storable(caller, name, part)
    try:
        return smaller_form(weighed(leaf, specs, coders))
    except ContradictionError as error:
        raise ValueError(f"{caller}(tree): leaf {name!r}: {error.fault}. {_ANEW}") from error
    except ValueError as error:
        raise ValueError(f"{caller}(tree): leaf {name!r} {error}. Quantize it again.") from error


def weighed(leaf: Any, specs: Sequence[QuantSpec], coders: Sequence[Coder]) -> Stored:
    """The leaf under a record, each of its arrays by the coder that makes it smallest.

    Raises:
      FileError: readers would refuse it.
    """
    record, sources = _planned(leaf, specs)
    options = [planned(each, coders) for each in sources.values()]
    # Readers check just this, so that nothing is written that they refuse.
    outlined(record, specs)
    return by_parts(record, sources, options, [each[0] for each in options])


def smaller_form(leaf: Stored) -> Stored:
    """The leaf as the container's own array, where a record takes more."""
    bare = as_bare(leaf)
    return bare if bare and bare.size_bytes <= leaf.size_bytes + leaf.text_bytes else leaf


def by_parts(
    record: Record, sources: dict[str, Source], options: list[list[Part]], chosen: Sequence[Part]
) -> Stored:
    """The leaf under a record that has the chosen parts."""
    whole = with_parts(record, iter(chosen))
    coded = parts(whole)
    struct = jax.ShapeDtypeStruct((sum(part.size_bytes for part in coded),), np.uint8)
    return Stored(whole, struct, coded, sources, options)


def as_bare(leaf: Stored) -> Stored | None:
    """The leaf as the container's own array, where it is one and has its dtype.

    Truth values are packed instead, which the container cannot.
    """
    if leaf.record is None:
        return leaf
    if not isinstance(leaf.record, Part) or WORD_BITS.get(leaf.record.dtype, 1) < 8:
        return None
    dtype = known_dtype(leaf.record.dtype)
    if not safetensors.holds(dtype):
        return None
    shape = leaf.record.shape
    bare = leaf.record._replace(coder=plain, size_bytes=math.prod(shape) * dtype.itemsize)
    struct = jax.ShapeDtypeStruct(shape, dtype)
    return leaf._replace(record=None, struct=struct, parts=[bare])


def _planned(leaf, specs: Sequence[QuantSpec], path: str = "") -> tuple[Record, dict[str, Source]]:
    """The record of a leaf, its parts without bytes yet, and its arrays by path."""
    form = form_of(leaf)
    if form is None:
        found = leaf if isinstance(leaf, Source) else source(leaf)
        return Part(plain, found.dtype, found.shape, 0), {path: found}
    children, sources = {}, {}
    for name, child in form.children(leaf).items():
        children[name], below = _planned(child, specs, f"{path}/{name}".lstrip("/"))
        sources |= below
    return Node(form.kind, form.fields(leaf, specs), children), sources
