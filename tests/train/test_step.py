"""One step against a loop by hand: statistics, what trains, extra arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcompress as jc
from tests.train import tasks

KEY = jax.random.key(0)


def test_a_step_is_that_of_a_loop_by_hand():
    batch, optimizer = tasks.examples(8), optax.adam(0.1)
    params = tasks.initial()
    state = jc.train.steps.initial(tasks.recipe(optimizer), params, KEY)
    state, loss = jax.jit(jc.train.steps.step(tasks.recipe(optimizer)))(state, batch)

    def by_hand(params):
        logits = tasks.model(params, batch[0])
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean()

    expected, grads = jax.jit(jax.value_and_grad(by_hand))(params)
    updates, opt_state = optimizer.update(grads, optimizer.init(params), params)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    for found, wanted in (
        (state.params, optax.apply_updates(params, updates)),
        (state.opt_state, opt_state),
    ):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), *(found, wanted)
        )
    assert int(state.count) == 1


def test_weights_leave_rows_out_whatever_they_hold():
    x, labels = tasks.examples(6)
    recipe = tasks.recipe(optax.sgd(0.1))
    state = jc.train.steps.initial(recipe, tasks.initial(), KEY)
    update = jax.jit(jc.train.steps.step(recipe))
    some, loss = update(state, (x[:4], labels[:4]))
    x[4:] = 100.0
    weighted, weighted_loss = update(state, (x, labels), np.array([1, 1, 1, 1, 0, 0], np.float32))
    np.testing.assert_allclose(weighted_loss, loss, rtol=1e-6)
    np.testing.assert_allclose(weighted.params["out"], some.params["out"], rtol=1e-6)
    nothing, loss = update(state, (x, labels), np.zeros(6, np.float32))
    np.testing.assert_array_equal(nothing.params["out"], state.params["out"])
    assert loss == 0


def train_fn(params, x, *, key):
    noise = jax.random.normal(key, ())
    mean = 0.9 * params["norm"]["mean"] + 0.1 * x.mean()
    return params["scale"] * (x - x.mean()) + noise, {
        "norm": {"mean": mean},
        "scale": params["scale"],
        "frozen": params["frozen"],
    }


def test_statistics_follow_and_frozen_weights_stay_under_a_view():
    params = {
        "norm": {"mean": jnp.float32(1)},
        "scale": jnp.float32(1.3),
        "frozen": jnp.float32(0.7),
    }

    def view(params):
        return {
            **params,
            "scale": jnp.round(params["scale"]),
            "frozen": jnp.round(params["frozen"]),
        }

    objective = jc.train.objectives.supervised_with_state(train_fn, tasks.squared, view=view)
    recipe = jc.train.Recipe(objective, optax.sgd(0.0), jc.matching("scale"))
    x = np.array([1.0, 4.0], np.float32)
    state = jc.train.steps.initial(recipe, params, KEY)
    update = jax.jit(jc.train.steps.step(recipe))
    after, loss = update(state, (x, x))
    np.testing.assert_allclose(after.params["norm"]["mean"], 0.9 + 0.25, rtol=1e-6)
    assert after.params["scale"] == params["scale"]
    assert after.params["frozen"] == params["frozen"]
    again, other_loss = update(after, (x, x))
    assert int(again.count) == 2
    assert loss != other_loss  # each step has a key of its own


def test_statistics_that_would_train_are_refused_by_name():
    params = {"norm": {"mean": jnp.ones(())}, "scale": jnp.ones(()), "frozen": jnp.ones(())}
    objective = jc.train.objectives.supervised_with_state(train_fn, tasks.squared)
    recipe = jc.train.Recipe(objective, optax.sgd(0.1))
    state = jc.train.steps.initial(recipe, params, KEY)
    x = np.ones(2, np.float32)
    with pytest.raises(ValueError, match=r"changes leaves that train: norm/mean. Leave"):
        jc.train.steps.step(recipe)(state, (x, x))


def test_flax_models_train_with_their_statistics():
    nnx = pytest.importorskip("flax.nnx")

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.dense, self.norm = nnx.Linear(4, 3, rngs=rngs), nnx.BatchNorm(3, rngs=rngs)
            self.dropout = nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return self.dropout(self.norm(self.dense(x)))

    made = jc.bridges.nnx.functional(Net(nnx.Rngs(0)))
    objective = jc.train.objectives.supervised_with_state(
        made.train_fn, jc.distill.outputs.hard_targets
    )
    select = jc.none_of(jc.matching("*/mean", "*/var"))
    recipe = jc.train.Recipe(objective, optax.adam(0.1), select)
    state = jc.train.steps.initial(recipe, made.params, KEY)
    state, _ = jax.jit(jc.train.steps.step(recipe))(state, tasks.examples(16))
    before, after = jc.named_leaves(made.params), jc.named_leaves(state.params)
    assert all(np.any(before[name] != after[name]) for name in ("dense/kernel", "norm/mean"))


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.lbfgs(),
        optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau()),
        optax.polyak_sgd(),
        optax.MultiSteps(optax.sgd(0.1), 2),
        optax.contrib.schedule_free_sgd(0.1),
    ],
    ids=["lbfgs", "plateau", "polyak", "accumulated", "schedule-free"],
)
def test_optimizers_with_extra_arguments_get_them(optimizer):
    recipe = tasks.recipe(optimizer)
    state = jc.train.steps.initial(recipe, tasks.initial(), KEY)
    batch = tasks.examples(16)

    @jax.jit
    def run(state):
        return jax.lax.scan(
            lambda state, _: jc.train.steps.step(recipe)(state, batch), state, length=4
        )

    _, losses = run(state)
    assert losses[-1] < losses[0]


def test_what_an_objective_gives_is_checked():
    def losses_of(objective):
        recipe = jc.train.Recipe(objective, optax.sgd(0.1))
        return jc.train.steps.step(recipe)(
            jc.train.steps.initial(recipe, jnp.ones(2), KEY), jnp.ones(3)
        )

    with pytest.raises(TypeError, match=r"losses of shape \(\), which must be one number per"):
        losses_of(lambda params, batch, key: (jnp.sum(params), params))
    with pytest.raises(TypeError, match="must give the params it was given"):
        losses_of(lambda params, batch, key: (batch, {"other": params}))
    with pytest.raises(TypeError, match=r"float32\[3\], no tuple \(inputs, \*targets\)"):
        losses_of(jc.train.objectives.supervised(tasks.model, tasks.squared))
    frozen = jc.train.Recipe(lambda *given: given, optax.sgd(0.1), jc.none_of(jc.everything()))
    with pytest.raises(ValueError, match=r"no leaf trains. Leaves are: kernel"):
        jc.train.steps.initial(frozen, {"kernel": jnp.ones(2)}, KEY)
