"""The index of a tree that lies in several files: JSON that names a file for each leaf.

    {"metadata": {…}, "weight_map": {leaf: file, …}}

The layout is that of `model.safetensors.index.json` of Hugging Face's libraries, so
that their readers find each array. In `metadata`, beside the `total_size` of theirs, is
what a single file has in its own: the digest of the index, and of every file that it
names the digest of that one's header, which covers all of it.
"""

import io
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxcompress.core.messages import shown
from jaxcompress.graph.surgery.removal import Removal
from jaxcompress.storage.container import digests, outlines
from jaxcompress.storage.container.errors import FileError, contradiction
from jaxcompress.storage.container.limits import HEADER_WEIGHT, check_total
from jaxcompress.storage.container.plan import FORMAT, VERSION
from jaxcompress.storage.container.texts import as_bytes, check_writable, parsed, read_by

ENDING = ".safetensors.index.json"
LARGEST_INDEX = 100_000_000


class Index(NamedTuple):
    """What an index says, checked.

    Attributes:
      size_bytes: its own.
      checksum: SHA-256 digits that name the content of all files.
      shards: the digits of each file, by its name.
      leaves: the file of each leaf, in the tree's order.
      outline: of the tree, "" where names say it all.
      removals: what was removed from the model before.
      texts: the user's.
    """

    size_bytes: int
    checksum: str
    shards: dict[str, str]
    leaves: dict[str, str]
    outline: str
    removals: tuple[Removal, ...]
    texts: dict[str, str]


def begins(start: bytes) -> bool:
    """Whether a file that begins like this is JSON; no safetensors file does.

    Its first eight bytes are a number that readers take, of which the last are 0.
    """
    return start[:1] == b"{" and 0 not in start


def to_bytes(caller: str, index: Index, total_size: int) -> bytes:
    """The sealed content of an index file; `total_size` counts the bytes of all arrays.

    Raises:
      ValueError: a text has no form in UTF-8, or it is longer than readers take.
    """
    fields: dict[str, object] = {
        "total_size": total_size,
        "format": FORMAT,
        "format_version": VERSION,
        "sha256": digests.UNSEALED,
        "shards": index.shards,
    }
    optional = {
        "outline": index.outline,
        "removed": [removal.to_json() for removal in index.removals],
        "texts": index.texts,
    }
    fields |= {name: value for name, value in optional.items() if value}
    text = as_bytes(caller, {"metadata": fields, "weight_map": index.leaves})
    if len(text) > LARGEST_INDEX:
        raise ValueError(
            f"{caller}: names and texts take {len(text)} bytes, and readers take at most "
            f"{LARGEST_INDEX}. Keep long texts in a file of their own."
        )
    return digests.sealed(text)


def read(file: io.FileIO, max_bytes: int) -> Index:
    """The index in a file just opened; the files that it names are not looked at.

    Raises:
      FileError: it was altered, is foreign, of a later format, or counts for more than
        `max_bytes`, or contradicts itself.
    """
    content = content_of(file, max_bytes)
    match fields_of(content):
        case {"metadata": {"format": "jaxcompress", "sha256": str(digits)} as fields} as whole:
            digests.check_header(content, digits, "the index")
        case _:
            raise FileError(
                "this is JSON that jaxcompress did not write. Of an index of other libraries, read "
                "the arrays of each file with storage.container.safetensors.read."
            )
    if fields.get("format_version") != VERSION:
        raise FileError(
            f"the index has format version {shown(fields.get('format_version'))}, this jaxcompress "
            f"reads {VERSION!r}. Update jaxcompress."
        )
    return _checked(whole, fields, digits, len(content))


def content_of(file: io.FileIO, max_bytes: int) -> bytes:
    """All bytes of an index just opened, of any library.

    Raises:
      FileError: they are too many, or count for more than `max_bytes`.
    """
    size_bytes = os.fstat(file.fileno()).st_size
    if size_bytes > LARGEST_INDEX:
        raise FileError(
            f"the index has {size_bytes} bytes, and readers take {LARGEST_INDEX}. Pass the index "
            "of a tree that save_shards wrote."
        )
    check_total(HEADER_WEIGHT * size_bytes, max_bytes)
    return file.read(size_bytes) or b""


def fields_of(content: bytes):
    """The JSON that an index is.

    Raises:
      FileError: it is none.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise FileError("the index is not JSON in UTF-8: it was altered. Copy it again.") from error
    return parsed(text, "the index")


def _checked(
    whole: Mapping[Any, Any], fields: Mapping[Any, Any], digits: str, size_bytes: int
) -> Index:
    shards = _texts(fields.get("shards"), "shards")
    leaves = _texts(whole.get("weight_map"), "weight_map")
    for name in shards:
        check_name(name)
    for leaf, name in leaves.items():
        check_writable(leaf, "the name")
        if not leaf:
            raise contradiction("a leaf has the name '', which no tree gives")
        if name not in shards:
            raise contradiction(f"leaf {shown(leaf)} is in {shown(name)}, which is no shard")
    outline, listed = fields.get("outline", ""), fields.get("removed", [])
    if not isinstance(outline, str) or not isinstance(listed, list):
        raise contradiction("its outline is no text, or its removals no list")
    if outline:
        outlines.from_text(outline, leaves)
    removals = tuple(read_by(Removal.from_json, each, "removal") for each in listed)
    texts = _texts(fields.get("texts", {}), "texts")
    for each in (*texts, *texts.values()):
        check_writable(each, "the text")
    return Index(size_bytes, digits, shards, leaves, outline, removals, texts)


def _texts(value, what: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise contradiction(f"its {what} are {shown(value)} and no map from text to text")
    return value


def check_name(name: str) -> None:
    """Refuses what is no plain name of a file beside the index."""
    check_writable(name, "the name of a shard")
    plain = not set(name) & set('/\\:\0"') and name.isprintable() and not name.startswith(".")
    if not plain or not name.endswith(".safetensors"):
        raise FileError(
            f"the index names the shard {shown(name)}, which is no plain name of a safetensors "
            "file beside it. Do not use this index."
        )
