"""Where a label gathers, none counts from the end and none wraps to a class."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxcompress import auto, distill, quantize, validate
from jaxcompress.core.checks import KnownValueError
from jaxcompress.core.labels import Shown, class_labels

CLASSES = 3
LOGITS = np.array([[1.0, 2.0, 4.0], [0.5, -1.0, 0.0], [3.0, 1.0, -2.0]], np.float32)
IGNORED = -100

OUTSIDE = {
    "-1": np.array([-1, 0, 1]),
    "-100": np.array([-100, 0, 1]),
    "the number of classes": np.array([3, 0, 1]),
    "1000": np.array([1000, 0, 1]),
    "2**32, which wraps to 0": np.array([2**32, 0, 1]),
    "2**32 + 1": np.array([2**32 + 1, 0, 1], np.uint64),
    "-2**32": np.array([-(2**32), 0, 1]),
    "the highest uint32, which wraps to -1": np.array([2**32 - 1, 0, 1], np.uint32),
    "a uint8": np.array([200, 0, 1], np.uint8),
    "an int8": np.array([-128, 0, 1], np.int8),
    "a list": [3, 0, 1],
}
LOSSES = {
    "hard_targets": distill.outputs.hard_targets,
    "hard_targets under jit": jax.jit(distill.outputs.hard_targets),
    "cross_entropy under jit": jax.jit(validate.cross_entropy),
    "mixed": lambda x, labels: distill.mix(
        distill.outputs.hard_targets(x, labels), distill.outputs.soft_targets(x, x), weight=0.0
    ),
}
each_label = pytest.mark.parametrize("labels", OUTSIDE.values(), ids=OUTSIDE)
each_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def oracle(logits, labels):
    """The loss of each row, class by class; NaN where there is no such class."""
    return np.array(
        [
            np.log(np.sum(np.exp(row))) - row[label] if 0 <= label < CLASSES else np.nan
            for row, label in zip(logits.astype(np.float64), labels, strict=True)
        ]
    )


def concrete(labels):
    """Labels as jit can take them: a cast of its own would wrap a 64-bit one."""
    return class_labels("test", labels)


@each_label
@each_loss
def test_a_label_outside_gives_nan_and_the_others_their_loss(loss, labels):
    found = loss(LOGITS, concrete(labels))
    np.testing.assert_allclose(found, oracle(LOGITS, np.asarray(labels)), rtol=1e-6)


@each_label
def test_a_wide_label_is_seen_before_it_is_cast(labels):
    found = distill.outputs.hard_targets(LOGITS, labels)
    np.testing.assert_allclose(found, oracle(LOGITS, np.asarray(labels)), rtol=1e-6)


@pytest.mark.parametrize("labels", [jnp.array([-100, 1000]), np.array([-100, 1000])])
def test_both_of_the_plainest_case(labels):
    assert np.isnan(distill.outputs.hard_targets(jnp.zeros((2, 10)), labels)).all()


@each_label
@pytest.mark.parametrize("metric", [validate.correct, validate.cross_entropy])
def test_metrics_refuse_a_label_outside_by_its_own_value(metric, labels):
    with pytest.raises(ValueError, match=rf"outside \[0, 3\), .* labels\[0\] = {labels[0]}\."):
        metric(LOGITS, labels)


@each_label
@pytest.mark.parametrize(
    "judge",
    [
        lambda fn, x, labels: validate.evaluate(fn, {"w": jnp.eye(3)}, x, labels),
        lambda fn, x, labels: auto.sensitivity(
            fn, {"w": jnp.eye(3)}, quantize.int8(), validate.Examples(x, labels)
        ),
    ],
    ids=["evaluate", "sensitivity"],
)
def test_judges_refuse_a_label_outside(judge, labels):
    with pytest.raises(ValueError, match=r"labels are outside \[0, 3\)"):
        judge(lambda params, x: x @ params["w"], LOGITS, labels)


@each_label
def test_under_jit_a_label_outside_is_never_correct(labels):
    always = jax.nn.one_hot(jnp.array([2, 0, 1]), CLASSES)
    found = jax.jit(validate.correct)(always, concrete(labels))
    np.testing.assert_array_equal(found, [False, True, True])


@pytest.mark.parametrize("labels", [[1.0, 0.0, 2.0], [True, False, True]])
@pytest.mark.parametrize(
    "gather",
    [*LOSSES.values(), validate.correct, validate.cross_entropy],
    ids=[*LOSSES, "correct", "cross_entropy"],
)
def test_labels_that_are_no_integers_are_refused(gather, labels):
    with pytest.raises(TypeError, match=r"labels of dtype \w+\) needs integer labels"):
        gather(LOGITS, np.asarray(labels))


@each_label
def test_the_gradient_of_a_label_outside_is_nan_and_of_the_others_finite(labels):
    grads = jax.grad(lambda x: distill.outputs.hard_targets(x, labels).sum())(jnp.asarray(LOGITS))
    np.testing.assert_array_equal(np.isnan(grads).any(axis=1), [True, False, False])


SHOWN = {
    "hard_targets": distill.outputs.hard_targets,
    "smoothed_labels": distill.outputs.smoothed_labels,
    "decoupled_targets": lambda x, labels: distill.outputs.decoupled_targets(x, -x, labels),
    "cross_entropy": validate.cross_entropy,
    "top_k_targets": lambda x, labels: distill.outputs.top_k_targets(
        x, distill.outputs.TopK(np.log([[0.5]] * 3), labels[:, None], np.log([0.5] * 3))
    ),
    "sampled_targets": lambda x, labels: distill.outputs.sampled_targets(
        x, distill.outputs.Draws(labels[:, None], np.ones((3, 1), np.float32))
    ),
}
each_shown = pytest.mark.parametrize("loss", SHOWN.values(), ids=SHOWN)


@each_label
@each_shown
def test_a_label_that_is_shown_is_refused_while_a_loss_is_traced(loss, labels):
    with pytest.raises(KnownValueError, match=rf" {labels[0]}\b"):
        jax.eval_shape(lambda x: loss(x, np.asarray(labels).view(Shown)), LOGITS)
    jax.eval_shape(lambda x: loss(x, np.array([2, 0, 1]).view(Shown)), LOGITS)


@each_label
@pytest.mark.parametrize("loss", ["top_k_targets", "sampled_targets"])
def test_an_index_outside_gives_nan_and_never_counts_from_the_end(loss, labels):
    found = SHOWN[loss](LOGITS, np.asarray(labels))
    np.testing.assert_array_equal(np.isnan(found), [True, False, False])


IGNORING = {
    "hard_targets": partial(distill.outputs.hard_targets, ignore=IGNORED),
    "hard_targets under jit": jax.jit(partial(distill.outputs.hard_targets, ignore=IGNORED)),
    "cross_entropy": partial(validate.cross_entropy, ignore=IGNORED),
    "cross_entropy under jit": jax.jit(partial(validate.cross_entropy, ignore=IGNORED)),
}


@pytest.mark.parametrize("loss", IGNORING.values(), ids=IGNORING)
def test_ignored_examples_give_0_and_do_not_count(loss):
    labels = jnp.array([2, IGNORED, 0])
    expected = oracle(LOGITS, np.array([2, 0, 0])) * [1, 0, 1]
    found = loss(LOGITS, labels)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    counts = distill.counted(labels, ignore=IGNORED)
    np.testing.assert_array_equal(counts, [True, False, True])
    np.testing.assert_allclose(found.sum() / counts.sum(), expected.sum() / 2, rtol=1e-6)


def test_ignoring_one_value_lets_no_other_pass():
    found = distill.outputs.hard_targets(LOGITS, jnp.array([-1, IGNORED, 1000]), ignore=IGNORED)
    np.testing.assert_array_equal(np.isnan(found), [True, False, True])


def test_a_class_can_be_ignored_too():
    found = distill.outputs.hard_targets(LOGITS, jnp.array([0, 1, 0]), ignore=0)
    np.testing.assert_allclose(found, oracle(LOGITS, np.array([0, 1, 0])) * [0, 1, 0], rtol=1e-6)


def test_nothing_of_an_ignored_example_reaches_the_gradient():
    logits = LOGITS.copy()
    logits[1] = [np.nan, np.inf, -np.inf]
    labels = jnp.array([2, IGNORED, 0])
    grads = jax.grad(lambda x: distill.outputs.hard_targets(x, labels, ignore=IGNORED).sum())(
        logits
    )
    np.testing.assert_array_equal(grads[1], 0)
    assert np.isfinite(grads).all()


def test_labels_of_tokens():
    logits = np.stack([LOGITS, LOGITS[::-1]])  # (batch, time, classes)
    labels = np.array([[2, 0, IGNORED], [5, -1, 1]])
    found = distill.outputs.hard_targets(logits, labels, ignore=IGNORED)
    flat = np.where(labels == IGNORED, 0, labels).reshape(-1)
    expected = oracle(logits.reshape(-1, CLASSES), flat).reshape(2, 3)
    np.testing.assert_allclose(found, np.where(labels == IGNORED, 0, expected), rtol=1e-6)
    with pytest.raises(ValueError, match=r"Reshape answers to tokens to \(-1, classes\)"):
        validate.cross_entropy(logits, labels, ignore=IGNORED)
    counts = distill.counted(labels, ignore=IGNORED)
    soft = distill.outputs.soft_targets(logits, -logits)
    mean = jnp.sum(soft, where=counts) / counts.sum()
    np.testing.assert_allclose(mean, np.asarray(soft)[labels != IGNORED].mean(), rtol=1e-6)


@pytest.mark.parametrize("places", [PartitionSpec("data"), PartitionSpec(None, "data")])
@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_examples_and_classes_may_be_sharded(mesh, places, axis_type):
    logits, labels = jnp.arange(32.0).reshape(4, 8) % 5, jnp.array([7, -1, IGNORED, 0])
    loss = partial(distill.outputs.hard_targets, ignore=IGNORED)
    expected = loss(logits, labels)
    devices = mesh(data=2, axis_type=axis_type)
    with jax.set_mesh(devices):
        split = jax.device_put(logits, NamedSharding(devices, places))
        beside = jax.device_put(labels, NamedSharding(devices, PartitionSpec(places[0])))
        found = jax.jit(loss)(split, beside)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_judging_leaves_ignored_examples_out():
    labels = np.array([2, IGNORED, 1])
    fn, params = lambda params, x: x @ params["w"], {"w": jnp.eye(3)}
    whole = validate.Examples(LOGITS, labels, ignore=IGNORED)
    part = validate.Examples(LOGITS[[0, 2]], labels[[0, 2]])
    assert whole.judge(fn, params).to_json() == part.judge(fn, params).to_json()
    rows = [auto.sensitivity(fn, params, quantize.int4(), examples) for examples in (whole, part)]
    assert rows[0] == rows[1]
    none = validate.Examples(LOGITS, np.full(3, IGNORED), ignore=IGNORED)
    with pytest.raises(ValueError, match=r"Examples\(ignore=-100\) leaves out all 3 examples"):
        none.judge(fn, params)


def test_correct_leaves_ignored_examples_uncounted():
    found = validate.correct(LOGITS, np.array([2, IGNORED, 0]), ignore=IGNORED)
    np.testing.assert_array_equal(found, [True, False, True])


@pytest.mark.parametrize("ignore", [1.0, True, "no", 2**40])
def test_what_is_ignored_is_an_integer(ignore):
    for gather in (distill.outputs.hard_targets, validate.cross_entropy, validate.correct):
        with pytest.raises(ValueError, match=r"ignore=.* must be an integer label"):
            gather(LOGITS, np.array([0, 1, 2]), ignore=ignore)
    with pytest.raises(ValueError, match=r"counted\(ignore="):
        distill.counted(np.array([0]), ignore=ignore)
