"""A range coder of single bits, each at a probability of its own.

Writing and reading are one function, `code(probability, bit) -> bit`: the writer takes
the bit and gives it back, the reader ignores what it is given and gives what was
written. So a model is written once and cannot differ.
"""

from collections.abc import Callable

from jaxcompress.storage.container.errors import FileError

Code = Callable[[int, int], int]
"""(probability of a 1, of 65,536; the bit) to the bit."""

_BITS = 40
_BELOW = _BITS - 8
_MASK = (1 << _BITS) - 1


def writer() -> tuple[Code, Callable[[], bytes]]:
    """`code`, and what gives the bytes once all bits were coded."""
    low, high, written = 0, _MASK, bytearray()

    def code(probability: int, bit: int) -> int:
        nonlocal low, high
        middle = low + ((high - low) * probability >> 16)
        if bit:
            high = middle
        else:
            low = middle + 1
        while not (low ^ high) >> _BELOW:  # the highest byte is known
            written.append(low >> _BELOW)
            low = low << 8 & _MASK
            high = high << 8 & _MASK | 255
        return bit

    def finished() -> bytes:
        # With zeros after it this byte lies between low and high.
        return bytes(written) + bytes([(low >> _BELOW) + 1])

    return code, finished


def reader(coded: bytes, misfit: FileError) -> tuple[Code, Callable[[], None]]:
    """`code`, and what checks once all bits were read that nothing else was there.

    Args:
      coded: what `writer` gave.
      misfit: raised where these bytes end early, go on, or end otherwise.
    """
    padded = coded + bytes(_BELOW // 8)
    low, high, position = 0, _MASK, _BITS // 8
    value = int.from_bytes(padded[:position], "big")

    def code(probability: int, bit: int) -> int:
        nonlocal low, high, value, position
        middle = low + ((high - low) * probability >> 16)
        if value <= middle:
            high, bit = middle, 1
        else:
            low, bit = middle + 1, 0
        while not (low ^ high) >> _BELOW:
            low = low << 8 & _MASK
            high = high << 8 & _MASK | 255
            if position == len(padded):
                raise misfit
            value = value << 8 & _MASK | padded[position]
            position += 1
        return bit

    def finished() -> None:
        if position != len(padded) or value != ((low >> _BELOW) + 1) << _BELOW:
            raise misfit

    return code, finished
