"""A whole run: any chunk gives the same, and it is watched, stopped, refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcompress as jc
from tests.train import tasks

RECIPE = tasks.recipe(optax.adam(0.05))
DATA = tasks.examples(40)


def fitted(data=DATA, recipe=RECIPE, watch=None, **plan):
    plan = jc.train.Plan(**{"steps": 12, "batch_size": 8, "chunk": 4} | plan)
    return jc.train.fit(recipe, tasks.initial(), data, plan, watch=watch)


def equal(one, other):
    return jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), one, other))


def test_it_is_the_loop_by_hand():
    found = fitted()
    key, state = (
        jax.random.key(0),
        jc.train.steps.initial(RECIPE, tasks.initial(), jax.random.key(0)),
    )
    update, losses = jax.jit(jc.train.steps.step(RECIPE)), []
    for index in np.asarray(jc.train.steps.order(key, jnp.arange(12), n=40, batch_size=8)):
        state, loss = update(state, (DATA[0][index], DATA[1][index]))
        losses.append(float(loss))
    np.testing.assert_allclose(found.losses, losses, rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        *((found.params, found.opt_state), (state.params, state.opt_state)),
    )
    assert (found.best_step, found.figures) == (12, ())


@pytest.mark.parametrize("chunk", [1, 3, 50])
def test_chunks_change_nothing(chunk):
    np.testing.assert_allclose(fitted(chunk=chunk).losses, fitted().losses, rtol=1e-5)


@pytest.mark.parametrize(("chunk", "span"), [(1, 50), (32, 32), (20, 40), (50, 50), (200, 200)])
def test_the_host_looks_after_whole_calls(chunk, span):
    assert jc.train.Plan(steps=10, chunk=chunk).span == span


def test_examples_may_lie_on_the_host_or_the_device():
    assert equal(fitted(), fitted(jax.device_put(DATA)))


def test_a_run_goes_past_a_block_of_orders():
    found = fitted(steps=120, chunk=50, batch_size=40)
    assert found.losses.shape == (120,)
    assert found.losses[-1] < 0.5 * found.losses[0]


def test_params_given_are_not_changed():
    params = tasks.initial()
    jc.train.fit(RECIPE, params, DATA, jc.train.Plan(steps=4, batch_size=8, chunk=4))
    assert equal(params, tasks.initial())


def test_a_watched_run_stops_and_gives_the_best():
    figures, seen = iter([3.0, 1.0, 2.0, 1.5, 0.0]), []

    def figure(params):
        seen.append(np.asarray(params["out"]).copy())
        return next(figures)

    found = fitted(watch=jc.train.Watch(figure, every=4, patience=2), steps=100)
    assert found.figures == ((4, 3.0), (8, 1.0), (12, 2.0), (16, 1.5))
    assert (found.best_step, found.losses.shape) == (8, (16,))
    np.testing.assert_array_equal(found.params["out"], seen[1])


def test_the_last_step_is_looked_at():
    found = fitted(watch=jc.train.Watch(lambda params: jnp.sum(params["out"] ** 2), every=8))
    assert [step for step, _ in found.figures] == [8, 12]


def test_a_loss_that_is_not_finite_stops_the_run_by_name():
    x, labels = tasks.examples(8)
    x[3] = np.nan
    with pytest.raises(
        FloatingPointError, match=r"step 1 is nan\. The examples at '0' .* example 3\."
    ):
        fitted((x, labels))
    schedule = lambda count: jnp.where(count == 5, jnp.inf, 0.1)  # noqa: E731
    with pytest.raises(FloatingPointError, match=r"step 7 is nan\. Lower the learning"):
        fitted(recipe=tasks.recipe(optax.sgd(schedule)))
    with pytest.raises(FloatingPointError, match="the figure watched is nan after step 12"):
        fitted(watch=jc.train.Watch(lambda params: np.nan))
    with pytest.raises(TypeError, match=r"Watch\(figure=...\) gives None, which must be a number"):
        fitted(watch=jc.train.Watch(lambda params: None))


@pytest.mark.parametrize("place", [np.asarray, jnp.asarray])
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_examples_that_are_not_finite_are_named(place, wrong):
    x, targets = tasks.examples(16)[0], np.zeros((16, 3), np.float32)
    targets[[5, 9], 1] = wrong
    objective = jc.train.objectives.supervised(
        tasks.model, lambda outputs, targets: tasks.squared(outputs, targets).sum(-1)
    )
    said = r"is (nan|inf)\. The examples at '1' hold NaN or infinity in 2 of 16 .* example 5\."
    with pytest.raises(FloatingPointError, match=said):
        fitted((place(x), place(targets)), jc.train.Recipe(objective, optax.sgd(0.1)))


def test_missing_values_that_a_model_fills_in_are_no_fault():
    x, labels = tasks.examples(16)
    x[3] = np.nan
    objective = jc.train.objectives.supervised(
        lambda params, x: tasks.model(params, jnp.nan_to_num(x)), jc.distill.outputs.hard_targets
    )
    assert np.all(
        np.isfinite(fitted((x, labels), jc.train.Recipe(objective, optax.sgd(0.1))).losses)
    )


@pytest.mark.parametrize("place", [np.asarray, jnp.asarray])
@pytest.mark.parametrize("wrong", [3, -1, 2**31 - 1])
def test_a_label_that_is_no_class_is_named(place, wrong):
    x, labels = tasks.examples(40)
    labels[[5, 9]] = wrong
    said = (
        rf"is nan\. hard_targets\(labels\): label {wrong} of example 5 is none of 3 classes\. Leave"
    )
    with pytest.raises(FloatingPointError, match=said):
        fitted((place(x), place(labels)))


def test_where_the_loss_cannot_be_shown_labels_the_loss_itself_is_told_of():
    x, labels = tasks.examples(16)
    loss = jax.vmap(jc.distill.outputs.hard_targets)  # whose labels are traced
    recipe = jc.train.Recipe(jc.train.objectives.supervised(tasks.model, loss), optax.sgd(0.1))
    with pytest.raises(FloatingPointError, match=r"step 1 is nan\. Lower the learning rate"):
        fitted((x, labels + 3), recipe)


def test_a_guard_skips_such_steps():
    x, labels = tasks.examples(24)
    x[3] = np.nan
    guarded = tasks.recipe(jc.optimizers.skip_nonfinite(optax.sgd(0.1)))
    found = fitted((x, labels), guarded)
    assert np.isnan(found.losses).sum() == 4  # once in each of four epochs
    assert np.all(np.isfinite(found.params["out"]))
    wrong = np.where(np.arange(24) == 7, -1, labels)
    with pytest.raises(
        ValueError, match=r"fit\(examples\): hard_targets\(labels\): label -1 of ex"
    ):
        fitted((x, wrong), guarded)
    with pytest.raises(ValueError, match="steps were skipped"):
        fitted((np.full_like(x, np.nan), labels), guarded, steps=400, chunk=200)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (tasks.examples(7), ValueError, r"fit\(examples of 7, Plan\(batch_size=8\)\)"),
        (
            (DATA[0], DATA[1][:9]),
            ValueError,
            r"fit\(examples\): arrays disagree .* 40 at '0', 9 at '1'",
        ),
        ((), TypeError, r"fit\(examples=\(\)\) must be an array"),
        ((DATA[0], "labels"), TypeError, r"fit\(examples=...\): leaf '1' is 'labels'"),
    ],
)
def test_data_that_cannot_be_trained_on_are_refused(data, error, message):
    with pytest.raises(error, match=message):
        fitted(data)


def test_inside_of_jit_it_names_its_twin():
    with pytest.raises(TypeError, match=r"Inside, use train.fitting"):
        jax.jit(lambda x: fitted((x, DATA[1])))(DATA[0])


def test_leaves_that_cannot_train_are_refused():
    plan, codes = jc.train.Plan(2, 8), jc.quantize.quantize(tasks.initial(), jc.quantize.int8())[0]
    with pytest.raises(TypeError, match=r"leaf 'hidden' is compressed, .* no gradient"):
        jc.train.fit(RECIPE, codes, DATA, plan)
    with pytest.raises(TypeError, match=r"leaf 'scale' is the number 1\.0"):
        jc.train.fit(RECIPE, tasks.initial() | {"scale": 1.0}, DATA, plan)
    apart = jc.train.Recipe(RECIPE.objective, optax.sgd(0.1), select=jc.matching("out"))
    half = tasks.initial() | {"hidden": codes["hidden"]}
    assert np.isfinite(jc.train.fit(apart, half, DATA, plan).losses).all()


def test_integers_that_would_wrap_are_refused():
    x, labels = DATA
    with pytest.raises(ValueError, match=r"fit\(examples=...\) holds 4294967296, which JAX"):
        fitted((x, labels.astype(np.int64) + 2**32 * (np.arange(40) == 0) - labels[0]))
