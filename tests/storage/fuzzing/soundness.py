"""What holds of every tree that a file gives, without the code that reads files."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress import (
    Corrected,
    Hashed,
    LowRank,
    ProductQuantized,
    QTensor,
    QuantSpec,
    RandomCode,
    Rotated,
)
from jaxcompress.core.names import named_leaves
from jaxcompress.storage import FileReport


def check_tree(tree, report: FileReport) -> None:
    """The tree and its description tell of the same leaves, each of them sound."""
    leaves = {_telling(name): leaf for name, leaf in named_leaves(tree).items()}
    described = {_telling(stored.name): stored for stored in report.leaves}
    assert leaves.keys() == described.keys()
    for name, leaf in leaves.items():
        check_leaf(leaf)
        stored = described[name]
        if type(leaf) in (bool, int, float, complex):
            assert (stored.shape, stored.dtype) == ((), f"python {type(leaf).__name__}")
        else:
            assert (stored.shape, stored.dtype) == (leaf.shape, leaf.dtype.name)


def _telling(name: str) -> str:
    """A name without what names may leave out."""
    return name.removeprefix("params/").removesuffix("/value")


def check_leaf(leaf) -> None:
    """The leaf is one that the library can compute with."""
    if isinstance(leaf, QTensor):
        _check_codes(leaf)
    elif isinstance(leaf, LowRank):
        assert jnp.issubdtype(leaf.dtype, jnp.floating)
        assert len(leaf.stored_shape) == len(leaf.shape)
        assert leaf.left.shape[-1] == leaf.right.shape[leaf.batch_ndim]
        for factor in leaf.factors.values():
            assert isinstance(factor, QTensor | jax.Array | np.ndarray)
            assert jnp.issubdtype(factor.dtype, jnp.floating)
            check_leaf(factor)
    elif isinstance(leaf, Corrected | Hashed | ProductQuantized | RandomCode | Rotated):
        assert jnp.issubdtype(leaf.dtype, jnp.floating)
        assert not leaf._dtype_fault()
        assert not leaf._shape_fault()
        for part in leaf.parts.values():
            check_leaf(part)
        if isinstance(leaf, ProductQuantized):
            assert np.asarray(leaf.unpacked_codes).max(initial=0) < leaf.entries
    elif type(leaf) not in (bool, int, float, complex):
        assert isinstance(leaf, jax.Array | np.ndarray)
        if leaf.dtype == bool:
            assert np.asarray(leaf).view(np.uint8).max(initial=0) <= 1


def _check_codes(leaf: QTensor) -> None:
    spec, grid = leaf.spec, leaf.grid
    assert QuantSpec.from_json(spec.to_json()) == spec
    assert str(spec).isprintable()
    assert jnp.issubdtype(leaf.dtype, jnp.floating)
    assert sorted(leaf.permutation) == list(range(leaf.ndim))
    assert not leaf._dtype_fault()
    assert not leaf._shape_fault()
    assert spec.sharing.fits(grid.scale.shape, leaf.stored_shape)
    codes, zero_point = np.asarray(leaf.codes), grid.zero_point
    if spec.stored_bits < 8:
        shifts = range(0, 8, spec.stored_bits)
        planes = [codes >> shift & (2**spec.stored_bits - 1) for shift in shifts]
        codes = np.concatenate(planes, axis=-1)[..., : leaf.length].astype(int) + spec.lowest
    for values in (codes, codes if zero_point is None else np.asarray(zero_point)):
        assert spec.lowest <= values.min(initial=spec.lowest)
        assert values.max(initial=spec.highest) <= spec.highest
