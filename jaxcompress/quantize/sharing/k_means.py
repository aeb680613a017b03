"""Codebooks by k-means: the levels of each block are means of its weights."""

import functools
import math

import jax
import jax.numpy as jnp

from jaxcompress.core.checks import check_count
from jaxcompress.core.formats.cuts import Cut
from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.kinds import check_kind
from jaxcompress.core.sharding import gathered
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.quantize.scales.importance import check_importance, energies, importance_of
from jaxcompress.quantize.scales.search import ScaleSearch
from jaxcompress.quantize.sharing.leaves import block_sizes, check_codebook, with_zero
from jaxcompress.quantize.sharing.lloyd import lloyd
from jaxcompress.quantize.sharing.points import points
from jaxcompress.quantize.sharing.starts.spread import linear
from jaxcompress.quantize.sharing.starts.start import Start


def k_means(
    start: Start = linear(), *, importance: Array | None = None, iterations: int = 300
) -> ScaleSearch:
    """Finds the levels of a codebook as means of the weights nearest to them.

    Not for: dense weights in 2 bits and fewer: on LeNet-300-100 `product` erred less in
    fewer bytes.

    Also known as: weight sharing, weight clustering, k-means quantization, Lloyd-Max
    quantization, a non-uniform look-up table.

        least sum_j importance_j · (w_j - c_{k(j)})²   over levels c and codes k

    For formats of `formats.codebook(bits)`, whose blocks have levels of their own: one
    table for each weight (`per="tensor"`), output (`per="channel"`) or group. Goes
    where `ranges=` goes: `rounding.nearest` gives each weight the nearest level,
    `rounding.gptq` needs `per="tensor"`, and with calibration data the energy of the
    inputs is the importance. Not for `rounding.hqq`, which moves steps and would leave
    the levels behind. Scales are 1, so that levels are in the unit of weights.

    Weights that are 0 keep code 0, whose level is 0, and move no level; a small weight
    may become 0. A level without members moves into the cluster that errs most; where
    every number has a level, those left over repeat the outermost one. The error is
    that of a local optimum, which depends on the start.

    Args:
      start: where the levels begin, one of `sharing.starts`.
      importance: of the leaf's shape, or what broadcasts to it, at least 0; for one
        leaf, without data. `share` takes a tree of them.
      iterations: at most so many; most leaves need fewer.

    Returns:
      ScaleSearch.

    Raises:
      TypeError: `start` is no Start, or `importance` no array of numbers.
      ValueError: `iterations` is no count; the importance is not finite, below 0 or,
        when it is used, not of the shape of the leaf; or the format stores no levels.

    Example:
      >>> spec = jc.quantize.formats.codebook(2, per="tensor")
      >>> params = {"kernel": jnp.array([[0.0, 2.0, 2.2], [-3.0, 6.0, 7.0]])}
      >>> rounding = jc.quantize.rounding.nearest(jc.quantize.sharing.k_means())
      >>> found, _ = jc.quantize.quantize(params, spec, rounding=rounding)
      >>> found["kernel"].materialize()
      Array([[ 0. ,  2.1,  2.1],
             [-3. ,  6.5,  6.5]], dtype=float32)

    Source: Han et al. 2016, arXiv:1510.00149, section 3; Kim et al. 2023,
    arXiv:2306.07629, section 4.1, for the importance. Differs: zero is a level that
    stays; any start; weights in order, so that an iteration reads none of them.
    """
    check_kind("k_means", "start", start, Start, "Take one of sharing.starts.")
    iterations = check_count("k_means", "iterations", iterations)
    if importance is not None:
        check_importance("k_means", importance)

    def find(blocks: Array, parts: Cut, spec: QuantSpec, second_moment: Array | None) -> Grid:
        check_codebook("k_means", spec)
        if importance is None:
            counts = energies(blocks, parts, second_moment)
        else:
            counts = importance_of("k_means", importance, parts)
        rows, weights = (_as_rows(each, blocks.shape, parts) for each in (blocks, counts))
        scale = jnp.where(jnp.all(jnp.isfinite(rows), axis=1), 1.0, jnp.nan)
        sizes = block_sizes(parts)
        on = Grid(*spec.scales.write(scale.reshape(sizes), parts))
        rows = rows / gathered(on.steps(spec)).reshape(-1, 1)
        levels = _levels(rows, weights, start, spec.levels.highest, iterations)
        return on._replace(codebook=with_zero(levels).reshape(*sizes, -1))

    return ScaleSearch(find)


@functools.partial(jax.jit, static_argnums=(2, 3, 4), inline=True)
def _levels(rows: Array, weights: Array, start: Start, count: int, iterations: int) -> Array:
    """The levels of each row beside zero, (blocks, count); 0 where it is not finite."""
    finite = jnp.all(jnp.isfinite(rows), axis=1, keepdims=True)
    found = points(jnp.where(finite, rows, 0.0), weights)
    return lloyd(found, start.levels(found, count), iterations) * found.unit


def _as_rows(x: Array, shape: tuple[int, ...], parts: Cut) -> Array:
    """What broadcasts to the shape of a cut, with its blocks as rows."""
    apart = [axis for axis in range(len(shape)) if axis not in parts.shared]
    rows = jnp.transpose(jnp.broadcast_to(gathered(x), shape), (*apart, *parts.shared))
    return rows.reshape(math.prod(shape[axis] for axis in apart), -1)
