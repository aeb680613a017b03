"""Order in time against the plainest loop."""

import numpy as np
import pytest

from jaxcompress.validate.leakage import check, times

DAYS = np.array(["2020-01-01", "2020-01-05", "2020-01-03"], "M8[D]")


def looked_at(first, second, gap=0):
    sets = {"train": {"at": np.asarray(first)}, "test": {"at": np.asarray(second)}}
    (found,) = check(sets, [times(lambda e: e["at"], gap=gap)]).overlaps
    return found


@pytest.mark.parametrize("gap", [0, 1, 2.5])
def test_pairs_are_those_of_the_loop(gap):
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 20, 15), rng.integers(12, 40, 15)
    found = looked_at(first, second, gap)
    late = [j for j in range(15) if second[j] <= max(first) + gap]
    early = [i for i in range(15) if first[i] + gap >= min(second)]
    assert found.pairs[:, 1].tolist() == late
    assert found.touched.tolist() == early
    assert set(found.pairs[:, 0].tolist()) == {int(np.argmax(first))}
    np.testing.assert_array_equal(found.scores, max(first) + gap - second[late])


def test_a_gap_does_not_overflow_small_integers():
    found = looked_at(np.uint8([250, 3]), np.uint8([253, 255]), 4)
    assert found.pairs.tolist() == [[0, 0]]
    assert found.scores.tolist() == [1.0]


def test_dates_and_gaps_between_them():
    clean = np.array(["2020-01-06", "2020-01-09"], "M8[h]")
    assert looked_at(DAYS, clean).count == 0
    found = looked_at(DAYS, clean, np.timedelta64(36, "h"))
    assert found.pairs.tolist() == [[1, 0]]
    assert found.scores.tolist() == [0.5]


BAD = [
    (TypeError, r"dates for one set and numbers for another", DAYS, [1, 2], 0),
    (TypeError, r"times\(gap=1\): of dates it must be a timedelta64", DAYS, DAYS, 1),
    (ValueError, r"times\(of\): example 1 has no time, nan", [0.0, np.nan], [1.0], 0),
    (ValueError, r"has no time, NaT", DAYS, np.array(["NaT"], "M8[D]"), 0),
    (TypeError, r"times\(of\) must give one array \(n,\)", ["a"], ["b"], 0),
    (ValueError, r"times\(gap=-1\)", [1], [2], -1),
    (ValueError, r"times\(gap=.*NaT", [1], [2], np.timedelta64("NaT", "D")),
]


@pytest.mark.parametrize(("error", "message", "first", "second", "gap"), BAD)
def test_refuses_what_is_no_time(error, message, first, second, gap):
    with pytest.raises(error, match=message):
        looked_at(first, second, gap)
