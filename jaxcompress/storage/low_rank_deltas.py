"""A tree as low-rank differences to the tree of another file."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.axes import Axes, LeafAxes
from jaxcompress.core.checks import check_floating
from jaxcompress.core.formats.sharing import Channel, Tensor
from jaxcompress.core.kinds import check_kind
from jaxcompress.core.leaf import materialize
from jaxcompress.core.lowrank import LowRank
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.rules import Rules, as_rules
from jaxcompress.core.selectors import weights
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.trees import named_axes
from jaxcompress.core.types import PyTree, Selector
from jaxcompress.quantize import quantize
from jaxcompress.storage.container.references import Product
from jaxcompress.storage.container.safetensors import NO_TEXT
from jaxcompress.storage.deltas import DeltaSize
from jaxcompress.storage.near_deltas import Candidate, Given, Near, Nearest, norm, write_near
from jaxcompress.structure import factorize
from jaxcompress.structure.low_rank import check_rank, matrix_axes
from jaxcompress.structure.ranks import Ranks


@dataclasses.dataclass(frozen=True)
class Factors:
    """How differences become factors.

    Attributes:
      rank: a number, or how ranks are chosen, or rules of those over the names of the
        selected leaves, as `structure.factorize` takes them. `structure.ranks` has
        `parameters(share)`, `budget(count)`, and `energy(1 - e**2)` for a relative
        error of e at most, before factors are rounded. A leaf without a rule is exact.
      stored: what factors are rounded to: a floating dtype, or a format per channel or
        tensor.
      axes: what `graph.axes` gave. Without it, the last axis of a weight is taken as
        its output, all others as contracting; a stack of layers is one matrix then.

    Raises:
      TypeError: `rank` is no such thing, `stored` neither a format nor a dtype, or
        `axes` no tree of LeafAxes.
      ValueError: `rank` is below 1, or `stored` no floating dtype, or a format in
        groups or blocks.

    Example:
      >>> jc.storage.Factors(rank=jc.Rules({"head/*": 32, "*": 8})).rank.pairs
      (('head/*', 32), ('*', 8))
    """

    rank: Rules[Ranks | int] | Ranks | int
    stored: QuantSpec | np.dtype | type[Any] = jnp.bfloat16
    axes: Axes | None = None

    def __post_init__(self) -> None:
        check_rank("Factors", self.rank)
        named_axes("Factors", self.axes)
        if isinstance(self.stored, QuantSpec):
            if not isinstance(self.stored.sharing, Channel | Tensor):
                raise ValueError(
                    f"Factors(stored={self.stored}) must share scales by channel or tensor: the "
                    "rank is an axis of the factors, which groups may not divide."
                )
        else:
            mend = "Take a format or a floating dtype."
            check_kind("Factors", "stored", self.stored, type | np.dtype, mend)
            check_floating("Factors", "stored", self.stored)


@dataclasses.dataclass(frozen=True)
class LowRankDeltaSize(DeltaSize):
    """What `save_low_rank_delta` wrote.

    Attributes:
      errors: of each leaf stored by factors, the norm of what `load_delta` loses of it
        over the norm of its difference to the base.
      ranks: of each of them.
    """

    errors: dict[str, float]
    ranks: dict[str, int]


def save_low_rank_delta(
    path: str | os.PathLike[Any],
    tree: PyTree,
    *,
    base: str | os.PathLike[Any],
    factors: Factors,
    select: Selector = weights(),
    metadata: Mapping[str, str] = NO_TEXT,
) -> LowRankDeltaSize:
    """Writes a tree as another file's and a product of thin factors for each weight.

    Not for: differences far from low rank; `save_bit_delta` takes a bit for each
    weight, `save_delta` is exact.

        x' = x_base + left · right,   of its rank the nearest to x

    An approximation, for fine-tuned models, whose differences to their base are often
    near low rank; of a model that was tuned by adapters they are of the adapters' rank.
    `load_delta` gives x' where x was. Leaves that are not selected, are no floats of up
    to 32 bits of the base's shape and dtype, or are no larger as they are, are stored
    exactly, as `save_delta` stores them.

    The differences of all selected leaves are in memory at once, in float32.

    Also known as: low-rank delta, delta compression by truncated SVD, LoRA extraction.

    Args:
      path: where, as in `save`.
      tree: as `save` takes it.
      base: the file of the base, or its index.
      factors: ranks, and what the factors are stored as.
      select: which leaves are approximated.
      metadata: texts to keep beside the leaves.

    Returns:
      LowRankDeltaSize, with the error and the rank of each leaf.

    Raises:
      TypeError, OSError, FileError: as `save_delta` does.
      ValueError: as `save_delta` does; a rule of `factors.rank` matches no leaf, or
        asks for what is out of reach, or the axes are those of other params.

    Example:
      >>> import tempfile
      >>> base = {"kernel": jnp.zeros((64, 64))}
      >>> tuned = {"kernel": jnp.outer(jnp.arange(64.0), jnp.ones(64))}
      >>> factors = jc.storage.Factors(rank=1, stored=jnp.float32)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     paths = f"{folder}/base.safetensors", f"{folder}/tuned.safetensors"
      ...     size_bytes = jc.storage.save(paths[0], base)
      ...     found = jc.storage.save_low_rank_delta(
      ...         paths[1], tuned, base=paths[0], factors=factors
      ...     )
      ...     again = jc.storage.load_delta(paths[1], base=paths[0])
      >>> found.ranks, bool(jnp.allclose(again["kernel"], tuned["kernel"], atol=1e-4))
      ({'kernel': 1}, True)

    Source: Eckart and Young 1936; for fine-tuned models Ryu, Seo and Yoo 2023,
    "Efficient Storage of Fine-Tuned Models via Low-Rank Approximation of Weight
    Residuals", arXiv:2305.18425. Differs: ranks come from any rule, factors
    may be quantized, and nothing is trained afterwards.
    """
    caller = "save_low_rank_delta"
    check_kind(caller, "factors", factors, Factors, "Pass storage.Factors(rank=8).")
    specs = (factors.stored,) if isinstance(factors.stored, QuantSpec) else ()
    ranks: dict[str, int] = {}

    def begin(candidates: Mapping[str, Candidate]) -> Nearest:
        products = _products(tree, candidates, factors)
        ranks.update({name: each.rank for name, each in products.items()})
        return lambda name: _near(candidates[name], products[name]) if name in products else None

    size, errors = write_near(caller, path, tree, Given(base, select, metadata, specs), begin)
    ranks = {name: ranks[name] for name in errors}
    return LowRankDeltaSize(**dataclasses.asdict(size), errors=errors, ranks=ranks)


def _products(
    tree: PyTree, candidates: Mapping[str, Candidate], factors: Factors
) -> dict[str, LowRank]:
    """The products that are nearest to the differences, by leaf name."""
    known = named_axes("Factors", factors.axes)
    matrices = {name: each for name, each in candidates.items() if _is_matrix(each, known)}
    differences = {name: each.steps() for name, each in matrices.items()}
    some = {name: x for name, x in differences.items() if np.isfinite(x).all() and x.any()}
    rank = _rules_of(factors.rank, list(matrices), list(some))
    if rank is None:
        return {}
    found, _ = factorize(
        map_named(lambda name, leaf: jnp.asarray(some[name]) if name in some else leaf, tree),
        rank=rank,
        axes=factors.axes,
        select=lambda params: map_named(lambda name, _: name in some, params),
    )
    products = {name: leaf for name, leaf in named_leaves(found).items() if name in some}
    return {
        name: _stored(leaf, factors.stored)
        for name, leaf in products.items()
        if isinstance(leaf, LowRank)
    }


def _is_matrix(candidate: Candidate, known: dict[str, LeafAxes] | None) -> bool:
    axes = matrix_axes(candidate.name, candidate.leaf, known)
    return bool(axes.output and axes.contracting)


def _rules_of(
    rank: Rules[Any] | Ranks | int, names: list[str], some: list[str]
) -> Rules[Any] | None:
    """The rules that some of the leaves go by; None where there are none.

    All leaves count for which rules are used, those without a difference too.
    """
    pairs = as_rules(rank).pairs
    places = Rules((pattern, i) for i, (pattern, _) in enumerate(pairs)).assign(names)
    used = sorted({places[name] for name in some if name in places})
    return Rules(pairs[i] for i in used) if used else None


def _stored(product: LowRank, stored: QuantSpec | np.dtype | type[Any]) -> LowRank:
    """The product with its factors as they are stored."""
    if isinstance(stored, QuantSpec):
        codes, _ = quantize(product.factors, stored, axes=product.factor_axes)
        return product.with_parts(dict(codes))
    numbers = {name: narrowed(materialize(each), stored) for name, each in product.factors.items()}
    return product.with_parts({**numbers})


def _near(candidate: Candidate, product: LowRank) -> Near:
    x, base = candidate.x, candidate.base
    leaf = Product(x.dtype, x.shape, product)
    with np.errstate(over="ignore", invalid="ignore"):
        lost = x.astype(np.float32) - leaf.applied(base).astype(np.float32)
    return Near(leaf, norm(lost) / norm(candidate.steps()))
