"""Haiku functions as pure functions of one tree, and what a removal leaves of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc

hk = pytest.importorskip("haiku")
bridge = jc.bridges.haiku
KEY = jax.random.key(0)


def network(x, is_training):
    x = jax.nn.relu(hk.Linear(8)(x))
    if is_training:
        x = hk.dropout(hk.next_rng_key(), 0.5, x)
    return hk.Linear(2)(x)


def normed(x, is_training):
    x = hk.Linear(8)(x)
    return hk.Linear(2)(hk.BatchNorm(True, True, 0.9)(x, is_training))


def pair(transformed, x, make):
    first = transformed.init(KEY, x, is_training=True)
    modes = {"evaluation": {"is_training": False}, "training": {"is_training": True}}
    return make(transformed, *(first if isinstance(first, tuple) else (first,)), **modes)


def test_modes_are_the_functions_own(x):
    transformed = hk.transform(network)
    model = pair(transformed, x, bridge.functional)
    np.testing.assert_array_equal(
        model.fn(model.params, x), transformed.apply(model.params, None, x, is_training=False)
    )
    outputs, new = model.train_fn(model.params, x, key=KEY)
    other, _ = model.train_fn(model.params, x, key=jax.random.key(1))
    assert (outputs != other).any()
    assert new is model.restore(model.params) is model.params


def test_a_removal_and_compressed_leaves(x, quantized):
    model = pair(hk.transform(network), x, bridge.functional)
    half = jc.structure.amounts.fraction(0.5)
    removed = jc.structure.remove(
        model.fn, model.params, jc.structure.importance.magnitude(), x, cut=half
    )
    assert removed.params["linear"]["w"].shape == (3, 4)
    small = quantized(model.params)
    np.testing.assert_array_equal(model.fn(small, x), model.fn(jc.materialize(small), x))


def test_statistics_move_and_are_measured_again(x, batches):
    model = pair(hk.transform_with_state(normed), x, bridge.stateful)
    _, new = model.train_fn(model.params, x, key=KEY)
    assert jax.tree.structure(new) == jax.tree.structure(model.params)
    assert new["params"] is model.params["params"]
    params, state = model.restore(new)
    assert (params, state) == (new["params"], new["state"])
    norm = state["batch_norm/~/mean_ema"]["average"]
    hidden = x @ params["linear"]["w"] + params["linear"]["b"][None]
    np.testing.assert_allclose(norm, hidden.mean(0, keepdims=True), atol=1e-5)
    assert (jnp.abs(norm) > 0).any()


def test_a_function_without_a_key_is_refused(x):
    transformed = hk.without_apply_rng(hk.transform(lambda x: hk.Linear(2)(x)))
    with pytest.raises(ValueError, match=r"haiku.functional\(transformed=...\): .* no random key"):
        bridge.functional(transformed, transformed.init(KEY, x))
