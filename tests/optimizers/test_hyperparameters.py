"""The law that numbers of NumPy and JAX, traced ones and schedules are numbers too."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.optimizers.factories import (
    ARGUMENTS,
    FACTORIES,
    NO_OPTIMIZERS,
    PARAMS,
    SHAPES,
    built,
    extra_arguments,
    numbers,
    required,
)

RATES = [pair for pair in ARGUMENTS if pair[1].endswith("learning_rate")]


def outline_of_updates(name, optimizer):
    """Shapes and dtypes of what a jitted update gives."""
    opt_state = optimizer.init(PARAMS)
    extra = extra_arguments(name)
    outline, after = jax.eval_shape(
        lambda *given: optimizer.update(*given, **extra), PARAMS, opt_state, PARAMS
    )
    assert jax.tree.structure(after) == jax.tree.structure(opt_state)
    return outline


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
def test_numbers_of_numpy_and_jax_and_traced_ones_are_accepted(name, argument):
    value = numbers(name)[argument]
    for dtype in (np.int32, np.uint16) if isinstance(value, int) else (np.float32, np.float64):
        built(name, **{argument: dtype(value)})
    if argument not in SHAPES:
        array = jnp.asarray(value)
        built(name, **{argument: array})
        jax.eval_shape(lambda number: (built(name, **{argument: number}), None)[1], array)


@pytest.mark.parametrize("name", sorted(set(FACTORIES) - NO_OPTIMIZERS))
def test_every_number_may_be_injected_into_a_jitted_step(name):
    numeric = {each: value for each, value in numbers(name).items() if each not in SHAPES}
    static = set(inspect.signature(FACTORIES[name]).parameters) - numeric.keys()
    injected = optax.inject_hyperparams(FACTORIES[name], tuple(static))
    optimizer = injected(**required(name) | numeric)
    assert outline_of_updates(name, optimizer) == outline_of_updates(name, built(name))


@pytest.mark.parametrize(("name", "argument"), RATES)
def test_a_rate_may_be_a_schedule_injected_or_not(name, argument):
    rate = optax.linear_schedule(0.1, 0.0, 10)
    outline = outline_of_updates(name, built(name, **{argument: rate}))
    static = set(inspect.signature(FACTORIES[name]).parameters) - {argument}
    injected = optax.inject_hyperparams(FACTORIES[name], tuple(static))
    optimizer = injected(**required(name) | {argument: rate})
    assert outline_of_updates(name, optimizer) == outline
