"""Counts are whole numbers and numbers are finite: quantize, distill, validate, auto.

Optimizers, `prune` and `structure` have tables of their own; `storage` takes no number.
"""

import re

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc

NAN, INFINITY = float("nan"), float("inf")
X, LABELS = np.eye(3, dtype=np.float32), np.arange(3)
LOSSES = jnp.ones(3)


def model(params, x):
    return x @ params["w"]


def evaluation() -> jc.validate.Evaluation:
    return jc.validate.evaluate(model, {"w": X}, X, LABELS)


COUNTS = {
    "dynamic(digits": lambda bad: jc.quantize.execution.dynamic(digits=bad),
    "bootstrap_interval(resamples": lambda bad: jc.validate.bootstrap_interval(
        [1, 2], resamples=bad
    ),
    "predict(batch_size": lambda bad: jc.validate.predict(model, {"w": X}, X, batch_size=bad),
    "evaluate(batch_size": lambda bad: jc.validate.evaluate(
        model, {"w": X}, X, LABELS, batch_size=bad
    ),
    "evaluate(batch_size, from sensitivity": lambda bad: jc.auto.sensitivity(
        model, {"w": X}, jc.quantize.int4(), jc.validate.Examples(X, LABELS, batch_size=bad)
    ),
    "split(n": lambda bad: jc.validate.split(bad),
    "wilson(n": lambda bad: jc.validate.wilson(0, bad),
}

COUNTS_FROM_0 = {
    "bootstrap_interval(seed": lambda bad: jc.validate.bootstrap_interval([1, 2], seed=bad),
    "split(seed": lambda bad: jc.validate.split(10, seed=bad),
    "wilson(successes": lambda bad: jc.validate.wilson(bad, 5),
    **{
        f"{name}(group_size": lambda bad, name=name: getattr(jc.quantize.formats, name)(
            group_size=bad
        )
        for name in ("int8", "int4", "uint8", "uint4")
    },
}

AXES = {
    "LeafAxes(axis": lambda bad: jc.LeafAxes(contracting=(bad,), output=(0,)),
    "slices(axis": jc.prune.patterns.slices,
}

NUMBERS = {
    "bootstrap_interval(confidence": lambda bad: jc.validate.bootstrap_interval(
        [1, 2], confidence=bad
    ),
    "compare(confidence": lambda bad: jc.validate.compare(
        evaluation(), evaluation(), confidence=bad
    ),
    "compare(margin": lambda bad: jc.validate.compare(evaluation(), evaluation(), margin=bad),
    "mean_interval(confidence": lambda bad: jc.validate.mean_interval([1, 2], confidence=bad),
    "mix(weight": lambda bad: jc.distill.mix(LOSSES, LOSSES, weight=bad),
    "moving_average(decay": lambda bad: jc.quantize.ranges.moving_average(decay=bad),
    "soft_targets(temperature": lambda bad: jc.distill.outputs.soft_targets(X, X, temperature=bad),
    "split(fractions": lambda bad: jc.validate.split(10, fractions=(0.5, bad)),
    "verdict(high": lambda bad: jc.validate.verdict(0.0, bad),
    "verdict(low": lambda bad: jc.validate.verdict(bad, 0.0),
    "verdict(margin": lambda bad: jc.validate.verdict(0.0, 0.0, margin=bad),
    "wilson(confidence": lambda bad: jc.validate.wilson(1, 2, confidence=bad),
}

WRONG = {name: (COUNTS[name], (0, -1, 1.5, 2.0, True, NAN, INFINITY)) for name in COUNTS}
WRONG |= {name: (COUNTS_FROM_0[name], (-1, 1.5, 2.0, True, NAN)) for name in COUNTS_FROM_0}
WRONG |= {name: (AXES[name], (1.0, True, NAN)) for name in AXES}
WRONG |= {name: (NUMBERS[name], (NAN, INFINITY, -INFINITY)) for name in NUMBERS}


@pytest.mark.parametrize("name", WRONG)
def test_counts_are_whole_and_numbers_finite(name):
    call, numbers = WRONG[name]
    message, *_ = name.split(",")
    for number in numbers:
        with pytest.raises(ValueError, match=re.escape(message)):
            call(number)


def test_counts_of_few_bits_count_as_ints():
    byte = np.uint8
    validate = jc.validate
    assert jc.quantize.execution.dynamic(digits=byte(2)).digits - 3 == -1
    assert validate.wilson(byte(200), byte(250)) == validate.wilson(200, 250)
    for found, expected in zip(validate.split(byte(200)), validate.split(200), strict=True):
        np.testing.assert_array_equal(found, expected)
    found = validate.bootstrap_interval([1, 2], seed=byte(3), resamples=byte(200))
    assert found == validate.bootstrap_interval([1, 2], seed=3, resamples=200)
