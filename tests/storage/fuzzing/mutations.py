"""What the fuzzer does to a file: changes of its JSON, its sizes and its bytes."""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxcompress.core.formats.scales import SCALES
from jaxcompress.core.formats.sharing import SHARINGS
from jaxcompress.core.spec import LEVELS
from jaxcompress.storage.coders import CODERS
from jaxcompress.storage.container.dtypes import PYTHON_TYPES, WORD_BITS
from jaxcompress.storage.container.forms import FORMS
from jaxcompress.storage.container.header import DTYPES
from tests.storage.fuzzing.files import File, fitted, placed, some_leaves

Random = np.random.Generator


class Place(NamedTuple):
    """A value inside of JSON: `inside[key]`."""

    inside: Any
    key: Any

    @property
    def value(self):
        return self.inside[self.key]


NUMBERS = (0, 1, -1, 2, 3, 7, 8, 9, 64, 255, 256, 2**31, 2**32, 2**40, 2**62, 2**63, 2**64, 10**19)
WORDS = (
    (*WORD_BITS, *PYTHON_TYPES, *(f"bits{bits}" for bits in range(10))),
    tuple(DTYPES),
    tuple(coder.name for coder in CODERS),
    tuple(form.kind for form in FORMS),
    ("codes", "scale", "second_scale", "zero_point", "codebook", "codebooks", "left", "right"),
    tuple(kind.kind for kind in (*LEVELS, *SHARINGS, *SCALES)),
    ("tensor", "channel", "group"),
    ("l", "t", "d"),
    ("1", "2", "3"),
    ("", ".", "/", "a/b", "params", "é\n", "\ud800", "\0", "x" * 5000, "/" * 5000, "9" * 5000),
)
"""Words that stand in each other's places, and at last those that stand in none."""

ODD = (None, True, False, 0.5, -0.0, 1e300, float("nan"), float("inf"), [], {}, [[]], [0], {"": 0})


def places(root) -> list[Place]:
    """Every value inside of JSON."""
    found, waiting = [], [root]
    while waiting:
        inside = waiting.pop()
        keys = inside.keys() if isinstance(inside, dict) else range(len(inside))
        for key in keys:
            found.append(Place(inside, key))
            if isinstance(inside[key], dict | list):
                waiting.append(inside[key])
    return found


def chosen(random: Random, values):
    return values[int(random.integers(len(values)))]


def replace(random: Random, place: Place, others: list[Place]) -> None:
    """By a word of the same kind, a number, or what stands nowhere."""
    del others
    value = place.value
    if random.random() < 0.3:
        place.inside[place.key] = copy.deepcopy(chosen(random, ODD))
    elif isinstance(value, str):
        fitting = [words for words in WORDS if value in words]
        words = chosen(random, fitting) if fitting and random.random() < 0.8 else WORDS[-1]
        place.inside[place.key] = chosen(random, words)
    else:
        place.inside[place.key] = chosen(random, NUMBERS)


def rename(random: Random, place: Place, others: list[Place]) -> None:
    """A name by another word that stands there, or one that stands nowhere."""
    del others
    if isinstance(place.inside, dict):
        fitting = [words for words in WORDS if place.key in words] or [WORDS[-1]]
        place.inside[chosen(random, chosen(random, fitting))] = place.inside.pop(place.key)


def shift(random: Random, place: Place, others: list[Place]) -> None:
    """A number by a little, to its double, half or opposite; a text by a character."""
    del others
    value = place.value
    if isinstance(value, str):
        place.inside[place.key] = value[1:] if random.random() < 0.5 else value + value[:1]
    elif isinstance(value, int | float):
        near = (value + 1, value - 1, 2 * value, -value, value // 2, value / 3, value * 10**9)
        place.inside[place.key] = chosen(random, near)


def borrow(random: Random, place: Place, others: list[Place]) -> None:
    """By a value from elsewhere in the file."""
    place.inside[place.key] = copy.deepcopy(chosen(random, others).value)


def drop(random: Random, place: Place, others: list[Place]) -> None:
    del random, others
    del place.inside[place.key]


def repeat(random: Random, place: Place, others: list[Place]) -> None:
    """Once or a thousand times more, beside itself."""
    del others
    if isinstance(place.inside, list):
        times = chosen(random, (1, 1, 1, 3, 1000))
        place.inside[place.key : place.key] = [place.value] * times
    else:
        place.inside[f"{place.key}2"] = copy.deepcopy(place.value)


def swap(random: Random, place: Place, others: list[Place]) -> None:
    """With another value of the same list or object."""
    near = [other for other in others if other.inside is place.inside]
    other = chosen(random, near)
    place.inside[place.key], place.inside[other.key] = other.value, place.value


def wrap(random: Random, place: Place, others: list[Place]) -> None:
    """In a list or an object, or in very many."""
    del others
    value = place.value
    for _ in range(chosen(random, (1, 1, 2, 40, 150))):
        value = [value] if random.random() < 0.7 else {"": value}
    place.inside[place.key] = value


OF_JSON: tuple[Callable[[Random, Place, list[Place]], None], ...] = (
    *(replace, replace, replace, rename, shift, shift, borrow, drop, repeat, swap, wrap),
)


def change_json(random: Random, file: File) -> None:
    """One change somewhere in the header, mostly in its texts."""
    root = file.texts if random.random() < 0.75 else file.entries
    within = [place for place in places(root) if place.key not in ("sha256", "format")]
    if within:
        chosen(random, OF_JSON)(random, chosen(random, within), within)


def grow(random: Random, file: File) -> None:
    """A size of one leaf to a huge one, or to none."""
    sizes = [
        place
        for place in places([file.texts.get("leaves"), file.entries])
        if type(place.value) is int and isinstance(place.inside, list)
    ]
    if sizes:
        place = chosen(random, sizes)
        place.inside[place.key] = chosen(random, NUMBERS)


def change_bytes(random: Random, file: File) -> None:
    """Some bytes of one array: a bit flipped, ones, noise, more or fewer."""
    if not file.data:
        return
    i = int(random.integers(len(file.data)))
    data = bytearray(file.data[i])
    begin = int(random.integers(len(data) + 1))
    match random.integers(6):
        case 0 if data:
            data[begin % len(data)] ^= 1 << int(random.integers(8))
        case 1:
            data[begin : begin + 4] = b"\xff" * len(data[begin : begin + 4])
        case 2:
            del data[begin:]
        case 3 | 4:
            data[:] = random.integers(256, size=len(data), dtype=np.uint8).tobytes()
        case _:
            data += bytes(chosen(random, (1, 7, 300)))
    file.data[i] = bytes(data)


OF_FILES: tuple[Callable[[Random, File], None], ...] = (
    *(change_json,) * 6,
    *(grow,) * 2,
    *(change_bytes,) * 2,
)


def scarred(random: Random, header: bytes) -> bytes:
    """The header's text, in one of ten files with bytes lost, doubled or changed."""
    if random.random() > 0.1:
        return header
    begin, end = sorted(random.integers(len(header), size=2).tolist())
    end = min(end, begin + 40)
    noise = random.integers(256, size=3, dtype=np.uint8).tobytes()
    lost, twice = header[:begin] + header[end:], header[:end] + header[begin:]
    changed = header[:begin] + noise + header[begin + 3 :]
    digits = header[:begin] + b"0123456789" * 30 + header[begin:]
    return chosen(random, (lost, twice, changed, digits, header[:begin], header + header))


def mutated(random: Random, file: File) -> File:
    """The file with one to three changes, most of them made to fit the first checks."""
    if len(file.entries) > 3:
        file = some_leaves(file, sorted(random.permutation(len(file.entries))[:3].tolist()))
    file = copy.deepcopy(file)
    for _ in range(chosen(random, (1, 1, 2, 3))):
        chosen(random, OF_FILES)(random, file)
    if random.random() < 0.6:
        fitted(file)
    if random.random() < 0.9:
        placed(file)
    return file
