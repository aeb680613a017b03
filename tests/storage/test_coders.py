"""Coders: what each writes, one row per coder, and what all share."""

from collections.abc import Callable
from typing import NamedTuple

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from jaxcompress.storage.coders import CODERS, Coder, bitmask, coder_named, plain
from jaxcompress.storage.coders.words import Words, word_dtype


class Case(NamedTuple):
    coder: Coder
    size_bytes: Callable[[int, int, int], int]
    """(entries, entries that are not zero, bits of each) to bytes."""


def whole_bytes(bits: int) -> int:
    return -(-bits // 8)


CASES = [
    Case(plain, lambda size, present, bits: whole_bytes(size * bits)),
    Case(bitmask, lambda size, present, bits: whole_bytes(size) + whole_bytes(present * bits)),
]
every_coder = pytest.mark.parametrize("case", CASES, ids=lambda case: case.coder.name)


def test_every_coder_has_a_row_and_a_name_of_its_own():
    assert [case.coder for case in CASES] == list(CODERS)
    assert [coder_named(coder.name) for coder in CODERS] == list(CODERS)


def test_an_unknown_coder_is_refused():
    with pytest.raises(ValueError, match="no coder 'zip', only plain, bitmask"):
        coder_named("zip")


@st.composite
def words(draw) -> Words:
    """Words of any width and sparsity, with one zero or a zero for each entry."""
    bits = draw(st.sampled_from([1, 2, 4, 8, 16, 32, 64]))
    size = draw(st.integers(0, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype, highest = word_dtype(bits), 2**bits - 1
    zero = random.integers(0, highest, draw(st.sampled_from([(), size])), dtype, endpoint=True)
    values = random.integers(0, highest, size, dtype, endpoint=True)
    pruned = random.random(size) < draw(st.sampled_from([0.0, 0.5, 0.9, 1.0]))
    return Words(np.where(pruned, zero, values).astype(dtype), np.asarray(zero, dtype), bits)


@every_coder
@hypothesis.given(given=words())
def test_words_come_back_bit_for_bit_in_the_promised_bytes(case, given):
    coded = case.coder.encode(given)
    assert (coded.dtype, coded.ndim) == (np.uint8, 1)
    present = int(np.sum(given.values != given.zero))
    assert coded.size == case.size_bytes(given.values.size, present, given.bits)
    decoded = case.coder.decode(coded, given.values.size, given.bits, given.zero)
    assert decoded.dtype == given.values.dtype
    np.testing.assert_array_equal(decoded, given.values)


@every_coder
@pytest.mark.parametrize("bits", [1, 4, 32])
def test_a_byte_too_few_or_too_many_is_refused(case, bits):
    values = (np.arange(19) % 2).astype(word_dtype(bits))
    zero = np.zeros((), values.dtype)
    coded = case.coder.encode(Words(values, zero, bits))
    for wrong in (coded[:0], coded[:-1], np.append(coded, coded[:1])):
        with pytest.raises(ValueError, match=r"do(es)? not lie in"):
            case.coder.decode(wrong, values.size, bits, zero)


@every_coder
def test_encoding_repeats_exactly(case):
    given = Words(np.arange(9, dtype=np.uint8) % 3, np.zeros((), np.uint8), 2)
    np.testing.assert_array_equal(case.coder.encode(given), case.coder.encode(given))


def test_a_bitmask_by_hand():
    values = np.array([0, 5, 0, 0, 9, 0, 0, 0, 3], np.uint8)
    coded = bitmask.encode(Words(values, np.zeros((), np.uint8), 4))
    # Entries 1, 4 and 8 are there; 5 and 3 fill the low and high half of planes.
    np.testing.assert_array_equal(coded, [0b00010010, 0b1, 5 | 3 << 4, 9])
