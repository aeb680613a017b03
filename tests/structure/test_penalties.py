"""Penalties in training: what they add, exact zeros, and company in an optax chain."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcompress import optimizers, structure
from jaxcompress.core import penalties
from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.names import named_leaves
from jaxcompress.core.selectors import everything, matching
from tests.inputs import INT8, TREES, plain_dict, qtensor


class Case(NamedTuple):
    name: str
    transform: Callable
    """weight -> transformation"""
    changed: Callable
    """(param, update, weight) -> the new update of a penalised leaf, in float64"""
    select: Callable[[str], bool]


def unit(param):
    norm = np.linalg.norm(param, axis=0)
    return np.sqrt(len(param)) * param / np.where(norm > 0, norm, 1)


def landing(param, update, weight):
    """With a learning rate of 0.5."""
    target = param + update
    norm = np.linalg.norm(target, axis=0)
    cut = 0.5 * weight * np.sqrt(len(target))
    return target * np.maximum(0, 1 - cut / np.where(norm > 0, norm, 1)) - param


def is_kernel(name: str) -> bool:
    return name.endswith(("kernel", "0"))


CASES = [
    Case(
        "group_lasso", structure.penalties.group_lasso, lambda p, u, w: u + w * unit(p), is_kernel
    ),
    Case(
        "l1",
        lambda weight: optimizers.l1(weight, select=everything()),
        lambda p, u, w: u + w * np.sign(p),
        lambda name: True,
    ),
    Case(
        "proximal_group_lasso",
        lambda weight: structure.penalties.proximal_group_lasso(0.5, weight),
        landing,
        is_kernel,
    ),
]
every_penalty = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def updated(transform, updates, params):
    return transform.update(updates, transform.init(params), params)[0]


@every_penalty
@pytest.mark.parametrize("container", TREES)
def test_against_numpy_in_every_container(case, container):
    params = TREES[container]()
    updates = jax.tree.map(lambda x: 0.1 * jnp.cos(x), params)
    result = named_leaves(updated(case.transform(0.3), updates, params))
    for (name, param), update in zip(
        named_leaves(params).items(), jax.tree.leaves(updates), strict=True
    ):
        expected = np.asarray(update, np.float64)
        if case.select(name) and (case.name == "l1" or param.ndim > 1):
            expected = case.changed(np.asarray(param, np.float64), expected, 0.3)
        assert result[name].shape == param.shape
        np.testing.assert_allclose(result[name], expected, rtol=0, atol=1e-6)


@every_penalty
def test_a_weight_of_zero_changes_nothing(case):
    params = plain_dict()
    updates = jax.tree.map(jnp.cos, params)
    same = updated(case.transform(0.0), updates, params)
    # The proximal step forms the sum and takes the parameter away again.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-6), same, updates)


def step_of(optimizer):
    traces = []

    @jax.jit
    def step(params, opt_state):
        traces.append(None)
        grads = jax.tree.map(lambda x: 0.1 * jnp.sin(x), params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    return step, traces


def wrapped(case: Case) -> dict[str, Callable]:
    first = case.name != "proximal_group_lasso"

    def chained(penalty):
        return optax.chain(*([penalty, optax.sgd(0.5)] if first else [optax.sgd(0.5), penalty]))

    return {
        "chain": lambda: chained(case.transform(0.1)),
        "masked": lambda: chained(
            optax.masked(case.transform(0.1), lambda p: jax.tree.map(lambda x: x.ndim > 1, p))
        ),
        "inject_hyperparams": lambda: optax.inject_hyperparams(
            lambda weight: chained(case.transform(weight))
        )(weight=0.1),
        "scheduled": lambda: optax.inject_hyperparams(
            lambda weight: chained(case.transform(weight))
        )(weight=optax.linear_schedule(0.0, 0.1, 10)),
        "MultiSteps": lambda: optax.MultiSteps(chained(case.transform(0.1)), 2),
    }


@every_penalty
@pytest.mark.parametrize("wrapping", wrapped(CASES[0]))
def test_one_trace_and_a_state_of_one_form(case, wrapping):
    optimizer = wrapped(case)[wrapping]()
    params = plain_dict()
    with jax.numpy_dtype_promotion("standard"):
        opt_state = optimizer.init(params)
        step, traces = step_of(optimizer)
        for _ in range(3):
            before = jax.tree.map(lambda x: (jnp.shape(x), jnp.result_type(x)), opt_state)
            params, opt_state = step(params, opt_state)
            assert jax.tree.map(lambda x: (jnp.shape(x), jnp.result_type(x)), opt_state) == before
    assert len(traces) == 1
    assert all(bool(jnp.all(jnp.isfinite(x))) for x in jax.tree.leaves(params))


@every_penalty
def test_groups_shrink_in_training(case):
    """Gradients of nothing else: the penalised norms fall."""
    params = plain_dict()
    transform = case.transform(0.1)
    proximal = case.name == "proximal_group_lasso"
    parts = [optax.sgd(0.05), transform] if proximal else [transform, optax.sgd(0.05)]
    optimizer = optax.chain(*parts)
    opt_state = optimizer.init(params)

    @jax.jit
    def run(params, opt_state):
        def step(carry, _):
            params, opt_state = carry
            grads = jax.tree.map(jnp.zeros_like, params)
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), None

        return jax.lax.scan(step, (params, opt_state), length=20)[0]

    trained, _ = run(params, opt_state)
    for name in ("first", "second"):
        assert jnp.linalg.norm(trained[name]["kernel"]) < jnp.linalg.norm(params[name]["kernel"])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16], ids=str)
def test_small_units_are_exactly_zero_after_the_step(dtype):
    random = np.random.default_rng(0)
    kernel = random.standard_normal((40, 6)) * np.array([1e-3, 1, 1e-2, 1, 0, 1])
    params = {"kernel": jnp.asarray(kernel, dtype)}
    optimizer = optax.chain(optax.sgd(0.1), structure.penalties.proximal_group_lasso(0.1, 0.5))
    grads = {"kernel": jnp.asarray(1e-3 * random.standard_normal((40, 6)), dtype)}
    updates = updated(optimizer, grads, params)
    after = optax.apply_updates(params, updates)["kernel"]
    assert after.dtype == dtype
    silent = jnp.all(after == 0, axis=0)
    assert silent.tolist() == [True, False, True, False, True, False]
    wide = np.asarray(params["kernel"], np.float64) - 0.1 * np.asarray(grads["kernel"], np.float64)
    expected = np.asarray(penalties.shrink_groups(jnp.asarray(wide, jnp.float32), 0.05, (0,)))
    # The update is what SGD rounds to the dtype, and the sum rounds to it again.
    eps = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(np.asarray(after, np.float32), expected, rtol=0, atol=8 * eps)


def test_the_learning_rate_may_be_a_schedule():
    params = {"kernel": jnp.ones((4, 2))}
    transform = structure.penalties.proximal_group_lasso(optax.linear_schedule(0.0, 1.0, 10), 0.5)
    state = transform.init(params)
    zero = jax.tree.map(jnp.zeros_like, params)
    for count in range(3):
        updates, state = transform.update(zero, state, params)
        # Rate count / 10, weight 0.5, sqrt(4) entries against a norm of 2.
        np.testing.assert_allclose(updates["kernel"], -0.05 * count * np.ones((4, 2)), atol=1e-6)
    assert int(state.count) == 3


def test_axes_say_what_a_unit_is():
    kernel = jnp.arange(1.0, 13.0).reshape(2, 3, 2)
    axes = {"a": LeafAxes((2,), (1,), (0,)), "b": LeafAxes((0,), (1, 2))}
    params = {"a": kernel, "b": kernel}
    zero = jax.tree.map(jnp.zeros_like, params)
    updates = updated(structure.penalties.group_lasso(1.0, axes=axes), zero, params)
    for name, within in (("a", 2), ("b", 0)):
        expected = 2**0.5 * kernel / np.linalg.norm(kernel, axis=within, keepdims=True)
        np.testing.assert_allclose(updates[name], expected, rtol=1e-6)


def test_the_penalty_is_the_gradient_of_the_group_lasso():
    params = plain_dict()

    def loss(params):
        return sum(penalties.group_lasso(layer["kernel"], (0,)) for layer in params.values())

    zero = jax.tree.map(jnp.zeros_like, params)
    expected = jax.grad(lambda params: 0.3 * loss(params))(params)
    actual = updated(structure.penalties.group_lasso(0.3), zero, params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-6), actual, expected)


QUANTIZED = {"kernel": qtensor(INT8, (5, 8), (5, 1), LeafAxes((0,), (1,)))}
BUILDERS = {
    "group_lasso": lambda weight, select: structure.penalties.group_lasso(weight, select=select),
    "proximal_group_lasso": lambda weight, select: structure.penalties.proximal_group_lasso(
        0.1, weight, select=select
    ),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_what_cannot_be_penalised_is_refused(name):
    build = BUILDERS[name]
    with pytest.raises(ValueError, match=rf"{name}\(weight=-1.0\) must be finite and at least 0"):
        build(-1.0, everything())
    with pytest.raises(ValueError, match=r"matching\('norm'\) selects no leaf"):
        build(0.1, matching("norm")).init(plain_dict())
    with pytest.raises(ValueError, match=rf"{name}\(...\).update\(.*\) needs the params"):
        build(0.1, everything()).update(plain_dict(), optax.EmptyState())
    with pytest.raises(TypeError, match=rf"{name}: leaf 'a' has dtype int32"):
        build(0.1, everything()).init({"a": jnp.ones((2, 2), int)})
    with pytest.raises(TypeError, match=rf"{name}: leaf 'kernel' is QTensor"):
        build(0.1, everything()).init(QUANTIZED)


@pytest.mark.parametrize("name", ["group_lasso", "proximal_group_lasso"])
def test_a_leaf_without_units_is_refused(name):
    with pytest.raises(
        ValueError, match=rf"{name}: leaf 'bias' of shape \(3,\) has no output units"
    ):
        BUILDERS[name](0.1, everything()).init({"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)})
