"""Random codes: noisy weights of a given divergence, shipped as indices."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import Axes
from jaxcompress.core.checks import (
    check_concrete,
    check_count,
    check_positive,
    check_range,
    check_share,
)
from jaxcompress.core.companions import (
    Companions,
    Step,
    begin,
    keys_of,
    no_penalty,
    require,
    seen,
)
from jaxcompress.core.flax_leaf import unwrapped
from jaxcompress.core.formats.codebooks import Codebook
from jaxcompress.core.formats.sharing import Tensor
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.random_code import MOST_BITS, RandomCode
from jaxcompress.core.rules import Rules, as_rules
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array, Params, Selector
from jaxcompress.quantize.assignment import Assignment, assign, check_choice
from jaxcompress.quantize.companions.coded_blocks import (
    Coded,
    Layout,
    begun,
    drawn,
    extended,
    leaf_of,
    span,
)
from jaxcompress.quantize.weights import check_values

Codes = Mapping[str, Coded]
"""By leaf name, which of its blocks are encoded; a leaf without an entry has none."""

NONE_YET: Codes = {}
ANY = QuantSpec(Codebook(8), Tensor())
"""A spec that any real leaf takes, so that leaves are chosen as `quantize` does."""


class SeenCoded(Protocol):
    """From params and companions to params, at a step, with some blocks encoded."""

    def __call__(
        self, params: Params, companions: Companions, step: Step = ..., codes: Codes = ...
    ) -> Params:
        """Params of the same structure."""
        ...


class RandomCodes(NamedTuple):
    """A `Companion` whose weights are encoded at once or block by block.

    Attributes:
      init: params -> companions, to be trained from there; shapes are enough for their
        shapes.
      view: (params, companions, step, codes) -> params as the model sees them in
        training: encoded blocks as they will be shipped, the others drawn anew.
      freeze: the same -> params that are shipped: `RandomCode` leaves. What is not
        encoded yet is encoded by the step's key.
      penalty: 0, since the divergence is fixed.
      encode: (params, companions, step, codes, share) -> codes of the first `share` of
        each leaf's blocks. Those that are encoded stay. It reads values where there are
        codes already; without them it may be traced.
    """

    init: Callable[[Params], Companions]
    view: SeenCoded
    freeze: SeenCoded
    penalty: Callable[[Params, Companions], Array]
    encode: Callable[..., dict[str, Coded]]


def random_codes(
    rate: float | Rules[float],
    *,
    bits: int = 16,
    spare: float = 1.0,
    seed: int = 0,
    axes: Axes | None = None,
    select: Selector | None = None,
) -> RandomCodes:
    """Trains noisy weights that a few bits for each block of them can transmit.

    Not for: the least error in a few kilobytes: on LeNet-300-100 pruned weights under
    `learned_rate` erred less in as many.

    For the extreme end of compression: a weight costs a fraction of a bit. Weights of a
    block are drawn from normal distributions q whose divergence from the prior
    p = N(0, deviation²) is given, so that one of 2**bits candidates drawn from p stands
    for a draw from q. Its index is all that is stored.

        budget_i = (bits - spare) · log 2 · softmax(logits)_i within the block
        mean_i = deviation · sqrt(2 · budget_i) · tanh(w_i / deviation)
        variance_i = -deviation² · W(-exp(mean_i² / deviation² - 2 · budget_i - 1))

    The companions are the logits of each weight, and the logarithm of the deviation of
    each layer. A model sees weights that are drawn anew at every step: nothing but the
    loss is minimized, since the divergence does not change. Then `freeze` encodes all
    at once, or `encode` some blocks at a time, so that training the others mends what
    candidates miss:

        for share in (0.2, 0.4, 0.6, 0.8, 1.0):
            codes = technique.encode(params, companions, step, codes, share)
            ... train with technique.view(params, companions, step, codes)
        shipped = technique.freeze(params, companions, step, codes)

    Trying candidates takes 2**bits draws for each weight.

    Also known as: minimal random code learning (MIRACLE), relative entropy coding,
    mean-KL parametrization.

    Args:
      rate: bits of each weight, above 0; or Rules of such by name, where a leaf without
        a rule stays. Each layer has round(rate · weights / bits) blocks, at least one.
      bits: of an index, from 1 to 24.
      spare: bits that the divergence of a block stays below those of its index, in
        [0, bits): more makes candidates nearer to draws from q.
      seed: of the hashes that say which weights are of a block, and of the candidates.
      axes: what `graph.axes` gave; without it the layout default, as in `quantize`.
      select: which leaves; without it every weight that meets data. Biases left out
        stay floats, which outweigh such codes: `select=jc.everything()` has them.

    Returns:
      RandomCodes, a `Companion` with codes.

    Raises:
      TypeError: as `quantize`; when applied: as `quantize`.
      ValueError: a number is out of range; when applied: as `quantize`, or there are no
        companions, or some are of no leaf or not of its shape; the step has no key.

    Example:
      >>> technique = jc.quantize.companions.random_codes(2.0, bits=12)
      >>> params = {"kernel": jnp.ones((6, 4))}
      >>> step = jc.Step(key=jax.random.key(0))
      >>> technique.freeze(params, technique.init(params), step)["kernel"]
      RandomCode(blocks=4, bits=12, shape=(6, 4), dtype=float32)

    Source: Havasi et al. 2019, arXiv:1810.00440, algorithms 1 and 2; distributions of
    given divergence by 2307.07816, section 3. Differs: blocks are of one leaf, whose
    share of the bits is given, and of nearly equal sizes; weights do not share values.
    """
    check_choice("random_codes", ANY, axes, select)
    for _, each in as_rules(rate).pairs:
        check_positive("random_codes", "rate", each)
    if check_count("random_codes", "bits", bits) > MOST_BITS:
        raise ValueError(f"random_codes(bits={bits}) must be at most {MOST_BITS}.")
    check_range("random_codes", "spare", spare, 0, bits)
    if check_count("random_codes", "seed", seed, least=0) >= 2**32:
        raise ValueError(f"random_codes(seed={seed}) must be below 2**32.")

    def layouts(params: Params) -> dict[str, Layout]:
        assigned = assign("random_codes", params, ANY, axes, select)
        found = {name: each for name, each in assigned.items() if isinstance(each, Assignment)}
        rates, leaves = as_rules(rate).assign(found), named_leaves(params)

        def layout(name: str) -> Layout:
            own = found[name].axes
            entries = math.prod(leaves[name].shape[axis] for axis in own.order[len(own.batch) :])
            blocks = min(entries, max(1, round(rates[name] * entries / bits)))
            return Layout(own, blocks, int(bits), (bits - spare) * math.log(2), int(seed))

        return {name: layout(name) for name in rates}

    def init(params: Params) -> Companions:
        chosen = layouts(params)

        def start(name: str, leaf) -> dict[str, Array]:
            check_values("random_codes", name, leaf)
            return begun(jnp.asarray(leaf), chosen[name])

        return begin(params, map_named(lambda name, _: name in chosen, params), start)

    def view(
        params: Params, companions: Companions, step: Step = Step(), codes: Codes = NONE_YET
    ) -> Params:
        chosen, companions = _fitting(params, companions, layouts(params))
        keys = keys_of("random_codes", companions, step)

        def shown(name: str, leaf) -> Array:
            known = codes.get(name)
            return drawn(jnp.asarray(leaf), companions[name], chosen[name], keys[name], known)

        return seen(params, companions, shown)

    def encode(
        params: Params,
        companions: Companions,
        step: Step = Step(),
        codes: Codes = NONE_YET,
        share: float = 1.0,
    ) -> dict[str, Coded]:
        check_share("random_codes.encode", "share", share)
        if codes:
            check_concrete("random_codes.encode", codes=dict(codes))
        chosen, companions = _fitting(params, companions, layouts(params))
        leaves = named_leaves(params)
        spans = {name: span(codes.get(name), each, share) for name, each in chosen.items()}
        if all(first == last for first, last in spans.values()) and codes.keys() == chosen.keys():
            return dict(codes)
        keys = keys_of("random_codes.encode", companions, step)

        def coded(name: str) -> Coded:
            check_values("random_codes", name, leaves[name])
            x, known = jnp.asarray(leaves[name]), codes.get(name)
            return extended(known, spans[name], x, companions[name], chosen[name], keys[name])

        return {name: coded(name) for name in companions}

    def freeze(
        params: Params, companions: Companions, step: Step = Step(), codes: Codes = NONE_YET
    ) -> Params:
        chosen, companions = _fitting(params, companions, layouts(params))
        coded = encode(params, companions, step, codes)

        def shipped(name: str, leaf) -> RandomCode:
            return leaf_of(coded[name], companions[name], leaf, chosen[name])

        return seen(params, companions, shipped)

    return RandomCodes(init, view, freeze, no_penalty, encode)


def _fitting(
    params: Params, companions: Companions, layouts: dict[str, Layout]
) -> tuple[dict[str, Layout], Companions]:
    """Layouts and companions by name; raises where these are of other leaves."""
    companions = dict(unwrapped(companions))
    leaves = named_leaves(params)
    require("random_codes", {name: leaves[name] for name in layouts}, companions, lambda *_: True)
    for name, companion in companions.items():
        held = jax.eval_shape(functools.partial(begun, layout=layouts[name]), leaves[name])
        found = companion if isinstance(companion, Mapping) else {"": companion}
        shapes = [{part: jnp.shape(each) for part, each in tree.items()} for tree in (found, held)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"random_codes(companions=...): what stands beside leaf {name!r} has shapes "
                f"{shapes[0]}, not {shapes[1]}. Begin with init(params)."
            )
    return {name: layouts[name] for name in companions}, companions
