"""Rate-distortion rounding: codes that cost few bits where the error allows."""

import jax
import jax.numpy as jnp

from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.formats.sharing import spread
from jaxcompress.core.rates import Rate, order_0
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.quantize.ranges.grids import Ranges
from jaxcompress.quantize.rounding.matrices import decoded
from jaxcompress.quantize.rounding.neighbours import neighbours
from jaxcompress.quantize.rounding.rounding import Rounding
from jaxcompress.quantize.rounding.slopes import Method, Options, rounding_by_slope


def rate_distortion(
    slope: float,
    rate: Rate = order_0,
    *,
    ranges: Ranges | None = None,
    turns: int = 8,
) -> Rounding:
    """Chooses codes by their error and by the bits that an entropy coder spends.

    Not for: memory, or files without an entropy coder, where its codes take all bits of
    their format; take `gptq`.

        least sum_j energy_j · (w'_j - w_j)² + slope · bits(code_j)

    In `quantize` the energy of an input is 1. In `reconstruct` it is the diagonal of
    its second moment over the sum of energy · w² in the leaf: an error counts as a
    share of the leaf's own output, so that leaves with small outputs keep their bits.
    Each weight may get one of the two codes beside it, or zero; in turns the codes are
    chosen for the rate model's bits, and the bits are counted anew from the codes.

    Without `ranges`, integer codes get the step that suits the slope where codes are
    many: that whose error falls by a slope's worth for each bit more,

        step² = 6 · slope / (log(2) · mean energy)

    or a coarser one where the codes would not reach the largest weight. So a format of
    8 bits and one step for the whole leaf, `int8(per="tensor")`, leaves the choice to
    the slope: codes that do not occur cost an entropy coder nothing.

    Also known as: entropy-constrained scalar quantization (ECSQ), rate-distortion
    optimized quantization (RDOQ).

    Args:
      slope: what a bit is worth, above 0: the larger, the smaller the file. In squared
        weights in `quantize`; in `reconstruct` as a share of the leaf's squared output,
        usually 1e-7 to 1e-5. `rates.slope_for` finds the one for a budget.
      rate: a rate model, as `rates.order_0`, `rates.by_lines` or one's own.
      ranges: which range the codes of a block cover, in place of the slope's step.
      turns: how often codes are chosen, at least 1.

    Returns:
      Rounding. Weights that are 0 stay 0 where the format has a zero.

    Raises:
      TypeError: `rate` is no function of two arguments, or `ranges` no estimator.
      ValueError: the slope is not above 0, or there is no turn; when applied: codes are
        no integers around zero and no `ranges` are given.

    Example:
      >>> params = {"kernel": jnp.array([[0.2, 0.6, -0.9, 0.1], [8.0, 0.4, 0.0, -0.3]])}
      >>> spec = jc.quantize.int8(per="tensor")
      >>> rounding = jc.quantize.rounding.rate_distortion(0.1)
      >>> found, _ = jc.quantize.quantize(params, spec, rounding=rounding)
      >>> found["kernel"].unpacked_codes.T
      Array([[ 0,  1, -1,  0],
             [ 9,  0,  0,  0]], dtype=int8)

    Source: Chou, Lookabaugh and Gray 1989, "Entropy-constrained vector quantization";
    for weights Wiedemann et al. 2019, arXiv:1907.11900, section 4. Differs: the rates
    are those of all codes at once, in turns, in place of an adaptive coder's state, so
    that all weights are chosen in parallel.
    """
    return rounding_by_slope(_METHOD, slope, Options(rate, ranges, turns))


def _codes(weight: Array, worth: Array, on: Grid, spec: QuantSpec, options: Options) -> Array:
    candidates = _candidates(weight, on, spec)
    errors = [jnp.square(decoded(each, on, spec) - weight) for each in candidates]
    costs = jnp.stack(errors) * worth[None, None]
    return _chosen(candidates, costs, options.rate, options.turns)


_METHOD = Method("rate_distortion", _codes, step=1.0)


def _chosen(candidates: Array, costs: Array, rate: Rate, turns: int) -> Array:
    """Of each entry the candidate that costs least.

    Args:
      candidates: (k, outputs, inputs) int32, where codes begin first.
      costs: of their errors, in bits.
      rate: a rate model.
      turns: how often the bits are counted.
    """

    def turn(codes: Array, _: None) -> tuple[Array, None]:
        best = jnp.argmin(costs + rate(codes, candidates), axis=0)
        return jnp.take_along_axis(candidates, best[None], axis=0)[0], None

    return jax.lax.scan(turn, candidates[0], None, length=turns)[0]


def _candidates(weight: Array, on: Grid, spec: QuantSpec) -> Array:
    """The codes an entry may get, the nearest first: (2 or 3, outputs, inputs)."""
    beside = neighbours(weight, on, spec)
    found = [beside.nearest, beside.other]
    if spec.has_zero:
        zero = 0 if on.zero_point is None else spread(on.zero_point, weight.shape)
        found.append(jnp.broadcast_to(jnp.asarray(zero, jnp.float32), weight.shape))
    return jnp.stack(found).astype(jnp.int32)
