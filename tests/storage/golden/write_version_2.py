"""Writes the golden files of format version 2, with the code that first wrote them.

    python -m tests.storage.golden.write_version_2

The files are kept; this page is how they were made. Later code does not run it.
"""

import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.storage.golden import cases

FOLDER = pathlib.Path(__file__).parent / "version_2"


def leaf(case) -> Any:
    """The leaf of the library that a case describes."""
    from jaxcompress import LeafAxes, LowRank, QTensor
    from jaxcompress.core.formats.grids import Grid
    from jaxcompress.core.spec import from_version_1

    if isinstance(case, cases.Product):
        parts = leaf(case.left), leaf(case.right)
        return LowRank.from_factors(*parts, dtype=jnp.float32, axes=LeafAxes((0,), (1,)))
    if not isinstance(case, cases.Codes):
        return case
    return QTensor.from_codes(
        jnp.asarray(case.codes),
        Grid(
            jnp.asarray(case.scale),
            zero_point=None if case.zero_point is None else jnp.asarray(case.zero_point),
        ),
        spec=from_version_1(case.spec),
        dtype=cases.dtype_named(case.dtype),
        axes=LeafAxes(*case.roles),
    )


def nnx_state(tree):
    """The same leaves as the state of an NNX module."""
    from flax import nnx

    class Dense(nnx.Module):
        def __init__(self, kernel, bias):
            self.kernel, self.bias = nnx.Param(kernel), nnx.Param(jnp.asarray(bias))

    return nnx.state(nnx.Dict({name: Dense(**layer) for name, layer in tree.items()}))


def main() -> None:
    from jaxcompress import named_leaves, storage

    FOLDER.mkdir(exist_ok=True)
    for name, tree in cases.TREES_2.items():
        described = tree()
        built = jax.tree.map(leaf, described, is_leaf=cases.is_leaf)
        if name == "nnx":
            built = nnx_state(built)
        path = FOLDER / f"{name}.safetensors"
        storage.save(path, built, **beside(name))
        leaves = jax.tree.leaves(described, is_leaf=cases.is_leaf)
        fields = cases.expected(dict(zip(named_leaves(built), leaves, strict=True)))
        np.savez_compressed(path.with_suffix(".npz"), allow_pickle=False, **fields)
    save_formats()


def beside(name: str) -> dict[str, Any]:
    """What is saved beside the tree of this name."""
    from jaxcompress.graph import Removal

    removals = [Removal.from_json(fields) for fields in cases.REMOVED]
    texts = {"containers": {"metadata": cases.METADATA}, "removed": {"removal": removals}}
    return texts.get(name, {})


def save_formats() -> None:
    """Leaves of every format as the library quantizes them, and what they hold."""
    from jaxcompress import storage
    from tests.storage.formats import of_every_format

    tree = of_every_format()
    storage.save(FOLDER / "formats.safetensors", tree)
    kinds = {name: ["Codes", leaf.dtype.name, leaf.shape] for name, leaf in tree.items()}
    fields = {"|leaves": np.asarray(json.dumps(kinds))}
    for name, leaf in tree.items():
        fields[name] = as_bytes(leaf.materialize())
        fields[f"{name}|codes"] = np.asarray(leaf.unpacked_codes)
        for part, x in leaf.grid._asdict().items():
            if x is not None:
                fields[f"{name}|{part}"] = as_bytes(x)
    np.savez_compressed(FOLDER / "formats.npz", allow_pickle=False, **fields)


def as_bytes(x) -> np.ndarray:
    return np.frombuffer(np.asarray(x).tobytes(), np.uint8)


if __name__ == "__main__":
    main()
