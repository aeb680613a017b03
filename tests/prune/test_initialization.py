"""Scores at initialisation: closed forms of linear models, and a loop over rounds."""

import re
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import prune

RANDOM = np.random.default_rng(0)
KERNEL, INPUTS, TARGETS = (RANDOM.standard_normal(shape) for shape in ((4, 3), (10, 4), (10, 3)))
PARAMS = {"kernel": jnp.asarray(KERNEL, jnp.float32), "steps": jnp.zeros((), jnp.int32)}
BATCHES = [
    (jnp.asarray(INPUTS[part], jnp.float32), jnp.asarray(TARGETS[part], jnp.float32))
    for part in (slice(5), slice(5, 10))
]


def model(params, x):
    return x @ params["kernel"]


def loss(outputs, targets):
    return jnp.sum((outputs - targets) ** 2, axis=-1) / 2


def gradient(temperature: float) -> np.ndarray:
    return INPUTS.T @ (INPUTS @ KERNEL / temperature - TARGETS) / (10 * temperature)


def test_snip_equals_the_closed_form():
    scores = prune.criteria.snip(model, PARAMS, loss, BATCHES).init(PARAMS)["kernel"]
    np.testing.assert_allclose(scores, np.abs(KERNEL * gradient(1.0)), rtol=0, atol=2**-18)


def test_grasp_equals_the_closed_form():
    scores = prune.criteria.grasp(model, PARAMS, loss, BATCHES, temperature=2.0).init(PARAMS)[
        "kernel"
    ]
    product = INPUTS.T @ (INPUTS @ gradient(2.0)) / (10 * 4.0)
    np.testing.assert_allclose(scores, KERNEL * product, rtol=0, atol=2**-18)


def flow_scores(first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What flows from ones through each weight of two layers."""
    into = first.sum(axis=0)  # (hidden,)
    onwards = last.sum(axis=1)  # (hidden,)
    return first * onwards, last * into[:, None]


def synflow_by_hand(first, last, sparsity, rounds):
    first, last = np.abs(first), np.abs(last)
    keep = np.ones(first.size + last.size, bool)
    for k in range(1, rounds + 1):
        ends = [keep[: first.size].reshape(first.shape), keep[first.size :].reshape(last.shape)]
        scores = np.concatenate(
            [each.ravel() for each in flow_scores(first * ends[0], last * ends[1])]
        )
        share = sparsity if k == rounds else 1 - (1 - sparsity) ** (k / rounds)
        count = round(Fraction(float(np.float32(share))) * keep.size)
        keep[np.lexsort((scores, keep))[:count]] = False
    parts = (slice(first.size), slice(first.size, None))
    shapes = (first.shape, last.shape)
    return [
        (keep[part].reshape(shape), scores[part].reshape(shape))
        for part, shape in zip(parts, shapes, strict=True)
    ]


@pytest.mark.parametrize(
    "target", [0.8, prune.Target(0.8, allocate=prune.allocations.globally)], ids=["bare", "target"]
)
def test_synflow_equals_a_loop_over_rounds(target):
    first, last = RANDOM.standard_normal((5, 6)), RANDOM.standard_normal((6, 4))
    params = {"first": jnp.asarray(first, jnp.float32), "last": jnp.asarray(last, jnp.float32)}
    criterion = prune.criteria.synflow(
        lambda params, x: jnp.maximum(x @ params["first"], 0) @ params["last"],
        params,
        jnp.zeros((1, 5)),
        target=target,
        rounds=7,
    )
    scores = criterion.init(params)
    for name, (keep, flow) in zip(params, synflow_by_hand(first, last, 0.8, 7), strict=True):
        np.testing.assert_array_equal(scores[name] >= 0, keep)
        # Two sums of six products, times a weight, in float32.
        np.testing.assert_allclose(scores[name][keep], flow[keep], rtol=16 * 2**-23)
    assert set(np.unique(np.concatenate([each[each < 0] for each in scores.values()]))) == set(
        range(-7, 0)
    )


REFUSED = {
    "no batch": (
        lambda: prune.criteria.snip(model, PARAMS, loss, []),
        "snip(batches=[]) holds no batch",
    ),
    "temperature": (
        lambda: prune.criteria.grasp(model, PARAMS, loss, BATCHES, temperature=0),
        "grasp(temperature=0) must be above 0",
    ),
    "sparsity": (
        lambda: prune.criteria.synflow(model, PARAMS, BATCHES[0][0], target=1.0),
        "synflow(target=1.0) must be in [0, 1)",
    ),
    "rounds": (
        lambda: prune.criteria.synflow(model, PARAMS, BATCHES[0][0], target=0.5, rounds=0),
        "synflow(rounds=0) must be at least 1",
    ),
    "overflow": (
        lambda: prune.criteria.synflow(
            lambda params, x: model(params, x) * 1e38 * 1e3, PARAMS, BATCHES[0][0], target=0.5
        ),
        "synflow: scores of leaf 'kernel' are not finite",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_scored_is_refused(name):
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
