"""Sizes: four readings of one tree, each against the plainest count."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import named_leaves
from jaxcompress.storage import Size, save, size
from jaxcompress.storage.sizes import entropy_bits
from tests.inputs import ARRAYS, QTENSORS, TREES


def arrays():
    return dict(ARRAYS)


def quantized():
    return {name: leaf() for name, leaf in QTENSORS.items()}


EVERY = {"arrays": arrays, "quantized": quantized, "nothing": dict, "numbers": lambda: [1, True]}
every_tree = pytest.mark.parametrize("tree", (EVERY | TREES).values(), ids=EVERY | TREES)


@every_tree
def test_disk_is_the_size_of_the_file(tmp_path, tree):
    save(tmp_path / "file", tree())
    assert size(tree()).disk == (tmp_path / "file").stat().st_size


@every_tree
def test_dense_counts_four_bytes_for_every_number(tree):
    assert size(tree()).dense == sum(4 * np.size(leaf) for leaf in named_leaves(tree()).values())


@every_tree
def test_entropy_is_at_most_what_is_on_disk(tree):
    assert 0 <= size(tree()).entropy <= size(tree()).disk


def test_dense_of_a_quantized_leaf_is_that_of_the_array_it_stands_for():
    for leaf in quantized().values():
        assert is_compressed(leaf)
        assert size(leaf).dense == 4 * leaf.materialize().size


def test_memory_of_a_quantized_leaf_is_that_of_its_arrays():
    leaf = QTENSORS["uint4 groups"]()
    assert size({"kernel": leaf}).memory == 5 * 8 // 2 + 5 * 2 * 4 + 5 * 2 * 4
    assert size({"kernel": jnp.ones((3, 4), jnp.bfloat16)}).memory == 24
    assert size({"kernel": np.ones((3, 4))}).memory == 96


def test_memory_of_four_bit_numbers_is_what_the_device_says():
    x = jnp.ones(100, jnp.int4)
    assert size(x).memory == x.on_device_size_in_bytes()


@pytest.mark.parametrize(
    ("values", "bits"),
    [
        ([], 0),
        ([7] * 9, 0),
        ([0, 1], 2),
        ([0, 1, 2, 3] * 5, 40),
        ([0] * 8 + [1, 1, 2, 2, 3, 4, 5, 6], 8 * 1 + 4 * 3 + 4 * 4),
        ([5, 1, 2, 1, 2, 9, 7, 8], 4 * 2 + 4 * 3),
        (range(64), 64 * 6),
    ],
)
def test_entropy_by_hand(values, bits):
    for dtype in (np.uint8, np.uint16, np.uint32, np.uint64):
        assert entropy_bits(np.array(values, dtype)) == bits


def test_entropy_of_a_leaf_adds_scales_and_zero_points():
    leaf = QTENSORS["uint4 groups"]()
    steps = np.asarray(leaf.unpacked_codes) - np.repeat(np.asarray(leaf.zero_point), 4, axis=1)
    probabilities = np.bincount(steps.reshape(-1) % 16) / steps.size
    bits = -sum(steps.size * p * np.log2(p) for p in probabilities if p > 0)
    assert size(leaf).entropy == 10 * 4 + 10 * 4 // 8 + int(np.ceil(bits / 8))


def test_the_text_shows_all_four():
    text = str(Size(dense=1_066_440, memory=266_610, disk=100_000, entropy=0))
    assert text.splitlines() == [
        "dense   1,066,440 bytes",
        "memory    266,610 bytes  1/4.0",
        "disk      100,000 bytes  1/10.7",
        "entropy         0 bytes",
    ]
