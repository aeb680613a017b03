"""Lengths of runs of zeros and of other words in turn, and the other words."""

from collections.abc import Iterator
from itertools import zip_longest
from typing import NamedTuple

import numpy as np

from jaxcompress.storage.coders.coder import Coder
from jaxcompress.storage.coders.fields import bytes_to_fields, field_bytes, fields_to_bytes
from jaxcompress.storage.coders.frequencies import counted
from jaxcompress.storage.coders.masked import MaskCode, coder_of
from jaxcompress.storage.coders.pieces import from_varint, read, varint, written, written_bytes
from jaxcompress.storage.coders.rans import rans
from jaxcompress.storage.coders.words import Layout, Words
from jaxcompress.storage.container.errors import FileError

_CODERS = (rans,)
"""Of classes, beside `plain`."""

_NARROWEST = 3
"""Bits of a class at least; its first 8 lengths are classes of their own."""

_WIDEST = 8

_BLOCK = 1 << 15
"""Runs that are laid out at once."""


class _Classes(NamedTuple):
    """Lengths from 1 to 8 one by one, above them four classes to each power of two.

    Attributes:
      least: the least length of each, (classes,) int64.
      extra: the bits that say which length it is, (classes,) int64.
    """

    least: np.ndarray
    extra: np.ndarray


def _classes() -> _Classes:
    above = np.arange(4 * 58)
    extra = np.concatenate([np.zeros(8, np.int64), 1 + above // 4])
    first = np.concatenate([np.arange(8), 4 + above % 4])
    return _Classes((first << extra) + 1, extra)


class _Lengths(NamedTuple):
    """The lengths of the runs of one kind.

    Attributes:
      classes: words, as few bits each as there are classes.
      extras: by the bits of a class, which of its lengths each run has.
    """

    classes: Words
    extras: dict[int, np.ndarray]


def _apart(lengths: np.ndarray) -> _Lengths:
    known = _classes()
    classes = np.searchsorted(known.least, lengths, side="right") - 1
    bits = max(_NARROWEST, int(classes.max(initial=0)).bit_length())
    extra, beyond = known.extra[classes], lengths - known.least[classes]
    extras = {int(x): beyond[extra == x] for x in np.unique(extra[extra > 0])}
    return _Lengths(Words(classes.astype(np.uint8), Layout(bits, lengths.shape)), extras)


def _kinds(mask: np.ndarray) -> tuple[_Lengths, _Lengths]:
    """The runs of the first entry's kind, and those of the other."""
    ends = np.append(np.flatnonzero(mask[1:] != mask[:-1]) + 1, mask.size)
    lengths = np.diff(ends, prepend=0)
    return _apart(lengths[::2]), _apart(lengths[1::2])


def _head(mask: np.ndarray, kinds: tuple[_Lengths, _Lengths]) -> bytes:
    first, second = (kind.classes for kind in kinds)
    widths = first.bits - _NARROWEST | (second.bits - _NARROWEST) << 3
    return bytes([widths << 1 | int(mask[0])]) + varint(first.values.size + second.values.size)


def _size_bytes(mask: np.ndarray, layout: Layout) -> int:
    del layout
    kinds = _kinds(mask)
    found = len(_head(mask, kinds))
    for kind in kinds:
        found += written_bytes(kind.classes, _CODERS)
        found += sum(field_bytes(each.size, bits) for bits, each in kind.extras.items())
    return found


def _encode(mask: np.ndarray, layout: Layout) -> bytes:
    del layout
    kinds = _kinds(mask)
    found = [_head(mask, kinds)]
    for kind in kinds:
        found += written(kind.classes, _CODERS)
        found += [fields_to_bytes(each, bits) for bits, each in kind.extras.items()]
    return b"".join(found)


def _decode(coded: np.ndarray, layout: Layout, misfit: FileError) -> np.ndarray:
    size = layout.size
    runs, length = from_varint(coded[1:11].tobytes())
    if not length or not 0 < runs <= size or coded[0] >> 7:
        raise misfit
    head, begin = int(coded[0]), 1 + length
    first, begin = _read(coded, _layout(head >> 1, runs - runs // 2), begin, size, misfit)
    second, begin = _read(coded, _layout(head >> 4, runs // 2), begin, size, misfit)
    if begin != coded.size:
        raise misfit
    return _mask(first, second, head & 1, size, misfit)


def _layout(bits: int, count: int) -> Layout:
    return Layout(_NARROWEST + (bits & 7), (count,))


def _read(
    coded: np.ndarray, layout: Layout, begin: int, size: int, misfit: FileError
) -> tuple[_Lengths, int]:
    """The runs of one kind, and where the bytes after them begin."""
    if layout.bits > _WIDEST:
        raise misfit
    classes, begin = read(coded, layout, _CODERS, begin)
    known, extras = _classes(), {}
    counts = counted(classes, layout.bits)[: known.least.size]
    shortest = sum(int(n) * int(known.least[i]) for i, n in enumerate(counts) if n)
    if counts.sum() != classes.size or shortest > size:
        raise misfit
    for bits in np.unique(known.extra[: counts.size][counts > 0]).tolist():
        count = int(counts[known.extra[: counts.size] == bits].sum())
        end = begin + field_bytes(count, bits)
        if end > coded.size:
            raise misfit
        if bits:
            extras[bits] = bytes_to_fields(coded[begin:end], count, bits)
        begin = end
    return _Lengths(Words(classes, layout), extras), begin


def _mask(
    first: _Lengths, second: _Lengths, present: int, size: int, misfit: FileError
) -> np.ndarray:
    """Runs of the two kinds in turn, (size,) bool."""
    changes, end = np.zeros(size, np.uint8), 0
    changes[0] = present
    for some, others in zip_longest(_blocks(first), _blocks(second), fillvalue=_NONE):
        lengths = np.empty(some.size + others.size, np.int64)
        lengths[::2], lengths[1::2] = some, others
        if lengths.max() > size:
            raise misfit
        ends = end + np.cumsum(lengths)
        end = int(ends[-1])
        if end > size:
            raise misfit
        changes[ends[ends < size]] = 1
    if end != size:
        raise misfit
    return np.bitwise_xor.accumulate(changes, out=changes).view(bool)


def _blocks(kind: _Lengths) -> Iterator[np.ndarray]:
    """The lengths, some at a time."""
    known, taken = _classes(), dict.fromkeys(kind.extras, 0)
    for begin in range(0, kind.classes.values.size, _BLOCK):
        classes = kind.classes.values[begin : begin + _BLOCK]
        lengths, extra = known.least[classes], known.extra[classes]
        for bits, numbers in kind.extras.items():
            here = np.flatnonzero(extra == bits)
            lengths[here] += numbers[taken[bits] : taken[bits] + here.size]
            taken[bits] += here.size
        yield lengths


_NONE = np.zeros(0, np.int64)

runs: Coder = coder_of("runs", MaskCode(_size_bytes, _encode, _decode))
"""Lengths of the runs of zeros and of other words in turn, then the other words.

For zeros that lie together: pruned blocks, channels, bands, and masks of these. Lengths
are written as the class of a few neighbours, by `rans`, and the bits that tell these
apart; the words that are not zero by `rans`, in planes of bytes, or as they are. Also
known as: run-length encoding, zero runs.

Source: Golomb 1966, "Run-Length Encodings", for the two lengths in turn. Differs:
classes of lengths have frequencies of their own, as in DEFLATE (RFC 1951, section
3.2.5), where Golomb's code is the best for one distribution.
"""
