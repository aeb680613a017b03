"""Relations in a batch, heads other than a softmax, and what is refused."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.distill import outputs
from tests.distill.outputs import oracles
from tests.distill.outputs.family import CLASSES, graded, rounding, uniform

DRAW = uniform()
STUDENT, TEACHER = DRAW(CLASSES), DRAW(CLASSES)


def test_examples_that_do_not_count_change_nothing():
    where = jnp.array([True, False, True, True, False, True])
    student = np.where(where[:, None], STUDENT, 1e4)
    losses, gradient = graded(outputs.intra_class_relation)(student, TEACHER, where=where)
    kept = np.asarray(where)
    expected = oracles.intra_class(STUDENT[kept], TEACHER[kept], 1.0)
    np.testing.assert_allclose(losses[kept], expected, rtol=0, atol=6 * rounding())
    np.testing.assert_array_equal(losses[~kept], 0)
    np.testing.assert_array_equal(gradient[~kept], 0)


def test_all_leading_axes_are_the_batch():
    shaped = outputs.intra_class_relation(STUDENT.reshape(2, 3, -1), TEACHER.reshape(2, 3, -1))
    flat = outputs.intra_class_relation(STUDENT, TEACHER)
    np.testing.assert_allclose(shaped.reshape(6), flat, rtol=0, atol=rounding())


@pytest.mark.parametrize("loss", [outputs.inter_class_relation, outputs.intra_class_relation])
def test_what_does_not_vary_has_no_relation_and_no_gradient(loss):
    """A head of zeros: seven times a seventh is not 1."""
    teacher = np.random.default_rng(0).normal(size=(6, 7)).astype(np.float32)
    losses, gradient = graded(loss)(jnp.zeros((6, 7)), teacher)
    np.testing.assert_array_equal(losses, 1)
    np.testing.assert_array_equal(gradient, 0)


def test_relations_of_a_class_that_both_rule_out_are_finite():
    student, teacher = (np.where(np.arange(CLASSES) == 2, -np.inf, x) for x in (STUDENT, TEACHER))
    for loss in (outputs.inter_class_relation, outputs.intra_class_relation):
        losses, gradient = graded(loss)(student, teacher)
        assert np.isfinite(losses).all()
        assert np.isfinite(gradient).all()


def test_boxes_apart_attract_and_boxes_without_area_are_finite():
    loss = graded(outputs.box_overlap)
    value, gradient = loss(jnp.array([0.0, 0.0, 1.0, 1.0]), jnp.array([3.0, 0.0, 4.0, 1.0]))
    assert value == 1.5  # no intersection, and half of the box around both is empty
    assert gradient[2] < 0  # a wider box would be nearer
    for student, teacher in [
        (jnp.zeros(4), jnp.zeros(4)),
        (jnp.array([2.0, 2, 1, 1]), jnp.ones(4)),
    ]:
        value, gradient = loss(student, teacher)
        assert 0 <= value <= 2
        assert jnp.isfinite(gradient).all()


def test_dice_of_two_empty_masks_is_zero():
    value, gradient = graded(outputs.soft_dice)(jnp.full((2, 2), -1e4), jnp.full((2, 2), -1e4))
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_the_bound_is_the_teachers_error():
    student = jnp.array([[1.0], [2.0], [3.0]])
    losses = outputs.bounded_distance(student, jnp.full((3, 1), 2.0), jnp.zeros((3, 1)))
    np.testing.assert_array_equal(losses, [0, 0, 9])
    more = outputs.bounded_distance(student, jnp.full((3, 1), 2.0), jnp.zeros((3, 1)), margin=1)
    np.testing.assert_array_equal(more, [0, 4, 9])


LOGITS, FEWER = jnp.zeros((2, 3)), jnp.zeros((2, 5))
TWO = [
    outputs.reverse_kl,
    outputs.alpha_divergence,
    outputs.jensen_shannon,
    outputs.skewed_kl,
    outputs.skewed_reverse_kl,
    outputs.standardized_targets,
    outputs.transformed_targets,
    outputs.inter_class_relation,
    outputs.intra_class_relation,
    outputs.multi_label_targets,
]


@pytest.mark.parametrize("loss", TWO, ids=[loss.__name__ for loss in TWO])
def test_other_classes_than_the_teachers_are_refused(loss):
    name = loss.__name__
    with pytest.raises(ValueError, match=rf"{name}\(.* student has 3 classes and the teacher 5"):
        loss(LOGITS, FEWER)
    with pytest.raises(ValueError, match=rf"{name}\(.* must be equal"):
        loss(LOGITS, LOGITS[:1])
    with pytest.raises(ValueError, match=rf"{name}\(temperature=0\) must be above 0"):
        loss(LOGITS, LOGITS, temperature=0)
    with pytest.raises(TypeError, match=rf"{name}\(teacher_logits of dtype int32\)"):
        loss(LOGITS, LOGITS.astype(jnp.int32))


REFUSED = [
    *(
        (lambda loss=loss, name=name, end=end: loss(LOGITS, LOGITS, **{name: end}), rf"\({name}=")
        for loss, name in [
            (outputs.jensen_shannon, "beta"),
            (outputs.alpha_divergence, "alpha"),
            (outputs.skewed_kl, "skew"),
            (outputs.skewed_reverse_kl, "skew"),
        ]
        for end in (0, 1, 1.5, -0.1)
    ),
    (
        lambda: outputs.smoothed_labels(LOGITS, jnp.array([0, 1]), smoothing=1.1),
        r"smoothed_labels\(smoothing=1.1\) must be in \[0, 1\]",
    ),
    (
        lambda: outputs.decoupled_targets(LOGITS, LOGITS, jnp.array([0])),
        r"decoupled_targets\(labels of shape \(1,\)\) needs the shape \(2,\)",
    ),
    (
        lambda: outputs.decoupled_targets(LOGITS[:, :1], LOGITS[:, :1], jnp.array([0, 0])),
        r"of shape \(2, 1\)\) needs two classes",
    ),
    (lambda: outputs.standardized_targets(LOGITS[:, :1], LOGITS[:, :1]), "needs two classes"),
    (
        lambda: outputs.intra_class_relation(LOGITS[0], LOGITS[0]),
        r"intra_class_relation\(student_logits of shape \(3,\)\) needs at least two examples",
    ),
    (
        lambda: outputs.intra_class_relation(LOGITS, LOGITS, where=jnp.ones(3, bool)),
        r"intra_class_relation\(where=.* shape \(2,\)",
    ),
    (lambda: outputs.squared_distance(LOGITS, FEWER), r"squared_distance\(.* must be equal"),
    (lambda: outputs.squared_distance(LOGITS[0, 0], LOGITS[0, 0]), r"the shape \(..., outputs\)"),
    (lambda: outputs.box_overlap(LOGITS, LOGITS), r"student of shape \(2, 3\)\) .* \(..., 4\)"),
    (lambda: outputs.mask_targets(LOGITS[0], LOGITS[0]), r"\(..., height, width\)"),
    (lambda: outputs.huber_distance(LOGITS, LOGITS, delta=0), r"delta=0\) must be above 0"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_refuses_bad_arguments(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
