"""Laws over what goes with what: zeros after every step, exact counts, one trace.

A criterion, pattern, allocation and schedule are picked by traced numbers, so that all
combinations are one program. Which weights go is the matter of each family's own tests.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxcompress as jc
from jaxcompress import optimizers, prune
from jaxcompress.core.axes import LeafAxes
from jaxcompress.prune.criterion import Criterion
from tests.inputs import TREES
from tests.prune.families.allocations import ALLOCATIONS
from tests.prune.families.criteria import CRITERIA
from tests.prune.families.patterns import PATTERNS, exact_count

STEPS = 8
AXES = {
    "matrix": LeafAxes((0,), (1,)),
    "heads": LeafAxes((1,), (2, 3), (0,)),
    "bias": LeafAxes((), (), primitive=""),
}


def values(*shape, seed, dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


PARAMS = {
    "matrix": values(8, 8, seed=1),
    "heads": values(2, 8, 2, 4, seed=2, dtype=jnp.bfloat16),
    "bias": values(8, seed=3, dtype=jnp.float16),
}
X = values(6, 8, seed=4)


def model(params, x):
    return jnp.einsum("bd,ldhk->blhk", x @ params["matrix"], params["heads"].astype(x.dtype))


SCHEDULES = {
    "constant": lambda step: jnp.float32(0.5),
    "cubic": jc.schedules.cubic(0.0, 0.8, begin=0, end=6),
    "linear": optax.linear_schedule(0.1, 0.7, 6),
    "cosine": lambda step: 0.6 - optax.cosine_decay_schedule(0.6, 6)(step),
    "cyclic": jc.schedules.cyclic(0.5, dense=2, sparse=2, end=6),
}


def combinations() -> np.ndarray:
    """(pattern, allocation, schedule, criterion) numbers, (110, 4)."""
    pairs = [(p, c) for p in range(len(PATTERNS)) for c in range(len(CRITERIA))]
    return np.array(
        [(p, (p + c) % len(ALLOCATIONS), (2 * p + c) % len(SCHEDULES), c) for p, c in pairs]
    )


def picked(functions: list[Callable], number) -> Callable:
    return lambda *args: jax.lax.switch(number, functions, *args)


def picked_pattern(number) -> prune.patterns.Pattern:
    def pattern(scores, sparsity, leaf_axes):
        def branch(one):
            return lambda scores, sparsity: one.pattern(scores, sparsity, leaf_axes)

        return picked([branch(one) for one in PATTERNS.values()], number)(scores, sparsity)

    return pattern


def picked_allocation(number) -> prune.allocations.Allocation:
    def allocation(scores, axes, sparsity):
        def branch(one):
            def shares(scores, sparsity):
                found = one.make(tuple(scores))(scores, axes, sparsity)
                return {name: by_slice(found[name], name, scores[name]) for name in scores}

            return shares

        def by_slice(share, name, score):
            sizes = [n if i in axes[name].batch else 1 for i, n in enumerate(score.shape)]
            share = jnp.asarray(share, jnp.float32)
            return jnp.broadcast_to(share.reshape(share.shape or [1] * score.ndim), sizes)

        return picked([branch(one) for one in ALLOCATIONS.values()], number)(scores, sparsity)

    return allocation


def picked_criterion(criteria: list[Criterion], number) -> Criterion:
    """All of them watch, one scores."""

    def update(grads, states, params):
        return [
            each.update(grads, state, params) for each, state in zip(criteria, states, strict=True)
        ]

    def score(states, params):
        scores = [
            lambda states, params, i=i, each=each: each.score(states[i], params)
            for i, each in enumerate(criteria)
        ]
        return picked(scores, number)(states, params)

    return Criterion(lambda params: [each.init(params) for each in criteria], update, score)


def gradients(params, step):
    """Dense, of no particular meaning, different at each step, never zero."""
    return jax.tree.map(lambda leaf: jnp.cos(3 * leaf + step.astype(leaf.dtype)) + 1.5, params)


def train(optimizer, params, steps=STEPS):
    """((params, opt_state), (params, masks) after each step), by one scan."""

    def step(carry, count):
        params, opt_state = carry
        updates, opt_state = optimizer.update(gradients(params, count), opt_state, params)
        params = optax.apply_updates(params, updates)
        return (params, opt_state), (params, prune.masks_of(opt_state))

    return jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(steps))


@functools.cache
def all_combinations():
    """(params, masks, leaked) of every combination and step, as NumPy arrays."""
    criteria = [row.make(PARAMS, model, X) for row in CRITERIA.values()]

    def one(numbers):
        pattern, allocation, schedule, criterion = numbers
        optimizer = prune.prune(
            optax.adam(0.01),
            picked_criterion(criteria, criterion),
            prune.Target(
                picked(list(SCHEDULES.values()), schedule),
                picked_pattern(pattern),
                allocate=picked_allocation(allocation),
                axes=AXES,
            ),
            when=jc.schedules.every(2),
        )
        (_, opt_state), (params, masks) = train(optimizer, PARAMS)
        return params, masks, optax.tree.get(opt_state, "leaked")

    run = jax.jit(lambda numbers: jax.lax.map(one, numbers))
    return jax.tree.map(np.asarray, run(jnp.asarray(combinations())))


def test_every_pair_of_families_meets():
    patterns, allocations, schedules, criteria = combinations().T
    for first, second in (
        (patterns, allocations),
        (patterns, schedules),
        (allocations, schedules),
        (patterns, criteria),
        (allocations, criteria),
    ):
        pairs = set(zip(first.tolist(), second.tolist(), strict=True))
        assert len(pairs) == len(set(first.tolist())) * len(set(second.tolist()))


def test_weights_outside_the_mask_are_zero_after_every_step():
    params, masks, leaked = all_combinations()
    for name in PARAMS:
        assert params[name].dtype == PARAMS[name].dtype
        np.testing.assert_array_equal(
            params[name] != 0,
            np.broadcast_to(
                masks[name].reshape(
                    masks[name].shape + (1,) * (params[name].ndim - masks[name].ndim)
                ),
                params[name].shape,
            ),
        )
    assert not np.any(leaked)


@functools.cache
def possible(pattern: str, name: str) -> set[int]:
    """The counts that a pattern can drop of one slice of a leaf."""
    _, outputs, inputs = canonical(name)
    size = math.prod(outputs) * inputs
    return {PATTERNS[pattern].dropped(outputs, inputs, k / size) for k in range(size + 1)}


def canonical(name: str) -> tuple[int, tuple[int, ...], int]:
    """How many matrices a leaf has, of which outputs and inputs."""
    axes, shape = AXES[name], PARAMS[name].shape
    batch, outputs, inputs = (
        tuple(shape[i] for i in each) for each in (axes.batch, axes.output, axes.contracting)
    )
    return math.prod(batch), outputs, math.prod(inputs)


def dropped_of_slices(pattern: str, name: str, sparsity: float) -> list[int]:
    """What one sparsity drops of every slice of a leaf."""
    slices, outputs, inputs = canonical(name)
    pieces = PATTERNS[pattern].pieces(outputs, inputs)
    shares = [sparsity] * slices
    if pieces:
        each, more = divmod(exact_count(sparsity, slices * pieces), slices)
        shares = [(each + (place < more)) / pieces for place in range(slices)]
    return [PATTERNS[pattern].dropped(outputs, inputs, share) for share in shares]


def test_counts_are_exact():
    _, masks, _ = all_combinations()
    names = [name for name in PARAMS if AXES[name].meets_data]
    size = sum(PARAMS[name].size for name in names)
    for row, numbers in enumerate(combinations()):
        pattern, allocation, schedule = (
            list(family)[i]
            for family, i in zip((PATTERNS, ALLOCATIONS, SCHEDULES), numbers[:3], strict=True)
        )
        for step in range(0, STEPS, 2):
            sparsity, gone = float(SCHEDULES[schedule](step)), 0
            for name in names:
                slices, *_ = canonical(name)
                now, later = masks[name][row, step : step + 2]
                np.testing.assert_array_equal(now, later)
                removed = np.sum(~now.reshape(slices, -1), axis=1).tolist()
                assert possible(pattern, name).issuperset(removed)
                if allocation == "uniform":
                    assert removed == dropped_of_slices(pattern, name, sparsity)
                gone += sum(removed)
            if ALLOCATIONS[allocation].total and pattern == "unstructured":
                # Each of two leaves rounds by itself, and shares are float32.
                assert abs(gone - sparsity * size) <= 1 + 1e-3


# Of each kind of state; optax's optimizers are crossed in `test_transform`.
OPTIMIZERS = {
    "sgd": optimizers.sgd(0.01),
    "adam": optimizers.adam(0.01),
    "adamw": optimizers.adamw(0.01, weight_decay=0.1),
    "amsgrad": optimizers.amsgrad(0.01),
    "nadam": optimizers.nadam(0.01),
    "lion": optimizers.lion(0.01),
    "adagrad": optimizers.adagrad(0.01),
    "rmsprop": optimizers.rmsprop(0.01),
    "muon": optimizers.muon(0.01),
    "adafactor": optimizers.adafactor(0.01),
    "adam-mini": optimizers.adam_mini(0.01),
    "lookahead": optimizers.lookahead(optimizers.adam(0.01)),
    "schedule-free": optimizers.schedule_free_adamw(0.01),
    "state in codes": optimizers.quantize_state(optimizers.adam(0.01), select=jc.everything()),
    "means": optimizers.averaged(optimizers.adam(0.01)),
}
CUBIC = jc.schedules.cubic(0.0, 0.75, begin=0, end=6)
DTYPES = (jnp.float32, jnp.bfloat16, jnp.float16)


def sparser(inner, params):
    del params
    return prune.prune(inner, prune.criteria.magnitude(), CUBIC, when=jc.schedules.every(2))


def moving(inner, params):
    growth, when = prune.criteria.gradient_momentum(0.0), jc.schedules.every(2, begin=1)
    return prune.regrow(inner, growth, half_of(params), when=when)


def half_of(params):
    return jax.tree.map(lambda leaf: jnp.arange(leaf.size).reshape(leaf.shape) % 2 == 0, params)


class Wrapper(NamedTuple):
    """What keeps weights at 0, with which optimizers, and how many are gone when."""

    wrap: Callable
    names: list[str]
    removed: Callable[[int], int]


# Between two moves `regrow` updates as `prune` and `hold` do.
WRAPPERS = {
    "prune": Wrapper(
        sparser,
        list(OPTIMIZERS),
        lambda step: exact_count(float(jnp.asarray(CUBIC(step // 2 * 2))), 64),
    ),
    "regrow": Wrapper(moving, ["adam", "muon", "lookahead"], lambda step: 32),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_every_optimizer_leaves_zeros(name):
    """One program, another dtype for each optimizer in turn."""
    wrap, names, removed = WRAPPERS[name]
    params = {
        each: values(8, 8, seed=place, dtype=DTYPES[place % 3]) for place, each in enumerate(names)
    }
    labels = {each: each for each in names}
    inner = optax.partition({each: OPTIMIZERS[each] for each in names}, labels)
    run = jax.jit(functools.partial(train, wrap(inner, params)))
    (_, opt_state), (history, masks) = run(params)
    prune.check(opt_state)
    for each, leaf in history.items():
        assert leaf.dtype == params[each].dtype
        assert bool(jnp.all(jnp.isfinite(leaf)))
        assert not bool(jnp.any((leaf != 0) & ~masks[each]))
        gone = jnp.sum(~masks[each], axis=(1, 2)).tolist()
        assert gone == [removed(step) for step in range(STEPS)]


@pytest.mark.parametrize("name", TREES)
def test_every_container_keeps_the_form_of_its_state(name):
    params = TREES[name]()
    masks = jax.tree.map(lambda leaf: jnp.ones((leaf.shape if leaf.ndim > 1 else ()), bool), params)
    growth = prune.Growth(prune.criteria.gradient_momentum(), share=prune.shares.by_mean_score)
    for optimizer in (
        prune.prune(
            optax.adam(0.1),
            prune.criteria.movement(),
            prune.Target(0.5, allocate=prune.allocations.lamp),
        ),
        prune.regrow(optax.adam(0.1), growth, masks),
        prune.hold(optax.adam(0.1), masks),
    ):
        before = jax.eval_shape(optimizer.init, params)
        updates, after = jax.eval_shape(optimizer.update, params, before, params)
        assert jax.tree.structure((before, params)) == jax.tree.structure((after, updates))
        assert jax.tree.leaves(before) == jax.tree.leaves(after)
        assert jax.tree.structure(prune.masks_of(after)) == jax.tree.structure(params)


KERNELS = {"heads": PARAMS["heads"]}
SHARDED = {
    "2:4": prune.prune(
        optimizers.adamw(0.01),
        prune.criteria.movement(),
        prune.Target(
            SCHEDULES["cubic"],
            prune.patterns.n_of_m(2, 4),
            allocate=prune.allocations.outliers(2.0),
            axes=AXES,
        ),
        when=jc.schedules.every(2),
    ),
    "held": prune.hold(optimizers.lion(0.01), half_of(KERNELS)),
}


@jax.jit
def sharded_runs(params):
    return {name: train(optimizer, params)[1] for name, optimizer in SHARDED.items()}


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_eight_devices_leave_the_same_weights(mesh, axis_type):
    devices = mesh(rows=2, columns=4, axis_type=axis_type)
    sharding = NamedSharding(devices, P(None, "rows", None, "columns"))
    with jax.set_mesh(devices):
        results = sharded_runs(jax.device_put(KERNELS, sharding))
    for run, (history, masks) in sharded_runs(KERNELS).items():
        np.testing.assert_array_equal(history["heads"] != 0, masks["heads"])
        for one, eight in zip((history, masks), results[run], strict=True):
            np.testing.assert_array_equal(eight["heads"] != 0, one["heads"] != 0)
