"""What divergences tend to and are made of, and labels of those that take them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.distill import counted, outputs
from tests.distill.outputs import oracles
from tests.distill.outputs.family import CLASSES, EPS, LABELS, graded, rounding, uniform

# Alike enough for limits to be near, with a curvature of a few.
DRAW = uniform(largest=1.0)
STUDENT, TEACHER = DRAW(CLASSES), DRAW(CLASSES)
FORWARD, REVERSE = (
    loss(STUDENT, TEACHER, temperature=2.0) for loss in (outputs.soft_targets, outputs.reverse_kl)
)
SMALL = 1e-3
"""A loss differs from its limit by about this share, or by its rounding over it."""


@pytest.mark.parametrize(
    ("loss", "options", "scale", "limit"),
    [
        (outputs.jensen_shannon, {"beta": SMALL}, SMALL, FORWARD),
        (outputs.jensen_shannon, {"beta": 1 - SMALL}, SMALL, REVERSE),
        (outputs.alpha_divergence, {"alpha": SMALL}, 1, REVERSE),
        (outputs.alpha_divergence, {"alpha": 1 - SMALL}, 1, FORWARD),
        (outputs.skewed_kl, {"skew": SMALL}, 1, FORWARD),
        (outputs.skewed_reverse_kl, {"skew": SMALL}, 1, REVERSE),
    ],
)
def test_limits_are_forward_and_reverse_kl(loss, options, scale, limit):
    losses = loss(STUDENT, TEACHER, temperature=2.0, **options) / scale
    atol = rounding(2.0, largest=1.0) / SMALL
    np.testing.assert_allclose(losses, limit, rtol=4 * SMALL, atol=atol)


def test_the_middles_are_symmetric():
    for loss in (outputs.jensen_shannon, outputs.alpha_divergence):
        there, back = loss(STUDENT, TEACHER), loss(TEACHER, STUDENT)
        np.testing.assert_allclose(there, back, rtol=0, atol=rounding(largest=1.0))


@pytest.mark.parametrize(
    ("loss", "most"),
    [
        (outputs.jensen_shannon, np.log(2)),
        (outputs.alpha_divergence, 4.0),
        (outputs.skewed_kl, -np.log(0.1)),
        (outputs.skewed_reverse_kl, -np.log(0.1)),
    ],
)
def test_bounds_are_reached_where_nothing_is_shared(loss, most):
    """Also where each rules the other's class out, and the plain KL is infinite."""
    compiled = graded(loss)
    for high in (200.0, jnp.inf):
        student, teacher = jnp.array([[0.0, -high], [-high, 0.0]])
        value, gradient = compiled(student, teacher)
        np.testing.assert_allclose(value, most, rtol=8 * EPS)
        assert np.isfinite(gradient).all()


def test_each_example_may_have_its_own_skew():
    skews = np.linspace(0.01, 0.1, len(STUDENT), dtype=np.float32)
    losses = jax.jit(jax.vmap(lambda *each: outputs.skewed_kl(*each[:2], skew=each[2])))(
        STUDENT, TEACHER, skews
    )
    expected = [oracles.skewed(*each, 1.0) for each in zip(STUDENT, TEACHER, skews, strict=True)]
    np.testing.assert_allclose(losses, expected, rtol=0, atol=rounding(largest=1.0))


def test_reverse_kl_is_infinite_where_only_the_teacher_rules_out():
    assert outputs.reverse_kl(jnp.zeros(2), jnp.array([0.0, -jnp.inf])) == jnp.inf


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_soft_targets_are_decoupled_targets_weighted_by_doubt(temperature):
    """KD = TCKD + (1 - p_t) · NCKD, with p_t the teacher's probability of the label."""
    draw = uniform()
    student, teacher = draw(CLASSES), draw(CLASSES)
    of_label, with_others = (
        outputs.decoupled_targets(student, teacher, LABELS, weight=weight, temperature=temperature)
        for weight in (0.0, 1.0)
    )
    chances = [oracles.softmax(row, temperature)[y] for row, y in zip(teacher, LABELS, strict=True)]
    np.testing.assert_allclose(
        of_label + (1 - np.array(chances)) * (with_others - of_label),
        outputs.soft_targets(student, teacher, temperature=temperature),
        rtol=0,
        atol=4 * rounding(temperature),
    )


def test_decoupled_targets_where_no_other_class_is_possible():
    teacher = jnp.array([0.0, -jnp.inf, -jnp.inf])
    loss = graded(outputs.decoupled_targets)
    value, gradient = loss(jnp.zeros(3), teacher, jnp.array(0))
    np.testing.assert_allclose(value, np.log(3), rtol=8 * EPS)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    "loss",
    [
        lambda logits, labels: outputs.decoupled_targets(logits, TEACHER, labels, ignore=-100),
        lambda logits, labels: outputs.smoothed_labels(logits, labels, ignore=-100),
    ],
)
def test_ignored_labels_cost_nothing_and_wrong_ones_are_seen(loss):
    labels = np.where(np.arange(6) < 2, -100, LABELS)
    labels[2] = CLASSES
    logits = STUDENT.copy()
    logits[0] = np.nan
    losses, gradient = graded(lambda logits: loss(logits, labels))(logits)
    ignored = ~np.asarray(counted(labels, ignore=-100))
    np.testing.assert_array_equal(losses[ignored], 0)
    np.testing.assert_array_equal(gradient[ignored], 0)
    assert np.isnan(losses[2])
    assert np.isnan(gradient[2]).all()
    assert np.isfinite(gradient[3:]).all()
    expected = loss(STUDENT, LABELS)[3:]
    np.testing.assert_allclose(losses[3:], expected, rtol=0, atol=9 * rounding(largest=1.0))


def test_smoothing_of_0_is_hard_targets_and_of_1_least_where_all_are_alike():
    hard = outputs.hard_targets(STUDENT, LABELS)
    np.testing.assert_array_equal(outputs.smoothed_labels(STUDENT, LABELS, smoothing=0), hard)
    _, gradient = graded(outputs.smoothed_labels)(jnp.zeros(4), jnp.array(1), smoothing=1)
    np.testing.assert_allclose(gradient, 0, atol=EPS)


def test_standardized_targets_do_not_see_the_size_of_logits():
    loss = outputs.standardized_targets
    for size in (1e-3, 1e3, 1e30):
        # The 1e-7 is beside a deviation of 1e-3 at least.
        np.testing.assert_allclose(
            loss(np.float32(size) * STUDENT, TEACHER), loss(STUDENT, TEACHER), rtol=1e-3, atol=1e-6
        )


STANDARDIZED = graded(outputs.standardized_targets)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
def test_standardized_targets_of_equal_logits_have_no_gradient(value):
    """0.1 five times is not five times the mean's 0.1."""
    logits = jnp.full((1, CLASSES), value, jnp.float32)
    losses, gradient = STANDARDIZED(logits, TEACHER[:1])
    assert losses > 0
    np.testing.assert_array_equal(gradient, 0)


def test_transformed_targets_weigh_what_the_teacher_is_unsure_of():
    """By the sum of the powers, against a student of equal logits."""
    teacher = jnp.array([[0.0, 0.0], [8.0, 0.0]])
    powers = (np.exp(0) + np.exp(0)) / 2**0.5, (1 + np.exp(-4.0)) / np.sqrt(1 + np.exp(-8.0))
    plain = outputs.soft_targets(jnp.zeros((2, 2)), teacher, temperature=2.0) / 4
    losses = outputs.transformed_targets(jnp.zeros((2, 2)), teacher, temperature=2.0)
    np.testing.assert_allclose(losses, np.array(powers) * plain, rtol=16 * EPS)
