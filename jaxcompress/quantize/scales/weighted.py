"""Ranges by squared errors that are weighted: by inputs' energy, or as a user says."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import check_inside
from jaxcompress.core.formats.coding import decode, encode
from jaxcompress.core.formats.cuts import Cut
from jaxcompress.core.formats.grids import Grid, covered, grid
from jaxcompress.core.kinds import check_each
from jaxcompress.core.observers import Range
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.quantize.ranges.estimator import RangeEstimator, check_estimator, estimate
from jaxcompress.quantize.ranges.extremes import min_max
from jaxcompress.quantize.scales.blockwise import range_of, under, where_better
from jaxcompress.quantize.scales.importance import check_importance, energies, importance_of
from jaxcompress.quantize.scales.search import ScaleSearch

SHARES = tuple(each / 40 for each in range(8, 49))
"""From a fifth of a range to six fifths."""

Importances = Callable[[Array, Cut, Array | None], Array]
"""(blocks, their cut, second moment of inputs or None) -> what broadcasts to blocks."""


def weighted(*, shares: Sequence[float] = SHARES, ranges: RangeEstimator = min_max) -> ScaleSearch:
    """Finds the range of each block whose error counts least on its inputs.

    Not for: weights without calibration data, where all inputs count alike;
    `mean_squared_error` tries more ranges.

    Also known as: AWQ's clip search, importance-weighted rounding, weighted MSE search.

        least sum_j E[x_j²] · (w'_j - w_j)²   over ranges that are shares of the first

    Of a format with a zero point then each end by itself. Goes wherever `ranges=` goes;
    without data all inputs count alike, and an input that is always 0 counts as the
    mean of the others. With `sign_round(ranges=weighted(), widest=2)`
    it is where AutoRound's second version begins.

    Args:
      shares: of the range that is found by `ranges`, each above 0.
      ranges: which range that is.

    Returns:
      ScaleSearch. No block has a larger weighted error than with `ranges` itself.

    Raises:
      TypeError: `ranges` is no estimator, or `shares` no list of numbers.
      ValueError: a share is not above 0.

    Example:
      >>> params = {"kernel": jnp.array([[1.0], [0.6], [-0.6], [0.6]])}
      >>> rounding = jc.quantize.rounding.nearest(jc.quantize.scales.weighted())
      >>> int2 = jc.quantize.formats.int2()
      >>> found, _ = jc.quantize.quantize(params, int2, rounding=rounding)
      >>> found["kernel"].materialize().ravel().round(2)
      Array([ 0.7,  0.7, -0.7,  0.7], dtype=float32)

    Source: Lin et al. 2023, arXiv:2306.00978, the search for clipped ranges in its
    code. Differs: the diagonal of the second moment in place of samples of outputs;
    ranges may grow; the ends of a format with a zero point move apart.
    """
    _check("weighted", shares, ranges)

    return _search(energies, shares, ranges)


def weighted_by(
    importance: Array, *, shares: Sequence[float] = SHARES, ranges: RangeEstimator = min_max
) -> ScaleSearch:
    """Finds the range of each block whose error counts least by a given importance.

    Not for: a whole tree of importances, which `sharing.share` takes with this as its
    search.

    Also known as: Fisher-weighted quantization, SqueezeLLM's sensitivities, where the
    importance is the mean of squared gradients of single examples.

        least sum_j importance_j · (w'_j - w_j)²,   as `weighted`

    For one leaf, without data: `quantize(params, spec, select=…, rounding=…)`.

    Args:
      importance: of the leaf's shape, or what broadcasts to it; at least 0.
      shares: of the range that is found by `ranges`, each above 0.
      ranges: which range that is.

    Returns:
      ScaleSearch.

    Raises:
      TypeError: `importance` is no array of numbers; or as `weighted`.
      ValueError: as `weighted`; the importance is not finite, or below 0; or, when it
        is used, not of the shape of the leaf.

    Example:
      >>> params = {"kernel": jnp.array([[1.0], [0.6], [-0.6], [0.6]])}
      >>> importance = jnp.array([[0.0], [1.0], [1.0], [1.0]])
      >>> search = jc.quantize.scales.weighted_by(importance)
      >>> rounding = jc.quantize.rounding.nearest(search)
      >>> int2 = jc.quantize.formats.int2()
      >>> found, _ = jc.quantize.quantize(params, int2, rounding=rounding)
      >>> found["kernel"].materialize().ravel().round(2)
      Array([ 0.6,  0.6, -0.6,  0.6], dtype=float32)

    Source: Kim et al. 2023, arXiv:2306.07629, section 4.1. Differs: ranges of any
    format in place of clusters.
    """
    check_importance("weighted_by", importance)
    _check("weighted_by", shares, ranges)

    def importances(blocks: Array, parts: Cut, second_moment: Array | None) -> Array:
        del blocks, second_moment
        return importance_of("weighted_by", importance, parts)

    return _search(importances, shares, ranges)


def _check(caller: str, shares: Sequence[float], ranges: RangeEstimator) -> None:
    check_each(caller, "shares", list(shares) if isinstance(shares, np.ndarray) else shares, _share)
    if not shares:
        raise ValueError(f"{caller}(shares={shares!r}) must be at least one share.")
    check_estimator(caller, ranges)


def _share(caller: str, argument: str, share: object) -> None:
    check_inside(caller, argument, share, 0, np.inf)


def _search(
    importances: Importances, shares: Sequence[float], ranges: RangeEstimator
) -> ScaleSearch:
    factors = np.asarray(shares, np.float32)

    def find(blocks: Array, parts: Cut, spec: QuantSpec, second_moment: Array | None) -> Grid:
        found = covered(estimate(ranges, blocks, parts.shared, spec), spec)
        start = grid(found, spec, parts)
        weights = importances(blocks, parts, second_moment)
        weights = weights / jnp.maximum(jnp.max(weights), np.finfo(np.float32).tiny)
        unit = jnp.max(start.steps(spec))

        def within(found: Range) -> Grid:
            cover = covered(found, spec)
            return under(grid(cover, spec, parts), cover, start, spec)

        def errors(on: Grid) -> Array:
            error = (decode(encode(blocks, on, spec), on, spec) - blocks) / unit
            return jnp.sum(weights * jnp.square(error), parts.shared, keepdims=True)

        def narrowed(best: tuple[Range, Array], low: bool, high: bool) -> tuple[Range, Array]:
            """The best of all shares of a range, of one of its ends or of both."""
            base, _ = best

            def turn(best: tuple[Range, Array], share: Array):
                ends = Range(base.low * (share if low else 1), base.high * (share if high else 1))
                error = errors(within(ends))
                return jax.tree.map(
                    lambda new, old: jnp.where(error < best[1], new, old), (ends, error), best
                ), None

            return jax.lax.scan(turn, best, jnp.asarray(factors))[0]

        first = errors(start)
        best = narrowed((range_of(start, spec), first), low=True, high=True)
        if not spec.symmetric:
            best = narrowed(narrowed(best, low=True, high=False), low=False, high=True)
        on = within(best[0])
        return where_better(errors(on) < first, on, start)

    return ScaleSearch(find)
