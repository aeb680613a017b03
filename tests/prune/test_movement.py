"""Movement pruning with trained scores: values and gradients by NumPy, one trace."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcompress as jc
from jaxcompress import prune
from jaxcompress.prune.companions import hard_movement, soft_movement
from tests.inputs import TREES

DTYPES = (jnp.float32, jnp.bfloat16, jnp.float16)


def kernels(seed: int) -> dict:
    values = np.random.default_rng(seed).standard_normal((4, 3)).astype("f4")
    return {np.dtype(dtype).name: jnp.asarray(values, dtype) for dtype in DTYPES}


def scores_of(seed: int) -> dict:
    random = np.random.default_rng(seed)
    return {name: jnp.asarray(random.standard_normal((4, 3)), jnp.float32) for name in kernels(0)}


@jax.jit
def seen(params, scores, pulls, threshold, sparsity):
    target = prune.Target(sparsity, prune.patterns.n_of_m(1, 2))
    views = (soft_movement(threshold).view, hard_movement(target).view)

    def loss(view, params, scores):
        shown = view(params, scores)
        return sum(jnp.sum((shown[name] * pulls[name]).astype(jnp.float32)) for name in shown)

    return [
        (view(params, scores), jax.grad(lambda p, s, v=view: loss(v, p, s), (0, 1))(params, scores))
        for view in views
    ]


def above(score):
    return score > 0.2


def larger_of_pairs(score):
    keep = np.zeros(score.shape, bool)
    for column in range(score.shape[1]):
        for row in range(0, score.shape[0], 2):
            keep[row + int(score[row + 1, column] > score[row, column]), column] = True
    return keep


def test_weights_with_low_scores_are_zero_and_scores_get_the_weights_pull():
    params, scores, pulls = kernels(0), scores_of(1), kernels(2)
    results = seen(params, scores, pulls, 0.2, 0.5)
    for keep_of, (values, (slopes, moves)) in zip((above, larger_of_pairs), results, strict=True):
        for name, leaf in params.items():
            w, g = (np.asarray(each[name], np.float64) for each in (params, pulls))
            keep = keep_of(np.asarray(scores[name]))
            assert 0 < keep.sum() < keep.size
            assert values[name].dtype == slopes[name].dtype == leaf.dtype
            assert moves[name].dtype == jnp.float32
            np.testing.assert_array_equal(values[name], np.where(keep, w, 0))
            np.testing.assert_array_equal(slopes[name], np.where(keep, g, 0))
            # One product, in float32.
            np.testing.assert_allclose(moves[name], g * w, rtol=2**-23)


def test_the_penalty_is_the_mean_sigmoid():
    scores = {"a": jnp.array([[0.5, -2.0]]), "b": jnp.array([3.0])}
    every = np.array([0.5, -2.0, 3.0])
    sigmoid = 1 / (1 + np.exp(-every))
    params = {name: jnp.ones_like(each) for name, each in scores.items()}
    price = functools.partial(soft_movement(0.0).penalty, params)
    value, slopes = jax.value_and_grad(price)(scores)
    np.testing.assert_allclose(value, sigmoid.mean(), rtol=8 * 2**-23)
    expected = sigmoid * (1 - sigmoid) / 3
    found = np.concatenate([slopes["a"].ravel(), slopes["b"]])
    np.testing.assert_allclose(found, expected, rtol=8 * 2**-23)


def test_scores_add_up_the_pulls_that_the_criterion_sums():
    """With SGD at rate 1 on the scores they are those of `movement`, for fixed w."""
    params = {"kernel": kernels(0)["float32"]}
    technique, criterion = soft_movement(0.0, start=5.0), prune.criteria.movement()
    scores = technique.init(params)
    state = criterion.init(params)
    for seed in (1, 2, 3):
        pull = kernels(seed)["float32"]
        move = jax.grad(lambda s, p=pull: jnp.sum(technique.view(params, s)["kernel"] * p))
        scores = jax.tree.map(jnp.subtract, scores, move(scores))
        state = criterion.update({"kernel": pull}, state, params)
    # Three sums of numbers below 16.
    np.testing.assert_allclose(scores["kernel"] - 5, state.sums["kernel"], rtol=0, atol=4 * 2**-20)


def test_a_schedule_of_sparsities_is_one_trace_and_learns_what_matters():
    """Of 8 inputs 2 matter: the scores find them from a start of equal weights."""
    random = np.random.default_rng(0)
    x = jnp.asarray(random.standard_normal((32, 8)), jnp.float32)
    y = x[:, 1:2] * 2 - x[:, 6:7] * 2
    params = {"kernel": jnp.asarray(random.uniform(0.4, 0.6, (8, 1)), jnp.float32)}
    technique = hard_movement(jc.schedules.cubic(0.0, 0.75, begin=5, end=40))
    optimizer, traces = optax.adam(0.05), []

    @jax.jit
    def step(both, opt_state, count):
        traces.append(count)

        def loss(both):
            shown = technique.view(*both, jc.Step(count))
            return jnp.mean((x @ shown["kernel"] - y) ** 2)

        updates, opt_state = optimizer.update(jax.grad(loss)(both), opt_state)
        return optax.apply_updates(both, updates), opt_state

    both = params, technique.init(params)
    opt_state = optimizer.init(both)
    for count in range(80):
        both, opt_state = step(both, opt_state, count)
    final = technique.freeze(*both, jc.Step(80))["kernel"]
    assert np.flatnonzero(final).tolist() == [1, 6]
    assert len(traces) == 1


@pytest.mark.parametrize("name", TREES)
def test_every_container_is_seen(name):
    params = TREES[name]()
    scores = soft_movement(0.0).init(params)
    shown = soft_movement(-1.0).view(params, scores)
    jax.tree.map(np.testing.assert_array_equal, shown, params)
    shown = soft_movement(0.0).view(params, scores)
    assert sorted(int(jnp.sum(leaf == 0)) for leaf in jax.tree.leaves(shown)) == [0, 0, 6, 12]


KERNEL = {"kernel": jnp.ones((2, 2))}
REFUSED = {
    "no leaf": (
        lambda: soft_movement(0.0).view(KERNEL, {"head": jnp.ones(2)}),
        ValueError,
        "soft_movement(companions=...): there is no leaf 'head'. Leaves are: kernel.",
    ),
    "shape": (
        lambda: hard_movement(0.5).view(KERNEL, {"kernel": jnp.ones((1, 2))}),
        ValueError,
        "hard_movement(companions=...): what stands beside leaf 'kernel' has shape (1, 2), the",
    ),
    "sparsity": (
        lambda: hard_movement(1.0),
        ValueError,
        "hard_movement(target=1.0) must be in [0, 1)",
    ),
    "nothing": (
        lambda: soft_movement(0.0).penalty(KERNEL, {}),
        ValueError,
        "soft_movement(companions={}) is empty.",
    ),
    "no scores": (
        lambda: hard_movement(0.5).view(KERNEL, {}),
        ValueError,
        "hard_movement(companions={}) is empty. Begin with init(params).",
    ),
    "integer": (
        lambda: soft_movement(0.0, select=jc.everything()).init({"w": jnp.ones((2, 2), int)}),
        TypeError,
        "soft_movement: leaf 'w' was asked for by name, but it has dtype int32",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name):
    call, error, message = REFUSED[name]
    with pytest.raises(error, match=re.escape(message)):
        call()
