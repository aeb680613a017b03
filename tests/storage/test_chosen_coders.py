"""Files whose coders are chosen by the caller."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.quantize import int4, quantize
from jaxcompress.storage import coders, describe, load, load_leaf, save, size
from jaxcompress.storage.container.plan import plan
from tests.inputs import COMPOSED
from tests.storage.bits import assert_same_bits

SETS = {"fast": coders.FAST, "balanced": coders.BALANCED, "all": coders.SMALLEST}
every_set = pytest.mark.parametrize("allowed", SETS.values(), ids=SETS)


@functools.cache
def trees() -> dict:
    """Leaves of every kind, some of them large enough to be worth a table."""
    random = np.random.default_rng(0)
    sparse = np.where(random.random((64, 48)) < 0.1, random.integers(-3, 4, (64, 48)), 0)
    return {
        "codes": quantize(jnp.asarray(sparse, jnp.float32), int4(group_size=16))[0],
        "composed": COMPOSED["corrected by codes"](),
        "sparse": sparse.astype(np.int8),
        "bool": sparse != 0,
        "floats": random.standard_normal((32, 16)).astype(np.float32),
        "bias": jnp.zeros(16, jnp.bfloat16),
        "complex": np.ones(3, np.complex64),
        "empty": np.zeros((3, 0), np.int8),
        "number": 3,
    }


@every_set
def test_every_leaf_comes_back_whoever_wrote_it(tmp_path, allowed):
    tree, path = trees(), tmp_path / "file"
    size_bytes = save(path, tree, coders=allowed)
    assert size_bytes == path.stat().st_size == size(tree, coders=allowed).disk
    assert_same_bits(load(path), tree)
    assert_same_bits(load_leaf(path, "sparse"), jnp.asarray(tree["sparse"]))
    used = {name for leaf in describe(path).leaves for name in leaf.coder.split(", ")}
    assert used <= {coder.name for coder in allowed}


def test_what_is_not_said_is_fast(tmp_path):
    tree = trees()
    save(tmp_path / "default", tree)
    save(tmp_path / "fast", tree, coders=coders.FAST)
    assert (tmp_path / "default").read_bytes() == (tmp_path / "fast").read_bytes()


def test_a_larger_set_never_makes_a_leaf_larger():
    for name, tree in trees().items():
        sizes = [size(tree, coders=allowed).disk for allowed in SETS.values()]
        assert sizes == sorted(sizes, reverse=True), name


def floats(count: int, size: int) -> dict:
    random = np.random.default_rng(size)
    return {f"{i}": random.standard_normal(size).astype(np.float32) for i in range(count)}


def skewed(count: int, size: int) -> dict:
    random = np.random.default_rng(size)
    return {
        f"{i}": (random.geometric(0.6, (size, i + 1)) - 1).astype(np.int8) for i in range(count)
    }


SMALL = [
    *(floats(count, size) for count in (1, 2, 20) for size in (1, 10, 48, 100)),
    *(skewed(count, size) for count in (1, 3) for size in (7, 30, 120)),
    floats(3, 40) | {f"{name}, codes": x for name, x in skewed(3, 40).items()},
]


@pytest.mark.parametrize("tree", SMALL, ids=range(len(SMALL)))
def test_small_arrays_take_no_more_with_their_text_in_the_header(tree):
    sizes = [size(tree, coders=[coder]).disk for coder in coders.SMALLEST]
    balanced = size(tree, coders=coders.BALANCED).disk
    assert balanced <= min(
        each for each, one in zip(sizes, coders.SMALLEST, strict=True) if one in coders.BALANCED
    )
    assert size(tree, coders=coders.SMALLEST).disk <= min(*sizes, balanced)


def test_biases_and_scales_profit_too():
    tree = floats(20, 100)
    assert size(tree, coders=coders.SMALLEST).disk <= 0.94 * size(tree).disk


def test_a_layout_for_one_leaf_is_not_worth_a_few_bytes():
    tree = skewed(3, 400) | {"few": (np.arange(200) % 7 == 0).astype(np.int8)}
    assert coders_of({"few": tree["few"]}) != coders_of({"0": tree["0"]}) == {"rans"}
    assert coders_of(tree) == {"rans"}


def coders_of(tree) -> set[str]:
    planned = plan("save", tree, coders=coders.BALANCED)
    return {part.coder.name for leaf in planned.leaves.values() for part in leaf.parts}


def test_no_coders_are_refused(tmp_path):
    fault = r"\(coders='rans'\) must be a tuple of coders\. Pass storage\.coders\.FAST, "
    with pytest.raises(TypeError, match=f"save{fault}"):
        save(tmp_path / "file", [1.0], coders="rans")
    with pytest.raises(TypeError, match=f"size{fault}"):
        size([1.0], coders="rans")
    assert not (tmp_path / "file").exists()
