"""Coders: what each writes, one row per coder, and what all share."""

from collections.abc import Callable
from typing import NamedTuple

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from jaxcompress.storage.coders import CODERS, Coder, bitmask, coder_named, plain, smallest
from jaxcompress.storage.coders.words import Words, word_dtype

WIDTHS = (*range(1, 9), 16, 32, 64)


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
    assert [coder_named(coder.name, coder.version) for coder in CODERS] == list(CODERS)


@pytest.mark.parametrize("named", [("zip", 1), ("plain", 2), (["plain"], 1), ("plain", None)])
def test_an_unknown_coder_is_refused(named):
    with pytest.raises(ValueError, match=r"no coder .* of version .*, only plain 1, bitmask 1"):
        coder_named(*named)


@st.composite
def words(draw) -> Words:
    """Words of any width and sparsity."""
    bits = draw(st.sampled_from(WIDTHS))
    size = draw(st.integers(0, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = random.integers(0, 2**bits - 1, size, word_dtype(bits), endpoint=True)
    pruned = random.random(size) < draw(st.sampled_from([0.0, 0.5, 0.9, 1.0]))
    return Words(np.where(pruned, word_dtype(bits).type(0), values), bits)


@every_coder
@hypothesis.given(given=words())
def test_words_come_back_bit_for_bit_in_the_promised_bytes(case, given):
    coded = case.coder.encode(given)
    assert (coded.dtype, coded.ndim) == (np.uint8, 1)
    present = int(np.sum(given.values != 0))
    expected = case.size_bytes(given.values.size, present, given.bits)
    assert coded.size == case.coder.size_bytes(given) == expected
    decoded = case.coder.decode(coded, given.values.size, given.bits)
    assert decoded.dtype == given.values.dtype
    np.testing.assert_array_equal(decoded, given.values)


@every_coder
@pytest.mark.parametrize("bits", WIDTHS)
def test_a_byte_too_few_or_too_many_is_refused(case, bits):
    values = (np.arange(19) % 2).astype(word_dtype(bits))
    coded = case.coder.encode(Words(values, bits))
    for wrong in (coded[:0], coded[:-1], np.append(coded, coded[:1])):
        with pytest.raises(ValueError, match=r"do(es)? not fit"):
            case.coder.decode(wrong, values.size, bits)


@every_coder
def test_more_words_than_bytes_can_tell_take_no_memory(case):
    with pytest.raises(ValueError, match=r"do(es)? not fit 3 bytes"):
        case.coder.decode(np.zeros(3, np.uint8), 10**18, 4)


@every_coder
def test_encoding_repeats_exactly(case):
    given = Words(np.arange(9, dtype=np.uint8) % 3, 2)
    np.testing.assert_array_equal(case.coder.encode(given), case.coder.encode(given))


@hypothesis.given(given=words())
def test_the_smallest_is_chosen_and_the_earlier_of_two(given):
    coder, size_bytes = smallest(given)
    sizes = [one.encode(given).size for one in CODERS]
    assert (size_bytes, CODERS.index(coder)) == (min(sizes), sizes.index(min(sizes)))


def test_a_bitmask_by_hand():
    values = np.array([0, 5, 0, 0, 9, 0, 0, 0, 3], np.uint8)
    coded = bitmask.encode(Words(values, 4))
    # Entries 1, 4 and 8 are there; of two words in a byte the first has the low half.
    np.testing.assert_array_equal(coded, [0b00010010, 0b1, 5 | 9 << 4, 3])
