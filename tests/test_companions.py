"""The laws of parameters that are trained beside the model's, over every technique."""

import re
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcompress as jc
from jaxcompress import prune
from jaxcompress.core.companions import Companion
from tests.inputs import on_device

RANDOM = np.random.default_rng(0)


def normal(*shape: int) -> jax.Array:
    return on_device(RANDOM.standard_normal(shape))


PARAMS = {"body": {"kernel": normal(4, 6), "bias": normal(6)}, "head": {"kernel": normal(6, 3)}}
# Wide enough for some gates to be 0.
MOVED = {"body/kernel": 3 * normal(4, 6), "head/kernel": 3 * normal(6, 3)}
PULLS = jax.tree.map(lambda leaf: normal(*leaf.shape), PARAMS)


class Case(NamedTuple):
    """A technique, and what becomes of a leaf w with the companion c, in NumPy."""

    technique: Companion
    shipped: Callable[[np.ndarray, np.ndarray], np.ndarray]


def lower_half_gone(w, c):
    return np.where(c > np.sort(c.ravel())[c.size // 2 - 1], w, 0)


def gated(w, c):
    return w * np.clip(1.2 / (1 + np.exp(-c)) - 0.1, 0, 1)


CASES = {
    "soft movement": Case(
        prune.companions.soft_movement(-0.5), lambda w, c: np.where(c > -0.5, w, 0)
    ),
    "hard movement": Case(prune.companions.hard_movement(0.5), lower_half_gone),
    "L0 gates": Case(prune.companions.l0_gates(), gated),
    "variational dropout": Case(
        prune.companions.variational_dropout(threshold=1.0),
        lambda w, c: np.where(c - np.log(w * w + 1e-16) <= 1.0, w, 0),
    ),
}


@pytest.fixture(params=CASES)
def case(request) -> Case:
    return CASES[request.param]


def seen(technique, params, companions, count, key):
    step = jc.Step(count, key)
    shown = technique.view(params, companions, step)
    pulled = sum(jax.tree.leaves(jax.tree.map(lambda a, b: jnp.sum(a * b), shown, PULLS)))
    return pulled + 0.1 * technique.penalty(params, companions), shown


def test_companions_begin_from_shapes_under_the_names_of_their_leaves(case):
    shapes = jax.eval_shape(lambda: PARAMS)
    begun = case.technique.init(PARAMS)
    assert list(begun) == list(MOVED)
    for name, leaf in jax.eval_shape(case.technique.init, shapes).items():
        assert (leaf.shape, leaf.dtype) == (begun[name].shape, begun[name].dtype)
        assert leaf.shape == jc.named_leaves(PARAMS)[name].shape


def test_one_trace_serves_all_steps_and_gradients_reach_both_trees(case):
    traces = []

    @jax.jit
    def step(params, companions, count, key):
        traces.append(count)
        loss = jax.value_and_grad(seen, (1, 2), has_aux=True)
        return loss(case.technique, params, companions, count, key)

    for count in range(2):
        (_, shown), grads = step(PARAMS, MOVED, count, jax.random.key(count))
    assert len(traces) == 1
    assert jax.tree.structure(shown) == jax.tree.structure(PARAMS)
    for before, after in zip(jax.tree.leaves(PARAMS), jax.tree.leaves(shown), strict=True):
        assert (before.shape, before.dtype) == (after.shape, after.dtype)
    np.testing.assert_array_equal(shown["body"]["bias"], PARAMS["body"]["bias"])
    for leaf in jax.tree.leaves(grads):
        assert np.isfinite(leaf).all()
        assert np.any(leaf != 0)
    eager = seen(case.technique, PARAMS, MOVED, 1, jax.random.key(1))[1]
    # Compiled, products are fused with sums.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=2**-20), shown, eager)


def test_what_is_shipped_is_a_plain_tree_and_equals_the_oracle(case):
    shipped = case.technique.freeze(PARAMS, MOVED)
    assert jax.tree.structure(shipped) == jax.tree.structure(PARAMS)
    leaves = jc.named_leaves(shipped)
    for name, leaf in jc.named_leaves(PARAMS).items():
        w = np.asarray(leaf, np.float64)
        expected = case.shipped(w, np.asarray(MOVED[name], np.float64)) if name in MOVED else w
        assert np.any(expected == 0) == (name in MOVED)
        # A sigmoid and a product, of numbers below 4.
        np.testing.assert_allclose(leaves[name], expected, rtol=0, atol=16 * 2**-23)
        np.testing.assert_array_equal(leaves[name] == 0, expected == 0)


def test_a_file_brings_both_trees_back(case, tmp_path):
    both = {"params": PARAMS, "companions": case.technique.init(PARAMS)}
    jc.storage.save(tmp_path / "both.safetensors", both)
    loaded = jc.storage.load(tmp_path / "both.safetensors")
    assert jax.tree.structure(loaded) == jax.tree.structure(both)
    jax.tree.map(np.testing.assert_array_equal, loaded, both)


def test_companions_have_an_optimizer_of_their_own(case):
    still, moving = optax.set_to_zero(), optax.sgd(0.1)
    both = PARAMS, MOVED

    def moved(first, second):
        optimizer = optax.partition({"params": first, "own": second}, ("params", "own"))
        grads = jax.tree.map(jnp.ones_like, both)
        return optax.apply_updates(both, optimizer.update(grads, optimizer.init(both))[0])

    by_one, by_other = moved(still, moving), moved(moving, still)
    jax.tree.map(np.testing.assert_array_equal, (by_one[0], by_other[1]), both)
    for before, after in zip(
        jax.tree.leaves(both), jax.tree.leaves((by_other[0], by_one[1])), strict=True
    ):
        np.testing.assert_allclose(after, before - 0.1, rtol=0, atol=2**-21)


def test_companions_of_other_params_are_refused(case):
    other = {"tail/kernel": MOVED["head/kernel"]}
    with pytest.raises(ValueError, match=re.escape("there is no leaf 'tail/kernel'. Leaves are:")):
        case.technique.freeze(PARAMS, other)
    with pytest.raises(ValueError, match=re.escape("(companions={}) is empty. Begin with init")):
        case.technique.freeze(PARAMS, {})
