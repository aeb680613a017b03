"""A recipe as a `Fit`: padding changes nothing, folds are one program."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcompress as jc
from tests.train import tasks

KEY = jax.random.key(3)


def fitted(steps, batch_size):
    # Shifts use the key of each step.
    def noisy(key, batch):
        x, labels = batch
        return x + 0.1 * jax.random.normal(key, x.shape, x.dtype), labels

    recipe = tasks.recipe(optax.adam(0.05), augment=noisy)

    def init(key):
        return jax.tree.map(lambda leaf: leaf.astype(float), tasks.initial(key))

    return jc.train.fitting(recipe, init, steps=steps, batch_size=batch_size)


@pytest.mark.parametrize("batch_size", [4, 9], ids=["several batches", "more than there are"])
def test_filler_rows_change_nothing(batch_size):
    with jax.enable_x64(True):
        x, labels = (
            array.astype(kind) for array, kind in zip(tasks.examples(7), (float, int), strict=True)
        )
        places = np.array([0, 2, 3, 5, 7, 8, 11])  # of the real rows among twelve
        padded, weights = (np.full((12, 4), 1e3), np.zeros(12, int)), np.zeros(12, np.float32)
        padded[0][places], padded[1][places], weights[places] = x, labels, 1
        fit = jax.jit(fitted(10, batch_size))
        found = fit(padded, weights, KEY)
        if batch_size == 4:
            alone = jax.jit(fitted(10, batch_size))((x, labels), np.ones(7, np.float32), KEY)
        else:
            # Each batch is all seven and two rows without weight.
            fewer = (np.concatenate([x, x[:2]]), np.concatenate([labels, labels[:2]]))
            alone = fit(fewer, (np.arange(9) < 7).astype(np.float32), KEY)
        for name in found:
            assert found[name].dtype == jnp.float64
            np.testing.assert_allclose(found[name], alone[name], rtol=0, atol=1e-12)


def test_folds_in_one_program_equal_runs_in_turn():
    data, fit = tasks.examples(12), fitted(10, 4)
    folds = jnp.asarray([[fold != row % 3 for row in range(12)] for fold in range(3)], jnp.float32)
    keys = jax.random.split(KEY, 3)
    together = jax.jit(jax.vmap(fit, (None, 0, 0)))(data, folds, keys)
    alone = jax.jit(fit)
    for fold in range(3):
        expected = alone(data, folds[fold], keys[fold])
        np.testing.assert_allclose(together["out"][fold], expected["out"], rtol=1e-4, atol=1e-5)


def test_it_is_the_steps_in_the_order_of_the_key():
    data, recipe = tasks.examples(10), tasks.recipe(optax.sgd(0.1))
    found = jax.jit(jc.train.fitting(recipe, tasks.initial, steps=5, batch_size=3))(
        data, np.ones(10, np.float32), KEY
    )
    init_key, key = jax.random.split(KEY)
    state = jc.train.steps.initial(recipe, tasks.initial(init_key), key)
    update = jax.jit(jc.train.steps.step(recipe))
    for index in jc.train.steps.order(key, jnp.arange(5), n=10, batch_size=3):
        state, _ = update(state, jax.tree.map(lambda array, index=index: array[index], data))
    np.testing.assert_allclose(found["out"], state.params["out"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((np.ones((0, 4)), np.ones(0)), r"fit\(examples\) holds no examples"),
        ((np.ones((5, 4)), np.ones(4)), r"arrays disagree on .*: 5 at '0', 4 at '1'"),
        ((np.ones((2, 4)), np.ones(2)), r"fitting\(batch_size=4\) is more than the 2 examples"),
    ],
)
def test_data_that_cannot_be_trained_on_are_refused(data, message):
    with pytest.raises(ValueError, match=message):
        fitted(1, 4)(data, jnp.ones(5), KEY)
    for wrong in ((), (np.ones((5, 4)), np.float32(1))):
        with pytest.raises(TypeError, match=r"fit\(examples=.* must be an array or a tree of"):
            fitted(1, 4)(wrong, jnp.ones(5), KEY)


def test_an_accelerator_can_run_it():
    traced = jax.jit(fitted(3, 4)).trace(tasks.examples(6), np.ones(6, np.float32), KEY)
    for platform in ("tpu", "cuda"):
        assert functools.partial(traced.lower, lowering_platforms=(platform,))().as_text()


def test_arrays_of_numpy_are_taken_outside_of_jit():
    """As cross-validation in turn does, also with fewer rows than a batch has."""
    fit, data = fitted(5, 4), tasks.examples(8)
    for count in (8, 2):
        weights = (np.arange(8) < count).astype(np.float32)
        expected = jax.jit(fit)(data, weights, KEY)
        jax.tree.map(np.testing.assert_array_equal, fit(data, weights, KEY), expected)
    with pytest.raises(ValueError, match=r"fit\(weights of 7, examples of 8\)"):
        fit(data, np.ones(7, np.float32), KEY)
