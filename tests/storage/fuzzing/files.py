"""Files taken apart as JSON and bytes, and put together under right checksums."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from typing import Any

from jaxcompress.storage.container import digests
from jaxcompress.storage.container.header import DTYPES, METADATA

JSON_TEXTS = ("coders", "specs", "layouts", "leaves", "outline", "low_rank", "removed")
TOGETHER = {"outline", "low_rank", "removed"}
"""Texts that speak of several leaves."""
DIGEST = "0" * 64


@dataclasses.dataclass
class File:
    """A file whose parts can be changed one by one.

    Attributes:
      texts: the metadata; what is JSON is parsed.
      entries: (name, fields) of each array, as the header has them.
      data: the bytes of each array.
    """

    texts: dict
    entries: list
    data: list[bytes]

    @property
    def version(self) -> str:
        return self.texts["format_version"]


def taken_apart(content: bytes) -> File:
    """The parts of a file that is sound."""
    length = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    texts = header.pop(METADATA)
    for name in texts.keys() & set(JSON_TEXTS):
        texts[name] = json.loads(texts[name])
    spans = [fields["data_offsets"] for fields in header.values()]
    return File(
        texts, [list(entry) for entry in header.items()], [data[slice(*span)] for span in spans]
    )


def some_leaves(file: File, chosen: list[int]) -> File:
    """The file with these leaves alone, where only their order holds them together."""
    records = file.texts.get("leaves")
    if TOGETHER & file.texts.keys() or not isinstance(records, list):
        return file
    return File(
        file.texts | {"leaves": [records[i] for i in chosen]},
        [file.entries[i] for i in chosen],
        [file.data[i] for i in chosen],
    )


def fitted(file: File, most: int = 1 << 16) -> None:
    """Makes bytes as many as the header says, where that is a number within reason.

    So a mutation of sizes or dtypes passes the first checks and meets the later ones.
    """
    records: Any = file.texts.get("leaves")
    for i, entry in enumerate(file.entries):
        try:
            own = records[i][3::2] if isinstance(records[i], list) else None
            if own is not None and file.version == "2":
                entry[1]["shape"] = [sum(own)]
            count = DTYPES[entry[1]["dtype"]].itemsize
            for size in entry[1]["shape"]:
                count *= size
            if 0 <= count <= most:
                file.data[i] = (file.data[i] + bytes(count))[:count]
        except (KeyError, IndexError, TypeError):
            continue  # what was mutated is no size


def placed(file: File) -> None:
    """Makes the offsets those of the bytes, one array after the other."""
    begin = 0
    for entry, data in zip(file.entries, file.data, strict=False):
        if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], dict):
            entry[1]["data_offsets"] = [begin, begin + len(data)]
            begin += len(data)


def put_together(file: File, scarred: Callable[[bytes], bytes] = bytes) -> bytes:
    """The content of the file, every digest computed anew.

    Args:
      file: taken apart.
      scarred: changes the header's text before it is sealed.
    """
    texts = dict(file.texts)
    if isinstance(texts.get("leaves"), list) and file.texts.get("format_version") == "2":
        records = [*texts["leaves"]]
        for i, data in enumerate(file.data[: len(records)]):
            records[i] = _under_digest(records[i], data)
        texts["leaves"] = records
    texts = {name: _as_text(name, value) for name, value in texts.items()} | {"sha256": DIGEST}
    pairs = [(METADATA, texts), *(entry for entry in file.entries if _is_pair(entry))]
    text = ",".join(f"{compact(str(name))}:{compact(value)}" for name, value in pairs)
    body, data = scarred(f"{{{text}}}".encode()), b"".join(_in_order(file))
    header = len(body).to_bytes(8, "little") + body
    if file.texts.get("format_version") == "2":
        return digests.sealed(header) + data
    found = hashlib.sha256(header + data).hexdigest()
    return header.replace(_field(DIGEST), _field(found)) + data


def compact(value) -> str:
    """JSON as the format has it, where a digest must be found among other texts."""
    return json.dumps(value, separators=(",", ":"))


def _field(digest: str) -> bytes:
    return f'"sha256":"{digest}"'.encode()


def _in_order(file: File) -> list[bytes]:
    """The arrays' bytes as they lie in the file, where offsets say how."""

    def begin(i: int) -> int:
        offsets = file.entries[i][1]["data_offsets"] if i < len(file.entries) else []
        return offsets[0]

    try:
        return [file.data[i] for i in sorted(range(len(file.data)), key=begin)]
    except (KeyError, IndexError, TypeError):
        return file.data


def _is_pair(entry) -> bool:
    return isinstance(entry, list) and len(entry) == 2


def _as_text(name: str, value):
    return compact(value) if name in JSON_TEXTS and value is not None else value


def _under_digest(record, data: bytes):
    digest = digests.LeafDigest()
    digest.seen(memoryview(data))
    if isinstance(record, list) and record:
        return [digest.text, *record[1:]]
    return digest.text if isinstance(record, str) else record
