"""Corruptions against NumPy and at severity 0; the table by separate evaluations."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

import jaxcompress as jc
from jaxcompress.validate.comparisons import corruptions, robustness
from jaxcompress.validate.comparisons.corruptions import Graded
from jaxcompress.validate.intervals import paired_interval

KEY = jax.random.key(0)
IMAGES = np.random.default_rng(0).random((3, 12, 10, 2)).astype(np.float32)


def blurred(x, sigma):
    widths = (0, sigma, sigma, 0)
    return ndimage.gaussian_filter(
        x.astype(np.float64), widths, mode="nearest", radius=(0, 8, 8, 0)
    )


def pixelated(x, severity):
    side, found = 1 + round(severity), np.array(x)
    for i in range(0, x.shape[1], side):
        for j in range(0, x.shape[2], side):
            block = x[:, i : i + side, j : j + side]
            found[:, i : i + side, j : j + side] = block.mean(axis=(1, 2), keepdims=True)
    return found


# Name, severity, and what plain NumPy makes of the images; the last where it is random.
CASES = {
    "noise": (0.2, None),
    "blur": (1.2, blurred),
    "contrast": (
        0.4,
        lambda x, s: (1 - s) * x + s * x.mean(axis=(1, 2, 3), keepdims=True),
    ),
    "brightness": (0.3, lambda x, s: np.clip(x + s, 0, 1)),
    "occlusion": (0.2, None),
    "pixelate": (2.0, pixelated),
}


@pytest.mark.parametrize("name", CASES)
def test_a_corruption_is_what_it_says_and_nothing_at_severity_0(name):
    severity, expected = CASES[name]
    corruption = jax.jit(getattr(corruptions, name))
    np.testing.assert_allclose(corruption(KEY, IMAGES, 0.0), IMAGES, rtol=0, atol=1e-6)
    found = corruption(KEY, IMAGES, severity)
    assert found.shape == IMAGES.shape
    assert found.dtype == IMAGES.dtype
    assert np.min(found) >= 0
    assert np.max(found) <= 1 + 1e-6
    assert not np.allclose(found, IMAGES, atol=0.01)
    if expected is not None:
        np.testing.assert_allclose(found, expected(IMAGES, severity), rtol=0, atol=1e-5)


def test_noise_has_its_deviation_and_grows_with_the_severity():
    grey = jnp.full((2, 40, 40, 1), 0.5)
    one, two = (corruptions.noise(KEY, grey, severity) - grey for severity in (0.05, 0.1))
    # 3200 draws: four deviations of their sample deviation.
    assert abs(float(one.std()) - 0.05) <= 4 * 0.05 / np.sqrt(2 * 3200)
    np.testing.assert_allclose(two, 2 * one, rtol=0, atol=1e-5)


def test_occlusion_hides_one_rectangle_of_each_image():
    found = np.asarray(corruptions.occlusion(KEY, jnp.ones((50, 10, 8, 1)), 0.25))
    for image in found[..., 0]:
        rows, columns = np.flatnonzero((image == 0).any(1)), np.flatnonzero((image == 0).any(0))
        assert (image == 0).sum() == rows.size * columns.size == 5 * 4
        assert np.ptp(rows) == 4
        assert np.ptp(columns) == 3
    # Not all at one place, and some at the very edge.
    assert len({image.tobytes() for image in found}) > 10
    assert (found[:, 0] == 0).any()
    assert (found[:, -1] == 0).any()


def test_tokens_are_replaced_with_the_probability_given():
    replace = corruptions.tokens_replaced(50)
    tokens = jnp.full((40, 50), 60)
    found = np.asarray(replace(KEY, tokens, 0.3))
    share = np.mean(found != 60)
    assert abs(share - 0.3) <= 4 * np.sqrt(0.3 * 0.7 / tokens.size)
    assert found[found != 60].max() < 50
    np.testing.assert_array_equal(replace(KEY, tokens, 0.0), tokens)


def fn(params, x):
    return x.reshape(len(x), -1) @ params


def test_the_table_is_that_of_separate_evaluations_in_pairs():
    rng = np.random.default_rng(1)
    params = jnp.asarray(rng.normal(size=(240, 3)), jnp.float32)
    other = jnp.round(params)
    images = rng.random((60, 12, 10, 2)).astype(np.float32)
    labels = np.asarray(jnp.argmax(fn(params, images), -1))
    examples = jc.validate.Examples(images, labels)
    graded = {"noise": Graded(corruptions.noise, (0.1, 0.5))}
    table = robustness(fn, params, other, examples, KEY, corruptions=graded)
    assert [(row.corruption, row.severity) for row in table.rows] == [
        ("none", 0.0),
        ("noise", 0.1),
        ("noise", 0.5),
    ]
    assert table.rows[0].before == 1.0
    for row in table.rows[1:]:
        seen = corruptions.noise(jax.random.fold_in(KEY, 0), images, row.severity)
        right = [np.asarray(fn(each, seen).argmax(-1)) == labels for each in (params, other)]
        np.testing.assert_allclose((row.before, row.after), [each.mean() for each in right])
        gained, lost = np.sum(right[1] & ~right[0]), np.sum(right[0] & ~right[1])
        assert (row.gained, row.lost) == (gained, lost)
        assert row.interval == paired_interval(row.gained, row.lost, 60)
    corrupted = [row.after for row in table.rows[1:]]
    np.testing.assert_allclose(table.mean_after, np.mean(corrupted))
    record = json.loads(json.dumps(table.to_json()))
    assert record["rows"][1]["interval"] == list(table.rows[1].interval)
    assert str(table).splitlines()[1].startswith("none ")


def test_a_card_says_whether_a_corruption_costs_more():
    images, labels = np.eye(40).reshape(40, 5, 8, 1).astype(np.float32), np.arange(40)
    examples = jc.validate.Examples(images, labels)
    graded = {"contrast": Graded(corruptions.contrast, (0.2,))}
    params = jnp.eye(40)
    worse = robustness(fn, params, params[::-1], examples, KEY, corruptions=graded).finding()
    assert worse.verdict == "fails"
    assert "contrast" in worse.statement
    same = robustness(fn, params, params, examples, KEY, corruptions=graded)
    assert same.finding().verdict == "undecided"
    assert same.finding(margin=0.5).verdict == "holds"


def test_what_has_no_accuracy_is_refused_by_name():
    loss = jc.validate.metrics.loss(lambda outputs, targets: jnp.abs(outputs - targets))
    examples = jc.validate.Examples(IMAGES, np.arange(3), [loss])
    with pytest.raises(ValueError, match=r"robustness\(examples\) needs the metric accuracy"):
        robustness(fn, jnp.ones(3), jnp.ones(3), examples, KEY)
    with pytest.raises(ValueError, match=r"robustness\(corruptions={}\) needs a corruption"):
        robustness(fn, 1.0, 1.0, jc.validate.Examples(IMAGES, np.arange(3)), KEY, corruptions={})
    with pytest.raises(TypeError, match="needs floating images"):
        corruptions.blur(KEY, jnp.ones((1, 2, 2, 1), jnp.uint8), 1.0)
    with pytest.raises(ValueError, match=r"contrast\(severity=1.5\) must be in \[0, 1\]"):
        corruptions.contrast(KEY, IMAGES, 1.5)
    with pytest.raises(TypeError, match=r"noise\(images=float32\[2, 2\]\) must be one real array"):
        corruptions.noise(KEY, jnp.ones((2, 2)), 0.1)


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
@pytest.mark.parametrize("name", CASES)
def test_corruptions_lower_for_accelerators(name, platform):
    jax.jit(getattr(corruptions, name)).trace(KEY, IMAGES, 0.1).lower(
        lowering_platforms=(platform,)
    )
