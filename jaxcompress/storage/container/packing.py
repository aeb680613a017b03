"""The header of a small file in few bytes: format version 3.

A file of a few kilobytes would be a third header. Packed, it is

    one array of bytes, `packed`, for readers of the container
    in it the leaves, as a header of version 2 places them
    that header, deflated, with blanks for digests
    32 bytes of its own digest, 12 bytes for each leaf's
    4 bytes, how many these are since the leaves' end, little-endian

Deflate begins with a text that both sides know, so that what all headers have in common
takes next to nothing. Files that keep the names of arrays in sight are those of version
2, which is why only files are packed that were allowed slow coders and become smaller.
"""

import io
import zlib
from collections.abc import Iterable

import numpy as np

from jaxcompress.storage.container import digests, memory, safetensors
from jaxcompress.storage.container.errors import FileError, contradiction
from jaxcompress.storage.container.header import LENGTH_BYTES, Entry, Header, of_content
from jaxcompress.storage.container.limits import HEADER_WEIGHT, check_total

VERSION = "3"
LARGEST = 1 << 18
"""Bytes of a header that is packed; a larger one is no large part of its file."""

_NAME = "packed"
_COUNT_BYTES = 4
_RAW_DEFLATE = -15
_BLANK = digests.NONE.encode()

_KNOWN = b"".join(
    (
        b'{"kind":"block","shape":[16,16]}"kind":"exponents""kind":"e4m3""kind":"codebook"',
        b'"kind":"floats""kind":"table","second_scale":["left":["right":["mask":["values":[',
        b"batch_stats/BatchNorm_0/meanvarparams/attention/querykeyvalueoutlayernorm/scale",
        b"layersblockembeddingconv1conv2dense1dense2dense3Conv_0/kernelDense_0/kernelDense_1/bias",
        b'["huffman",1],["gaps",1],["planes",1],["context_planes",1],["rans",1],["bitmask",1],',
        b'"outline":"{\\"params\\":[\\"l\\",[\\"t\\",0,0],\\"removed\\":\\"base\\":',
        b'{"__metadata__":{"format":"jaxcompress","format_version":"2","sha256":"',
        digests.UNSEALED.encode(),
        b'","coders":"[[\\"plain\\",1],[\\"context\\",1]]","specs":"[{\\"levels\\":{\\"kind\\":',
        b'\\"integers\\",\\"bits\\":4,\\"lowest\\":-7,\\"highest\\":7,\\"symmetric\\":true},',
        b'\\"sharing\\":{\\"kind\\":\\"group\\",\\"size\\":32},\\"sharing\\":{\\"kind\\":\\"channel',
        b'\\"},\\"scales\\":{\\"kind\\":\\"float32\\"}},{\\"levels\\":{\\"kind\\":\\"integers\\",',
        b'\\"bits\\":8,\\"lowest\\":-127,\\"highest\\":127,\\"symmetric\\":true},\\"sharing\\":{',
        b'\\"kind\\":\\"tensor\\"},\\"scales\\":{\\"kind\\":\\"float32\\"}}]","layouts":"[',
        b'[\\"array\\",[0,\\"bfloat16\\"]],[\\"quantized\\",[0,\\"float32\\",[-1,-4,-3,-2]],',
        b'{\\"codes\\":[1,\\"bits4\\"],\\"scale\\":[0,\\"float32\\"],\\"codebook\\":[0,',
        b'\\"float32\\"]}],[\\"quantized\\",[0,\\"float32\\",[-1,-2]],{\\"codes\\":[1,\\"bits8\\"],',
        b'\\"scale\\":[0,\\"float32\\"]}],[\\"quantized\\",[0,\\"float32\\",[]],{\\"codes\\":[1,',
        b'\\"bits8\\"],\\"scale\\":[0,\\"float32\\"]}]]","leaves":"[[\\"----------------\\",2,[',
        b']],[\\"----------------\\",1,[10],6,[1],4],[\\"----------------\\",0,[300,100],',
        b',[1,1],4]]","outline":"{\\"dense1\\":[\\"t\\",0,0]}"},"dense1/0":{"dtype":"F32","shape":[',
        b'"dense1/1":{"dtype":"U8","shape":[212],"data_offsets":[0,212]},',
    )
)
"""What deflate begins with. It is part of the format and never changes."""


def before(data_bytes: int, tail: bytes) -> bytes:
    """What stands before the leaves of a packed file."""
    size_bytes = data_bytes + len(tail)
    entry = Entry(np.dtype(np.uint8), (size_bytes,), 0, size_bytes)
    texts = {"format": "jaxcompress", "format_version": VERSION}
    return safetensors.header({_NAME: entry}, texts)


def after(header: bytes, of_leaves: Iterable[str], own: str) -> bytes:
    """What stands after the leaves of a packed file.

    Args:
      header: of version 2, with blanks for digests.
      of_leaves: the digests of leaves, in the header's order.
      own: the header's, as digits.
    """
    deflate = zlib.compressobj(9, zlib.DEFLATED, _RAW_DEFLATE, 9, zdict=_KNOWN)
    deflated = deflate.compress(header[LENGTH_BYTES:]) + deflate.flush()
    raw = b"".join(map(digests.to_bytes, of_leaves))
    tail = deflated + bytes.fromhex(own) + raw
    return tail + len(tail).to_bytes(_COUNT_BYTES, "little")


def can_hold(header: bytes, leaves: int) -> bool:
    """Whether a header of version 2 with blank digests can be packed and read again."""
    return len(header) <= LARGEST and header.count(_BLANK) == leaves


def unpacked(file: io.FileIO, outer: Header, max_bytes: int, counted: int) -> Header:
    """The header of version 2 that a packed file holds; its leaves come next.

    Args:
      file: open.
      outer: what `header.read` gave.
      max_bytes: refuses a header that counts for more.
      counted: what counts beside it.

    Raises:
      FileError: it was altered, is too large, or contradicts itself.
    """
    size_bytes = outer.data_bytes
    if list(outer.entries) != [_NAME] or size_bytes < _COUNT_BYTES:
        raise contradiction(f"a packed file holds the arrays {', '.join(outer.entries)}")
    file.seek(outer.begin + size_bytes - _COUNT_BYTES)
    length = int.from_bytes(memory.following(file, _COUNT_BYTES).tobytes(), "little")
    data_bytes = size_bytes - _COUNT_BYTES - length
    if data_bytes < 0 or length > LARGEST:
        raise contradiction(f"a packed header of {length} bytes in {size_bytes}")
    file.seek(outer.begin + data_bytes)
    content = content_of(memory.following(file, length).tobytes())
    check_total(counted + HEADER_WEIGHT * len(content), max_bytes)
    found = of_content(content, data_bytes)
    if found.metadata.get("format_version") != "2" or "sha256" not in found.metadata:
        raise contradiction("what is packed is no header of format version 2")
    file.seek(outer.begin)
    around = len(outer.content) + length + _COUNT_BYTES
    return found._replace(begin=outer.begin, size_bytes=around)


def content_of(tail: bytes) -> bytes:
    """The length and the JSON of a header of version 2 that was packed.

    Args:
      tail: what `after` gave, without the length at its end.

    Raises:
      FileError: it was altered, or is larger than packed headers are.
    """
    inflate = zlib.decompressobj(_RAW_DEFLATE, zdict=_KNOWN)
    try:
        text = inflate.decompress(tail, LARGEST)
    except zlib.error as error:
        raise FileError("the packed header is altered. Copy the file again.") from error
    if not inflate.eof:
        raise FileError(
            f"the packed header ends early or has more than {LARGEST} bytes: it is altered. Copy "
            "the file again."
        )
    return _filled(text, inflate.unused_data)


def _filled(text: bytes, raw: bytes) -> bytes:
    """The header with its digests in the place of the blanks."""
    own, pieces = raw[: digests.OWN_BYTES], text.split(_BLANK)
    of_leaves = raw[digests.OWN_BYTES :]
    if len(own) != digests.OWN_BYTES or len(of_leaves) != (len(pieces) - 1) * digests.LEAF_BYTES:
        raise contradiction(f"{len(raw)} bytes of digests of {len(pieces) - 1} leaves")
    texts = [
        digests.from_bytes(of_leaves[i : i + digests.LEAF_BYTES])
        for i in range(0, len(of_leaves), digests.LEAF_BYTES)
    ]
    filled = pieces[0] + b"".join(
        digest.encode() + piece for digest, piece in zip(texts, pieces[1:], strict=True)
    )
    content = len(filled).to_bytes(LENGTH_BYTES, "little") + filled
    return digests.with_digits(content, own.hex())
