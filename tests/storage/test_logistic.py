"""Integer tables of the logistic function, and bits coded at given probabilities."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from jaxcompress.storage.coders.binary import reader, writer
from jaxcompress.storage.coders.logistic import LARGEST, ONE, Counters, squash, stretch
from jaxcompress.storage.container.errors import FileError

MISFIT = FileError("does not fit")


def test_squash_is_the_logistic_function():
    x = np.arange(-LARGEST, LARGEST + 1) / 256
    exact = ONE / (1 + np.exp(-x))
    np.testing.assert_allclose(squash(), exact, atol=1)
    assert all(np.diff(squash()) >= 0)
    assert (squash()[0], squash()[-1]) == (1, ONE - 1)


def test_stretch_is_the_inverse():
    p = np.arange(ONE)
    found = stretch().astype(int) + LARGEST
    assert np.all(np.array(squash())[found][1:] <= p[1:])
    assert np.all(np.array(squash())[np.minimum(found + 1, 2 * LARGEST)][1:-1] > p[1:-1])


@hypothesis.given(
    pairs=st.lists(st.tuples(st.integers(1, ONE - 1), st.integers(0, 1)), max_size=200)
)
def test_bits_come_back_at_any_probability(pairs):
    code, finished = writer()
    for probability, bit in pairs:
        code(probability, bit)
    coded = finished()
    exact = sum(-np.log2(p / ONE if bit else 1 - p / ONE) for p, bit in pairs)
    assert len(coded) <= exact / 8 + 2
    code, finished = reader(coded, MISFIT)
    assert [code(probability, 0) for probability, _ in pairs] == [bit for _, bit in pairs]
    finished()


@pytest.mark.parametrize("bit", [0, 1])
def test_a_counter_learns(bit):
    code, finished = writer()
    counters = Counters(2)
    for _ in range(10**4):
        counters.coded(code, 1, bit)
    assert len(finished()) <= 6


def test_bytes_that_are_left_or_missing_are_refused():
    code, finished = writer()
    for i in range(100):
        code(ONE // 2, i % 3 == 0)
    coded = finished()
    for wrong in (coded[:-1], coded[:5], coded + b"\0", coded[:-1] + b"\xff"):
        code, finished = reader(wrong, MISFIT)
        with pytest.raises(FileError, match="does not fit"):
            [code(ONE // 2, 0) for _ in range(100)], finished()
