"""Thin factors of differences: nearest of their rank, with the error they state."""

import pathlib

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.core.axes import LeafAxes
from jaxcompress.quantize import int4, int8
from jaxcompress.storage import (
    Factors,
    FileError,
    breakdown,
    describe,
    load,
    load_delta,
    save,
    save_bit_delta,
    save_low_rank_delta,
)
from jaxcompress.structure import ranks
from tests.inputs import QTENSORS
from tests.storage.bits import assert_same_bits
from tests.storage.costs import traced
from tests.storage.fuzzing.campaign import answer
from tests.storage.fuzzing.files import put_together, taken_apart
from tests.storage.fuzzing.mutations import mutated

MEBIBYTE = 1 << 20
GOLDEN = pathlib.Path(__file__).parent / "golden" / "delta"


@pytest.fixture
def base(tmp_path):
    return tmp_path / "base.safetensors"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tuned.safetensors"


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def truncated(matrix: np.ndarray, rank: int) -> np.ndarray:
    left, values, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    return (left[:, :rank] * values[:rank]) @ right[:rank]


def relative(lost, whole) -> float:
    return float(np.linalg.norm(np.asarray(lost, np.float64)) / np.linalg.norm(whole))


@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16, np.float16])
def test_a_leaf_is_the_base_and_the_truncated_difference(base, path, dtype):
    old = {"kernel": normal(0, 40, 30).astype(dtype), "bias": normal(1, 30).astype(dtype)}
    new = {"kernel": (old["kernel"] + normal(2, 40, 30) / 8).astype(dtype), "bias": -old["bias"]}
    save(base, old)
    factors = Factors(rank=3, stored=jnp.float32)
    found = save_low_rank_delta(path, new, base=base, factors=factors, metadata={"a": "text"})
    loaded = load_delta(path, base=base)
    assert loaded["kernel"].dtype == dtype
    old_kernel = old["kernel"].astype(np.float32)
    expected = old_kernel + truncated(new["kernel"].astype(np.float32) - old_kernel, 3)
    # Rounded once to the dtype; the factors and their product in float32.
    tolerance = float(jnp.finfo(dtype).eps) + 1e-5
    np.testing.assert_allclose(
        np.asarray(loaded["kernel"], np.float64), expected, rtol=tolerance, atol=tolerance
    )
    np.testing.assert_array_equal(loaded["bias"], new["bias"])
    assert (list(found.errors), found.ranks) == (["kernel"], {"kernel": 3})
    assert found.total_bytes == path.stat().st_size + base.stat().st_size
    assert describe(path).metadata == {"a": "text"}
    specs = {leaf.name: leaf.spec for leaf in describe(path).leaves}
    assert specs["kernel"] == "difference to the base, low rank: plain · plain"


STORED = {
    "float32": (jnp.float32, 4),
    "bfloat16": (jnp.bfloat16, 2),
    "int8": (int8(), 1),
    "int4": (int4(), 0.5),
}


@pytest.mark.parametrize(("stored", "item_bytes"), STORED.values(), ids=STORED)
def test_the_error_is_the_one_that_is_made(base, path, stored, item_bytes):
    old = {"w": normal(0, 300, 200)}
    new = {"w": old["w"] + normal(1, 300, 6) @ normal(2, 6, 200) / 64}
    save(base, old)
    found = save_low_rank_delta(path, new, base=base, factors=Factors(6, stored))
    lost = np.asarray(load_delta(path, base=base)["w"]) - new["w"]
    assert found.errors["w"] == pytest.approx(relative(lost, new["w"] - old["w"]), rel=1e-3)
    # Of an exact rank only the rounding of the factors is lost.
    assert found.errors["w"] < {4: 1e-5, 2: 0.01, 1: 0.03, 0.5: 0.3}[item_bytes]
    [leaf] = breakdown(path).leaves
    assert leaf.numbers == 6 * (300 + 200) * item_bytes
    assert leaf.scales <= 4 * (300 + 6)


def test_the_least_rank_for_an_error_is_found(base, path):
    old = {"w": normal(0, 50, 40)}
    steps = normal(1, 50, 40) * np.float32(0.8) ** np.arange(40, dtype=np.float32)
    new = {"w": old["w"] + steps}
    save(base, old)
    factors = Factors(ranks.energy(1 - 0.3**2), jnp.float32)
    found = save_low_rank_delta(path, new, base=base, factors=factors)
    assert found.errors["w"] <= 0.3
    steps = new["w"] - old["w"]
    assert relative(steps - truncated(steps, found.ranks["w"] - 1), steps) > 0.3


def test_ranks_come_from_any_rule(base, path):
    old = {"a": normal(0, 40, 40), "b": normal(1, 40, 40), "c": normal(2, 40, 40)}
    new = {"a": normal(3, 40, 40), "b": old["b"], "c": normal(4, 40, 40)}
    save(base, old)
    # Of a rule whose leaves did not change nothing is asked.
    rules = jc.Rules({"a": ranks.parameters(0.25), "b": 3})
    found = save_low_rank_delta(path, new, base=base, factors=Factors(rules, jnp.float16))
    assert found.ranks == {"a": 5}
    assert (found.same, found.differing + found.whole) == (1, 2)
    np.testing.assert_array_equal(load_delta(path, base=base)["c"], new["c"])
    with pytest.raises(ValueError, match="'d'"):
        save_low_rank_delta(path, new, base=base, factors=Factors(jc.Rules({"d": 3})))


AXES = {
    "layers of a scan": ((3, 12, 10), LeafAxes((1,), (2,), (0,))),
    "heads": ((12, 4, 5), LeafAxes((0,), (1, 2))),
    "inputs last": ((10, 12), LeafAxes((1,), (0,))),
    "convolution": ((3, 3, 4, 12), LeafAxes((0, 1, 2), (3,))),
    "outputs before layers": ((10, 3, 12), LeafAxes((2,), (0,), (1,))),
}


@pytest.mark.parametrize(("shape", "axes"), AXES.values(), ids=AXES)
def test_factors_lie_along_the_axes(base, path, shape, axes):
    old, new = {"w": normal(0, *shape)}, {"w": normal(0, *shape) + normal(1, *shape)}
    save(base, old)
    factors = Factors(2, jnp.float32, {"w": axes})
    found = save_low_rank_delta(path, new, base=base, factors=factors)
    assert found.ranks == {"w": 2}
    loaded = np.asarray(load_delta(path, base=base)["w"]) - old["w"]
    moved = [np.transpose(x, axes.order) for x in (loaded, new["w"] - old["w"])]
    batch, outputs = len(axes.batch), len(axes.batch) + len(axes.output)
    sizes = moved[0].shape
    matrix = (np.prod(sizes[:batch], dtype=int), np.prod(sizes[batch:outputs], dtype=int), -1)
    for near, steps in zip(*(x.reshape(matrix) for x in moved), strict=True):
        np.testing.assert_allclose(near, truncated(steps, 2), atol=1e-5)


def other_leaves() -> tuple[dict, dict]:
    few = np.where(normal(2, 30, 30) > 1.5, normal(1, 30, 30), normal(0, 30, 30))
    old = {
        "codes": QTENSORS["int4 groups"](),
        "double": np.ones((9, 9)),
        "few": normal(0, 30, 30),
        "grown": normal(0, 3, 3),
        "huge": np.full((9, 9), 3e38, np.float32),
        "integers": np.ones((9, 9), np.int32),
        "left": normal(0, 9, 9),
        "row": normal(0, 90),
        "same": normal(1, 9, 9),
        "small": normal(1, 2, 2),
        "steps": 3,
    }
    return old, old | {
        "added": normal(2, 9, 9),
        "double": np.full((9, 9), 2.0),
        "few": few,
        "grown": normal(0, 4, 3),
        "huge": np.full((9, 9), -3e38, np.float32),
        "integers": np.full((9, 9), 2, np.int32),
        "left": normal(3, 9, 9),
        "row": normal(1, 90),
        "small": normal(3, 2, 2),
        "steps": 4,
    }


def test_a_file_of_before_is_read():
    """Steps of (i + 1) · (-1)^j / 64, of rank 1, stored in float32 and in int8."""
    old = load(GOLDEN / "base.safetensors")["kernel"]
    rows, columns = old.shape
    steps = np.outer(np.arange(1.0, rows + 1), (-1.0) ** np.arange(columns)) / 64
    for name, tolerance in (("low_rank", 1e-6), ("low_rank_codes", 1 / 64)):
        found = load_delta(GOLDEN / f"{name}.safetensors", base=GOLDEN / "base.safetensors")
        np.testing.assert_allclose(found["kernel"] - old, steps, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("method", ["bit", "low rank"])
def test_other_leaves_are_exact(base, path, method):
    old, new = other_leaves()
    save(base, old)
    select = jc.none_of(jc.matching("left"))
    if method == "bit":
        select = jc.none_of(jc.matching("left", "row", "small", "few"))
        found = save_bit_delta(path, new, base=base, select=select)
    else:
        factors = Factors(9, jnp.float32)
        found = save_low_rank_delta(path, new, base=base, factors=factors, select=select)
    assert found.errors == {}
    assert_same_bits(load_delta(path, base=base), new)


def test_wrong_arguments_are_refused(base, path):
    save(base, {"w": normal(0, 20, 20)})
    for wrong, error, text in (
        ({"rank": 0}, ValueError, r"Factors\(rank=0\)"),
        ({"rank": "8"}, ValueError, r"Factors\(rank='8'\)"),
        ({"rank": 1, "stored": jnp.int8}, ValueError, r"Factors\(stored="),
        ({"rank": 1, "stored": int8(group_size=8)}, ValueError, "by channel or tensor"),
        ({"rank": 1, "axes": {"w": 3}}, TypeError, r"Factors\(axes=\.\.\.\)"),
    ):
        with pytest.raises(error, match=text):
            Factors(**wrong)
    with pytest.raises(TypeError, match=r"save_low_rank_delta\(factors=3\)"):
        save_low_rank_delta(path, {}, base=base, factors=3)  # type: ignore[arg-type]
    save_low_rank_delta(path, {"w": normal(1, 20, 20)}, base=base, factors=Factors(2))
    with pytest.raises(FileError, match="Pass both files to load_delta"):
        load(path)
    other = base.with_name("other")
    save(other, {"w": normal(2, 20, 20)})
    with pytest.raises(FileError, match="this is not the base"):
        load_delta(path, base=other)


def forged(content: bytes, leaf) -> bytes:
    """The file with the only leaf's factors of other shapes; their bytes are zeros."""
    file = taken_apart(content)
    left, right = leaf
    record = file.texts["leaves"][0]
    sizes = [4 * int(np.prod(shape)) for shape in leaf]
    file.texts["leaves"][0] = [*record[:2], left, sizes[0], right, sizes[1]]
    file.data[0] = bytes(sum(sizes))
    file.entries[0][1] |= {"shape": [sum(sizes)], "data_offsets": [0, sum(sizes)]}
    return put_together(file)


@pytest.mark.parametrize(
    ("leaf", "fault"),
    [
        (([6, 2], [2, 8]), None),
        (([6, 7], [7, 8]), "rank 7 of matrices that have 6 at most"),
        (([6, 0], [0, 8]), "rank 0 of matrices"),
        (([6, 2], [3, 8]), "have no product"),
        (([5, 2], [2, 8]), "a product of another shape"),
        (([2], [2, 8]), "have no product"),
    ],
)
def test_factors_that_do_not_fit_are_refused(base, path, leaf, fault):
    save(base, {"w": normal(0, 8, 6)})
    new = {"w": normal(1, 8, 6)}
    save_low_rank_delta(path, new, base=base, factors=Factors(2, jnp.float32))
    path.write_bytes(forged(path.read_bytes(), leaf))
    if fault is None:
        np.testing.assert_array_equal(load_delta(path, base=base)["w"], normal(0, 8, 6))
        return
    for door in (describe, lambda path: load_delta(path, base=base)):
        with pytest.raises(FileError, match=fault):
            door(path)


@pytest.mark.parametrize("stored", [jnp.float32, int8()], ids=["arrays", "codes"])
def test_no_mutated_file_raises_something_else(base, path, stored):
    old, new = normal(0, 2, 9, 8), normal(1, 2, 9, 8)
    save(base, {"w": old, "b": normal(1, 4, 4)})
    tree = {"w": new, "b": normal(1, 4, 4)}
    factors = Factors(1, stored, {"w": LeafAxes((1,), (2,), (0,)), "b": LeafAxes((0,), (1,))})
    assert save_low_rank_delta(path, tree, base=base, factors=factors).ranks == {"w": 1}
    sound, outcomes = taken_apart(path.read_bytes()), set()
    for seed in range(80):
        path.write_bytes(put_together(mutated(np.random.default_rng(seed), sound)))
        described, _ = answer(describe, path)
        loaded, _ = answer(lambda path: load_delta(path, base=base), path)
        assert loaded != "accepted" or described == "accepted"
        outcomes.add(loaded == "accepted")
    assert outcomes == {True, False}


@pytest.mark.parametrize("method", ["bit", "low rank"])
def test_loading_takes_little_more_than_the_tree(base, path, method):
    shape, dtype = (2048, 1024), ml_dtypes.float8_e5m2
    save(base, {"w": normal(0, *shape).astype(dtype)})
    new = {"w": normal(1, *shape).astype(dtype)}
    if method == "bit":
        save_bit_delta(path, new, base=base)
    else:
        save_low_rank_delta(path, new, base=base, factors=Factors(2, jnp.float32))
    load_delta(path, base=base)  # compiles
    with traced() as memory:
        load_delta(path, base=base)
    assert memory.peak <= 8 * MEBIBYTE + 4 * (path.stat().st_size + 2 * MEBIBYTE)
