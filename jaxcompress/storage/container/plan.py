"""Plans the file of a tree, exact to the byte, before anything is encoded."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxcompress.core.kinds import check_kind
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.messages import shown
from jaxcompress.core.names import named_leaves
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import PyTree
from jaxcompress.graph.surgery.removal import Removal, as_removals, fault_of
from jaxcompress.storage.coders import CODERS, FAST, Coder, plain
from jaxcompress.storage.coders.choice import checked_coders
from jaxcompress.storage.container import ahead, digests, outlines, safetensors
from jaxcompress.storage.container.arrays import check_storable, source
from jaxcompress.storage.container.dtypes import WORD_BITS, known_dtype
from jaxcompress.storage.container.errors import ContradictionError
from jaxcompress.storage.container.forms import form_of, outlined
from jaxcompress.storage.container.header import Entry
from jaxcompress.storage.container.limits import LARGEST, array_bytes
from jaxcompress.storage.container.parts import Part, Source, encoded, planned
from jaxcompress.storage.container.records import Node, Record, layout, parts, sizes

FORMAT = "jaxcompress"
VERSION = "2"
RESERVED = (
    *("format", "format_version", "sha256", "coders", "specs", "layouts", "leaves", "outline"),
    *("recipe", "removed", "base"),
)
"""The texts that are ours; all others are the user's. Two are not written yet: `recipe`
is for how the tree was made, `base` for the file that a difference is added to."""


_WIDEST_ITEM = 16
"""Bytes of the widest number."""

_BYTES = 4
"""Of a number, roughly, to tell large leaves from small ones."""

_ANEW = (
    "Make it by quantize, factorize, QTensor.from_codes, LowRank.from_factors, "
    "Corrected.from_parts or Rotated.from_rotated."
)


class Stored(NamedTuple):
    """One leaf as the container will hold it.

    Attributes:
      record: how it lies there; None where the container's own array is the leaf.
      struct: shape and dtype of the container's array.
      parts: how each of its arrays is coded, in the order of bytes.
      sources: these arrays by path: "", "codes", "left/scale".
    """

    record: Record | None
    struct: jax.ShapeDtypeStruct
    parts: list[Part]
    sources: dict[str, Source]

    @property
    def size_bytes(self) -> int:
        return sum(part.size_bytes for part in self.parts)

    def pieces(self) -> Iterator[memoryview]:
        """Its bytes, part by part, encoded when they are asked for.

        Raises:
          ValueError: an array has changed since the file was planned.
        """
        for part_source, part in zip(self.sources.values(), self.parts, strict=True):
            yield encoded(part_source, part).data


class Plan(NamedTuple):
    """A file that can be written.

    Attributes:
      leaves: by name, in the tree's order.
      specs: the specs that records refer to by position.
      outline: of the tree.
      removals: what was removed from the model before.
      metadata: the user's texts.
      caller: who writes, for error messages.
    """

    leaves: dict[str, Stored]
    specs: tuple[QuantSpec, ...]
    outline: str
    removals: tuple[Removal, ...]
    metadata: dict[str, str]
    caller: str

    @property
    def entries(self) -> dict[str, Entry]:
        """Where each leaf's bytes will be."""
        structs = {name: leaf.struct for name, leaf in self.leaves.items()}
        return safetensors.placed(structs, self.caller)

    @property
    def size_bytes(self) -> int:
        """Exactly the bytes of the file."""
        return len(self.header({})) + sum(leaf.size_bytes for leaf in self.leaves.values())

    def header(self, of_leaves: Mapping[str, str]) -> bytes:
        """The sealed header; digests that are not given yet are as long as others."""
        records = [leaf.record for leaf in self.leaves.values() if leaf.record]
        used = {part.coder for record in records for part in parts(record)}
        coders = [coder for coder in CODERS if coder in used]
        texts_of = dict.fromkeys(compact(layout(record, coders)) for record in records)
        layouts = {text: position for position, text in enumerate(texts_of)}

        def listed(name: str, leaf: Stored) -> list | str:
            digest = of_leaves.get(name, digests.NONE)
            if leaf.record is None:
                return digest
            position = layouts[compact(layout(leaf.record, coders))]
            return [digest, position, *sizes(leaf.record)]

        texts = {"format": FORMAT, "format_version": VERSION, "sha256": digests.UNSEALED}
        optional = {
            "coders": [[coder.name, coder.version] for coder in coders],
            "specs": [spec.to_json() for spec in self.specs],
            "layouts": [json.loads(text) for text in layouts],
            "leaves": [listed(name, leaf) for name, leaf in self.leaves.items()],
            "removed": [removal.to_json() for removal in self.removals],
        }
        texts |= {name: compact(value) for name, value in optional.items() if value}
        texts |= {"outline": self.outline} if self.outline else {}
        header = safetensors.header(self.entries, self.metadata | texts, self.caller)
        return digests.sealed(header)


def plan(
    caller: str,
    tree: PyTree,
    metadata: Mapping[str, str] = safetensors.NO_TEXT,
    removal: Removal | Iterable[Removal] = (),
    coders: Iterable[Coder] = FAST,
) -> Plan:
    """Plans the smallest file of a tree that these coders write.

    Raises:
      TypeError: a leaf, the key of a dict or a removal cannot be stored, or `coders`
        are none.
      ValueError: a text has a reserved name, a leaf breaks what its kind promises, or
        the tree is not what the removals leave.
    """
    _check_metadata(caller, metadata)
    allowed = checked_coders(caller, coders)
    outline = outlines.to_text(caller, tree)
    # Quantized leaves inside of others, such as the factors of a product, count too.
    nodes = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, QTensor))
    specs = tuple(dict.fromkeys(node.spec for node in nodes if isinstance(node, QTensor)))
    named = named_leaves(tree)
    planned_leaves = ahead.results(
        named.items(),
        begin=lambda item: item,
        finish=lambda item: stored(caller, *item, specs, allowed),
        size_bytes=lambda item: _BYTES * sum(map(np.size, jax.tree.leaves(item[1]))),
    )
    leaves = dict(zip(named, planned_leaves, strict=True))
    removals = as_removals(caller, removal)
    shapes = {name: np.shape(leaf) for name, leaf in named.items() if removals}
    if fault := fault_of(removals, shapes):
        raise ValueError(
            f"{caller}(removal=...) does not fit the tree: {fault}. Pass the params that the last "
            "verb gave, and the removals in the order in which they were made."
        )
    _check_sizes(caller, leaves)
    return Plan(leaves, specs, outline, removals, dict(metadata), caller)


def stored(
    caller: str, name: str, leaf, specs: Sequence[QuantSpec], coders: Sequence[Coder] = FAST
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
        record, sources = _planned(leaf, specs, coders)
        # Readers check just this, so that nothing is written that they refuse.
        outlined(record, specs)
    except ContradictionError as error:
        raise ValueError(f"{caller}(tree): leaf {name!r}: {error.fault}. {_ANEW}") from error
    except ValueError as error:
        raise ValueError(f"{caller}(tree): leaf {name!r} {error}. Quantize it again.") from error
    if isinstance(record, Part) and (bare := _bare(record)):
        longer = len(compact(sizes(record)))
        if bare.size_bytes <= record.size_bytes + longer:
            struct = jax.ShapeDtypeStruct(bare.shape, known_dtype(bare.dtype))
            return Stored(None, struct, [bare], sources)
    coded = parts(record)
    size_bytes = sum(part.size_bytes for part in coded)
    return Stored(record, jax.ShapeDtypeStruct((size_bytes,), np.uint8), coded, sources)


def _bare(part: Part) -> Part | None:
    """The array as the container itself holds it, where it has its dtype.

    Truth values are packed instead, which the container cannot.
    """
    if part.dtype not in WORD_BITS or WORD_BITS[part.dtype] < 8:
        return None
    dtype = known_dtype(part.dtype)
    if not safetensors.holds(dtype):
        return None
    return part._replace(coder=plain, size_bytes=math.prod(part.shape) * dtype.itemsize)


def _planned(
    leaf, specs: Sequence[QuantSpec], coders: Sequence[Coder], path: str = ""
) -> tuple[Record, dict[str, Source]]:
    """The record of a leaf and its arrays by path."""
    form = form_of(leaf)
    if form is None:
        found = leaf if isinstance(leaf, Source) else source(leaf)
        return planned(found, coders), {path: found}
    children, sources = {}, {}
    for name, child in form.children(leaf).items():
        children[name], below = _planned(child, specs, coders, f"{path}/{name}".lstrip("/"))
        sources |= below
    return Node(form.kind, form.fields(leaf, specs), children), sources


def _check_sizes(caller: str, leaves: Mapping[str, Stored]) -> None:
    """Refuses arrays without entries whose other axes no reader would believe."""
    total = 0
    for name, leaf in leaves.items():
        total += sum(array_bytes(each.shape, _WIDEST_ITEM) for each in leaf.sources.values())
        if total >= LARGEST // 2:
            raise ValueError(
                f"{caller}(tree): with leaf {shown(name)} the axes of arrays, empty ones counted "
                "as 1, multiply to more bytes than any memory has. Leave out what has no entries."
            )


def _check_metadata(caller: str, metadata: Mapping[str, str]) -> None:
    check_kind(caller, "metadata", metadata, Mapping, "Pass texts by name.")
    for name, text in metadata.items():
        if name in RESERVED:
            raise ValueError(
                f"{caller}(metadata=...) has the reserved name {name!r}. Choose another."
            )
        if not (isinstance(name, str) and isinstance(text, str)):
            raise TypeError(
                f"{caller}(metadata=...) has {name!r}: {text!r}; names and values are text."
            )


def compact(fields: list | dict) -> str:
    """JSON without spaces."""
    return json.dumps(fields, separators=(",", ":"))
