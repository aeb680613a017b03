"""Every optimizer of optax with its state in codes, beside itself with a plain one.

The optimizers are read from optax's modules, so that a new one is met when it comes.
"""

import functools
import inspect
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

import jaxcompress as jc
from jaxcompress.optimizers import dynamic8, linear4, quantize_state

RATE, STEPS, SHAPE, BLOCK = 0.01, 300, (8, 16), 32


@pytest.fixture(autouse=True)
def promotion_as_optax_needs_it():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


UNDECLARED = {
    "dog": contrib.dog,
    "dowg": contrib.dowg,
    "scale_by_factored_rms": optax.scale_by_factored_rms,
}
"""Transformations whose functions do not say what they return."""

BUILT = {
    "adadelta": optax.adadelta(1.0),
    "dadapt_adamw": contrib.dadapt_adamw(1.0),
    "ema": optax.chain(optax.ema(0.9), optax.scale(-RATE)),
    "lbfgs": optax.lbfgs(RATE, linesearch=None),
    "mechanize": contrib.mechanize(optax.adam(1.0)),
    "noisy_sgd": optax.noisy_sgd(RATE, key=0),
    "prodigy": contrib.prodigy(1.0),
    "rmsprop": optax.rmsprop(RATE, centered=True, momentum=0.9),
    "sam": optax.GradientTransformation(
        *contrib.sam(optax.adam(RATE), optax.chain(contrib.normalize(), optax.sgd(0.05)))
    ),
    "schedule_free": contrib.schedule_free(optax.adam(RATE), RATE),
    "sgd": optax.sgd(RATE, momentum=0.9),
    "trace": optax.chain(optax.trace(0.9), optax.scale(-RATE)),
}
"""Those that take more than a rate, and those that have a state only if asked to."""

_LEFT_OUT = """
    adaptive_grad_clip add_noise apply_if_finite chain clip clip_by_block_rms clip_by_global_norm
    conditionally_mask conditionally_transform differentially_private_aggregate dpsgd flatten
    freeze inject_hyperparams inject_stateful_hyperparams lookahead masked measure_with_ema monitor
    multi_transform named_chain partition scale scale_by_backtracking_linesearch scale_by_schedule
    scale_by_zoom_linesearch selective_transform snapshot split_real_and_imaginary stateless
    stateless_with_tree_map with_extra_args_support
"""
LEFT_OUT = frozenset(_LEFT_OUT.split())
"""What goes around optimizers, and what has arguments of its own and no large state."""


def functions() -> dict:
    """By name, every function of optax that gives a transformation."""
    found = dict(UNDECLARED)
    for module in (optax, contrib):
        for name, function in inspect.getmembers(module, inspect.isroutine):
            given = str(inspect.signature(function).return_annotation)
            if "GradientTransformation" in given and not name.startswith("_"):
                found[name] = function
    return {name: found[name] for name in sorted(set(found) - LEFT_OUT)}


def made(name: str, function) -> optax.GradientTransformation:
    if name in BUILT:
        return BUILT[name]
    if "learning_rate" in inspect.signature(function).parameters:
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            return function(learning_rate=RATE)
    return optax.chain(function(), optax.scale(-RATE))


def states_of(optimizer: optax.GradientTransformation) -> set[str]:
    """The classes of its states that hold arrays of the params' shape."""
    state = jax.eval_shape(optimizer.init, jax.ShapeDtypeStruct(SHAPE, jnp.float32))
    found, nodes = set(), [state]
    while nodes:
        node = nodes.pop()
        children = jax.tree.leaves(node, is_leaf=lambda below, node=node: below is not node)
        if any(getattr(child, "shape", None) == SHAPE for child in children):
            found.add(type(node).__name__)
        nodes += [child for child in children if child is not node]
    return found


def optimizers() -> dict[str, optax.GradientTransformation]:
    """All with a large state; of parts (`scale_by_adam`), those that no other holds."""
    every = {name: made(name, function) for name, function in functions().items()}
    large = {name: states_of(optimizer) for name, optimizer in every.items()}
    whole = {name for name in every if large[name] and not name.startswith("scale_by_")}
    met = set().union(*(large[name] for name in whole))
    return {name: every[name] for name in every if name in whole or large[name] - met}


OPTIMIZERS = optimizers()

KINDS = ("ordinary", "mostly empty", "huge", "denormal", "zero")
SIZES = np.array([1.0, 1.0, 1e12, 1e-41, 0.0], np.float32)
ROWS = 1
"""rows of a mostly empty gradient that are not 0"""

WITHIN = {
    # A sign turns with the last digit of what is near 0.
    "lion": 0.3,
    "signum": 0.3,
    "sophia": 0.3,
    "simplified_ademamix": 0.2,
    # Early gradients are divided by very few squares.
    "adopt": 0.2,
}
"""How far params may end from the plain run's, over its way, where not a tenth."""

UNSTABLE = {
    # The first gradient of an entry moves it by 1 / eps, in the plain run too.
    ("acprop", "mostly empty"),
    ("acprop", "huge"),
    # Steps grow with the size of the gradients, and overshoot.
    ("madgrad", "huge"),
}
"""Where the plain run is no measure, since its own last digits decide where it ends."""


@functools.cache
def noise() -> tuple[jax.Array, jax.Array]:
    """By step, noise (steps, 8, 16) and the rows (steps, 8, 1) that have a gradient.

    Drawn once for all optimizers: their programs compile faster without a generator.
    """

    def drawn(key):
        rows = jax.random.permutation(jax.random.fold_in(key, 1), SHAPE[0])
        return jax.random.normal(key, SHAPE), rows[:, None] < ROWS

    return jax.jit(jax.vmap(drawn))(jax.random.split(jax.random.key(1), STEPS))


def trained(optimizers, size, sparse, start, drawn):
    """(params, opt_state) of each optimizer after `STEPS` steps on the same noise."""
    optimizers = [optax.with_extra_args_support(optimizer) for optimizer in optimizers]

    def step(carries, drawn):
        shift, rows = drawn

        def loss(params):
            return size * jnp.sum(jnp.square(jnp.where(rows | ~sparse, params + shift, 0.0))) / 2

        after = []
        for optimizer, (params, opt_state) in zip(optimizers, carries, strict=True):
            value, grads = jax.value_and_grad(loss)(params)
            updates, opt_state = optimizer.update(
                grads, opt_state, params, value=value, obj_fn=loss
            )
            after.append((optax.apply_updates(params, updates), opt_state))
        return after, None

    begin = [(start, optimizer.init(start)) for optimizer in optimizers]
    return jax.lax.scan(step, begin, drawn)[0]


def far(params, others) -> np.ndarray:
    """For each kind of gradient, how far params are from others."""
    apart = np.asarray(params, np.float64) - np.asarray(others, np.float64)
    return np.linalg.norm(apart.reshape(len(apart), -1), axis=1)


EVERY = sorted(set(OPTIMIZERS) - {"lbfgs"})
SAME_MOMENTS = {"adamaxw", "adamw", "lamb", "lars", "optimistic_adam_v2", "radam", "trace"}
"""Their states hold what another's hold; only what they make of it differs."""
COARSE = {"adam", "cocob", "rmsprop", "scale_by_distance_over_gradients", "sm3", "sophia"}
FORMATS = [
    pytest.param(
        name,
        (dynamic8(BLOCK), linear4(BLOCK))[: 1 + (name in COARSE)],
        marks=[pytest.mark.slow] * (name in SAME_MOMENTS),
    )
    for name in EVERY
] + [
    pytest.param(name, (linear4(BLOCK),), marks=pytest.mark.slow)
    for name in EVERY
    if name not in COARSE
]


@pytest.mark.parametrize(
    ("name", "forms"),
    FORMATS,
    ids=lambda value: value if isinstance(value, str) else " and ".join(f.name for f in value),
)
def test_it_stays_finite_and_near_the_plain_run(name, forms):
    """Codes of 8 bits near, those of 4 at least finite; one program for all."""
    plain = OPTIMIZERS[name]
    start = jnp.asarray(0.1 * np.random.default_rng(0).standard_normal(SHAPE), jnp.float32)
    coded = [quantize_state(plain, form, select=jc.everything()) for form in forms]
    run = jax.jit(jax.vmap(functools.partial(trained, (plain, *coded)), in_axes=(0, 0, None, None)))
    (expected, _), *ends = run(SIZES, np.array(KINDS) == "mostly empty", start, noise())
    # What overflows or divides by 0 without codes may do so with them.
    measured = np.all(np.isfinite(expected), axis=(1, 2))
    measured &= [(name, kind) not in UNSTABLE for kind in KINDS]
    assert measured[0]
    assert measured.sum() >= 2
    moved = far(expected, start[None])[measured]
    for form, (reached, _) in zip(forms, ends, strict=True):
        assert np.all(np.isfinite(reached[measured]))
        apart = far(expected, reached)[measured]
        assert np.all(apart[moved == 0] == 0)
        if form.bits == 8:
            assert np.all(apart <= WITHIN.get(name, 0.1) * moved), apart / (moved + 1e-30)


_WITH_WEIGHTS = [
    "cocob",
    "dadapt_adamw",
    "dog",
    "dowg",
    "madgrad",
    "mechanize",
    "prodigy",
    "sam",
    "schedule_free",
]
# An older optax has no Madgrad.
WITH_WEIGHTS = [name for name in _WITH_WEIGHTS if name in OPTIMIZERS]


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_weights_in_a_state_move_no_param_that_has_no_gradient(name):
    """Beside a leaf that has one, since some of these take steps from all leaves."""
    optimizer = quantize_state(OPTIMIZERS[name], linear4(BLOCK), select=jc.everything())
    start = jnp.asarray(0.1 * np.random.default_rng(0).standard_normal(SHAPE), jnp.float32)
    params = {"moved": start, "still": start}

    @jax.jit
    def run(params):
        def step(carry, _):
            params, opt_state = carry
            grads = {"moved": params["moved"] - 1.0, "still": jnp.zeros(SHAPE)}
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), length=20)[0][0]

    after = run(params)
    # Weights are formed anew from those in the state: a rounding of the largest a step.
    roundings = 20 * 4 * np.finfo(np.float32).eps * np.abs(start).max()
    np.testing.assert_allclose(after["still"], start, rtol=0, atol=roundings)
    assert np.any(after["moved"] != start)


def test_lbfgs_compares_steps_and_is_refused():
    """With a line search `init` cannot see that it does, and `update` tells."""
    params = jnp.ones(SHAPE)
    message = r"copies the params to '0/params' of its state"
    with pytest.raises(ValueError, match=message):
        quantize_state(OPTIMIZERS["lbfgs"], select=jc.everything()).init(params)
    searching = quantize_state(optax.lbfgs(), select=jc.everything())
    opt_state = searching.init(params)
    with pytest.raises(ValueError, match=message):
        searching.update(params, opt_state, params, value=0.0, grad=params, value_fn=jnp.sum)


def in_numpy(params):
    return jax.tree.map(lambda leaf: np.zeros_like(np.asarray(leaf)), params)


def by_value(params):
    return jnp.zeros_like(params) if jnp.max(params) < 9 else params


def halved_late(updates, state, params=None):
    return (updates if state.sum() < 9 else updates / 2), state + 1


UNREADABLE = {
    "init in NumPy": (in_numpy, optax.identity().update),
    "init by value": (by_value, optax.identity().update),
    "update by value": (jnp.zeros_like, halved_late),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_optimizer_that_cannot_be_traced_is_named(name):
    optimizer = quantize_state(optax.GradientTransformation(*UNREADABLE[name]))
    params = jnp.ones((64, 64))
    with pytest.raises(TypeError, match=r"^quantize_state\(inner\): inner branches in Python"):
        optimizer.update(params, optimizer.init(params), params)


def test_every_transformation_of_optax_is_met():
    """Each is an optimizer here, holds no large state, or is a part of others."""
    met = set().union(*map(states_of, OPTIMIZERS.values()))
    for name, function in functions().items():
        if name not in OPTIMIZERS:
            assert states_of(made(name, function)) <= met, name
    assert len(EVERY) > 40
