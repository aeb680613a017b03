"""The random numbers of `by_hand`, the same for each test in any order of tests."""

import pytest

from tests.prune import by_hand


@pytest.fixture(autouse=True)
def same_numbers_in_any_order_of_tests():
    by_hand.RANDOM.bit_generator.state = by_hand.START
