"""Masks broadcast to their leaves, remove exactly, and are checked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.masks import apply_masks, fitted, full_masks, kept

PARAMS = {"kernel": jnp.array([[1.0, jnp.nan], [jnp.inf, 4.0]]), "bias": jnp.array([5.0, 6.0])}


def test_full_masks_keep_everything():
    masks = full_masks(PARAMS)
    assert jax.tree.structure(masks) == jax.tree.structure(PARAMS)
    assert all(mask.shape == () and bool(mask) for mask in jax.tree.leaves(masks))
    jax.tree.map(np.testing.assert_array_equal, apply_masks(masks, PARAMS), PARAMS)


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (np.array([[True, False], [False, True]]), [[1.0, 0.0], [0.0, 4.0]]),
        (np.array([[True, False]]), [[1.0, 0.0], [np.inf, 0.0]]),
        (np.array([[True], [False]]), [[1.0, np.nan], [0.0, 0.0]]),
        (np.array(False), [[0.0, 0.0], [0.0, 0.0]]),
    ],
    ids=["full", "columns", "rows", "scalar"],
)
def test_masks_broadcast_and_remove_nan_and_infinity(mask, expected):
    masks = {"kernel": jnp.array(mask), "bias": jnp.array(True)}
    once = apply_masks(masks, PARAMS)
    np.testing.assert_array_equal(once["kernel"], expected)
    jax.tree.map(np.testing.assert_array_equal, apply_masks(masks, once), once)
    assert kept(masks["kernel"], 4) == np.broadcast_to(mask, (2, 2)).sum()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.int8])
def test_dtypes_stay(dtype):
    masked = apply_masks([jnp.array([True, False])], [jnp.ones(2, dtype)])[0]
    assert masked.dtype == dtype
    np.testing.assert_array_equal(masked.astype(jnp.float32), [1.0, 0.0])


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"kernel": jnp.array(True)}, r"caller\(masks=...\) has no mask for leaf 'bias'"),
        (
            {"kernel": jnp.array(True), "bias": jnp.array(True), "tail": jnp.array(True)},
            "a mask for what is no leaf, 'tail'",
        ),
        ({"kernel": jnp.array(1.0), "bias": jnp.array(True)}, "'kernel' has dtype float32"),
        ({"kernel": jnp.ones(3, bool), "bias": jnp.array(True)}, r"'kernel' has shape \(3,\)"),
        (
            {"kernel": jnp.ones((1, 2, 2), bool), "bias": jnp.array(True)},
            r"'kernel' has shape \(1,",
        ),
    ],
    ids=["missing", "left over", "dtype", "shape", "rank"],
)
def test_wrong_masks_are_refused(masks, message):
    with pytest.raises(ValueError, match=message):
        fitted("caller", masks, PARAMS)
