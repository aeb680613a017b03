"""Every criterion scores in float32, keeps its state's form, and equals its oracle."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcompress import prune
from tests.prune.families.criteria import CRITERIA

CASES = {name: row for name, row in CRITERIA.items() if row.oracle}

criteria = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


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
    criterion = case.make(params)
    state = criterion.init(params)
    for each in grads:
        state = criterion.update(each, state, params)
    scores = criterion.score(state, params)
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
    criterion = case.make(params)
    before = jax.eval_shape(criterion.init, params)
    after = jax.eval_shape(criterion.update, params, before, params)
    assert jax.tree.structure(before) == jax.tree.structure(after)
    assert jax.tree.leaves(before) == jax.tree.leaves(after)


@criteria
def test_a_tree_of_no_leaves_is_scored(case):
    criterion = case.make({"kernel": jnp.ones(3)})
    state = criterion.init({})
    assert criterion.score(criterion.update({}, state, {}), {}) == {}


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
        lambda: prune.criteria.constant({"other": jnp.ones(3)}).init(KERNEL),
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
