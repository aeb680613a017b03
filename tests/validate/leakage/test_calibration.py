"""A comparison is refused on what calibrated the model, in every form that takes."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import validate
from jaxcompress.validate import leakage

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 3))
LABELS = RNG.integers(0, 3, 12)
FRESH = RNG.normal(size=(6, 3))
EVALUATION = validate.evaluate(lambda params, x: x @ params, jnp.eye(3), X, LABELS)
BOTH = validate.evaluate(lambda _, xs: xs[0] + xs[1], (), (X, X[::-1].copy()), LABELS)


def compared(calibration, evaluation=EVALUATION):
    return validate.compare(evaluation, evaluation, calibration=calibration)


CALIBRATION = {
    "array": lambda x: x,
    "array of JAX, in float32": jnp.asarray,
    "batches": lambda x: [x[:4], x[4:]],
    "batches of JAX": lambda x: [jnp.asarray(x[:4]), jnp.asarray(x[4:])],
    "a tuple of batches": lambda x: (x[:2], x[2:]),
    "tuples of one input": lambda x: [(x[:4],), (x[4:],)],
    "generator": lambda x: (x[i : i + 5] for i in range(0, len(x), 5)),
    "generator of tuples": lambda x: ((x[i : i + 5],) for i in range(0, len(x), 5)),
    "function": lambda x: lambda: iter([x]),
}


@pytest.mark.parametrize("form", CALIBRATION.values(), ids=CALIBRATION)
def test_shared_examples_are_refused_in_every_form(form):
    assert compared(form(FRESH)).calibrated_on == 0
    message = r"compare\(calibration\) holds 2 of the 12 examples .*: 3, 7\. .*leakage\.Shared"
    with pytest.raises(ValueError, match=message):
        compared(form(np.concatenate([FRESH, X[[7, 3]]])))


@pytest.mark.parametrize("batches", [False, True])
def test_models_of_several_inputs(batches):
    shared = (np.concatenate([FRESH, X[:1]]), np.concatenate([FRESH, X[-1:]]))
    with pytest.raises(ValueError, match=r"holds 1 of the 12 examples .*: 0\."):
        compared([shared] if batches else shared, BOTH)
    crossed = (shared[0], np.concatenate([FRESH, X[:1]]))
    assert compared([crossed] if batches else crossed, BOTH).calibrated_on == 0


def test_an_overlap_that_is_meant_is_counted():
    assert compared(None).calibrated_on is None
    assert compared(leakage.Shared(X[:3])).calibrated_on == 3
    assert compared(leakage.Shared(X[:3], most=0.25)).calibrated_on == 3
    with pytest.raises(ValueError, match=r"holds 4 of the 12 examples .*: 0, 1, 2, …\."):
        compared(leakage.Shared(X[:4], most=0.25))
    assert compared(leakage.Shared(X[:3])).to_json()["calibrated_on"] == 3


def test_any_metric_is_refused_too():
    with pytest.raises(ValueError, match=r"compare_scores\(calibration\) holds 12 of the 12"):
        validate.compare_scores(EVALUATION, EVALUATION, "loss", calibration=X)


BAD = [
    (ValueError, r"compare\(calibration\) holds no examples", X[:0]),
    (ValueError, r"compare\(calibration\) holds no examples; an iterator may be", iter([])),
    (ValueError, r"compare\(calibration\) holds no examples", []),
    (TypeError, r"compare\(calibration=3\) must be", 3),
    (TypeError, r"compare\(calibration='text'\) must be", "text"),
    (TypeError, r"compare\(calibration=3\) is no set", [3]),
]


@pytest.mark.parametrize(("error", "message", "calibration"), BAD)
def test_refuses_what_is_no_data(error, message, calibration):
    with pytest.raises(error, match=message):
        compared(calibration)


def test_refuses_a_share_out_of_range():
    with pytest.raises(ValueError, match=r"Shared\(most=1\.5\)"):
        leakage.Shared(X, most=1.5)
