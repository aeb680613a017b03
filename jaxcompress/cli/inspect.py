"""`jaxcompress inspect FILE`, of files of this library and of others."""

import argparse
import dataclasses
import math
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxcompress.cli import answers

if TYPE_CHECKING:
    from jaxcompress.storage import Breakdown, FileReport, StoredLeaf
    from jaxcompress.storage.foreign import ForeignFile


def add(commands: Any) -> None:
    """Adds the command."""
    added = answers.add(
        commands,
        inspect,
        "what is in a safetensors file, of this library or another",
        "jaxcompress inspect --sizes model.safetensors",
    )
    added.add_argument("file", type=pathlib.Path, help="the file, or the index of several")
    added.add_argument("--max-bytes", type=int, help="what it may take in memory (default: 16 GiB)")
    added.add_argument(
        "--sizes", action="store_true", help="where its bytes go, and the entropy of its numbers"
    )
    added.add_argument(
        "--depth", type=int, help="add up leaves whose names begin with the same so many parts"
    )


def inspect(options: argparse.Namespace) -> answers.Answer:
    """Describes the file: of ours every byte is verified, of others the header."""
    from jaxcompress import storage
    from jaxcompress.core.checks import check_count
    from jaxcompress.storage.container.limits import MAX_BYTES
    from jaxcompress.storage.description import described
    from jaxcompress.storage.foreign import foreign

    max_bytes = MAX_BYTES if options.max_bytes is None else options.max_bytes
    check_count("inspect", "--max-bytes", max_bytes)
    other = foreign("inspect", options.file, max_bytes)
    found = other or described("inspect", options.file, max_bytes)
    text, record = str(found), _record(found)
    if options.sizes:
        sizes = (
            other.breakdown(max_bytes)
            if other
            else storage.breakdown(options.file, max_bytes=max_bytes)
        )
        text = str(sizes)
        record["leaves"] = _with_sizes(record["leaves"], sizes)
    if options.depth is not None:
        check_count("inspect", "--depth", options.depth)
        record["parts"] = _parts(found.leaves, options.depth)
        text = _table(record["path"], record["parts"])
    return answers.Answer(text, record)


def _record(found: "FileReport | ForeignFile") -> dict[str, Any]:
    """The file as plain values, without the places of arrays in it."""
    told = {
        field.name: getattr(found, field.name)
        for field in dataclasses.fields(found)
        if field.name != "places"
    }
    told["leaves"] = [dataclasses.asdict(leaf) for leaf in found.leaves]
    told["removals"] = [removal.to_json() for removal in told.get("removals", ())]
    return told


def _with_sizes(leaves: list[dict[str, Any]], sizes: "Breakdown") -> list[dict[str, Any]]:
    """What is known of each leaf, with where its bytes go beside it."""
    by_name = {leaf.name: dataclasses.asdict(leaf) for leaf in sizes.leaves}
    return [leaf | by_name[leaf["name"]] for leaf in leaves]


def _parts(leaves: Sequence["StoredLeaf"], depth: int) -> list[dict[str, Any]]:
    """Leaves, weights and bytes by the first parts of names, parted by "/" or "."."""
    found: dict[str, dict[str, Any]] = {}
    for leaf in leaves:
        mark = "/" if "/" in leaf.name else "."
        name = mark.join(leaf.name.split(mark)[:depth])
        part = found.setdefault(name, {"name": name, "leaves": 0, "weights": 0, "size_bytes": 0})
        part["leaves"] += 1
        part["weights"] += math.prod(leaf.shape)
        part["size_bytes"] += leaf.size_bytes
    return list(found.values())


def _table(path: str, parts: list[dict[str, Any]]) -> str:
    from jaxcompress.core.report import aligned
    from jaxcompress.storage.container.errors import brief
    from jaxcompress.storage.description import WIDEST

    whole = sum(part["size_bytes"] for part in parts) or 1
    rows = [
        (
            brief(part["name"], WIDEST),
            *(f"{part[count]:,}" for count in ("leaves", "weights", "size_bytes")),
            f"{part['size_bytes'] / whole:.1%}",
        )
        for part in parts
    ]
    return "\n".join([path, *aligned([("part", "leaves", "weights", "bytes", "share"), *rows])])
