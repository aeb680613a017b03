"""Augmentation against plain NumPy: what each one may give, and how often."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc

augment = jc.train.augment
KEY = jax.random.key(0)
IMAGES = np.arange(1, 1 + 64 * 4 * 5 * 2, dtype=np.float32).reshape(64, 4, 5, 2)
LABELS = np.arange(64)


def padded(image, border, value):
    return np.pad(image, ((border, border), (border, border), (0, 0)), constant_values=value)


def windows(image, height, width):
    tall, wide, _ = image.shape
    places = itertools.product(range(tall - height + 1), range(wide - width + 1))
    return {(i, j): image[i : i + height, j : j + width] for i, j in places}


def place(image, choices):
    """Which of the choices an image is; none twice, as all pixels differ."""
    (found,) = [name for name, choice in choices.items() if np.array_equal(image, choice)]
    return found


FAMILY = {
    "shifts": (augment.shifts(1, fill=-7), lambda x: windows(padded(x, 1, -7), 4, 5)),
    "no shifts": (augment.shifts(0), lambda x: {"itself": x}),
    "crops": (augment.crops(3, 4), lambda x: windows(x, 3, 4)),
    "whole": (augment.crops(4, 5), lambda x: {"itself": x}),
    "flips": (augment.flips(), lambda x: {"itself": x, "flipped": x[:, ::-1]}),
    "upside down": (augment.flips(axis=1), lambda x: {"itself": x, "flipped": x[::-1]}),
}


@pytest.mark.parametrize("name", FAMILY)
def test_each_image_is_one_of_the_choices_and_all_come_up(name):
    change, choices = FAMILY[name]
    images, labels = jax.jit(change)(KEY, (IMAGES, LABELS))
    np.testing.assert_array_equal(labels, LABELS)
    drawn = [place(new, choices(old)) for new, old in zip(np.asarray(images), IMAGES, strict=True)]
    names = list(choices(IMAGES[0]))
    counts = np.array([drawn.count(each) for each in names])
    # A binomial count of 64 within five standard deviations.
    expected, share = 64 / len(names), 1 / len(names)
    assert np.all(np.abs(counts - expected) <= 5 * np.sqrt(64 * share * (1 - share)))
    alone = jax.jit(change)(KEY, IMAGES)  # a batch that is one array
    np.testing.assert_array_equal(alone, images)
    assert augment.flips()(KEY, IMAGES.astype(np.uint8)).dtype == jnp.uint8


def test_mixup_mixes_inputs_and_targets_alike():
    x = np.arange(1, 9, dtype=np.float32).reshape(4, 2)
    targets = np.eye(4, dtype=np.float32)
    mixed, probabilities = jax.jit(augment.mixup(1.0))(KEY, (x, targets))
    share = np.diag(probabilities)
    assert np.all((share >= 0.5) & (share < 1))
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(mixed, np.asarray(probabilities) @ x, rtol=1e-6)
    assert len(set(share.tolist())) == 4


def test_a_chain_has_a_key_for_each():
    def normal(key, batch):
        return batch + jax.random.normal(key, batch.shape)

    once, twice = (
        augment.chain(normal)(KEY, jnp.zeros(3)),
        augment.chain(normal, normal)(KEY, jnp.zeros(3)),
    )
    assert not np.allclose(twice, 2 * once)
    np.testing.assert_array_equal(augment.chain()(KEY, IMAGES), IMAGES)


def test_what_cannot_be_augmented_is_refused():
    with pytest.raises(TypeError, match=r"'1' of the batch is int64\[64\], not floating"):
        augment.mixup()(KEY, (IMAGES, LABELS))
    with pytest.raises(ValueError, match=r"shifts\(...\): the inputs are int64\[64\]. Images are"):
        augment.shifts(1)(KEY, LABELS)
    with pytest.raises(ValueError, match=r"crops\(height=9, width=4\) is more than"):
        augment.crops(9, 4)(KEY, IMAGES)
    with pytest.raises(ValueError, match=r"flips\(axis=4\): images of shape"):
        augment.flips(axis=4)(KEY, IMAGES)
