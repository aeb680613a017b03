"""Random codes: the generator that files rely on, and the leaf protocol."""

import json
import math
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.core import random_code
from jaxcompress.core.draws import DEVIATION, LARGEST, draws, streams
from tests.inputs import DENSE
from tests.inputs import random_code as layers

INDICES = np.array([3, 200, 77, 255], np.uint32)
LIKE = jax.ShapeDtypeStruct((6, 3), jnp.float32)


def mixed(x: int) -> int:
    x = ((x ^ x >> 16) * 0x85EBCA6B) % 2**32
    x = ((x ^ x >> 13) * 0xC2B2AE35) % 2**32
    return x ^ x >> 16


def by_hand(entry: int, candidate: int, seed: int) -> int:
    """A draw in Python's own integers."""
    stream = mixed(mixed((entry + seed * 0x9E3779B9) % 2**32) ^ 0x68E31DA4)
    first = mixed(stream ^ mixed((candidate * 0x9E3779B9 + 0x7F4A7C15) % 2**32))
    second = mixed(first ^ 0x5BD1E995)
    between = second % 65536 + second // 65536
    return 65536 * (first.bit_count() - 16) + between - 65535


def of_layer(entries: int, candidates: int, seed: int) -> np.ndarray:
    """(entries, candidates) draws."""
    candidate = jnp.arange(candidates, dtype=jnp.uint32)[None]
    return np.asarray(draws(streams(entries, seed)[:, None], candidate))


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_draws_are_those_of_the_docstring(seed):
    expected = [[by_hand(i, k, seed) for k in range(100)] for i in range(7)]
    np.testing.assert_array_equal(of_layer(7, 100, seed), expected)


def test_draws_stay_as_files_have_them():
    assert of_layer(2, 4, 7).tolist() == FIXED
    leaf = random_code.RandomCode.from_indices(INDICES, np.float32(2**-16), LIKE, **FORM)
    assert np.asarray(leaf.codes).tolist() == CODES
    assert [each.hex() for each in leaf.materialize()[0].tolist()] == FLOATS


FORM = {"bits": 8, "seed": 7, "axes": DENSE}
FIXED = [[-467938, 194553, 281411, 28199], [359688, -87377, 139973, -69748]]
CODES = [209, 193, 248, 220]
FLOATS = ["-0x1.22aa000000000p-1", "-0x1.687e000000000p+1", "-0x1.75cd000000000p+1"]


def distribution() -> tuple[np.ndarray, np.ndarray]:
    """Where draws can lie, in deviations, and how likely each is, exactly."""
    ones = np.array([math.comb(32, count) for count in range(33)]) / 2.0**32
    between = (65536 - np.abs(np.arange(-65535, 65536))) / 2.0**32
    chances = np.zeros(32 * 65536 + between.size)
    for count, chance in enumerate(ones):
        chances[count * 65536 :][: between.size] += chance * between
    assert chances.size == 2 * LARGEST + 1
    return (np.arange(chances.size) - LARGEST) / DEVIATION, chances


def test_the_distribution_is_normal_but_for_what_is_stated():
    x, chances = distribution()
    moments = [np.sum(chances * x**power) for power in range(1, 5)]
    np.testing.assert_allclose(moments[:3], [0, 1, 0], rtol=0, atol=1e-9)
    assert moments[3] - 3 == pytest.approx(-0.0602, abs=1e-4)
    below = np.cumsum(chances) - chances / 2
    normal = np.asarray(jax.scipy.stats.norm.cdf(x))
    assert np.abs(below - normal).max() < 0.0015
    x, below = x[::499], below[::499]
    with jax.enable_x64(True):
        quantiles = np.asarray(jax.scipy.stats.norm.ppf(jnp.asarray(below)))
    for most, within in ((0.007, 2), (0.05, 3), (0.16, 4)):
        inside = np.abs(x) < within
        assert 0.7 * most < np.abs(quantiles - x)[inside].max() < most


def test_draws_have_the_distribution_and_do_not_depend_on_one_another():
    z = of_layer(200, 1_000, 5) / DEVIATION
    # Means of 200,000: five deviations of the mean, of the variance and of the cubes.
    assert abs(z.mean()) < 5 / math.sqrt(z.size)
    assert abs(z.var() - 1) < 5 * math.sqrt(2 / z.size)
    assert abs(np.mean(z**3)) < 5 * math.sqrt(15 / z.size)
    x, chances = distribution()
    below = np.cumsum(chances)
    ranks = np.sort(below[np.searchsorted(x, z.ravel() - 0.5 / DEVIATION)])
    # Kolmogorov's distance passes 2 / sqrt(n) once in 1,500 times.
    assert np.abs(ranks - (np.arange(z.size) + 0.5) / z.size).max() < 2 / math.sqrt(z.size)
    for rows, count in ((z, 1_000), (z[:, :200].T, 200)):
        correlations = np.corrcoef(rows)
        np.fill_diagonal(correlations, 0)
        assert np.abs(correlations).max() < 5.5 / math.sqrt(count)


@pytest.mark.parametrize("bits", [1, 5, 8, 13, 24])
def test_indices_are_packed_without_loss(bits):
    indices = np.random.default_rng(bits).integers(0, 2**bits, 11).astype(np.uint32)
    like = jax.ShapeDtypeStruct((4, 4), jnp.float32)
    leaf = jc.RandomCode.from_indices(
        jnp.asarray(indices), jnp.float32(1), like, bits=bits, seed=0, axes=DENSE
    )
    np.testing.assert_array_equal(leaf.indices, indices)
    assert leaf.size_bytes == -(-11 * bits // 8) + 4


def test_entries_are_draws_of_the_candidate_of_their_block():
    leaf = layers()
    indices, scale = np.asarray(leaf.indices), np.asarray(leaf.scale)
    expected = np.zeros((2, 18), np.float32)
    for layer in range(2):
        for i in range(18):
            block = mixed((i + 3 * 0x9E3779B9) % 2**32) % 5
            expected[layer, i] = scale[layer] * np.float32(
                by_hand(i, int(indices[layer, block]), 3)
            )
    stored = np.moveaxis(np.asarray(leaf.materialize()), 2, 1).reshape(2, 18)
    np.testing.assert_array_equal(stored, expected)


def test_it_is_read_moved_and_stacked_as_any_leaf():
    leaf, array = layers(), layers().materialize()
    assert leaf.shape == array.shape == (2, 6, 3)
    np.testing.assert_array_equal(leaf.mT.materialize(), jnp.swapaxes(array, 1, 2))
    np.testing.assert_array_equal(leaf.T.T.materialize(), array)
    assert leaf.astype(jnp.bfloat16).materialize().dtype == jnp.bfloat16
    assert repr(leaf) == "RandomCode(blocks=5, bits=9, shape=(2, 6, 3), dtype=float32)"
    _, static = leaf.tree_flatten_with_keys()
    read = json.loads(json.dumps(random_code.static_to_json(static)))
    assert random_code.static_from_json(read) == static
    assert jax.tree.structure(leaf.with_parts(leaf.parts)) == jax.tree.structure(leaf)
    assert leaf.stacked
    _, scanned = jax.lax.scan(lambda _, layer: (None, layer.materialize()), None, leaf)
    np.testing.assert_array_equal(scanned, array)
    np.testing.assert_array_equal(jax.vmap(lambda layer: layer.materialize())(leaf), array)
    twice = jax.vmap(lambda _: leaf, axis_size=3)(jnp.arange(3))
    assert twice.shape == (3, 2, 6, 3)


DECODE = """
import sys, numpy, jaxcompress as jc
numpy.save(sys.argv[2], numpy.asarray(jc.storage.load(sys.argv[1])["w"].materialize()))
"""


def test_another_process_decodes_the_same_numbers(tmp_path):
    tree = {"w": layers(), "turned": layers().mT, "b": jnp.ones(3)}
    jc.storage.save(tmp_path / "codes.safetensors", tree)
    loaded = jc.storage.load(tmp_path / "codes.safetensors")
    assert jax.tree.structure(loaded) == jax.tree.structure(tree)
    jax.tree.map(np.testing.assert_array_equal, loaded, tree)
    described = jc.storage.describe(tmp_path / "codes.safetensors")
    specs = {each.name: each.spec for each in described.leaves}
    assert specs["w"] == "5 random codes of 9 bits"
    paths = [str(tmp_path / "codes.safetensors"), str(tmp_path / "w.npy")]
    subprocess.run([sys.executable, "-c", DECODE, *paths], check=True)
    found = np.load(tmp_path / "w.npy")
    np.testing.assert_array_equal(found.view("i4"), np.asarray(layers().materialize()).view("i4"))


def test_only_the_scale_has_a_gradient():
    leaf = layers()

    def pulled(scale):
        return jnp.sum(leaf.with_parts({"codes": leaf.codes, "scale": scale}).materialize())

    grads = jax.jit(jax.grad(pulled))(leaf.scale)
    np.testing.assert_allclose(
        grads * leaf.scale, jnp.sum(leaf.materialize(), (1, 2)), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_it_lowers_for_accelerators_in_every_mode(platform):
    with (
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
        jax.enable_x64(True),
    ):
        traced = jax.jit(lambda leaf: leaf.materialize()).trace(layers())
        assert traced.lower(lowering_platforms=(platform,)).as_text()
        np.testing.assert_array_equal(traced.lower().compile()(layers()), layers().materialize())


def made(indices=(4,), scale=(), shape=(6, 3), dtype=jnp.float32, **changed):
    like, form = jax.ShapeDtypeStruct(shape, dtype), FORM | changed
    return jc.RandomCode.from_indices(
        jnp.zeros(indices, jnp.uint32), jnp.ones(scale, jnp.float32), like, **form
    )


REFUSED = [
    (lambda: made((2, 4)), "indices of shape (2, 4) must be (batch…, blocks)"),
    (lambda: made((19,)), "cannot have 19 blocks for 18 entries"),
    (lambda: made((0,)), "cannot have 0 blocks for 18 entries"),
    (lambda: made(bits=0), "cannot have indices of 0 bits, not 1 to 24"),
    (lambda: made(bits=25), "cannot have indices of 25 bits, not 1 to 24"),
    (lambda: made(bits=2.0), "cannot have indices of 2.0 bits, not 1 to 24"),
    (lambda: made(seed=-1), "cannot have a seed of -1, no int in [0, 2**32)"),
    (lambda: made(scale=(2,)), "codes of shape (4,) and scale of (2,)"),
    (lambda: made(shape=(2**16, 2**16)), "not of 1 to 2147483647 entries"),
    (lambda: made(dtype=jnp.int8), "RandomCode.from_indices(like=int8) must be a real floating"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[row[1] for row in REFUSED])
def test_refusals_say_what_and_why(call, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        call()
    assert message in str(caught.value)


def test_arrays_that_are_not_its_own_are_refused():
    cast = jax.tree.map(lambda x: x.astype(jnp.float32), made())
    with pytest.raises(ValueError, match=r"RandomCode cannot have codes of float32.*materialized"):
        cast.materialize()
    with pytest.raises(ValueError, match="RandomCode cannot have scale of int32"):
        made().with_parts({"codes": made().codes, "scale": jnp.int32(1)})
