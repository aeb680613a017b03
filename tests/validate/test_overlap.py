"""Planted duplicates are found and named; clean splits pass."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.validate.overlap import check_disjoint

IMAGES = np.random.default_rng(0).integers(0, 17, (30, 4, 4)).astype(np.float32)


@pytest.mark.parametrize(
    "array",
    [
        np.asarray,
        jnp.asarray,
        np.asfortranarray,
        lambda x: x.astype(jnp.bfloat16),
    ],
)
def test_clean_splits_pass(array):
    check_disjoint(
        train=array(IMAGES[:10]), validation=array(IMAGES[10:20]), test=array(IMAGES[20:])
    )


def test_names_the_sets_the_count_and_the_places():
    train, test = IMAGES[:20], IMAGES[18:]
    message = (
        r"^check_disjoint: 'train' holds 2 of 12 examples of 'test': "
        r"test\[0\] = train\[18\], test\[1\] = train\[19\]\.$"
    )
    with pytest.raises(ValueError, match=message):
        check_disjoint(train=train, test=test)


def test_shows_the_first_three_places():
    message = r"5 of 5 .*: b\[0\] = a\[0\], b\[1\] = a\[1\], b\[2\] = a\[2\], …\.$"
    with pytest.raises(ValueError, match=message):
        check_disjoint(a=IMAGES[:5], b=IMAGES[:5])


def test_names_every_pair():
    with pytest.raises(ValueError, match=r"'a' holds 1 of 2 .* 'b'.*; 'b' holds 1 of 2 .* 'c'"):
        check_disjoint(a=IMAGES[:2], b=IMAGES[1:3], c=IMAGES[2:4])


def test_finds_a_copy_in_another_memory_order():
    with pytest.raises(ValueError, match=r"test\[0\] = train\[7\]"):
        check_disjoint(train=IMAGES, test=np.asfortranarray(IMAGES[7:8]))


def test_duplicates_inside_one_set_are_allowed_and_the_first_is_named():
    twice = IMAGES[[0, 0, 1]]
    check_disjoint(train=twice, test=IMAGES[2:])
    with pytest.raises(ValueError, match=r"1 of 1 .*: test\[0\] = train\[0\]\.$"):
        check_disjoint(train=twice, test=IMAGES[:1])


def test_one_changed_pixel_is_another_example():
    changed = IMAGES[:1].copy()
    changed[0, 3, 3] += 1
    check_disjoint(train=IMAGES, test=changed)


def test_indices_are_examples_too():
    with pytest.raises(ValueError, match=r"'train' holds 1 of 2 examples of 'test'"):
        check_disjoint(train=np.array([1, 2]), test=np.array([2, 3]))


BAD = [
    (ValueError, r"check_disjoint\(train\) needs two or more", {"train": IMAGES}),
    (
        ValueError,
        r"check_disjoint\(test\) holds no examples",
        {"train": IMAGES, "test": IMAGES[:0]},
    ),
    (TypeError, r"check_disjoint\(test=3\) is no set", {"train": IMAGES, "test": 3}),
    (
        TypeError,
        r"\(train of float32 \[4, 4\], test of float32 \[16\]\)",
        {"train": IMAGES, "test": IMAGES.reshape(30, 16)},
    ),
    (
        TypeError,
        r"\(train of float32 \[4, 4\], test of float64 \[4, 4\]\).* convert",
        {"train": IMAGES, "test": IMAGES.astype(np.float64)},
    ),
    (
        TypeError,
        r"\(train of dtype object\) holds Python objects",
        {"train": IMAGES.astype(object), "test": IMAGES.astype(object)},
    ),
]


@pytest.mark.parametrize(("error", "message", "splits"), BAD)
def test_refuses_sets_that_cannot_be_compared(error, message, splits):
    with pytest.raises(error, match=message):
        check_disjoint(**splits)
