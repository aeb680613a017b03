"""Laws that every loss on outputs keeps, and each loss against a plain NumPy loop."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcompress.distill import outputs
from tests.distill.outputs import family
from tests.distill.outputs.family import (
    CASES,
    CLASSES,
    LARGEST,
    RULED_OUT,
    SHIFT,
    evaluated,
    extreme,
    rounding,
    uniform,
)


def every(cases):
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


FIRST = list({case.loss: case for case in reversed(CASES)}.values())
"""One row of each loss."""
DIVERGENCES = [case for case in CASES if case.divergence]
NO_LOSS = {"draws", "top_k"}


def made(case, draw):
    return case.inputs(draw, case.options)


def floating(tree):
    return [leaf for leaf in jax.tree.leaves(tree) if leaf.dtype != jax.dtypes.float0]


def test_every_exported_loss_has_a_row():
    exported = {name for name in dir(outputs) if inspect.isfunction(getattr(outputs, name))}
    assert exported - NO_LOSS == {case.loss.__name__ for case in CASES}


@every(CASES)
def test_equals_the_loop_and_its_differences(case):
    student, others, _ = made(case, uniform())
    losses, gradient, by_others = evaluated(case, student, others)
    assert losses.dtype == jnp.float32
    np.testing.assert_allclose(losses, case.losses(student, others), rtol=0, atol=case.tolerance)
    np.testing.assert_allclose(
        gradient, case.gradient(student, others), rtol=0, atol=case.gradient_tolerance
    )
    for each in floating(by_others):  # no gradient reaches the teacher
        np.testing.assert_array_equal(each, np.zeros_like(each))


@every(FIRST)
def test_what_is_not_a_number_is_not_hidden(case):
    student, others, _ = made(case, uniform())
    leaves, outline = jax.tree.flatten((student, others))
    for index in [i for i, leaf in enumerate(leaves) if leaf.dtype == np.float32]:
        broken = [np.array(leaf) for leaf in leaves]
        broken[index][(1,) + (0,) * (broken[index].ndim - 1)] = np.nan
        losses, gradient, _ = evaluated(case, *outline.unflatten(broken))
        assert np.isnan(losses[1])
        assert np.isnan(gradient[1]).any()
        assert case.batch or np.isfinite(np.delete(losses, 1)).all()


@functools.cache
def singly(name):
    """Losses and gradients of one example at a time; numbers are not traced."""
    case = next(case for case in FIRST if case.name == name)

    def total(student, others):
        losses = case.loss(student, *others, **case.options)
        return losses.sum(), losses

    gradient = jax.value_and_grad(total, has_aux=True)
    return jax.jit(gradient if case.batch else jax.vmap(gradient))


def mixed(case, draw):
    """Inputs with a float16 student and bfloat16 others."""
    student, others, _ = made(case, draw)
    narrow = jax.tree.map(lambda x: x if x.dtype == int else x.astype(jnp.bfloat16), others)
    return student, narrow


@every(FIRST)
def test_of_one_float16_example_as_of_a_batch_of_float64(case):
    student, others = mixed(case, uniform(dtype=np.float16))
    with jax.numpy_dtype_promotion("strict"):
        (_, losses), _ = singly(case.name)(student, others)
    assert losses.dtype == jnp.float32
    wide = jax.tree.map(
        lambda x: x if x.dtype == int else np.asarray(x, np.float64), (student, others)
    )
    np.testing.assert_allclose(losses, case.losses(*wide), rtol=0, atol=case.tolerance)


@every(FIRST)
def test_stays_finite_at_huge_float16_beside_huge_bfloat16(case):
    student, others = mixed(case, extreme(1e4, np.float16))
    with jax.numpy_dtype_promotion("strict"):
        (_, losses), gradient = singly(case.name)(student, others)
    assert np.isfinite(losses).all()
    assert np.isfinite(gradient).all()
    assert gradient.dtype == jnp.float16


@every(CASES)
def test_stays_finite_at_huge_float32(case):
    student, others, _ = made(case, extreme(case.huge))
    losses, gradient, _ = evaluated(case, student, others)
    assert np.isfinite(losses).all()
    assert np.isfinite(gradient).all()


@every(FIRST)
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_gives_one_number_per_example(case, shape):
    student, others, _ = made(case, uniform())

    def shaped(x):
        return jax.ShapeDtypeStruct((*shape, *x.shape[1:]), jnp.result_type(x))

    if case.batch and shape != (2, 3):
        with pytest.raises(ValueError, match="two examples"):
            jax.eval_shape(case.loss, *jax.tree.map(shaped, (student, *others)))
        return
    result = jax.eval_shape(case.loss, *jax.tree.map(shaped, (student, *others)))
    assert (result.shape, result.dtype) == (shape, jnp.float32)


@every(FIRST)
def test_computes_in_float32_where_there_are_64_bits(case):
    student, others, _ = made(case, uniform(dtype=np.float64))
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        result = jax.eval_shape(
            jax.value_and_grad(lambda x: case.loss(x, *others, **case.options).sum()), student
        )
    assert [each.dtype for each in result] == [jnp.float32, jnp.float64]


@every([case for case in CASES if SHIFT in case.laws])
@pytest.mark.parametrize("shift", [-64.0, 64.0])
def test_adding_a_constant_to_the_logits_changes_nothing(case, shift):
    student, others, _ = made(case, uniform())
    student = np.round(student * 16) / 16  # so that the shift itself does not round
    temperature = case.options.get("temperature", 1.0)
    more = rounding(temperature, LARGEST + abs(shift)) / rounding(temperature)
    np.testing.assert_allclose(
        evaluated(case, student + np.float32(shift), others)[0],
        evaluated(case, student, others)[0],
        rtol=0,
        atol=case.tolerance * more,
    )


@every([case for case in CASES if RULED_OUT in case.laws])
def test_a_class_that_is_ruled_out_adds_nothing(case):
    student, others, _ = made(case, uniform())
    out, kept = 2, [0, 1, 3, 4]

    def without(x):
        return np.where(np.arange(CLASSES) == out, -np.inf, x).astype(x.dtype)

    def rest(x):
        return x - (x > out) if x.dtype == int else x[:, kept]

    others = tuple(np.where(x == out, 0, x) if x.dtype == int else without(x) for x in others)
    losses, gradient, _ = evaluated(case, without(student), others)
    expected = case.losses(student[:, kept], tuple(map(rest, others)))
    np.testing.assert_allclose(losses, expected, rtol=0, atol=case.tolerance)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[:, out], 0)


@every(DIVERGENCES)
def test_is_zero_with_its_gradient_at_equality(case):
    _, others, equal = made(case, uniform())
    losses, gradient, _ = evaluated(case, equal, others)
    np.testing.assert_allclose(losses.mean() if case.batch else losses, 0, atol=case.tolerance)
    np.testing.assert_allclose(gradient, 0, atol=case.gradient_tolerance)


@every(DIVERGENCES)
@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1), spread=st.sampled_from([1e-6, 1e-3, 1.0]))
def test_is_never_below_zero_by_more_than_rounding(case, seed, spread):
    student, others, equal = made(case, uniform(seed))
    near = equal + np.float32(spread) * student / np.float32(LARGEST)
    losses = evaluated(case, near, others)[0]
    assert (losses.mean() if case.batch else losses.min()) >= -case.tolerance


@every(FIRST)
def test_options_cost_no_second_trace(case):
    student, others, _ = made(case, uniform())
    evaluated(case, student, others)
    traces = family.TRACES[case.loss]
    other = case._replace(options={name: value * 0.9 for name, value in case.options.items()})
    evaluated(other, student, others)
    assert family.TRACES[case.loss] == traces


def test_a_schedule_gives_the_temperature_of_each_step():
    optax = pytest.importorskip("optax")
    schedule = optax.linear_schedule(8.0, 1.0, transition_steps=10)
    student, (teacher,), _ = family.logits(uniform(), {})
    traces = []

    @jax.jit
    def loss(step):
        traces.append(step)
        return outputs.soft_targets(student, teacher, temperature=schedule(step))

    for step, temperature in [(0, 8.0), (5, 4.5), (10, 1.0)]:
        expected = [
            family.oracles.forward(s, t, temperature) for s, t in zip(student, teacher, strict=True)
        ]
        np.testing.assert_allclose(loss(step), expected, rtol=0, atol=rounding(temperature))
    assert len(traces) == 1
