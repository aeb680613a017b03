"""Hashed leaves: the hash that files rely on, values by hand, the leaf protocol."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.core import hashed
from jaxcompress.quantize import sharing

RANDOM = np.random.default_rng(0)
WEIGHT = RANDOM.normal(size=(12, 5)).astype(np.float32)
DENSE = jc.LeafAxes((0,), (1,))
LAYERS = {"w": jc.LeafAxes(contracting=(1,), output=(2,), batch=(0,))}


def mixed(x: int) -> int:
    x = ((x ^ x >> 16) * 0x85EBCA6B) % 2**32
    x = ((x ^ x >> 13) * 0xC2B2AE35) % 2**32
    return x ^ x >> 16


def by_hand(entries: int, buckets: int, seed: int):
    """Bucket and sign of each entry, in Python's own integers."""
    hashes = [mixed((i + seed * 0x9E3779B9) % 2**32) for i in range(entries)]
    signs = [-1 if mixed(h ^ 0x5BD1E995) >= 2**31 else 1 for h in hashes]
    return np.array([h % buckets for h in hashes]), np.array(signs)


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_the_hash_is_that_of_the_docstring(seed):
    bucket, negative = hashed.places(1000, 37, seed)
    expected, signs = by_hand(1000, 37, seed)
    np.testing.assert_array_equal(bucket, expected)
    np.testing.assert_array_equal(np.where(negative, -1, 1), signs)
    counts = np.bincount(expected, minlength=37)
    # Each is binomial around 27: five deviations.
    assert np.all(np.abs(counts - 1000 / 37) < 5 * np.sqrt(1000 / 37))
    assert abs(signs.sum()) < 5 * np.sqrt(1000)


def test_the_hash_stays_as_files_have_it():
    bucket, negative = hashed.places(8, 1000, 7)
    assert bucket.tolist() == by_hand(8, 1000, 7)[0].tolist() == FIXED[0]
    assert negative.tolist() == FIXED[1]


FIXED = (
    [743, 394, 946, 410, 136, 614, 317, 240],
    [False, True, False, False, True, False, False, False],
)


def hashed_leaf(share=0.25, seed=3):
    return sharing.hash_weights({"w": jnp.asarray(WEIGHT)}, share, seed=seed)[0]["w"]


def test_values_are_signed_means_and_least_squares():
    leaf = hashed_leaf()
    bucket, signs = by_hand(60, 15, 3)
    stored = np.float64(WEIGHT).T.ravel()
    values = [np.mean((signs * stored)[bucket == each]) for each in range(15)]
    np.testing.assert_allclose(leaf.values, values, rtol=1e-5, atol=1e-6)
    expected = (signs * np.array(values)[bucket]).reshape(5, 12).T
    np.testing.assert_allclose(leaf.materialize(), expected, rtol=1e-5, atol=1e-6)
    # So what they stand for is hashed to itself.
    again = sharing.hash_weights({"w": leaf.materialize()}, 0.25, seed=3)[0]["w"]
    np.testing.assert_allclose(again.values, leaf.values, rtol=1e-6)


def test_a_value_has_the_signed_sum_of_gradients():
    leaf, pull = hashed_leaf(), RANDOM.normal(size=WEIGHT.shape).astype(np.float32)
    fn = jc.materialized(lambda params: jnp.sum(params["w"] * pull))
    grads = jax.jit(jax.grad(fn))({"w": leaf})["w"]
    bucket, signs = by_hand(60, 15, 3)
    signed = signs * np.float64(pull).T.ravel()
    expected = [signed[bucket == each].sum() for each in range(15)]
    np.testing.assert_allclose(grads.values, expected, rtol=1e-5, atol=1e-5)


def test_layers_have_values_of_their_own_and_the_hash_in_common():
    stack = {"w": jnp.stack([jnp.asarray(WEIGHT), 2 * jnp.asarray(WEIGHT)])}
    leaf = sharing.hash_weights(stack, 0.25, seed=3, axes=LAYERS)[0]["w"]
    assert leaf.stacked
    assert leaf.values.shape == (2, 15)
    np.testing.assert_allclose(leaf.materialize()[0], hashed_leaf().materialize(), rtol=1e-6)
    _, layers = jax.lax.scan(lambda _, layer: (None, layer.materialize()), None, leaf)
    np.testing.assert_array_equal(layers, leaf.materialize())
    twice = jax.vmap(lambda _: leaf, axis_size=3)(jnp.arange(3))
    assert twice.shape == (3, 2, 12, 5)
    np.testing.assert_array_equal(twice.materialize()[2], leaf.materialize())


def test_it_is_read_moved_and_stored_as_any_leaf(tmp_path):
    leaf, array = hashed_leaf(), hashed_leaf().materialize()
    assert leaf.shape == (12, 5)
    assert leaf.size_bytes == 4 * 15
    np.testing.assert_array_equal(leaf.T.materialize(), array.T)
    np.testing.assert_array_equal(leaf.T.T.materialize(), array)
    assert leaf.astype(jnp.bfloat16).materialize().dtype == jnp.bfloat16
    assert repr(leaf) == "Hashed(buckets=15, shape=(12, 5), dtype=float32)"
    _, static = leaf.tree_flatten_with_keys()
    read = json.loads(json.dumps(hashed.static_to_json(static)))
    assert hashed.static_from_json(read) == static
    assert jax.tree.structure(leaf.with_parts(leaf.parts)) == jax.tree.structure(leaf)

    tree = {"w": leaf, "turned": leaf.T, "b": jnp.ones(3)}
    jc.storage.save(tmp_path / "hashed.safetensors", tree)
    loaded = jc.storage.load(tmp_path / "hashed.safetensors")
    assert jax.tree.structure(loaded) == jax.tree.structure(tree)
    jax.tree.map(np.testing.assert_array_equal, loaded, tree)
    described = jc.storage.describe(tmp_path / "hashed.safetensors")
    assert {each.name: each.spec for each in described.leaves}["w"] == "15 values, hashed"

    x = jnp.asarray(RANDOM.normal(size=(4, 12)), jnp.float32)
    model = jc.materialized(lambda params, x: x @ params["w"])
    np.testing.assert_allclose(jax.jit(model)(tree, x), x @ array, rtol=1e-5, atol=1e-5)


def test_the_report_says_what_was_done():
    params = {"w": jnp.asarray(WEIGHT), "b": jnp.ones(3)}
    _, report = sharing.hash_weights(params, 0.25)
    assert [row.action for row in report.leaves] == ["kept", "15 values, hashed"]
    assert (report.bytes_before, report.bytes_after) == (252, 72)
    shapes = jax.eval_shape(lambda: params)
    assert sharing.hash_weights(shapes, 0.25)[1].bytes_after == report.bytes_after


def made(values=(3,), sizes=(5, 12), seed=0, dtype=jnp.float32):
    return jc.Hashed.from_values(jnp.ones(values), sizes, seed=seed, dtype=dtype, axes=DENSE)


PARAMS = {"w": jnp.asarray(WEIGHT)}
REFUSED = [
    (lambda: sharing.hash_weights(PARAMS, 0), "hash_weights(share=0) must be above 0"),
    (lambda: sharing.hash_weights(PARAMS, 1.5), "hash_weights(share=1.5) must be in [0, 1]"),
    (lambda: sharing.hash_weights(PARAMS, 0.5, seed=-1), "hash_weights(seed=-1) must be at least"),
    (lambda: sharing.hash_weights(PARAMS, 0.5, seed=2**32), "must be below 2**32"),
    (
        lambda: sharing.hash_weights({"w": PARAMS["w"].at[1, 2].set(jnp.inf)}, 0.5),
        "hash_weights: leaf 'w' holds 1 values that are not finite, the first at (1, 2).",
    ),
    (lambda: made((2, 3)), "values of shape (2, 3) must be (batch…, buckets) with 0 batch axes"),
    (lambda: made(sizes=(60,)), "and sizes those of 2 others"),
    (lambda: made((0,)), "cannot have values of shape (0,) for axes of sizes (5, 12)"),
    (lambda: made(sizes=(2**16, 2**16)), "not of 1 to 2147483647 entries"),
    (lambda: made(seed=-1), "a seed of -1, no int in [0, 2**32)"),
    (lambda: made(dtype=jnp.int8), "Hashed.from_values(dtype=int8) must be a real floating"),
    (lambda: jax.tree.map(lambda x: x > 0, made()).materialize(), "Hashed cannot have values of"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[row[1] for row in REFUSED])
def test_refusals_say_what_and_why(call, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        call()
    assert message in str(caught.value)
