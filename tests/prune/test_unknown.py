"""Nothing known is no score: what has seen nothing, NaN and numbers that cannot be."""

import functools
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcompress as jc
from jaxcompress import prune
from jaxcompress.prune.criterion import Criterion
from tests.prune.families.criteria import CRITERIA

NAN = float("nan")
PARAMS = {"kernel": jnp.array([[4.0, 1.0], [3.0, 2.0]])}
GRADS = {"kernel": jnp.ones((2, 2))}
X, LABELS = jnp.ones((3, 2)), jnp.zeros((3, 2))


def model(params, x):
    return x @ params["kernel"]


def loss(outputs, labels):
    return jnp.sum((outputs - labels) ** 2, axis=-1)


def criterion_of(name: str) -> Criterion:
    return CRITERIA[name].make(PARAMS, model, X)


WATCHING = [name for name, row in CRITERIA.items() if row.watches]
# Every verb that prunes at once by a criterion.
VERBS: dict[str, Callable] = {
    "one_shot": lambda criterion: prune.one_shot(PARAMS, criterion, 0.5),
    "masks": lambda criterion: prune.masks(PARAMS, criterion, 0.5),
    "sensitivity": lambda criterion: prune.sensitivity(
        model, PARAMS, loss, [(X, LABELS)], criterion, [0.5]
    ),
    "iterative": lambda criterion: prune.iterative(
        PARAMS, criterion, [0.5], train=lambda params, masks, turn: params
    ),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", CRITERIA)
def test_a_criterion_that_needs_gradients_is_refused_without(name, verb):
    criterion = criterion_of(name)
    if name in WATCHING:
        message = f"{name}() has seen no gradient, so it has no scores. Outside training give it "
        with pytest.raises(ValueError, match=re.escape(message)):
            VERBS[verb](criterion)
    VERBS[verb](prune.criteria.informed(criterion, [GRADS]))


@pytest.mark.parametrize("name", WATCHING)
def test_a_gradient_that_is_not_finite_is_left_out_and_no_score_is_nan_without_one(name):
    criterion = criterion_of(name)
    scores = jax.jit(lambda params: criterion.score(criterion.init(params), params))(PARAMS)
    assert bool(jnp.all(jnp.isnan(scores["kernel"])))
    bad = {"kernel": jnp.array([[NAN, 1.0], [jnp.inf, 1.0]])}
    state = criterion.update(GRADS, criterion.init(PARAMS), PARAMS)
    after = criterion.update(bad, state, PARAMS)
    before, now = state.sums["kernel"], after.sums["kernel"]
    np.testing.assert_array_equal(now[:, 0], before[:, 0])
    assert bool(jnp.all(now[:, 1] != before[:, 1]))


@pytest.mark.parametrize("name", WATCHING)
def test_sums_stay_finite_where_squares_overflow_or_a_weight_is_not_finite(name):
    criterion = criterion_of(name)
    large = {"kernel": jnp.array([[1e38, 1.0], [-1e38, 1.0]])}
    weights = {"kernel": jnp.array([[1e3, 1.0], [NAN, 1.0]])}
    state = criterion.update(GRADS, criterion.init(PARAMS), PARAMS)
    after = criterion.update(large, state, weights)
    assert bool(jnp.all(jnp.isfinite(after.sums["kernel"])))
    assert bool(jnp.all(after.sums["kernel"][:, 1] != state.sums["kernel"][:, 1]))


def scored(value: float) -> Criterion:
    """Magnitude, and `value` for the last weight."""
    return Criterion(
        lambda params: (),
        lambda grads, state, params: state,
        lambda state, params: {"kernel": jnp.abs(params["kernel"]).at[-1, -1].set(value)},
    )


EVERY = jc.schedules.every(1)
HALF = {"kernel": jnp.array([[True, True], [False, False]])}
# What finds new masks with NaN at the second step.
UNKNOWN: dict[str, Callable] = {
    "a score": lambda: prune.prune(optax.sgd(0.1), scored(NAN), 0.5, when=EVERY),
    "a sparsity": lambda: prune.prune(
        optax.sgd(0.1),
        prune.criteria.magnitude(),
        lambda count: jnp.where(jnp.greater(count, 0), NAN, 0.5),
        when=EVERY,
    ),
    "a score of growth": lambda: prune.regrow(optax.sgd(0.1), scored(NAN), HALF, when=EVERY),
    "a fraction": lambda: prune.regrow(
        optax.sgd(0.1),
        prune.Growth(
            prune.criteria.magnitude(), lambda count: jnp.where(jnp.greater(count, 0), NAN, 0.0)
        ),
        HALF,
        when=EVERY,
    ),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_masks_stay_where_nothing_is_known_and_check_tells(name):
    optimizer = UNKNOWN[name]()
    update = jax.jit(optimizer.update)
    params = prune.apply(HALF, PARAMS) if "growth" in name or "fraction" in name else PARAMS
    _, first = update(GRADS, optimizer.init(params), params)
    _, second = update(GRADS, first, prune.apply(prune.masks_of(first), params))
    jax.tree.map(np.testing.assert_array_equal, prune.masks_of(second), prune.masks_of(first))
    with pytest.raises(ValueError, match=r"check\(opt_state\): masks stayed as they were at "):
        prune.check(second)


def test_a_nan_gradient_under_a_guard_does_not_end_pruning():
    """The criterion skips what the guard inside skips, and goes on."""
    inner = jc.optimizers.skip_nonfinite(optax.sgd(0.1))
    sparsity = optax.linear_schedule(0.0, 0.75, 3)
    optimizer = prune.prune(inner, prune.criteria.saliency(), sparsity, when=EVERY)
    params, state, update = PARAMS, optimizer.init(PARAMS), jax.jit(optimizer.update)
    for step in range(4):
        grads = {"kernel": jnp.where(step == 1, NAN, GRADS["kernel"])}
        updates, state = update(grads, state, params)
        params = optax.apply_updates(params, updates)
    prune.check(state)
    (kernel,) = jax.tree.leaves(params)
    np.testing.assert_array_equal(kernel != 0, [[True, False], [False, False]])


EMPTY = (jnp.ones((0, 2)), jnp.ones((0, 2)))
ON_DATA: dict[str, Callable] = {
    "wanda": lambda batches: prune.criteria.wanda(model, PARAMS, (batch[:1] for batch in batches)),
    "snip": lambda batches: prune.criteria.snip(model, PARAMS, loss, batches),
    "grasp": lambda batches: prune.criteria.grasp(model, PARAMS, loss, batches),
    "sensitivity": lambda batches: prune.sensitivity(
        model, PARAMS, loss, batches, prune.criteria.magnitude()
    ),
    "reconstruct": lambda batches: prune.reconstruct(
        model, PARAMS, (batch[:1] for batch in batches), prune.solvers.sparsegpt(), 0.5
    ),
    "woodfisher": lambda batches: prune.woodfisher(model, PARAMS, loss, batches, 0.5),
}


@pytest.mark.parametrize("name", ON_DATA)
def test_no_batch_and_an_empty_one_are_refused(name):
    with pytest.raises(ValueError, match=rf"{name}\(batches=\[\]\) holds no batch"):
        ON_DATA[name]([])
    with pytest.raises(ValueError, match=rf"{name}\(batches\): batch 1 holds no example"):
        ON_DATA[name]([(X, LABELS), EMPTY])


@pytest.mark.parametrize("name", ON_DATA)
def test_batches_from_a_generator_are_those_of_a_list(name):
    """They are gone through more than once, which uses a generator up."""
    noise = 0.1 * jax.random.normal(jax.random.key(0), X.shape)
    batches = [(noise, LABELS), (noise[::-1] ** 2, LABELS)]
    found, expected = ON_DATA[name](iter(batches)), ON_DATA[name](batches)
    if hasattr(found, "score"):
        found, expected = found.score((), PARAMS), expected.score((), PARAMS)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("batches", [X, np.asarray(X), {"x": X}, None, "x"], ids=type)
def test_what_is_no_list_of_batches_is_refused(batches):
    with pytest.raises(TypeError, match=r"reconstruct\(batches=...\) is a \w+, no list of batches"):
        prune.reconstruct(model, PARAMS, batches, prune.solvers.sparsegpt(), 0.5)


def curves(*rises: float) -> prune.allocations.Sensitivity:
    return prune.allocations.Sensitivity((0.5, 1.0), {"kernel": rises})


SPARE = functools.partial(prune.views.by_magnitude, 0.5)
SGD = optax.sgd(0.1)
# By factory and argument: whole numbers, then those that are finite and in their range.
COUNTS: dict[str, Callable] = {
    "within_groups(size": lambda n: prune.patterns.within_groups(n),
    "n_of_m(n": lambda n: prune.patterns.n_of_m(n, 4),
    "n_of_m(m": lambda n: prune.patterns.n_of_m(1, n),
    "padded(multiple": lambda n: prune.patterns.padded(prune.patterns.unstructured, n),
    "blocks(shape[0]": lambda n: prune.patterns.blocks((n, 1)),
    "blocks(shape[1]": lambda n: prune.patterns.blocks((1, n)),
    "synflow(rounds": lambda n: prune.criteria.synflow(model, PARAMS, X, target=0.5, rounds=n),
    "sparsegpt(block_size": lambda n: prune.solvers.sparsegpt(block_size=n),
    "least_squares(rounds": lambda n: prune.solvers.least_squares(rounds=n),
    "least_squares(steps": lambda n: prune.solvers.least_squares(steps=n),
    "refitted(steps": lambda n: prune.solvers.refitted(prune.solvers.sparsegpt(), steps=n),
    "FisherBlocks(size": prune.FisherBlocks,
}
NUMBERS: dict[str, Callable] = {
    "saliency(decay": prune.criteria.saliency,
    "taylor_squared(decay": prune.criteria.taylor_squared,
    "fisher(decay": prune.criteria.fisher,
    "gradient_momentum(decay": prune.criteria.gradient_momentum,
    "grasp(temperature": lambda x: prune.criteria.grasp(
        model, PARAMS, loss, [(X, LABELS)], temperature=x
    ),
    "synflow(target": lambda x: prune.criteria.synflow(model, PARAMS, X, target=x),
    "one_shot(target": lambda x: prune.one_shot(PARAMS, prune.criteria.magnitude(), x),
    "masks(target": lambda x: prune.masks(PARAMS, prune.criteria.magnitude(), x),
    "prune(target": lambda x: prune.prune(SGD, prune.criteria.magnitude(), x),
    "by_magnitude(target": lambda x: prune.views.by_magnitude(x),
    "hard_movement(target": prune.companions.hard_movement,
    "reconstruct(target": lambda x: prune.reconstruct(
        model, PARAMS, [X], prune.solvers.sparsegpt(), x
    ),
    "reconstruct(correction": lambda x: prune.reconstruct(
        model, PARAMS, [X], prune.solvers.sparsegpt(), 0.5, correction=x
    ),
    "woodfisher(target": lambda x: prune.woodfisher(model, PARAMS, loss, [(X, LABELS)], x),
    "FisherBlocks(damping": lambda x: prune.FisherBlocks(damping=x),
    "sensitivity(target": lambda x: prune.sensitivity(
        model, PARAMS, loss, [(X, LABELS)], prune.criteria.magnitude(), [x]
    ),
    "by_sensitivity(sensitivity": lambda x: prune.allocations.by_sensitivity(curves(0.0, x)),
    "outliers(multiple": prune.allocations.outliers,
    "outliers(spread": lambda x: prune.allocations.outliers(spread=x),
    "below(threshold": prune.allocations.below,
    "below_deviations(deviations": prune.allocations.below_deviations,
    "floored(least": lambda x: prune.allocations.floored(prune.allocations.uniform, x),
    "Growth(fraction": lambda x: prune.Growth(prune.criteria.magnitude(), x),
    "proximal_l1(learning_rate": lambda x: prune.penalties.proximal_l1(x, 0.1),
    "proximal_l1(weight": lambda x: prune.penalties.proximal_l1(0.1, x),
    "proximal_trimmed(weight": lambda x: prune.penalties.proximal_trimmed(0.1, x, SPARE()),
    "sr_ste(decay": lambda x: prune.views.sr_ste(SPARE(), x),
    "surgery(deviations": lambda x: prune.views.surgery(HALF, PARAMS, deviations=x),
    "surgery(margin": lambda x: prune.views.surgery(HALF, PARAMS, deviations=0.0, margin=x),
    "l0_gates(opening": prune.companions.l0_gates,
    "soft_movement(start": lambda x: prune.companions.soft_movement(0.0, start=x),
    "hard_movement(start": lambda x: prune.companions.hard_movement(0.5, start=x),
    "variational_dropout(start": lambda x: prune.companions.variational_dropout(start=x),
    "variational_dropout(threshold": lambda x: prune.companions.variational_dropout(threshold=x),
    "sparsegpt(damping": lambda x: prune.solvers.sparsegpt(damping=x),
    "least_squares(damping": lambda x: prune.solvers.least_squares(damping=x),
    "refitted(damping": lambda x: prune.solvers.refitted(prune.solvers.sparsegpt(), damping=x),
    "optimal_brain_surgeon(damping": lambda x: prune.solvers.optimal_brain_surgeon(damping=x),
}
WRONG = {name: (COUNTS[name], (0, -1, 2.5, 2.0, True, NAN)) for name in COUNTS}
WRONG |= {name: (NUMBERS[name], (NAN, float("inf"))) for name in NUMBERS}


@pytest.mark.parametrize("name", WRONG)
def test_counts_are_whole_and_numbers_finite(name):
    call, numbers = WRONG[name]
    for number in numbers:
        with pytest.raises(ValueError, match=re.escape(name)):
            call(number)


def test_negative_proximal_steps_are_refused():
    with pytest.raises(ValueError, match=r"proximal_l1\(learning_rate=-1\) must be"):
        prune.penalties.proximal_l1(-1, 0.1)


@pytest.mark.parametrize("amount", [jnp.float32(NAN), lambda count: jnp.float32(NAN)])
def test_an_array_or_a_schedule_of_nan_is_refused_when_built(amount):
    for build in (NUMBERS["prune(target"], NUMBERS["Growth(fraction"]):
        with pytest.raises(ValueError, match=r"(NaN.* Give a share|nan\) must be) in \[0, 1\]?"):
            build(amount)
