"""Product quantization: one code for each short vector of weights."""

import dataclasses
import functools
import math
from typing import Literal

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import Axes, LeafAxes, to_canonical
from jaxcompress.core.checks import check_count
from jaxcompress.core.formats.choices import set_whole
from jaxcompress.core.formats.codebooks import Codebook
from jaxcompress.core.formats.sharing import Group
from jaxcompress.core.kinds import check_key, check_kind, check_select
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import named_leaves
from jaxcompress.core.product import MOST_ENTRIES, ProductQuantized
from jaxcompress.core.report import Report
from jaxcompress.core.sharding import gathered
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Key, Params, PyTree, Selector
from jaxcompress.quantize.assignment import Assignment, assign
from jaxcompress.quantize.scales.importance import importance_named
from jaxcompress.quantize.sharing.clusters import clustered
from jaxcompress.quantize.weights import check_values, row

_PER = ("tensor", "subspace")
_STORED = ("float32", "bfloat16", "float16")


@dataclasses.dataclass(frozen=True)
class Vectors:
    """How weights are cut into vectors, and what codebooks they get.

    Attributes:
      length: weights of a vector, at least 1. They lie side by side along the axis that
        data are summed over: inputs of a dense kernel's output, features of a row of an
        embedding, channels at one place of a convolution's window.
      entries: of a codebook, 2 to 256; a code has log2(entries) bits. Entry 0 is zero.
      per: what shares a codebook: the whole "tensor", or the vectors at one place along
        that axis (a "subspace"), as in classical product quantization.
      stored: dtype of the codebooks, "float32", "bfloat16" or "float16".
      iterations: of k-means, at most.

    Raises:
      ValueError: a value is out of range or unknown.

    Example:
      >>> jc.quantize.sharing.Vectors(8, 256).bits_per_weight
      1.0
    """

    length: int
    entries: int
    per: Literal["tensor", "subspace"] = "tensor"
    stored: Literal["float32", "bfloat16", "float16"] = "float32"
    iterations: int = 100

    def __post_init__(self) -> None:
        set_whole(self, "length", "entries", "iterations")
        check_count("Vectors", "length", self.length)
        check_count("Vectors", "iterations", self.iterations)
        if not 2 <= self.entries <= MOST_ENTRIES:
            raise ValueError(f"Vectors(entries={self.entries}) must be from 2 to {MOST_ENTRIES}.")
        for field, known in (("per", _PER), ("stored", _STORED)):
            if getattr(self, field) not in known:
                named = " or ".join(map(repr, known))
                raise ValueError(f"Vectors({field}={getattr(self, field)!r}) must be {named}.")

    @property
    def bits_per_weight(self) -> float:
        """Of the codes, in a file and without entropy coding; codebooks come on top."""
        return (self.entries - 1).bit_length() / self.length


def product(
    params: Params,
    vectors: Vectors,
    key: Key,
    *,
    importance: PyTree | None = None,
    axes: Axes | None = None,
    select: Selector | None = None,
) -> tuple[Params, Report]:
    """Quantizes short vectors of weights, each to the nearest entry of a codebook.

    Not for: 3 bits for each weight and more, where nothing was won over `k_means`, nor
    weights pruned one by one, which it fills.

    Also known as: product quantization (PQ), vector quantization of weights, And the
    bit goes down.

        least sum over vectors v of |sqrt(importance_v) · (w_v - codebook[code_v])|²

    by k-means that begins with k-means++. Fewer bits than one for each weight are
    possible, since a code stands for several. Codebooks are small beside the codes of a
    large leaf alone: `report` counts both. They are trained on by `centroids`.

    Vectors that are zero throughout stay so: entry 0 is zero and is moved by none. A
    pruned weight beside others in its vector does not stay zero, so prune whole vectors
    (`patterns.groups`), or quantize pruned weights by `k_means`.

    Args:
      params: arrays, or shapes for the report alone.
      vectors: how long they are, and what codebooks they get.
      key: of the draws that k-means begins with; the same key gives the same codes.
      importance: what the squared error of a weight counts: a tree as `share` takes it,
        such as the mean square of the input that a weight meets. Without it, 1.
      axes: what `graph.axes` gave; without it the layout default. Layers of a stack
        have codebooks of their own.
      select: which leaves; without it every weight that meets data. A leaf whose
        contracting axes the vectors do not divide stays, and the report says so.

    Returns:
      (params, report); the chosen leaves are `ProductQuantized`.

    Raises:
      TypeError: `vectors` is no Vectors or `key` no random key; or as `share`.
      ValueError: as `share`; or vectors do not divide a leaf that `select` names, or
        any leaf.

    Example:
      >>> kernel = jnp.array([[1.0, 1.0], [2.0, 2.1], [0.0, 4.0], [0.0, 4.0]])
      >>> params = {"kernel": kernel}
      >>> vectors = jc.quantize.sharing.Vectors(length=2, entries=3)
      >>> small, _ = jc.quantize.sharing.product(params, vectors, jax.random.key(0))
      >>> small["kernel"]
      ProductQuantized(3 vectors of 2 per tensor, shape=(4, 2), dtype=float32)
      >>> small["kernel"].unpacked_codes  # of each output
      Array([[1, 0],
             [1, 2]], dtype=uint8)
      >>> small["kernel"].codebooks
      Array([[[0.  , 0.  ],
              [1.  , 2.05],
              [4.  , 4.  ]]], dtype=float32)

    Source: Gong et al. 2014, arXiv:1412.6115, section 3.2; Jégou et al. 2011, "Product
    Quantization for Nearest Neighbor Search", section II; Stock et al. 2019,
    arXiv:1907.05686, section 3, for errors weighted by activations. Differs: entry 0 is
    zero; importance is a number for each weight, the diagonal of the inputs' second
    moment where Stock et al. have all of it.
    """
    check_kind("product", "vectors", vectors, Vectors, "For example sharing.Vectors(8, 256).")
    check_key("product", "key", key)
    check_select("product", select)
    counts = None
    if importance is not None:
        check_arrays("product", "importance", importance)
        counts = named_leaves(importance)
    spec = QuantSpec(Codebook(max(2, (vectors.entries - 1).bit_length())), Group(vectors.length))
    assigned = assign("product", params, spec, axes, select)
    leaves = dict(named_leaves(params))
    for name, choice in assigned.items():
        if isinstance(choice, Assignment):
            leaf = leaves[name]
            check_values("product", name, leaf)
            own = jnp.ones((1,) * len(leaf.shape), jnp.float32)
            if counts is not None:
                own = importance_named("product", name, leaf, counts)
            leaves[name] = _quantized(leaf, own, key, choice.axes, vectors)
    rows = (
        row(name, each, leaves[name], assigned[name]) for name, each in named_leaves(params).items()
    )
    treedef = jax.tree.structure(params, is_leaf=is_compressed)
    return jax.tree.unflatten(treedef, leaves.values()), Report("product", tuple(rows))


def _quantized(leaf, importance, key: Key, axes: LeafAxes, vectors: Vectors) -> ProductQuantized:
    array = functools.partial(_array, axes=axes, form=vectors)
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return jax.eval_shape(array, leaf, importance, key)
    return array(jnp.asarray(leaf), importance, key)


@functools.partial(jax.jit, static_argnames=("axes", "form"))
def _array(
    x: Array, importance: Array, key: Key, axes: LeafAxes, form: Vectors
) -> ProductQuantized:
    # Vectors are cut across axes that a mesh may split.
    x, importance = gathered(x), jnp.broadcast_to(gathered(importance), x.shape)
    stored, counts = (to_canonical(each, axes).astype(jnp.float32) for each in (x, importance))
    batch, outputs = len(axes.batch), len(axes.batch) + len(axes.output)
    layers, inputs = stored.shape[:batch], stored.shape[outputs:]
    count = math.prod(inputs) // form.length
    sets = functools.partial(_sets, layers=math.prod(layers), count=count, form=form)
    books = count if form.per == "subspace" else 1
    chances = jax.random.uniform(key, (math.prod(layers) * books, form.entries - 1), jnp.float32)
    found = clustered(sets(stored), sets(counts), chances, form.iterations, form.stored)
    codes = found.codes.reshape(math.prod(layers), books, -1, count // books)
    codes = jnp.swapaxes(codes, 1, 2).reshape(*stored.shape[:outputs], count)
    codebooks = found.codebook.reshape(*layers, books, form.entries, form.length)
    return ProductQuantized.from_codes(codes, codebooks, inputs, dtype=x.dtype, axes=axes)


def _sets(stored: Array, *, layers: int, count: int, form: Vectors) -> Array:
    """The vectors that share a codebook, (layers · books, vectors, length)."""
    cut = stored.reshape(layers, -1, count, form.length)  # (layers, outputs, count, length)
    if form.per == "subspace":
        return jnp.swapaxes(cut, 1, 2).reshape(layers * count, -1, form.length)
    return cut.reshape(layers, -1, form.length)
