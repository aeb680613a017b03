"""Plans the file of a tree, exact to the byte, before anything is encoded."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcompress.core.kinds import check_kind
from jaxcompress.core.messages import shown
from jaxcompress.core.names import named_leaves
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import PyTree
from jaxcompress.graph.surgery.removal import Removal, as_removals, fault_of
from jaxcompress.storage.coders import CODERS, FAST, Coder
from jaxcompress.storage.coders.choice import checked_coders
from jaxcompress.storage.container import ahead, digests, outlines, packing, safetensors
from jaxcompress.storage.container.agreement import settled
from jaxcompress.storage.container.header import Entry
from jaxcompress.storage.container.limits import LARGEST, array_bytes
from jaxcompress.storage.container.records import layout, parts, sizes
from jaxcompress.storage.container.stored import Stored, stored
from jaxcompress.storage.container.texts import compact

FORMAT = "jaxcompress"
VERSION = "2"
BY_LEAF = VERSION, packing.VERSION
"""Versions in which each leaf has a digest of its own, and parts that are told."""
RESERVED = (
    *("format", "format_version", "sha256", "coders", "specs", "layouts", "leaves", "outline"),
    *("recipe", "removed", "base"),
)
"""The texts that are ours; all others are the user's. One is not written yet: `recipe`
is for how the tree was made."""


_WORTH = 0.99
"""A packed header hides the names of arrays: it must save a hundredth of the file."""

_WIDEST_ITEM = 16
"""Bytes of the widest number."""

_BYTES = 4
"""Of a number, roughly, to tell large leaves from small ones."""


class Plan(NamedTuple):
    """A file that can be written.

    Attributes:
      leaves: by name, in the tree's order.
      specs: the specs that records refer to by position.
      outline: of the tree.
      removals: what was removed from the model before.
      metadata: the user's texts.
      caller: who writes, for error messages.
      base: digits of the file that differences are added to; "" where there are none.
      packed: whether the header is, as `packing` does it.
    """

    leaves: dict[str, Stored]
    specs: tuple[QuantSpec, ...]
    outline: str
    removals: tuple[Removal, ...]
    metadata: dict[str, str]
    caller: str
    base: str = ""
    packed: bool = False

    @property
    def entries(self) -> dict[str, Entry]:
        """Where each leaf's bytes will be."""
        structs = {name: leaf.struct for name, leaf in self.leaves.items()}
        return safetensors.placed(structs, self.caller)

    @property
    def size_bytes(self) -> int:
        """Exactly the bytes of the file."""
        return self.data_bytes + sum(map(len, self.frame({})))

    @property
    def data_bytes(self) -> int:
        """Of all leaves."""
        return sum(leaf.size_bytes for leaf in self.leaves.values())

    def frame(self, of_leaves: Mapping[str, str]) -> tuple[bytes, bytes]:
        """What stands before and after the bytes of the leaves.

        Both are as long where digests are not given yet.
        """
        header = self.header(of_leaves)
        if not self.packed:
            return header, b""
        texts = [of_leaves.get(name, digests.NONE) for name in self.leaves]
        tail = packing.after(self._blank({}), texts, digests.digits_of(header))
        return packing.before(self.data_bytes, tail), tail

    def header(self, of_leaves: Mapping[str, str]) -> bytes:
        """The sealed header; digests that are not given yet are as long as others."""
        return digests.sealed(self._blank(of_leaves))

    def _blank(self, of_leaves: Mapping[str, str]) -> bytes:
        """The header before it is sealed."""
        records = [leaf.record for leaf in self.leaves.values() if leaf.record]
        used = {part.coder for record in records for part in parts(record)}
        coders = [coder for coder in CODERS if coder in used]
        texts_of = dict.fromkeys(compact(layout(record, coders)) for record in records)
        layouts = {text: position for position, text in enumerate(texts_of)}

        def listed(name: str, leaf: Stored) -> list[Any] | str:
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
        plain_texts = {"outline": self.outline, "base": self.base}
        texts |= {name: text for name, text in plain_texts.items() if text}
        return safetensors.header(self.entries, self.metadata | texts, self.caller)


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
    whole = Plan(leaves, specs, outline, removals, dict(metadata), caller)
    if set(allowed) <= set(FAST):  # files of these stay as they have always been
        return whole
    found = settled(leaves, allowed, lambda other: whole._replace(leaves=other).size_bytes)
    return headed(whole._replace(leaves=found), allowed)


def headed(planned: Plan, coders: tuple[Coder, ...]) -> Plan:
    """The plan with its header packed, where coders allow it and it saves enough.

    It depends on all leaves: whoever replaces some of them asks again, since a longer
    header may be one that no reader unpacks.
    """
    whole = planned._replace(packed=False)
    if set(coders) <= set(FAST) or not packing.can_hold(whole.header({}), len(whole.leaves)):
        return whole
    packed = whole._replace(packed=True)
    return packed if packed.size_bytes <= _WORTH * whole.size_bytes else whole


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
