"""One bit of difference for each weight: by the formula, with the error it states."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.storage import (
    FileError,
    breakdown,
    describe,
    load,
    load_delta,
    save,
    save_bit_delta,
)
from tests.inputs import QTENSORS
from tests.storage.bits import assert_same_bits
from tests.storage.fuzzing.campaign import answer
from tests.storage.fuzzing.files import put_together, taken_apart
from tests.storage.fuzzing.mutations import mutated


@pytest.fixture
def base(tmp_path):
    return tmp_path / "base.safetensors"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tuned.safetensors"


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def by_hand(x: np.ndarray, base: np.ndarray) -> np.ndarray:
    """The approximated leaf, number by number."""
    steps = [np.float32(a) - np.float32(b) for a, b in zip(x.flat, base.flat, strict=True)]
    scale = np.float32(sum(abs(float(step)) for step in steps) / len(steps))
    signs = [np.float32(-1) if step < 0 else np.float32(1) for step in steps]
    found = [np.float32(b) + s * scale for b, s in zip(base.flat, signs, strict=True)]
    return np.array(found, np.float32).reshape(base.shape).astype(base.dtype)


@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16, np.float16])
def test_a_leaf_is_the_base_and_one_step_for_each_weight(base, path, dtype):
    old = {"kernel": normal(0, 40, 30).astype(dtype), "bias": normal(1, 30).astype(dtype)}
    new = {"kernel": (old["kernel"] + normal(2, 40, 30) / 8).astype(dtype), "bias": -old["bias"]}
    save(base, old)
    found = save_bit_delta(path, new, base=base, metadata={"about": "a text"})
    loaded = load_delta(path, base=base)
    assert loaded["kernel"].dtype == dtype
    # The mean is rounded to float32 once, from a sum in another order.
    tolerance = 4 * float(jnp.finfo(dtype).eps)
    expected = by_hand(new["kernel"], old["kernel"]).astype(np.float32)
    np.testing.assert_allclose(
        np.asarray(loaded["kernel"], np.float32), expected, rtol=tolerance, atol=tolerance
    )
    np.testing.assert_array_equal(loaded["bias"], new["bias"])
    assert list(found.errors) == ["kernel"]
    assert describe(path).metadata == {"about": "a text"}
    specs = {leaf.name: leaf.spec for leaf in describe(path).leaves}
    assert specs["kernel"] == "one bit of difference to the base"


def test_the_error_is_the_one_that_is_made(base, path):
    old, new = {"w": normal(0, 300, 200)}, {"w": normal(0, 300, 200) + normal(1, 300, 200) / 64}
    save(base, old)
    found = save_bit_delta(path, new, base=base)
    lost = np.linalg.norm(np.asarray(load_delta(path, base=base)["w"]) - new["w"])
    assert found.errors["w"] == pytest.approx(lost / np.linalg.norm(new["w"] - old["w"]), rel=1e-3)
    # Of normal steps: 1 - 2 / pi of the squares, to about the root of 2 / n.
    assert found.errors["w"] ** 2 == pytest.approx(1 - 2 / np.pi, abs=0.02)
    [leaf] = breakdown(path).leaves
    assert leaf.bits_per_weight == pytest.approx(1, abs=0.01)
    assert (leaf.numbers, leaf.scales) == (300 * 200 // 8, 4)


@pytest.mark.parametrize("size", [1e-3, 4e-3, 1.0])
def test_the_error_counts_what_the_dtype_rounds_away(base, path, size):
    old = {"w": np.ones((64, 64), jnp.bfloat16)}
    new = {"w": (old["w"] + size * normal(0, 64, 64)).astype(jnp.bfloat16)}
    save(base, old)
    found = save_bit_delta(path, new, base=base)
    first, last, near = (
        np.asarray(tree["w"], np.float64) for tree in (old, new, load_delta(path, base=base))
    )
    expected = np.linalg.norm(near - last) / np.linalg.norm(last - first)
    assert found.errors["w"] == pytest.approx(expected, rel=1e-6)


def test_no_other_scale_loses_less(base, path):
    old, new = {"w": normal(0, 50, 20)}, {"w": normal(0, 50, 20) + normal(1, 50, 20) ** 3}
    save(base, old)
    found = save_bit_delta(path, new, base=base)
    steps = new["w"] - old["w"]
    for scale in np.linspace(0, 4, 81):
        signs = np.where(steps < 0, -1, 1)
        lost = np.linalg.norm(steps - scale * signs) / np.linalg.norm(steps)
        assert found.errors["w"] <= lost + 1e-6


def test_other_leaves_are_exact(base, path):
    old = {
        "codes": QTENSORS["int4 groups"](),
        "double": np.ones((9, 9)),
        "grown": normal(0, 3, 3),
        "huge": np.full((9, 9), 3e38, np.float32),
        "integers": np.ones((9, 9), np.int32),
        "left": normal(0, 9, 9),
        "same": normal(1, 9, 9),
    }
    save(base, old)
    new = old | {
        "added": normal(2, 9, 9),
        "double": np.full((9, 9), 2.0),
        "grown": normal(0, 4, 3),
        "huge": np.full((9, 9), -3e38, np.float32),
        "integers": np.full((9, 9), 2, np.int32),
        "left": normal(3, 9, 9),
    }
    found = save_bit_delta(path, new, base=base, select=jc.none_of(jc.matching("left")))
    assert found.errors == {}
    assert_same_bits(load_delta(path, base=base), new)


def test_doors_for_whole_files_refuse_it(base, path):
    save(base, {"w": normal(0, 20, 20)})
    save_bit_delta(path, {"w": normal(1, 20, 20)}, base=base)
    with pytest.raises(FileError, match="Pass both files to load_delta"):
        load(path)
    with pytest.raises(TypeError, match=r"save_bit_delta\(select=3\) must be a selector"):
        save_bit_delta(path, {}, base=base, select=3)  # type: ignore[arg-type]


def test_no_mutated_file_raises_something_else(base, path):
    save(base, {"w": normal(0, 8, 5), "b": normal(1, 4, 4)})
    save_bit_delta(path, {"w": normal(1, 8, 5), "b": normal(0, 4, 4)}, base=base)
    sound, outcomes = taken_apart(path.read_bytes()), set()
    for seed in range(80):
        path.write_bytes(put_together(mutated(np.random.default_rng(seed), sound)))
        described, _ = answer(describe, path)
        loaded, _ = answer(lambda path: load_delta(path, base=base), path)
        assert loaded != "accepted" or described == "accepted"
        outcomes.add(loaded == "accepted")
    assert outcomes == {True, False}
