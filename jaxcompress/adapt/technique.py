"""What all adapters share: choosing leaves, checks, masks, and the seven functions."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxcompress.adapt.adapter import Adapter
from jaxcompress.adapt.leaves import wide, widened
from jaxcompress.adapt.places import Place, Ranks, adapted_axes, check_ranks, chosen_ranks, fitting
from jaxcompress.adapt.scales import Scale, as_scale
from jaxcompress.adapt.starts import Begun, Start
from jaxcompress.core.axes import Axes, LeafAxes
from jaxcompress.core.companions import Companions, Step, no_penalty, seen
from jaxcompress.core.kinds import check_built, check_select
from jaxcompress.core.leaf import is_compressed, materialize
from jaxcompress.core.lowrank import LowRank
from jaxcompress.core.masks import apply_mask, check_masks, fitted
from jaxcompress.core.names import named_leaves
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.trees import named_axes
from jaxcompress.core.types import Array, Masks, Params, Selector

WHOLE = np.True_
"""The mask of a leaf whose every weight may be changed."""


class Options(NamedTuple):
    """What a technique was built with, as `lora` documents it."""

    rank: Ranks
    start: Start
    scale: Scale
    axes: Axes | None
    select: Selector | None
    masks: Masks | None


class Delta(NamedTuple):
    """What an adapter adds to a leaf.

    Attributes:
      product: of the factors and the scale, in the order of the leaf's axes.
      mask: which weights it is added to; of a single entry it is in the product.
      axes: of the leaf.
    """

    product: LowRank
    mask: Array | np.bool_
    axes: LeafAxes

    @property
    def whole(self) -> bool:
        """Whether all weights are added to, or none."""
        return self.mask.size == 1

    def added_to(self, leaf: Any) -> Array:
        """The sum, in the dtype that sums are formed in."""
        base, mask = widened(leaf), jnp.asarray(self.mask)
        return base + apply_mask(mask, self.product.astype(base.dtype).materialize())


class Form(NamedTuple):
    """What tells techniques apart.

    Attributes:
      parts: the arrays of an adapter.
      begin: (start, axes) -> the arrays by name.
      shown: (leaf, arrays, delta) -> what the model sees, array or compressed leaf.
      apart: (leaf, arrays, delta) -> the leaf for `run`; of a whole delta.
    """

    parts: tuple[str, ...]
    begin: Callable[[Begun, LeafAxes], dict[str, Array]]
    shown: Callable[[Any, dict[str, Array], Delta], Any]
    apart: Callable[[Any, dict[str, Array], Delta], Any]


def checked(
    caller: str,
    rank: Ranks,
    start: Start,
    alpha: float | Scale,
    axes: Axes | None,
    select: Selector | None,
) -> Options:
    """The options without masks.

    Raises:
      TypeError: `start`, `alpha`, `axes` or `select` is of another kind.
      ValueError: a rank or alpha is out of range.
    """
    check_ranks(caller, rank)
    check_built(caller, "start", start, 1, "For example adapt.starts.random(key).")
    named_axes(caller, axes)
    check_select(caller, select)
    return Options(rank, start, as_scale(caller, alpha), axes, select, None)


def technique(caller: str, options: Options, form: Form) -> Adapter:
    """The functions of a technique."""
    if options.masks is not None:
        check_masks(caller, options.masks)
    known = named_axes(caller, options.axes)

    def init(params: Params) -> Companions:
        ranks = chosen_ranks(caller, params, options.rank, options.axes, options.select)
        leaves = named_leaves(params)
        places = [
            Place(name, leaves[name], adapted_axes(name, leaves[name], known), rank, scale)
            for name, rank in ranks.items()
            for scale in (options.scale(rank),)
        ]
        return {each.name: form.begin(options.start(each), each.axes) for each in places}

    def over(params: Params, adapters: Companions, of_leaf: Callable[..., Any]) -> Params:
        adapters = fitting(caller, params, adapters, form.parts, known)
        masks = _by_name(caller, options.masks, params)

        def changed(name: str, leaf):
            axes = adapted_axes(name, leaf, known)
            delta = _delta(leaf, adapters[name], axes, masks.get(name, WHOLE), options.scale)
            return of_leaf(name, leaf, adapters[name], delta)

        return seen(params, adapters, changed)

    def view(params: Params, companions: Companions, step: Step = Step()) -> Params:
        del step
        return over(params, companions, lambda name, *given: form.shown(*given))

    def apart(params: Params, adapters: Companions) -> Params:
        def of_leaf(name: str, leaf, arrays: dict[str, Array], delta: Delta):
            del name
            return (form.apart if delta.whole else form.shown)(leaf, arrays, delta)

        return over(params, adapters, of_leaf)

    def merge(params: Params, adapters: Companions) -> Params:
        return materialize(view(params, adapters))

    def residual(params: Params, adapters: Companions) -> Params:
        def of_leaf(name: str, leaf, arrays: dict[str, Array], delta: Delta):
            del arrays
            if is_compressed(leaf):
                raise TypeError(
                    f"{caller}.residual(params=...): leaf {name!r} is {leaf!r}, whose codes cannot "
                    "be less by a product. Pass the arrays they were made of."
                )
            left = -delta.product.left
            less = delta._replace(product=delta.product.with_parts({"left": left}))
            return narrowed(less.added_to(leaf), leaf.dtype)

        return over(params, adapters, of_leaf)

    return Adapter(init, view, view, no_penalty, apart, merge, residual)


def _delta(
    leaf, arrays: dict[str, Array], axes: LeafAxes, mask: Array | np.bool_, scale: Scale
) -> Delta:
    left, right = (jnp.asarray(arrays[name]).astype(jnp.float32) for name in ("left", "right"))
    left = left * np.float32(scale(left.shape[-1]))
    if mask.size == 1:
        left, mask = apply_mask(jnp.reshape(mask, ()), left), WHOLE
    product = LowRank.from_factors(left, right, dtype=wide(leaf.dtype), axes=axes)
    return Delta(product, mask, axes)


def _by_name(caller: str, masks: Masks | None, params: Params) -> dict[Any, Any]:
    return {} if masks is None else named_leaves(fitted(caller, masks, params))
