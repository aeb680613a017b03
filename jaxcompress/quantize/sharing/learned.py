"""Codebooks learned in training: weights meet the model as levels that are trained."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import Axes
from jaxcompress.core.companions import (
    Companion,
    Companions,
    Step,
    begin,
    no_penalty,
    require,
    seen,
)
from jaxcompress.core.formats.coding import decode, encode
from jaxcompress.core.formats.cuts import as_before
from jaxcompress.core.kinds import check_kind
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.rules import Rules
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array, Params, Selector
from jaxcompress.quantize.assignment import Assignment
from jaxcompress.quantize.sharing.k_means import k_means
from jaxcompress.quantize.sharing.leaves import (
    Selection,
    check_levels,
    grid_with,
    in_cut,
    stored_leaf,
    through_both,
)
from jaxcompress.quantize.sharing.starts.spread import linear
from jaxcompress.quantize.sharing.starts.start import Start
from jaxcompress.quantize.weights import check_values


def learned_codebooks(
    spec: QuantSpec | Rules[Any],
    *,
    axes: Axes | None = None,
    select: Selector | None = None,
    start: Start = linear(),
) -> Companion:
    """Trains weights and the levels that they are rounded to, both at once.

    Not for: speed on integer units, for which `training.learned_steps` trains even
    levels; of these programs form the array.

    Also known as: quantization-aware training with weight sharing, trained look-up
    tables, non-uniform QAT.

        seen_i = c_{k(i)},  k(i) the level nearest to w_i
        dL/dw_i = dL/dseen_i,  straight through, for all weights
        dL/dc_k = sum of dL/dseen_i over the weights with k(i) = k

    A weight changes its level once it has moved past the middle of two. Zero is a level
    that stays. Levels begin as those of k-means. They feel the sum over many weights,
    so their learning rate is to be smaller than that of weights by about as much.

    Args:
      spec: a format of `formats.codebook`, or rules over the names of the selected
        leaves; a leaf without a rule stays.
      axes: what `graph.axes` gave; without it the layout default, as in `quantize`.
      select: which leaves; without it every weight that meets data.
      start: where k-means begins, one of `sharing.starts`.

    Returns:
      Companion. `init` gives by leaf name the levels beside zero, float32, in the unit
      of the weights; `view` shows levels in the place of weights, and `freeze` gives
      `QTensor` leaves that materialize to the same bits under the same jit.

    Raises:
      TypeError: as `quantize`, or `start` is no Start.
      ValueError: (when applied) as `quantize`; a format stores no levels, or companions
        are of other params.

    Example:
      >>> spec = jc.quantize.formats.codebook(2, per="tensor")
      >>> technique = jc.quantize.sharing.learned_codebooks(spec)
      >>> params = {"kernel": jnp.array([[1.0, 1.2], [-3.0, 5.0]])}
      >>> levels = technique.init(params)
      >>> both = params, levels
      >>> grads = jax.grad(lambda both: technique.view(*both)["kernel"].sum())(both)
      >>> technique.view(*both)["kernel"], grads[1]["kernel"].ravel()
      (Array([[ 1.1,  1.1],
             [-3. ,  5. ]], dtype=float32), Array([1., 2., 1.], dtype=float32))

    Source: Han et al. 2016, arXiv:1510.00149, section 3.3, for the levels; Bengio et
    al. 2013, arXiv:1308.3432, section 4, for the weights. Differs: codes follow the
    weights, where the paper's stay.
    """
    check_kind("learned_codebooks", "start", start, Start, "Take one of sharing.starts.")
    selection = Selection("learned_codebooks", spec, axes, select)

    def init(params: Params) -> Companions:
        assigned, search = selection.assigned(params), k_means(start)

        def levels(x: Array, choice: Assignment) -> Array:
            blocks, parts = in_cut(x, choice)
            on = search.find(blocks, parts, choice.spec, None)
            return jnp.asarray(on.codebook)[..., 1:] * on.steps(choice.spec)[..., None]

        def of_leaf(name: str, leaf) -> Array:
            check_values("learned_codebooks", name, leaf)
            found = jax.jit(levels, static_argnums=1)
            if isinstance(leaf, jax.ShapeDtypeStruct):
                return jax.eval_shape(lambda x: found(x, assigned[name]), leaf)
            return found(jnp.asarray(leaf), assigned[name])

        return begin(params, map_named(lambda name, leaf: name in assigned, params), of_leaf)

    def applied(of_leaf):
        def view(params: Params, companions: Companions, step: Step = Step()) -> Params:
            del step
            assigned = selection.assigned(params)
            require("learned_codebooks", params, companions, lambda *_: True)
            check_levels("learned_codebooks", params, companions, assigned)
            return seen(
                params,
                companions,
                lambda name, leaf: of_leaf(jnp.asarray(leaf), companions[name], assigned[name]),
            )

        return view

    def freeze(params: Params, companions: Companions, step: Step = Step()) -> Params:
        leaves = named_leaves(params)
        for name in companions.keys() & leaves.keys():
            check_values("learned_codebooks", name, leaves[name])
        return applied(_frozen)(params, companions, step)

    return Companion(init, applied(_seen), freeze, no_penalty)


def _seen(x: Array, levels: Array, choice: Assignment) -> Array:
    blocks, parts = in_cut(x, choice)
    on = grid_with(levels, parts, choice.spec)
    codes = encode(jax.lax.stop_gradient(blocks), jax.lax.stop_gradient(on), choice.spec)
    value = as_before(decode(codes, on, choice.spec), x)
    # A diverged weight is not to look like a level.
    value = jnp.where(jnp.isfinite(x), narrowed(value, x.dtype), x)
    return through_both(value, x)


def _frozen(x: Array, levels: Array, choice: Assignment) -> QTensor:
    blocks, parts = in_cut(x, choice)
    on = grid_with(levels, parts, choice.spec)
    return stored_leaf(x, encode(blocks, on, choice.spec), on, parts, choice)
