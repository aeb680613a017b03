"""Where words are not zero, row by row or column by column, each its own way."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jaxcompress.storage.coders.coder import Coder
from jaxcompress.storage.coders.fields import (
    bytes_to_fields,
    field_bytes,
    fields_to_bytes,
    from_unary,
    to_unary,
    unary_bytes,
)
from jaxcompress.storage.coders.masked import MaskCode, coder_of
from jaxcompress.storage.coders.pieces import read, written, written_bytes
from jaxcompress.storage.coders.planes import planes
from jaxcompress.storage.coders.rans import rans
from jaxcompress.storage.coders.words import Layout, Words, packed_bytes, word_dtype
from jaxcompress.storage.container.errors import FileError

_CODERS = (rans, planes)
"""Of counts and ways, beside `plain`."""

_SHORTEST, _LONGEST, _CUT = 8, 1 << 15, 1 << 10
"""Words of a line; where rows are shorter or longer, lines have 1,024."""

_STEPS = (0, -1, 1, -2, 2)
"""Of a line's parameter from that of its count; way 0 is a bit for each word."""

_WAY_BITS = 3

_WIDEST = 16
"""Bits of a remainder at most."""

_BLOCK = 1 << 16
"""Entries of several lines that are read at once."""


class _Lines(NamedTuple):
    """How many lines there are and how long each is, the last filled up with zeros."""

    count: int
    length: int


def _lines(layout: Layout, by_columns: bool) -> _Lines:
    rows, columns = _matrix(layout)
    length = rows if by_columns else columns
    if not _SHORTEST <= length <= _LONGEST:
        length = min(_CUT, layout.size)
    return _Lines(-(-layout.size // length), length)


def _matrix(layout: Layout) -> tuple[int, int]:
    """Rows and columns: the last axis and all before it."""
    columns = layout.shape[-1] if layout.shape else 1
    return layout.size // columns, columns


class _Coded(NamedTuple):
    """The lines of a mask, as they are written.

    Attributes:
      by_columns: 1 where lines are columns.
      counts: words, how many entries each line has.
      ways: words, one for each line that is neither empty nor full.
      masks: (lines, length) bool, the lines by a bit for each word.
      remainders: of the other lines' gaps by their parameter, in the order of lines.
      quotients: of these gaps, those of the lowest parameter first.
    """

    by_columns: int
    counts: Words
    ways: Words
    masks: np.ndarray
    remainders: dict[int, np.ndarray]
    quotients: np.ndarray

    @property
    def size_bytes(self) -> int:
        fields = [field_bytes(each.size, k) for k, each in self.remainders.items()]
        total = int(self.quotients.sum())
        return (
            1
            + written_bytes(self.counts, _CODERS)
            + written_bytes(self.ways, _CODERS)
            + packed_bytes(self.masks.size, 1)
            + sum(fields)
            + unary_bytes(self.quotients.size, total)
        )


def _parameter(fewer: np.ndarray, length: int) -> np.ndarray:
    """The parameter that a count suggests: of a mean gap m about log2(0.7 m).

    Args:
      fewer: (n,) int64 from 1 on, entries or gaps, whichever are fewer.
      length: of the line.
    """
    scaled = (length - fewer) * 89 // (128 * (fewer + 1))
    return np.searchsorted(2 ** np.arange(1, _WIDEST), scaled, side="right")


def _coded(mask: np.ndarray, layout: Layout, by_columns: bool) -> _Coded:
    lines = _lines(layout, by_columns)
    flat = mask.reshape(_matrix(layout)).T.reshape(-1) if by_columns else mask
    apart = np.zeros(lines.count * lines.length, bool)
    apart[: flat.size] = flat
    apart = apart.reshape(lines)
    counts = np.count_nonzero(apart, axis=1)
    partial = np.flatnonzero((counts > 0) & (counts < lines.length))
    some, fewer = apart[partial], np.minimum(counts, lines.length - counts)[partial]
    gaps = _gaps(some ^ (2 * counts[partial] > lines.length)[:, None], fewer)
    ways, parameters = _ways(gaps, fewer, lines.length)
    of_gaps = np.repeat(np.where(ways > 0, parameters, -1), fewer)
    grouped = {int(k): gaps[of_gaps == k] for k in np.unique(parameters[ways > 0])}
    quotients = [each >> k for k, each in grouped.items()]
    return _Coded(
        int(by_columns),
        _count_words(counts, lines),
        Words(ways, Layout(_WAY_BITS, ways.shape)),
        some[ways == 0],
        {k: each & (1 << k) - 1 for k, each in grouped.items()},
        np.concatenate([np.zeros(0, np.int64), *quotients]),
    )


def _count_layout(lines: _Lines) -> Layout:
    return Layout(8 if lines.length < 256 else 16, (lines.count,))


def _count_words(counts: np.ndarray, lines: _Lines) -> Words:
    layout = _count_layout(lines)
    return Words(counts.astype(word_dtype(layout.bits)), layout)


def _gaps(lines: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The zeros before each entry of its line; all lines, (n, length), have some."""
    places = np.flatnonzero(lines) - np.repeat(np.arange(len(lines)) * lines.shape[1], counts)
    gaps = np.diff(places, prepend=-1) - 1
    first = np.cumsum(counts) - counts
    gaps[first] = places[first]
    return gaps


def _ways(gaps: np.ndarray, fewer: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """The smallest way of each line, and the parameter of its gaps, (lines,) each."""
    suggested, first = _parameter(fewer, length), np.cumsum(fewer) - fewer
    ways, least = np.zeros(fewer.size, np.uint8), np.full(fewer.size, length)
    parameters = np.zeros(fewer.size, np.int64)
    for i, step in enumerate(_STEPS if fewer.size else ()):
        k = np.clip(suggested + step, 0, _WIDEST)
        bits = np.add.reduceat(gaps >> np.repeat(k, fewer), first) + fewer * (k + 1)
        better = bits < least
        ways[better], least[better], parameters[better] = i + 1, bits[better], k[better]
    return ways, parameters


def _smaller(mask: np.ndarray, layout: Layout) -> _Coded:
    both = [_coded(mask, layout, by_columns=False)]
    if min(_matrix(layout)) > 1:
        both.append(_coded(mask, layout, by_columns=True))
    return min(both, key=lambda each: each.size_bytes)


def _encode(mask: np.ndarray, layout: Layout) -> bytes:
    coded = _smaller(mask, layout)
    fields = [fields_to_bytes(each, k) for k, each in coded.remainders.items()]
    return b"".join(
        [
            bytes([coded.by_columns]),
            *written(coded.counts, _CODERS),
            *written(coded.ways, _CODERS),
            np.packbits(coded.masks, bitorder="little").tobytes(),
            *fields,
            to_unary(coded.quotients),
        ]
    )


def _decode(coded: np.ndarray, layout: Layout, misfit: FileError) -> np.ndarray:
    if not coded.size or coded[0] > 1:
        raise misfit
    lines = _lines(layout, bool(coded[0]))
    found, begin = read(coded, _count_layout(lines), _CODERS, 1)
    if found.max(initial=0) > lines.length:
        raise misfit
    apart = np.zeros(lines, bool)
    apart[found == lines.length] = True
    partial = np.flatnonzero((found > 0) & (found < lines.length))
    ways, begin = read(coded, Layout(_WAY_BITS, partial.shape), _CODERS, begin)
    if ways.max(initial=0) > len(_STEPS):
        raise misfit
    counts, whole = found[partial].astype(np.int64), partial[ways == 0]
    end = begin + packed_bytes(whole.size * lines.length, 1)
    if end > coded.size:
        raise misfit
    bits = np.unpackbits(coded[begin:end], count=whole.size * lines.length, bitorder="little")
    apart[whole] = bits.reshape(whole.size, lines.length)
    if np.any(np.count_nonzero(apart[whole], axis=1) != counts[ways == 0]):
        raise misfit
    _place_gaps(coded[end:], apart, _Rows(partial, counts, ways), misfit)
    flat = apart.reshape(-1)
    if flat[layout.size :].any():
        raise misfit
    flat, (rows, columns) = flat[: layout.size], _matrix(layout)
    return flat.reshape(columns, rows).T.reshape(-1) if coded[0] else flat


class _Rows(NamedTuple):
    """Lines that are neither empty nor full: which, their entries, and their ways."""

    places: np.ndarray
    counts: np.ndarray
    ways: np.ndarray


def _place_gaps(coded: np.ndarray, apart: np.ndarray, rows: _Rows, misfit: FileError) -> None:
    """Puts the entries of lines that are coded by gaps in their places."""
    length = apart.shape[1]
    rows = _Rows(*(each[rows.ways > 0] for each in rows))
    fewer = np.minimum(rows.counts, length - rows.counts)
    steps = np.array(_STEPS)[rows.ways.astype(np.int64) - 1]
    parameters = np.clip(_parameter(fewer, length) + steps, 0, _WIDEST)
    chunks, begin = [], 0
    for k in np.unique(parameters).tolist():
        group = np.flatnonzero(parameters == k)
        count = int(fewer[group].sum())
        end = begin + field_bytes(count, k)
        if end > coded.size:
            raise misfit
        chunks += _chunks(k, group, fewer[group], bytes_to_fields(coded[begin:end], count, k))
        begin = end
    quotients = from_unary(coded[begin:], [each.remainders.size for each in chunks], misfit)
    for chunk, quotient in zip(chunks, quotients, strict=True):
        counts = fewer[chunk.rows]
        ends, last = np.cumsum((quotient << chunk.k | chunk.remainders) + 1), np.cumsum(counts) - 1
        before = np.concatenate([[0], ends[last[:-1]]])  # the line's first entry
        if np.any(ends[last] - before > length):
            raise misfit
        places = ends + np.repeat(rows.places[chunk.rows] * length - before - 1, counts)
        apart.reshape(-1)[places] = True
    apart[rows.places[2 * rows.counts > length]] ^= True


class _Chunk(NamedTuple):
    """Lines that are read at once.

    Attributes:
      k: the parameter of all of them.
      rows: which, (n,) int64.
      remainders: of their gaps.
    """

    k: int
    rows: np.ndarray
    remainders: np.ndarray


def _chunks(
    k: int, group: np.ndarray, counts: np.ndarray, remainders: np.ndarray
) -> Iterator[_Chunk]:
    """The lines of one parameter, some at a time."""
    ends = np.cumsum(counts)
    cuts = np.flatnonzero(np.diff((ends - counts) // _BLOCK)) + 1
    rows = np.split(group, cuts)
    parts = np.split(remainders, ends[cuts - 1])
    return (_Chunk(k, *each) for each in zip(rows, parts, strict=True))


def _size_bytes(mask: np.ndarray, layout: Layout) -> int:
    return _smaller(mask, layout).size_bytes


lines: Coder = coder_of("lines", MaskCode(_size_bytes, _encode, _decode))
"""Places of the words that are not zero, line by line, and then these words.

For pruned matrices whose rows or columns differ in how many weights they keep. Lines
are rows or columns, whichever takes less. A line is empty or full, which its count
says, a bit for each word, or Rice codes of the gaps between its entries (or between its
zeros, where these are fewer), with a parameter near the one that its count suggests.
Also known as: compressed sparse row, block-wise adaptive index coding.

Source: Rice and Plaunt 1971, "Adaptive Variable-Length Coding for Efficient Compression
of Spacecraft Television Data", for the code. Counts and ways are coded by `rans`.
"""
