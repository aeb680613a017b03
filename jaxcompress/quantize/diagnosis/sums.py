"""Sums over a batch and over codes that a diagnosis is made of."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.leaf import CompressedLeaf
from jaxcompress.core.names import key_name
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.sharding import gathered, with_whole_results
from jaxcompress.core.types import Array
from jaxcompress.graph import Site
from jaxcompress.quantize.diagnosis.diagnosis import LeafCodes


class Sums(NamedTuple):
    """Of one site: sums of squares by layer (L,), and magnitudes by feature.

    Attributes:
      signal: of the data and of the outputs in the float model, (2, L).
      noise: of their differences in the other model, (2, L).
      magnitudes: largest |x| of each feature in the float model, (L, features); no
        features where the data are indices.
    """

    signal: Any
    noise: Any
    magnitudes: Any

    def merged(self, other: "Sums") -> "Sums":
        """Both batches together."""
        return Sums(
            self.signal + other.signal,
            self.noise + other.noise,
            np.maximum(self.magnitudes, other.magnitudes),
        )


def of_batch(site: Site, exact: tuple[Array, Array], coarse: tuple[Array, Array]) -> Sums:
    """The sums of one batch, given what both models have at the site: data, outputs."""
    ranks = (len(site.data_shape), len(site.output_shape))

    def sums(data: Array, output: Array, coarse: tuple[Array, Array]) -> Sums:
        signal, noise = [], []
        for one, other, rank in zip((data, output), coarse, ranks, strict=True):
            signal.append(_squares(_by_layer(site, one, rank)))
            noise.append(_squares(_by_layer(site, one - other, rank)))
        return Sums(jnp.stack(signal), jnp.stack(noise), _magnitudes(site, data))

    return with_whole_results(sums, *exact, coarse)


def of_weights(site: Site, exact: list[Array], coarse: list[Array]) -> tuple[Array, Array]:
    """Sums of squares of a site's leaves and of their differences, (L,) or (1,)."""

    def squares(leaf: Array) -> Array:
        axes = site.axes.batch[: len(site.stack)]
        if tuple(leaf.shape[axis] for axis in axes) != site.stack:
            axes = ()  # what a scan slices is something else, that the leaf is a part of
        return _squares_along(leaf, axes)

    signal = sum(map(squares, exact))
    noise = sum(squares(one - other) for one, other in zip(exact, coarse, strict=True))
    return jnp.asarray(signal), jnp.asarray(noise)


def codes_of(name: str, leaf: CompressedLeaf, weights: float) -> list[LeafCodes]:
    """A row for each array of codes in a leaf; one without codes where it has none."""
    parts, _ = jax.tree_util.tree_flatten_with_path(leaf, is_leaf=lambda x: isinstance(x, QTensor))
    rows = [
        _codes("/".join((name, *map(key_name, path))), part, weights)
        for path, part in parts
        if isinstance(part, QTensor)
    ]
    return rows or [LeafCodes(name, type(leaf).__name__, weights, math.nan, 0, 0)]


def _codes(name: str, leaf: QTensor, weights: float) -> LeafCodes:
    spec, codes = leaf.spec, np.asarray(leaf.unpacked_codes).astype(np.int32)
    sizes = zip(leaf.scale.shape, codes.shape, strict=True)
    # Each axis as (blocks, entries of a block).
    parted = codes.reshape([part for blocks, size in sizes for part in (blocks, size // blocks)])
    inside = tuple(range(1, parted.ndim, 2))
    span, count = spec.highest - spec.lowest, spec.highest - spec.lowest + 1
    used = float(np.mean((parted.max(inside) - parted.min(inside)) / span))
    return LeafCodes(name, str(spec), weights, used, count, count - np.unique(codes).size)


def _by_layer(site: Site, captured: Array, rank: int) -> Array:
    """What was captured, with the layers of the leaf first: (L, …), L at least 1."""
    around = captured.ndim - rank
    if around != len(site.scans):  # a shard_map adds axes of devices
        return captured[None]
    first = jnp.moveaxis(captured, site.sliced_by, range(len(site.sliced_by)))
    return first.reshape(math.prod(site.stack), *first.shape[len(site.stack) :])


@functools.partial(jax.jit, static_argnums=1)
def _squares_along(leaf: Array, axes: tuple[int, ...]) -> Array:
    first = jnp.moveaxis(gathered(leaf), axes, range(len(axes)))
    return _squares(first.reshape(math.prod(leaf.shape[axis] for axis in axes), -1))


def _squares(x: Array) -> Array:
    """(L,) sums of squares of (L, …), float32."""
    parts = [x.real, x.imag] if jnp.iscomplexobj(x) else [x]
    squares = [jnp.square(part.astype(jnp.float32)).reshape(x.shape[0], -1) for part in parts]
    return sum((jnp.sum(each, axis=1) for each in squares), jnp.zeros(x.shape[0], jnp.float32))


def _magnitudes(site: Site, data: Array) -> Array:
    """(L, features) largest magnitude of each feature."""
    layers = _by_layer(site, data, len(site.data_shape))
    if not (site.observable and jnp.issubdtype(data.dtype, jnp.inexact)):
        return jnp.zeros((layers.shape[0], 0), jnp.float32)

    def of_turn(data: Array) -> Array:
        sizes = jnp.abs(site.rows(data)).astype(jnp.float32)  # (batch…, rows, features)
        return jnp.max(sizes, axis=tuple(range(sizes.ndim - 1)))

    rank = len(site.data_shape)
    turns = layers.reshape(-1, *layers.shape[layers.ndim - rank :])
    found = jax.vmap(of_turn)(turns)
    return jnp.max(found.reshape(layers.shape[0], -1, found.shape[-1]), axis=1)
