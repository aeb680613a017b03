"""Writers and readers agree: `save` refuses what `load` would, and nothing else."""

import collections
import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.hashed import Hashed
from jaxcompress.core.lowrank import LowRank
from jaxcompress.core.product import ProductQuantized
from jaxcompress.storage import describe, load, load_leaf, save, size
from jaxcompress.storage.container.dtypes import known_dtype
from tests.inputs import COMPOSED, QTENSORS, TREES, random_code
from tests.storage.bits import assert_same_leaves

X = np.ones(3, np.float32)
WIDE: Any = np.ones((3, 1), np.float32)
LOW: Any = np.ones((1, 2), np.float32)
Named = collections.namedtuple("Named", "params value")


def nested(kind: Callable, count: int):
    tree: Any = X
    for _ in range(count):
        tree = kind(tree)
    return tree


def in_tuples(count: int):
    key: Any = "a"
    for _ in range(count):
        key = (key,)
    return key


def codes(kind: str = "uint4 groups", **changes):
    return dataclasses.replace(QTENSORS[kind](), **changes)


def factors(left=WIDE, right=LOW, dtype="float32", order=(-2, -1), output_ndim=1) -> LowRank:
    return LowRank(left, right, np.dtype(dtype), order, output_ndim)


ACCEPTED = {
    "lists as deep as files go": nested(lambda tree: [tree], 100),
    "dicts as deep as files go": nested(lambda tree: {"a": tree}, 100),
    "keys as deep as files go": [{in_tuples(100): X}],
    "thousands of slashes": {"a" + "/b" * 5_000: X},
    "thousands of slashes in a list": [{"a" + "/b" * 5_000: X}],
    "a long name": {"n" * 100_000: X},
    "names of control characters": {"a\n\0\u2028": X, '"\\': [X]},
    "most axes": {"x": np.zeros((1,) * 64, np.float32)},
    "most axes of few bits": {"x": np.zeros((1,) * 64, bool)},
    "long and empty": {"x": np.zeros((2**30, 0), np.float32), "y": np.zeros((2**33, 0), bool)},
    "keys at the ends of their range": [{2**63 - 1: X, -(2**63) + 1: X, 1e308: X, -5e-324: X}],
    "names that lose parts": [{"params": {"value": X}}, {"params": X}, {"value": X}],
    "named tuple that loses parts": Named({"value": X}, {"params": X, "b": Named(X, X)}),
    "no names": {"": {"": X}, ".": {".": X}},
    "no leaves": {"a": {}, "b": [], "c": (), "d": None},
    "nnx": TREES["nnx"],
    "codes of an odd scale": {"q": codes(scale=-jnp.nan * codes().scale)},
    "codes in NumPy's memory": {"q": codes(codes=np.asarray(codes().codes))},
    "leaves in leaves": {name: leaf() for name, leaf in COMPOSED.items()},
    "factors": [
        factors(),
        factors(dtype="bfloat16"),
        factors(left=codes("int2"), right=jnp.ones((5, 4))),
    ],
}
HASHED = Hashed(np.ones((2, 3), np.float32), (4, 5), 7, np.dtype(np.float32), (-1, -2))
ACCEPTED["hashed"] = {
    "layers": HASHED,
    "half": dataclasses.replace(HASHED, dtype=known_dtype("float16")),
}
RANDOM_CODE = jax.tree.map(np.asarray, random_code())
ACCEPTED["random codes"] = {
    "layers": RANDOM_CODE,
    "half": dataclasses.replace(RANDOM_CODE, dtype=known_dtype("float16")),
    "of single bits": random_code(1),
}
PRODUCT = ProductQuantized(
    np.full((2, 6, 1), 0b01, np.uint8),
    np.ones((2, 1, 3, 4), np.float32),
    (2, 6),
    np.dtype(np.float32),
    (-3, -1, -2),
)
ACCEPTED["product-quantized"] = {
    "layers": PRODUCT,
    "half": dataclasses.replace(PRODUCT, dtype=known_dtype("bfloat16")),
    "of half": dataclasses.replace(PRODUCT, codebooks=np.ones((2, 3, 3, 4), np.float16)),
}
REFUSED = {
    "random codes of no bits": (dataclasses.replace(RANDOM_CODE, bits=0), "indices of 0 bits"),
    "random codes without blocks": (dataclasses.replace(RANDOM_CODE, blocks=19), "has 19 blocks"),
    "random codes of too many bytes": (
        dataclasses.replace(RANDOM_CODE, bits=17),
        r"has codes of shape \(2, 6\)",
    ),
    "random codes of other numbers": (
        dataclasses.replace(RANDOM_CODE, scale=np.ones(2)),
        "has scale of float64",
    ),
    "vectors of no entry": (
        dataclasses.replace(PRODUCT, codes=np.full((2, 6, 1), 0b11, np.uint8)),
        "has a code of 3 for 3 entries.*ProductQuantized.from_codes",
    ),
    "vectors that do not fit": (dataclasses.replace(PRODUCT, inputs=(2, 7)), "do not divide"),
    "vectors of wide codes": (
        dataclasses.replace(PRODUCT, codes=np.ones((2, 6, 1), np.int32)),
        "has codes of int32, not of uint8",
    ),
    "vectors of an order that is none": (
        dataclasses.replace(PRODUCT, order=(-1, -1)),
        "is not an order",
    ),
    "hashed by a seed that is none": (dataclasses.replace(HASHED, seed=-1), "has a seed of -1"),
    "hashed without entries": (dataclasses.replace(HASHED, sizes=(0, 5)), "layers of sizes"),
    "hashed whole numbers": (
        dataclasses.replace(HASHED, values=np.ones((2, 3), np.int32)),
        "has values of int32",
    ),
    "deeper lists": (nested(lambda tree: [tree], 101), "is nested in more than 100 others"),
    "deeper dicts": (nested(lambda tree: {"a": tree}, 2_000), "is nested in more than 100 others"),
    "deeper keys": ({in_tuples(101): X}, "has the key .* of type tuple"),
    "longer and empty": (
        {"x": np.zeros((2**40, 2**20, 0), np.float32)},
        "with leaf 'x' the axes of arrays, .* multiply to more bytes",
    ),
    "longer and empty together": (
        [np.zeros((2**29, 2**27, 0), bool) for _ in range(1, 3)],
        "with leaf '1' the axes of arrays",
    ),
    "codes of an order that is none": (
        {"q": codes(order=(0, 1))},
        r"'q': \[0, 1\] is not an order",
    ),
    "factors without a product": (factors(right=np.ones((2, 2))), r"'.': factors of shapes .* no"),
    "factors of integers": (factors(left=np.ones((3, 1), int)), "'.': has a left factor of int64"),
    "factors that are numbers": (factors(left=1.0, right=2.0), "its 'left' is a Python number"),
    "factors of factors": (factors(left=factors(right=np.ones((1, 1)))), "neither array nor"),
    "factors of an order that is none": (factors(order=(0, 1)), r"\[0, 1\] is not an order"),
    "a correction of another shape": (
        dataclasses.replace(COMPOSED["corrected"](), correction=factors()),
        r"'.': has codes of shape .* and a product of",
    ),
    "codes with codes for a correction": (
        dataclasses.replace(COMPOSED["corrected"](), correction=COMPOSED["corrected"]().base),
        "in a corrected leaf, no codes and product",
    ),
    "signs of another shape": (
        dataclasses.replace(COMPOSED["rotated"](), negative=np.zeros(4, bool)),
        "'.': has a leaf of shape .* and signs of shape",
    ),
    "signs of numbers": (
        dataclasses.replace(COMPOSED["rotated"](), negative=np.zeros((1, 8))),
        "'.': has signs of float64",
    ),
    "a block of 3": (dataclasses.replace(COMPOSED["rotated"](), block=3), "has blocks of 3"),
    "rotated twice": (
        dataclasses.replace(COMPOSED["rotated"](), leaf=COMPOSED["rotated"]()),
        "of a kind that is not rotated",
    ),
    "factors of no outputs": (factors(output_ndim=0), "factors of shapes"),
} | {
    f"{name} of {dtype}": ({"a": leaf(dtype)}, f"'a': a compressed leaf of {dtype}, which is not")
    for name, leaf in {
        "codes": lambda each: codes(dtype=known_dtype(each)),
        "factors": lambda each: factors(dtype=each),
    }.items()
    for dtype in ("bool", "int32", "complex64")
}


@pytest.mark.parametrize("tree", ACCEPTED.values(), ids=ACCEPTED)
def test_what_is_saved_is_read_by_every_door(tmp_path, tree):
    tree = tree() if callable(tree) else tree
    path = tmp_path / "file"
    assert save(path, tree) == size(tree).disk
    assert_same_leaves(load(path), tree)
    assert_same_leaves(load(path, like=tree), tree)
    report = describe(path)
    assert len(str(report)) < 10_000
    for leaf in report.leaves:
        load_leaf(path, leaf.name)


@pytest.mark.parametrize(("tree", "message"), REFUSED.values(), ids=REFUSED)
def test_what_would_not_be_read_is_not_saved(tmp_path, tree, message):
    for do in (lambda tree: save(tmp_path / "file", tree), size):
        with pytest.raises(
            (TypeError, ValueError), match=rf"^(save|size)\(tree\): .*{message}"
        ) as caught:
            do(tree)
        assert len(str(caught.value)) < 500
    assert not list(tmp_path.iterdir())
