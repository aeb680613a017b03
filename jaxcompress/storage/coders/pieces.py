"""Words among the bytes of others, each run of them by the coder that suits it."""

from typing import NamedTuple

import numpy as np

from jaxcompress.storage.coders.coder import Coder
from jaxcompress.storage.coders.plain import plain
from jaxcompress.storage.coders.selection import smallest
from jaxcompress.storage.coders.words import Layout, Words, packed_bytes
from jaxcompress.storage.container.errors import contradiction


class Piece(NamedTuple):
    """Words that were read, and where the next ones begin."""

    values: np.ndarray
    end: int


def written(part: Words, coders: tuple[Coder, ...]) -> list[bytes]:
    """A part: its coder, the commonest byte, how many bytes follow, and these.

    Of a part as it is only the first and the last.
    """
    moved, offset = _moved(part)
    chosen, size_bytes = smallest(moved, coders)
    if chosen is plain:
        return [b"\0", plain.encode(part).tobytes()]
    head = bytes([1 + coders.index(chosen), offset]) + varint(size_bytes)
    return [head, chosen.encode(moved).tobytes()]


def written_bytes(part: Words, coders: tuple[Coder, ...]) -> int:
    """How many bytes `written` gives."""
    chosen, size_bytes = smallest(_moved(part)[0], coders)
    return size_bytes + (1 if chosen is plain else 2 + len(varint(size_bytes)))


def _moved(part: Words) -> tuple[Words, int]:
    """Bytes less the commonest one, and that; other words as they are."""
    if part.bits != 8 or not part.values.size:
        return part, 0
    offset = int(np.argmax(np.bincount(part.values[: 1 << 16])))
    return Words(part.values - np.uint8(offset), part.layout), offset


def read(coded: np.ndarray, layout: Layout, coders: tuple[Coder, ...], begin: int) -> Piece:
    """The part that begins there.

    Raises:
      FileError: there is none, or its bytes are not such a part.
    """
    misfit = contradiction(f"{layout.size} words do not fit {coded.size} bytes")
    if begin >= coded.size:
        raise misfit
    number = int(coded[begin])
    if number > len(coders):
        raise contradiction(f"a part of it is by coder {number} of {len(coders)}")
    if not number:
        end = begin + 1 + packed_bytes(layout.size, layout.bits)
        if end > coded.size:
            raise misfit
        return Piece(plain.decode(coded[begin + 1 : end], layout), end)
    coder, head = coders[number - 1], coded[begin + 1 : begin + 11].tobytes()
    size_bytes, length = from_varint(head[1:])
    begin += 2 + length
    if not length or begin + size_bytes > coded.size or not coder.fits(layout):
        raise misfit
    values = coder.decode(coded[begin : begin + size_bytes], layout)
    if layout.bits == 8:
        values = values + np.uint8(head[0])
    return Piece(values, begin + size_bytes)


def varint(number: int) -> bytes:
    """Seven bits in each byte, the lowest first; the highest bit says: more follow."""
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    return bytes([*written, number])


def from_varint(coded: bytes) -> tuple[int, int]:
    """The number and the bytes that it takes, 0 where it does not end."""
    number = 0
    for i, byte in enumerate(coded):
        number |= (byte & 127) << 7 * i
        if byte < 128:
            return number, i + 1
    return 0, 0
