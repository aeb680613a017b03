"""Perturbed copies are found, other images are not; candidates obey their rule."""

import itertools

import numpy as np
import pytest

from jaxcompress.validate import leakage
from jaxcompress.validate.leakage import check, near_images, signs
from jaxcompress.validate.leakage.buckets import Buckets

RNG = np.random.default_rng(0)


def smooth(n: int, side: int = 16) -> np.ndarray:
    """Random images uint8 whose neighbouring pixels are alike, as in photographs."""
    noise = RNG.normal(size=(n, side + 4, side + 4))
    blurred = sum(noise[:, i : i + side, j : j + side] for i in range(5) for j in range(5))
    return np.clip(128 + 12 * blurred, 0, 255).astype(np.uint8)


TRAIN = smooth(60)


def moved(images, down, right, mode):
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), mode=mode)
    height, width = images.shape[1:]
    return padded[:, 1 + down : 1 + down + height, 1 + right : 1 + right + width]


def noisy(images):
    return np.clip(images + RNG.normal(0, 4, images.shape), 0, 255).astype(np.uint8)


COPIES = {
    "equal": lambda x: x,
    "float": lambda x: x.astype(np.float32) / 255,
    "noise": noisy,
    "brighter": lambda x: (0.8 * x + 20).astype(np.uint8),
    "coarse levels": lambda x: (x // 8 * 8).astype(np.uint8),
    "shifted, edge": lambda x: moved(x, 1, -1, "edge"),
    "shifted, zeros": lambda x: moved(x, 0, 1, "constant"),
    "shifted and noisy": lambda x: noisy(moved(x, -1, -1, "constant")),
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize(
    "hashed",
    [leakage.phash(64), leakage.dhash(64), leakage.phash(128)],
    ids=["phash", "dhash", "phash128"],
)
def test_copies_are_found_and_nothing_else(copy, hashed):
    copies = copy(TRAIN[10:20])
    fresh = smooth(10).astype(copies.dtype) / (1 if copies.dtype == np.uint8 else 255)
    train = TRAIN if copies.dtype == np.uint8 else COPIES["float"](TRAIN)
    test = np.concatenate([fresh, copies]).astype(copies.dtype)
    report = check({"train": train, "test": test}, [near_images(hash=hashed)])
    within, across, _ = report.overlaps
    assert within.count == 0
    np.testing.assert_array_equal(across.pairs, np.stack([np.arange(10, 20)] * 2, axis=1))
    assert (across.scores > 0.98).all()


def test_mirrored_copies_are_found_where_asked():
    sets = {"train": TRAIN, "test": TRAIN[5:7, :, ::-1]}
    plain = check(sets, [near_images()], pairs=leakage.between_sets)
    assert plain.clean
    mirrored = near_images(variants=leakage.flips(leakage.shifts(1)))
    report = check(sets, [mirrored], pairs=leakage.between_sets)
    assert report.overlaps[0].pairs.tolist() == [[5, 0], [6, 1]]


def test_copies_of_copies_are_matched_too():
    test = np.concatenate([noisy(TRAIN[:1]), TRAIN[3:4]])
    test = test[[0, 1, 0, 1, 0]]
    report = check({"train": TRAIN[[0, 1, 3, 3]], "test": test}, [near_images()])
    train, across, second = report.overlaps
    assert train.pairs.tolist() == [[2, 3]]
    assert across.pairs.tolist() == [[0, 0], [2, 1], [0, 2], [2, 3], [0, 4]]
    assert across.touched.tolist() == [0, 2, 3]
    assert second.pairs.tolist() == [[0, 2], [1, 3], [0, 4]]


def test_streams_and_colours_and_large_images():
    large = np.stack([smooth(8, 80)] * 3, axis=-1)
    large[..., 1] //= 2
    in_chunks = lambda: iter([large[:3], large[3:]])  # noqa: E731
    report = check({"train": in_chunks, "test": noisy(large[4:6])}, [near_images()])
    assert report.overlaps[1].pairs.tolist() == [[4, 0], [5, 1]]


def test_images_without_contrast():
    grey = np.full((3, 16, 16), 100, np.uint8)
    grey[1] = 130
    report = check({"a": grey[:1], "b": grey[1:2], "c": TRAIN[:1]}, [near_images()])
    assert [each.count for each in report.overlaps] == [0, 1, 0, 0, 0, 0]


def test_bands_with_uncertain_bits_flipped_are_looked_up():
    values = RNG.normal(size=(1, 16))
    hashed = signs.signs([values])
    keys = signs.probes(hashed.bits[0, :, 0], hashed.uncertain[0, :, 0])[0].tolist()
    weakest = np.argsort(np.abs(values[0]))[:4]
    expected = set()
    for flipped in itertools.product([1, -1], repeat=4):
        changed = values[0].copy()
        changed[weakest] *= flipped
        expected.add(sum(1 << i for i in range(16) if changed[i] > 0))
    assert len(keys) == len(expected) == 16
    assert set(keys) == expected


def test_candidates_are_those_of_a_loop():
    first, second = (signs.signs([RNG.normal(size=(40, 32)) for _ in range(2)]) for _ in range(2))
    (found,) = signs.near_pairs(first.bits[:, 0], second, radius=12)
    expected = []
    for j, v, i in itertools.product(range(40), range(2), range(40)):
        other = second.bits[j, v]
        distance = sum(int(each).bit_count() for each in first.bits[i, 0] ^ other)
        keys = signs.probes(other, second.uncertain[j, v])
        if distance <= 12 and any(first.bits[i, 0, b] in keys[b] for b in range(2)):
            expected.append([i, j, v])
    assert found.tolist() == expected


def test_buckets_pair_equal_keys_in_pieces(monkeypatch):
    monkeypatch.setattr("jaxcompress.validate.leakage.buckets.MOST_PAIRS", 7)
    one, other = RNG.integers(0, 5, 20), RNG.integers(0, 6, 30)
    pairs = [pair for piece in Buckets(one).pairs(other) for pair in zip(*piece, strict=True)]
    assert sorted(pairs) == [(j, i) for j in range(30) for i in range(20) if one[i] == other[j]]


FLATTENED, TOO_BRIGHT = (
    near_images(of=of) for of in (lambda x: x.reshape(60, -1), lambda x: 2.0 * x)
)
ONE_NUMBER, MANY = (
    near_images(hash=hashed) for hashed in (lambda x: x[:, 0, 0], leakage.phash(256))
)
BAD = [
    (ValueError, r"near_images\(of\) gives uint8\[60, 256\]", FLATTENED),
    (ValueError, r"pixels\(array\) must lie in \[0, 1\]", TOO_BRIGHT),
    (ValueError, r"phash\(bits=256\): images of 14 x 14", MANY),
    (ValueError, r"near_images\(hash\) gives shape \(60,\)", ONE_NUMBER),
]


@pytest.mark.parametrize(("error", "message", "looked_for"), BAD)
def test_refuses_what_is_no_image(error, message, looked_for):
    with pytest.raises(error, match=message):
        check({"train": TRAIN}, [looked_for])


def test_refuses_an_iterator_that_would_be_read_twice():
    with pytest.raises(TypeError, match=r"'train' is an iterator, .* Pass a function"):
        check({"train": iter([TRAIN])}, [near_images()])
