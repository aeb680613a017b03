"""Codebooks for a whole tree, by an importance of every weight."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import Axes
from jaxcompress.core.kinds import check_function, check_kind
from jaxcompress.core.leaf import CompressedLeaf, is_compressed
from jaxcompress.core.messages import shown
from jaxcompress.core.names import named_leaves
from jaxcompress.core.report import Report
from jaxcompress.core.rules import Rules
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Params, PyTree, Selector
from jaxcompress.quantize.assignment import Assignment, assign, check_choice
from jaxcompress.quantize.rounding.nearest import nearest
from jaxcompress.quantize.scales.importance import importance_named
from jaxcompress.quantize.scales.search import ScaleSearch
from jaxcompress.quantize.sharing.k_means import k_means
from jaxcompress.quantize.weights import check_values, row

Search = Callable[..., ScaleSearch]
"""Called with `importance=`, an array of the shape of a leaf."""


def share(
    params: Params,
    spec: QuantSpec | Rules[Any],
    importance: PyTree,
    *,
    axes: Axes | None = None,
    select: Selector | None = None,
    search: Search = k_means,
) -> tuple[Params, Report]:
    """Quantizes weights with codebooks that err least where weights count most.

    Not for: the mean squares of inputs as importance, which won nothing on
    LeNet-300-100 over plain `k_means`.

    Also known as: SqueezeLLM's sensitivity-based quantization, Hessian-weighted k-means
    clustering, Fisher-weighted weight sharing.

    The importance of a weight is what its squared error costs: the mean of squared
    gradients of single examples (the diagonal of the Fisher information), a diagonal of
    the Hessian, or the energy of its input. Without one,
    `quantize(params, spec, rounding=nearest(k_means()))` does the same.

    Args:
      params: arrays, or shapes for the report alone.
      spec: one spec, or rules over the names of the selected leaves, as in `quantize`.
      importance: a tree of the params' structure, each leaf an array of its weight's
        shape or what broadcasts to it, finite and at least 0. Leaves that are not
        quantized may hold anything.
      axes: what `graph.axes` gave; without it the layout default, as in `quantize`.
      select: which leaves; without it every weight that meets data.
      search: called with `importance=`, gives the search of a leaf: `k_means`, whose
        options `functools.partial` binds, or `scales.weighted_by` for other formats.

    Returns:
      (params, report), as `quantize`.

    Raises:
      TypeError: as `quantize`; or what an importance holds are no numbers.
      ValueError: as `quantize`; or an importance is not finite, below 0, not of the
        shape of its leaf, or missing.

    Example:
      >>> params = {"kernel": jnp.array([[1.0, 2.0], [7.0, 9.0], [20.0, 25.0]])}
      >>> fisher = {"kernel": jnp.array([[1.0, 1.0], [3.0, 1.0], [1.0, 1.0]])}
      >>> spec = jc.quantize.formats.codebook(2, per="tensor")
      >>> found, report = jc.quantize.sharing.share(params, spec, fisher)
      >>> found["kernel"].codebook.ravel()
      Array([ 0. ,  7.5, 20. , 25. ], dtype=float32)

    Source: Kim et al. 2023, arXiv:2306.07629, section 4.1; Choi et al. 2017,
    arXiv:1612.01543, section 3. Differs: zero is a level that stays.
    """
    check_choice("share", spec, axes, select)
    check_function("share", "search", search, "Pass k_means or scales.weighted_by.")
    check_arrays("share", "importance", importance)
    assigned = assign("share", params, spec, axes, select)
    counts, leaves = named_leaves(importance), dict(named_leaves(params))
    for name, choice in assigned.items():
        if isinstance(choice, Assignment):
            check_values("share", name, leaves[name])
            own = importance_named("share", name, leaves[name], counts)
            leaves[name] = _shared(leaves[name], own, choice, search)
    rows = (
        row(name, each, leaves[name], assigned[name]) for name, each in named_leaves(params).items()
    )
    treedef = jax.tree.structure(params, is_leaf=is_compressed)
    return jax.tree.unflatten(treedef, leaves.values()), Report("share", tuple(rows))


def _shared(leaf, importance: Array, choice: Assignment, search: Search) -> CompressedLeaf:
    array = functools.partial(_array, choice=choice, search=search)
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return jax.eval_shape(array, leaf, importance)
    return array(jnp.asarray(leaf), importance)


@functools.partial(jax.jit, static_argnames=("choice", "search"))
def _array(x: Array, importance: Array, choice: Assignment, search: Search) -> CompressedLeaf:
    # The importance is an argument: a constant of its size would be folded for minutes.
    return nearest(_searched(search, importance)).array(x, choice)


def _searched(search: Search, importance: Array) -> ScaleSearch:
    mend = "Pass k_means or scales.weighted_by, whose options functools.partial binds."
    try:
        found = search(importance=importance)
    except TypeError as error:
        raise TypeError(
            f"share(search={shown(search)}) must take importance=, and does not: {error} {mend}"
        ) from error
    check_kind("share", "search", found, ScaleSearch, mend)
    return found
