"""Targets that are stored: a teacher's top k, and draws from it."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.distill import outputs
from tests.distill.outputs import oracles
from tests.distill.outputs.family import CLASSES, EPS, graded, rounding, stored, uniform

TOP_K, SAMPLED, SOFT = map(
    graded, (outputs.top_k_targets, outputs.sampled_targets, outputs.soft_targets)
)
DRAW = uniform()
STUDENT, TEACHER = DRAW(CLASSES), DRAW(CLASSES)


@pytest.mark.parametrize("k", [1, 3, CLASSES])
def test_top_k_sorts(k):
    made, expected = outputs.top_k(TEACHER, k, temperature=3.0), stored(TEACHER, 3.0, k)
    np.testing.assert_array_equal(made.indices, expected.indices)
    chances, atol = np.exp(expected.log_probabilities), rounding(3.0)
    np.testing.assert_allclose(np.exp(made.log_probabilities), chances, rtol=0, atol=atol)
    np.testing.assert_allclose(np.exp(made.log_tail), np.exp(expected.log_tail), atol=atol)
    assert (made.log_tail == -jnp.inf).all() == (k == CLASSES)


def test_fewer_classes_say_less_and_all_say_the_same():
    """Putting classes together never makes two distributions more different."""
    losses = [TOP_K(STUDENT, outputs.top_k(TEACHER, k))[0] for k in (1, 3, CLASSES)]
    for less, more in itertools.pairwise(losses):
        assert (less <= more + rounding()).all()
    dense = outputs.soft_targets(STUDENT, TEACHER)
    np.testing.assert_allclose(losses[-1], dense, rtol=0, atol=2 * rounding())
    assert (losses[0] < dense - 0.1).any()


@pytest.mark.parametrize("student", [jnp.zeros(4), jnp.array([0.0, 0.0, -jnp.inf, -jnp.inf])])
@pytest.mark.parametrize("k", [2, 4])
def test_an_empty_tail_has_a_finite_gradient(student, k):
    targets = outputs.top_k(jnp.array([1.0, 2.0, -jnp.inf, -jnp.inf]), k)
    value, gradient = TOP_K(student, targets)
    assert jnp.isfinite(value)
    assert jnp.isfinite(gradient).all()


def test_targets_are_cut_and_cast_as_any_data():
    targets = outputs.top_k(TEACHER, 3)
    small = outputs.TopK(
        targets.log_probabilities.astype(jnp.float16),
        targets.indices.astype(jnp.uint16),
        targets.log_tail.astype(jnp.float16),
    )
    batch = jax.tree.map(lambda x: x[2:4], small)
    # Log probabilities down to -16 are rounded to 2^-7 at most.
    np.testing.assert_allclose(
        TOP_K(STUDENT[2:4], batch)[0],
        TOP_K(STUDENT, targets)[0][2:4],
        atol=2**-7 * 2 * 16,
    )


def test_the_expected_gradient_of_a_draw_is_the_dense_one():
    """Exactly: each class once, by its probability."""
    temperature = 2.0
    student, teacher = STUDENT[0], TEACHER[0]
    each = outputs.Draws(np.arange(CLASSES)[:, None], np.ones((CLASSES, 1), np.float32))
    _, single = SAMPLED(np.tile(student, (CLASSES, 1)), each, temperature=temperature)
    chances = oracles.softmax(teacher, temperature)
    _, dense = SOFT(student, teacher, temperature=temperature)
    np.testing.assert_allclose(chances @ single, dense, rtol=0, atol=rounding(temperature))


@pytest.mark.parametrize("proposal_temperature", [1.0, 2.0])
def test_draws_weigh_each_class_by_its_probability_on_average(proposal_temperature):
    """So the gradient of many draws is near the dense one, with either proposal."""
    temperature, count = 4.0, 4096
    targets = outputs.draws(
        TEACHER,
        count,
        jax.random.key(0),
        temperature=temperature,
        proposal_temperature=proposal_temperature,
    )
    assert targets.indices.shape == targets.weights.shape == (6, count)
    chances = np.asarray(jax.nn.softmax(TEACHER / temperature))
    proposal = np.asarray(jax.nn.softmax(TEACHER / temperature / proposal_temperature))
    drawn = np.asarray(targets.indices)[..., None] == np.arange(CLASSES)
    means = (drawn * np.asarray(targets.weights)[..., None]).sum(1)
    # Five standard deviations of a mean of (p / r) · [class drawn].
    spread = chances * np.sqrt((1 - proposal) / proposal / count)
    assert (np.abs(means - chances) <= 5 * spread + 8 * EPS).all()
    _, gradient = SAMPLED(STUDENT, targets, temperature=temperature)
    _, dense = SOFT(STUDENT, TEACHER, temperature=temperature)
    sums = np.abs(means.sum(-1, keepdims=True) - 1)
    apart = np.abs(gradient - dense)
    assert (apart <= temperature * (5 * spread + sums) + rounding(temperature)).all()


def test_an_impossible_class_is_never_drawn():
    teacher = jnp.array([-jnp.inf, 0.0, -jnp.inf, -30.0, 1.0, -jnp.inf])
    draws = jax.jit(lambda key: outputs.draws(teacher, 4096, key))(jax.random.key(1))
    assert set(np.unique(draws.indices)) <= {1, 3, 4}
    np.testing.assert_allclose(draws.weights.sum(), 1, rtol=EPS * 4096)
    value, gradient = SAMPLED(teacher, draws)
    assert jnp.isfinite(value)
    assert jnp.isfinite(gradient).all()


def test_equal_keys_give_equal_draws():
    first, second = (outputs.draws(TEACHER, 8, jax.random.key(3)) for _ in range(2))
    np.testing.assert_array_equal(first.indices, second.indices)
    assert (first.indices != outputs.draws(TEACHER, 8, jax.random.key(4)).indices).any()


TOP: Any = outputs.top_k(TEACHER, 2)
DRAWN: Any = outputs.draws(TEACHER, 2, jax.random.key(0))
REFUSED = [
    (lambda: outputs.top_k(TEACHER, 6), r"top_k\(k=6\) must be at most 5"),
    (lambda: outputs.top_k_targets(STUDENT, DRAWN), r"targets=.* must be of type TopK, not Draws"),
    (lambda: outputs.sampled_targets(STUDENT, TOP), r"must be of type Draws, not TopK"),
    (lambda: outputs.top_k_targets(STUDENT[:2], TOP), r"of shape \(2, 5\)"),
    (lambda: outputs.sampled_targets(STUDENT[:2], DRAWN), r"of shape \(2, 5\)"),
    (
        lambda: outputs.top_k_targets(STUDENT, TOP._replace(indices=jnp.ones((6, 2)))),
        r"targets.indices of dtype float32\) needs integer",
    ),
    (
        lambda: outputs.sampled_targets(STUDENT, DRAWN._replace(indices=jnp.ones((6, 2)))),
        r"targets.indices of dtype float32\) needs integer",
    ),
    (
        lambda: outputs.sampled_targets(STUDENT, DRAWN._replace(weights=DRAWN.indices)),
        r"targets.weights of dtype int32\) must be floating",
    ),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_refuses_other_targets(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
