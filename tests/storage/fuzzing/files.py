"""Files taken apart as JSON and bytes, and put together under right checksums."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from typing import Any

from jaxcompress.storage.container import digests, packing
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
      packed: whether its header is.
    """

    texts: dict
    entries: list
    data: list[bytes]
    packed: bool = False

    @property
    def version(self) -> str:
        return self.texts["format_version"]


def taken_apart(content: bytes) -> File:
    """The parts of a file that is sound."""
    header, data = _split(content)
    texts = header.pop(METADATA)
    if texts["format_version"] == packing.VERSION:
        count = int.from_bytes(data[-4:], "little")
        inner = packing.content_of(data[-4 - count : -4])
        return dataclasses.replace(taken_apart(inner + data[: -4 - count]), packed=True)
    for name in texts.keys() & set(JSON_TEXTS):
        texts[name] = json.loads(texts[name])
    spans = [fields["data_offsets"] for fields in header.values()]
    return File(
        texts, [list(entry) for entry in header.items()], [data[slice(*span)] for span in spans]
    )


def _split(content: bytes) -> tuple[dict, bytes]:
    """The JSON and what follows it."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def some_leaves(file: File, chosen: list[int]) -> File:
    """The file with these leaves alone, where only their order holds them together."""
    records = file.texts.get("leaves")
    if TOGETHER & file.texts.keys() or not isinstance(records, list):
        return file
    return dataclasses.replace(
        file,
        texts=file.texts | {"leaves": [records[i] for i in chosen]},
        entries=[file.entries[i] for i in chosen],
        data=[file.data[i] for i in chosen],
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
      scarred: changes the header's text before it is sealed, or its packed form.
    """
    data = b"".join(_in_order(file))
    if file.packed:
        return _packed(file, data, scarred)
    header = _header(file, [_digest_of(each) for each in file.data], scarred)
    if file.texts.get("format_version") == "2":
        return digests.sealed(header) + data
    found = hashlib.sha256(header + data).hexdigest()
    return header.replace(_field(DIGEST), _field(found)) + data


def _packed(file: File, data: bytes, scarred: Callable[[bytes], bytes]) -> bytes:
    """The content of a file whose header is packed, once that is scarred."""
    of_leaves = [_digest_of(each) for each in file.data]
    own = hashlib.sha256(_header(file, of_leaves)).hexdigest()
    blank = _header(file, [digests.NONE] * len(file.data))
    tail = scarred(packing.after(blank, of_leaves, own)[:-4])
    tail += len(tail).to_bytes(4, "little")
    return packing.before(len(data), tail) + data + tail


def _header(file: File, of_leaves: list[str], scarred: Callable[[bytes], bytes] = bytes) -> bytes:
    """The header under these digests of leaves, its own still zeros."""
    texts = dict(file.texts)
    if isinstance(texts.get("leaves"), list) and file.texts.get("format_version") == "2":
        records = [*texts["leaves"]]
        for i, digest in enumerate(of_leaves[: len(records)]):
            records[i] = _under_digest(records[i], digest)
        texts["leaves"] = records
    texts = {name: _as_text(name, value) for name, value in texts.items()} | {"sha256": DIGEST}
    pairs = [(METADATA, texts), *(entry for entry in file.entries if _is_pair(entry))]
    text = ",".join(f"{compact(str(name))}:{compact(value)}" for name, value in pairs)
    body = scarred(f"{{{text}}}".encode())
    return len(body).to_bytes(8, "little") + body


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


def _digest_of(data: bytes) -> str:
    digest = digests.LeafDigest()
    digest.seen(memoryview(data))
    return digest.text


def _under_digest(record, digest: str):
    if isinstance(record, list) and record:
        return [digest, *record[1:]]
    return digest if isinstance(record, str) else record
