"""Soft weight sharing: a mixture of Gaussians draws weights together in training."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.axes import Axes
from jaxcompress.core.checks import check_inside, check_positive
from jaxcompress.core.companions import Companion, Companions, Step, begin, require, seen
from jaxcompress.core.formats.cuts import Cut
from jaxcompress.core.kinds import check_kind
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.rules import Rules
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array, Params, Selector
from jaxcompress.quantize.assignment import Assignment
from jaxcompress.quantize.sharing.leaves import (
    Selection,
    check_levels,
    grid_with,
    in_cut,
    stored_leaf,
)
from jaxcompress.quantize.weights import check_values


class Mixture(NamedTuple):
    """The components of the blocks of a leaf; the first one lies at zero and stays.

    Attributes:
      means: (blocks…, components - 1) float32, of all but the first.
      log_precisions: (blocks…, components) float32.
      logits: (blocks…, components - 1) float32, of the shares of all but the first.
    """

    means: Array
    log_precisions: Array
    logits: Array


class Gamma(NamedTuple):
    """A prior of precisions, as a Gamma distribution.

    Attributes:
      shape: above 0; in how many observations it is believed, twice.
      rate: above 0, in squared units of the weights; the precision that is most likely
        is (shape - 1) / rate.
    """

    shape: float
    rate: float


def soft_sharing(
    spec: QuantSpec | Rules[Any],
    *,
    axes: Axes | None = None,
    select: Selector | None = None,
    zero_share: float = 0.9,
    zero_precision: Gamma = Gamma(5000.0, 2.0),
    precision: Gamma = Gamma(250.0, 0.1),
) -> Companion:
    """Draws weights to a few centers while they train, one of which is zero.

    Not for: a loss that sees what is shipped, since its view shows weights as they are;
    that of `learned_codebooks` rounds them.

    Also known as: soft weight-sharing, mixture-of-Gaussians prior, SWS.

        penalty = -mean over weights of log sum_j share_j · N(w | mean_j, 1/precision_j)
                  -log of the precisions' priors / weights

    The mean of the first component is 0 and its share is fixed, so that many weights
    are drawn to zero and pruned. All other means, shares and all precisions are trained
    beside the weights. `freeze` gives each weight the mean of the component that is
    most likely for it, as a leaf with a codebook.

    A penalty in proportion to the data's loss for each example: with n weights, N
    examples and a mean loss, the paper's 0.005 is a factor of 0.005 · n / N.

    Args:
      spec: a format of `formats.codebook`, or rules; one component for each code.
      axes: what `graph.axes` gave; without it the layout default, as in `quantize`.
      select: which leaves; without it every weight that meets data.
      zero_share: of the component at zero, in (0, 1).
      zero_precision: the prior of its precision.
      precision: the prior of all others'.

    Returns:
      Companion of `Mixture`s by leaf name. Means begin at even steps over the range of
      a block, with deviations of half a step. `view` shows the params as they are.

    Raises:
      TypeError: as `quantize`, or a prior is no Gamma.
      ValueError: an option is out of range; (when applied) as `quantize`, a format
        stores no levels, or companions are of other params.

    Example:
      >>> spec = jc.quantize.formats.codebook(2, per="tensor")
      >>> technique = jc.quantize.sharing.soft_sharing(spec)
      >>> params = {"kernel": jnp.array([[0.9, 0.01], [-1.1, 0.8]])}
      >>> mixtures = technique.init(params)
      >>> [round(float(mean), 1) for mean in mixtures["kernel"].means.ravel()]
      [-1.1, -0.1, 0.9]
      >>> technique.freeze(params, mixtures)["kernel"]
      QTensor(codebook of 4 per tensor, shape=(2, 2), dtype=float32)

    Source: Nowlan and Hinton 1992, "Simplifying Neural Networks by Soft
    Weight-Sharing"; Ullrich et al. 2017, arXiv:1702.04008, sections 3 and 4. Differs: a
    mixture for each tensor, or for what shares levels; the mean over weights instead of
    the sum; components that come close to one another are not merged.
    """
    check_inside("soft_sharing", "zero_share", zero_share, 0, 1)
    for argument, prior in (("zero_precision", zero_precision), ("precision", precision)):
        check_kind("soft_sharing", argument, prior, Gamma, "Pass sharing.Gamma(shape, rate).")
        for field, value in prior._asdict().items():
            check_positive("soft_sharing", f"{argument}.{field}", value)
    selection = Selection("soft_sharing", spec, axes, select)

    def init(params: Params) -> Companions:
        assigned = selection.assigned(params)

        def of_leaf(name: str, leaf) -> Mixture:
            check_values("soft_sharing", name, leaf)
            return _begun(leaf, assigned[name])

        return begin(params, map_named(lambda name, leaf: name in assigned, params), of_leaf)

    def fitting(params: Params, companions: Companions) -> dict[str, Assignment]:
        require("soft_sharing", params, companions, lambda *_: True)
        assigned = selection.assigned(params)
        means = {name: mixture.means for name, mixture in companions.items()}
        check_levels("soft_sharing", params, means, assigned)
        return assigned

    def view(params: Params, companions: Companions, step: Step = Step()) -> Params:
        del step
        fitting(params, companions)
        return params

    def freeze(params: Params, companions: Companions, step: Step = Step()) -> Params:
        del step
        assigned = fitting(params, companions)

        def hard(name: str, leaf) -> QTensor:
            check_values("soft_sharing", name, leaf)
            return _hard(leaf, companions[name], assigned[name], zero_share)

        return seen(params, companions, hard)

    def penalty(params: Params, companions: Companions) -> Array:
        assigned, leaves = fitting(params, companions), named_leaves(params)
        total, count = jnp.zeros((), jnp.float32), 0
        for name, mixture in companions.items():
            scores, _, _ = _scores(leaves[name], mixture, assigned[name], zero_share)
            total -= jnp.sum(jax.nn.logsumexp(scores, axis=-1))
            total -= _prior(mixture.log_precisions, zero_precision, precision)
            count += leaves[name].size
        return total / count

    return Companion(init, view, freeze, penalty)


def _begun(leaf, choice: Assignment) -> Mixture:
    """Means at even steps over the range of a block, deviations of half a step."""

    def mixture(x: Array) -> Mixture:
        blocks, parts = in_cut(x, choice)
        count = choice.spec.levels.highest
        low, high = (each(blocks, parts.shared, keepdims=True) for each in (jnp.min, jnp.max))
        low, high = (jnp.minimum(low, 0.0)[..., None], jnp.maximum(high, 0.0)[..., None])
        places = jnp.arange(count, dtype=jnp.float32).reshape((1,) * blocks.ndim + (count,))
        steps = (high - low) / max(count - 1, 1)
        deviation = jnp.maximum(steps / 2, np.finfo(np.float32).tiny ** 0.25)
        log_precisions = jnp.broadcast_to(-2 * jnp.log(deviation), (*low.shape[:-1], count + 1))
        means = low + steps * places
        return Mixture(means, log_precisions, jnp.zeros_like(means))

    if isinstance(leaf, jax.ShapeDtypeStruct):
        return jax.eval_shape(mixture, leaf)
    return mixture(jnp.asarray(leaf))


def _scores(
    leaf, mixture: Mixture, choice: Assignment, zero_share: float
) -> tuple[Array, Array, Cut]:
    """Log of share · N(w | mean, 1/precision), (cut…, components); blocks, and cut."""
    blocks, parts = in_cut(jnp.asarray(leaf), choice)
    means = jnp.pad(mixture.means, [(0, 0)] * blocks.ndim + [(1, 0)])
    others = jax.nn.log_softmax(mixture.logits, axis=-1) + np.log1p(-zero_share)
    zero = jnp.full_like(others[..., :1], np.log(zero_share))
    shares = jnp.concatenate([zero, others], axis=-1)
    distance = jnp.square(blocks[..., None] - means) * jnp.exp(mixture.log_precisions)
    scores = shares + (mixture.log_precisions - distance - np.log(2 * np.pi)) / 2
    return scores, blocks, parts


def _prior(log_precisions: Array, zero: Gamma, others: Gamma) -> Array:
    """Minus what the priors of the precisions cost, up to a constant; ()."""
    kinds = (zero, log_precisions[..., :1]), (others, log_precisions[..., 1:])
    return sum(
        (jnp.sum((prior.shape - 1) * logs - prior.rate * jnp.exp(logs)) for prior, logs in kinds),
        start=jnp.zeros((), jnp.float32),
    )


def _hard(leaf, mixture: Mixture, choice: Assignment, zero_share: float) -> QTensor:
    """The leaf whose weights are the means of the components most likely for them."""
    x = jnp.asarray(leaf)
    scores, blocks, parts = _scores(x, mixture, choice, zero_share)
    codes = jnp.where(blocks == 0, 0, jnp.argmax(scores, axis=-1))
    return stored_leaf(x, codes, grid_with(mixture.means, parts, choice.spec), parts, choice)
