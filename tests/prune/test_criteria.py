"""Every criterion scores in float32, keeps its state's form, and equals its oracle."""

import functools
import re
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcompress import prune
from jaxcompress.prune.criterion import Criterion

FIXED = np.arange(12, dtype=np.float32).reshape(3, 4)


def decayed(decay: float, terms: list[np.ndarray]) -> np.ndarray:
    """A running average from zero, by a loop."""
    return functools.reduce(lambda past, term: decay * past + (1 - decay) * term, terms, 0.0)


class Case(NamedTuple):
    """A criterion and what a leaf is worth after gradients at the same weights."""

    name: str
    criterion: Criterion
    oracle: Callable[[np.ndarray, list[np.ndarray]], np.ndarray]


CRITERIA = [
    Case("magnitude", prune.criteria.magnitude(), oracle=lambda w, grads: np.abs(w)),
    Case(
        "constant",
        prune.criteria.constant({"kernel": FIXED}),
        oracle=lambda w, grads: FIXED if w.shape else np.zeros(()),
    ),
    Case(
        "saliency",
        prune.criteria.saliency(0.8),
        oracle=lambda w, grads: np.abs(w * decayed(0.8, grads)),
    ),
    Case(
        "squared change",
        prune.criteria.taylor_squared(0.8),
        oracle=lambda w, grads: decayed(0.8, [(w * g) ** 2 for g in grads]),
    ),
    Case(
        "fisher",
        prune.criteria.fisher(0.7),
        oracle=lambda w, grads: decayed(0.7, [g**2 for g in grads]) * w**2 / 2,
    ),
    Case(
        "momentum",
        prune.criteria.gradient_momentum(0.6),
        oracle=lambda w, grads: np.abs(decayed(0.6, grads)),
    ),
    Case("movement", prune.criteria.movement(), oracle=lambda w, grads: -sum(g * w for g in grads)),
    Case(
        "informed movement",
        prune.criteria.informed(prune.criteria.movement(), [{"kernel": FIXED}]),
        oracle=lambda w, grads: -sum(g * w for g in grads) - (FIXED * w if w.shape else 0),
    ),
]

criteria = pytest.mark.parametrize("case", CRITERIA, ids=lambda case: case.name)


def tree(seed: int, dtype) -> dict:
    random = np.random.default_rng(seed)
    return {
        "kernel": jnp.asarray(random.standard_normal((3, 4)), dtype),
        "left out": jnp.zeros((), jnp.float32),
    }


@criteria
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_scores_equal_the_oracle(case, dtype):
    params, grads = tree(0, dtype), [tree(seed, dtype) for seed in (1, 2, 3)]
    state = case.criterion.init(params)
    for each in grads:
        state = case.criterion.update(each, state, params)
    scores = case.criterion.score(state, params)
    assert jax.tree.structure(scores) == jax.tree.structure(params)
    for name, score in scores.items():
        assert score.dtype == jnp.float32
        expected = case.oracle(
            np.asarray(params[name], np.float64), [np.asarray(each[name], "f8") for each in grads]
        )
        # Products and sums of a dozen numbers, none above 32, each rounded once.
        np.testing.assert_allclose(score, expected, rtol=0, atol=12 * 2**-20)


@criteria
def test_an_update_keeps_the_form_of_the_state(case):
    params = tree(0, jnp.bfloat16)
    before = jax.eval_shape(case.criterion.init, params)
    after = jax.eval_shape(case.criterion.update, params, before, params)
    assert jax.tree.structure(before) == jax.tree.structure(after)
    assert jax.tree.leaves(before) == jax.tree.leaves(after)


@criteria
def test_a_tree_of_no_leaves_is_scored(case):
    state = case.criterion.init({})
    assert case.criterion.score(case.criterion.update({}, state, {}), {}) == {}


def test_random_scores_are_uniform_differ_by_leaf_and_stay():
    params = {"first": jnp.ones((50, 40)), "second": jnp.ones((50, 40), jnp.bfloat16)}
    scores = prune.criteria.random(jax.random.key(1)).score((), params)
    for score in scores.values():
        assert score.dtype == jnp.float32
        # Kolmogorov and Smirnov's distance for 2000 draws, at 1 in 10⁴.
        distance = np.abs(np.sort(score, axis=None) - np.arange(2000) / 2000).max()
        assert distance < 2.3 / np.sqrt(2000)
    assert np.mean(scores["first"] == scores["second"]) < 0.01
    again = prune.criteria.random(jax.random.key(1)).score((), params)
    jax.tree.map(np.testing.assert_array_equal, scores, again)


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_random_scores_are_the_same_on_eight_devices(mesh, axis_type):
    criterion, kernel = prune.criteria.random(jax.random.key(2)), jnp.ones((8, 4))
    expected = criterion.score((), {"kernel": kernel})["kernel"]
    devices = mesh(rows=8, axis_type=axis_type)
    with jax.set_mesh(devices):
        sharded = jax.device_put(kernel, NamedSharding(devices, P("rows")))
        scores = criterion.score((), {"kernel": sharded})["kernel"]
    assert scores.sharding.is_equivalent_to(sharded.sharding, 2)
    np.testing.assert_array_equal(scores, expected)


KERNEL = {"kernel": jnp.ones((3, 4))}

REFUSED = {
    "decay": (lambda: prune.criteria.saliency(1.0), "saliency(decay=1.0) must be in [0, 1)"),
    "negative": (lambda: prune.criteria.fisher(-0.1), "fisher(decay=-0.1) must be in [0, 1)"),
    "missing": (
        lambda: prune.criteria.constant({"other": FIXED}).init(KERNEL),
        "constant(scores=...): leaf 'kernel' is missing",
    ),
    "shape": (
        lambda: prune.criteria.informed(prune.criteria.fisher(), [{"kernel": jnp.ones(3)}]).init(
            KERNEL
        ),
        "informed(gradients=...): leaf 'kernel' has shape (3,), but the param to prune has shape",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name):
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
