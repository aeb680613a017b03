"""One table of quality and cost: what it holds, what it prints, what it refuses."""

import json
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import validate

LABELS = np.arange(12) % 3
X = np.eye(3, dtype=np.float32)[LABELS]


def fn(params, x):
    return x @ params


METRICS = [validate.metrics.accuracy(), validate.metrics.calibration_error()]
DENSE = validate.evaluate(fn, 9 * jnp.eye(3), X, LABELS, METRICS)
WRONG = validate.evaluate(fn, 9 * jnp.eye(3)[::-1], X, LABELS, METRICS)
BOTH = {"dense": DENSE, "wrong": WRONG}
SIZES, MACS = {"dense": 3600, "wrong": 900}, {"dense": 90, "wrong": 27.0}
tradeoffs: Any = validate.comparisons.tradeoffs  # wrong arguments are passed, too


def test_rows_hold_scores_with_intervals_and_costs():
    table = tradeoffs(BOTH, size_bytes=SIZES, macs=MACS)
    for row, evaluation in zip(table.rows, (DENSE, WRONG), strict=True):
        score = evaluation["accuracy"]
        assert row.scores["accuracy"] == (score.value, *score.interval())
        assert set(row.scores) == {"accuracy", "calibration_error"}
    assert [(row.name, row.size_bytes, row.macs) for row in table.rows] == [
        ("dense", 3600, 90.0),
        ("wrong", 900, 27.0),
    ]
    assert json.loads(json.dumps(table.to_json()))["rows"][1]["macs"] == 27.0


def test_it_prints_shares_of_the_first():
    lines = str(tradeoffs(BOTH, size_bytes=SIZES, macs=MACS)).splitlines()
    assert lines[0] == "12 examples"
    assert lines[1].split()[:2] == ["model", "accuracy"]
    assert lines[3].split()[-4:] == ["900", "0.25", "27", "0.30"]
    nothing = str(tradeoffs({"none": DENSE}, size_bytes={"none": 0}, macs={"none": 0}))
    assert nothing.splitlines()[2].endswith("0")


OTHERS = validate.evaluate(fn, 9 * jnp.eye(3), X[::-1], LABELS[::-1], METRICS)
FEWER = validate.evaluate(fn, 9 * jnp.eye(3), X, LABELS, METRICS[:1])
CASES = [
    (lambda: tradeoffs({}, size_bytes={}, macs={}), ValueError, "holds no evaluation"),
    (lambda: tradeoffs({"a": 1}, size_bytes={"a": 1}, macs={"a": 1}), TypeError, "type Evaluation"),
    (lambda: tradeoffs(BOTH, size_bytes={"dense": 1}, macs=MACS), ValueError, "needs the names"),
    (lambda: tradeoffs(BOTH, size_bytes=SIZES, macs=MACS | {"dense": -1}), ValueError, "macs=-1"),
    (lambda: tradeoffs(BOTH | {"wrong": OTHERS}, size_bytes=SIZES, macs=MACS), ValueError, "alike"),
    (lambda: tradeoffs(BOTH | {"wrong": FEWER}, size_bytes=SIZES, macs=MACS), ValueError, "alike"),
]


@pytest.mark.parametrize(("call", "error", "message"), CASES)
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
