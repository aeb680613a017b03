"""The trees of the golden files, in plain NumPy: no class of the library has a say.

What a file must give back is computed here and kept in an `.npz` beside the file, so
that neither the library nor this page can change it later.
"""

import json
from typing import NamedTuple

import ml_dtypes
import numpy as np

DTYPES = (
    *("bool", "int2", "uint2", "int4", "uint4", "float4_e2m1fn", "int8", "uint8", "float8_e3m4"),
    *("float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2"),
    *("float8_e5m2fnuz", "float8_e8m0fnu", "int16", "uint16", "float16", "bfloat16", "int32"),
    *("uint32", "float32", "complex64", "int64", "uint64", "float64", "complex128"),
)


class Codes(NamedTuple):
    """A quantized leaf.

    Attributes:
      spec: the JSON of its spec, as version 1 has it.
      codes: in stored order (batch…, output…, contracting…), one integer each.
      scale: float32, one entry per block.
      zero_point: of the scale's shape, None where the spec is symmetric.
      roles: logical axes that contract, that give outputs, and that are stacked.
      dtype: name of the dtype of the array it stands for.
    """

    spec: dict
    codes: np.ndarray
    scale: np.ndarray
    zero_point: np.ndarray | None
    roles: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    dtype: str = "float32"

    @property
    def value(self) -> np.ndarray:
        """The array in its own order: (code - zero point) · scale, then the dtype."""
        steps, scale = self.codes.astype(np.float32), self._spread(self.scale)
        if self.zero_point is not None:
            steps = steps - self._spread(self.zero_point).astype(np.float32)
        contracting, output, batch = self.roles
        stored = (steps * scale).astype(dtype_named(self.dtype))
        return np.transpose(stored, np.argsort((*batch, *output, *contracting)))

    def _spread(self, blocks: np.ndarray) -> np.ndarray:
        """One entry per code, from one per block."""
        for axis, size in enumerate(self.codes.shape):
            blocks = np.repeat(blocks, size // max(blocks.shape[axis], 1), axis)
        return blocks


class Product(NamedTuple):
    """A low-rank leaf of a matrix (in, out): left (out, rank) and right (rank, in)."""

    left: np.ndarray | Codes
    right: np.ndarray | Codes

    @property
    def value(self) -> np.ndarray:
        """The array in its own order; the factors' numbers make it exact."""
        left, right = (
            np.asarray(part.value if isinstance(part, Codes) else part, np.float32)
            for part in (self.left, self.right)
        )
        return (left @ right).T


def dtype_named(name: str) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, name, name))


def spec(name: str, bits: int, lowest: int, highest: int, per="channel", group_size=0) -> dict:
    """The JSON of a spec in version 1; symmetric where the grid is."""
    return {
        "name": name,
        "bits": bits,
        "lowest": lowest,
        "highest": highest,
        "symmetric": lowest == -highest,
        "per": per,
        "group_size": group_size,
    }


FORMATS = {
    "int8": (8, -127, 127),
    "int4": (4, -7, 7),
    "uint8": (8, 0, 255),
    "uint4": (4, 0, 15),
    "shifted int8": (8, -128, 127),
    "int2": (2, -1, 1),
    "uint2": (2, 0, 3),
    "uint1": (1, 0, 1),
}
SHARINGS = {"tensor": (1, 1), "channel": (5, 1), "group": (5, 3)}
DENSE = ((0,), (1,), ())


def quantized() -> dict:
    """Every format with every sharing, other ranks and dtypes, and pruned codes."""
    every = {
        f"{name} per {per}": codes(
            spec(name, *grid, per, 4 if per == "group" else 0), (5, 12), blocks
        )
        for name, grid in FORMATS.items()
        for per, blocks in SHARINGS.items()
    }
    int4, int8 = spec("int4", 4, -7, 7), spec("int8", 8, -127, 127)
    return every | {
        "odd length": codes(int4, (5, 7), (5, 1)),
        "vector": codes(spec("int4", 4, -7, 7, "tensor"), (9,), (1,), ((0,), (), ())),
        "convolution": codes(int4, (4, 3, 3, 2), (4, 1, 1, 1), ((0, 1, 2), (3,), ())),
        "layers": codes(int4, (2, 5, 8), (2, 5, 1), ((1,), (2,), (0,))),
        "heads": codes(int8, (2, 3, 4), (2, 3, 1), ((0,), (1, 2), ())),
        "stored as it is": codes(int8, (5, 8), (5, 1), ((1,), (0,), ())),
        "bfloat16": codes(int8, (5, 8), (5, 1), dtype="bfloat16"),
        "float16": codes(int4, (5, 8), (5, 1), dtype="float16"),
        "no outputs": codes(int8, (0, 8), (0, 1)),
        "pruned int8": pruned(codes(int8, (8, 40), (8, 1))),
        "pruned uint4": pruned(codes(spec("uint4", 4, 0, 15, "group", 20), (8, 40), (8, 2))),
    }


def arrays() -> dict:
    """Every dtype, bits that arithmetic would not keep, empty and pruned arrays."""
    random = np.random.default_rng(1)
    sparse = np.where(random.random((20, 20)) < 0.1, random.standard_normal((20, 20)), 0)
    each = {name: np.arange(6).astype(dtype_named(name)).reshape(2, 3) for name in DTYPES}
    return each | {
        "scalar": np.asarray(-1.5, np.float32),
        "scalar of bfloat16": np.asarray(0.1, ml_dtypes.bfloat16),
        "empty": np.zeros((0, 3), np.float32),
        "empty of bool": np.zeros((4, 0), bool),
        "NaN payloads": np.array([0x7FC00001, 0xFF800001, 0x7F800000], np.uint32).view("f4"),
        "negative zeros": np.array([-0.0, 0.0, -0.0], np.float32),
        "subnormal": np.array([1e-41, -1e-45], np.float32),
        "mask": random.random((9, 11)) < 0.3,
        "pruned": sparse.astype(np.float32),
        "pruned bfloat16": sparse.astype(ml_dtypes.bfloat16),
        "pruned int32": np.where(sparse == 0, 0, np.arange(400).reshape(20, 20)).astype("i4"),
    }


def containers() -> dict:
    """Dicts, lists, tuples, None and whole-number keys, inside each other."""
    return {
        "layers": [{"kernel": ramp(2, 3), "bias": ramp(3)}, {"kernel": ramp(3, 2)}, None],
        "pair": (ramp(2), (ramp(1), None, [])),
        "numbered": {3: ramp(2), -1: {"a/b": ramp(1)}},
        "numbers": [True, -(2**63), 0.1, 1 - 2j],
        "codes": (codes(spec("int4", 4, -7, 7), (3, 4), (3, 1)),),
        "nothing": {},
    }


def low_rank() -> dict:
    """Two factors of plain numbers, of codes, and one of each."""
    left, right = ramp(6, 2), ramp(2, 4)
    coded = [
        codes(spec("int4", 4, -7, 7), shape, (shape[0], 1), ((1,), (0,), ()))
        for shape in ((6, 2), (2, 4))
    ]
    whole = [part._replace(scale=np.exp2(np.round(np.log2(part.scale)))) for part in coded]
    return {
        "plain": Product(left, right),
        "quantized": Product(*whole),
        "half": {"quantized": Product(whole[0], right), "bias": ramp(4)},
    }


def linen() -> dict:
    """Variables of Linen: names leave the leading `params` out."""
    return {
        "params": {"Dense_0": {"kernel": ramp(3, 4), "bias": ramp(4)}},
        "batch_stats": {"mean": ramp(4), "count": np.asarray(7, np.uint32)},
    }


def network() -> dict:
    """The leaves of an NNX state, by name."""
    return {
        "first": {"kernel": codes(spec("int8", 8, -127, 127), (3, 4), (3, 1)), "bias": ramp(3)},
        "second": {"kernel": ramp(3, 2), "bias": ramp(2)},
    }


TREES = {
    "arrays": arrays,
    "quantized": quantized,
    "containers": containers,
    "low_rank": low_rank,
    "linen": linen,
    "nnx": network,
    "one_leaf": lambda: ramp(3),
    "no_leaf": dict,
}
"""By file name. The tree of `nnx` is saved as an `nnx.State`."""

WIDTHS = {
    f"int{bits}": (bits, 1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1) for bits in range(2, 9)
} | {f"uint{bits}": (bits, 0, 2**bits - 1) for bits in range(1, 9)}


def widths() -> dict:
    """Codes of every width, dense and pruned; version 1 had 1, 2, 4 and 8 bits."""
    every = {
        name: codes(spec(name, *grid, "group", 20), (7, 40), (7, 2))
        for name, grid in WIDTHS.items()
    }
    return {"dense": every, "pruned": {name: pruned(leaf) for name, leaf in every.items()}}


def keys() -> dict:
    """Dicts with every kind of key, beside lists and None."""
    x = np.arange(3, dtype=np.float32)
    numbers = {False: x, 2: [x, None], 0.5: (x,), -1e300: {}}
    return {"numbers": numbers, "tuples": {("a", 1): x, ("b", (None, 2)): [x]}, "none": {None: x}}


def removed() -> dict:
    """Params that a model has after the removals of `REMOVED`."""
    layers = {"up": ramp(2, 3, 2), "down": ramp(2, 2, 3)}
    return {"in": ramp(4, 6), "layers": layers, "wide": np.zeros((0, 3), np.float32)}


TREES_2 = TREES | {"widths": widths, "keys": keys, "removed": removed}
"""Those of format version 2."""

NAMES_3 = ("containers", "formats", "keys", "low_rank", "nnx", "quantized", "removed")
"""Files of format version 3, of the same trees as those of version 2."""

REMOVED = [
    {
        "cuts": [["layers/down", 0, 3, 0], ["layers/up", 0, 3, 0]],
        "indices": [[1]],
        "divisors": "kept",
        "blocks": [],
        "layers": {"layers/down": [1]},
    },
    {
        "cuts": [["in", 1, 8, 0], ["layers/down", 1, 4, 1], ["layers/up", 2, 4, 1]],
        "indices": [[0, 7], [[0, 3], [1, 2]]],
        "divisors": "new",
        "blocks": [],
        "layers": {},
    },
    {
        "cuts": [["wide", 0, 5, 0]],
        "indices": [[0, 1, 2, 3, 4]],
        "divisors": "kept",
        "blocks": ["wide"],
        "layers": {},
    },
]
"""What the file "removed" says was removed, as plain values."""

METADATA = {"about": 'a "quoted" text, é', "sha256 of nothing": '"sha256":"' + "0" * 64 + '"'}


def ramp(*shape: int) -> np.ndarray:
    """Small whole numbers, none of them 0, so that products of factors are exact."""
    return (1 + np.arange(np.prod(shape)) % 5).reshape(shape).astype(np.float32)


def codes(
    spec: dict, shape: tuple, blocks: tuple, roles: tuple = DENSE, dtype: str = "float32"
) -> Codes:
    random = np.random.default_rng(len(str(spec)) + sum(shape))
    draw = [
        random.integers(spec["lowest"], spec["highest"], sizes, np.int32, endpoint=True)
        for sizes in (shape, blocks)
    ]
    scale = random.uniform(0.01, 1, blocks).astype(np.float32)
    return Codes(spec, draw[0], scale, None if spec["symmetric"] else draw[1], roles, dtype)


def pruned(leaf: Codes) -> Codes:
    """The leaf with nine of ten values at exactly 0."""
    zero = np.int32(0) if leaf.zero_point is None else np.repeat(leaf.zero_point, 20, 1)
    kept = np.arange(leaf.codes.size).reshape(leaf.codes.shape) % 10 == 0
    return leaf._replace(codes=np.where(kept, leaf.codes, zero))


def expected(leaves: dict) -> dict[str, np.ndarray]:
    """What a file must give back for named leaves, as `.npz` keeps it.

    Beside the numbers stands one text, JSON of [kind, dtype, shape] by name: `.npz` has
    no bfloat16, so that the value of each leaf is kept as its bytes.
    """
    arrays, kinds, leaves = {}, {}, dict(leaves)
    for name, leaf in tuple(leaves.items()):
        if isinstance(leaf, Product):
            leaves |= {f"{name}|{part}": factor for part, factor in leaf._asdict().items()}
    for name, leaf in leaves.items():
        compressed = is_leaf(leaf)
        value = leaf.value if compressed else np.asarray(leaf)
        kind = "array" if isinstance(leaf, np.ndarray) else type(leaf).__name__
        kinds[name] = [kind, value.dtype.name, value.shape]
        arrays[name] = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
        if isinstance(leaf, Codes):
            parts = {part: getattr(leaf, part) for part in ("codes", "scale", "zero_point")}
            arrays |= {f"{name}|{part}": x for part, x in parts.items() if x is not None}
    return arrays | {"|leaves": np.asarray(json.dumps(kinds))}


def is_leaf(node) -> bool:
    """Stops a walk of these trees at their leaves."""
    return isinstance(node, Codes | Product)
