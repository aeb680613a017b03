"""Curvature of the outputs' divergence, fitted to noise in one part: HIGGS."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.auto.curvature import Coefficient, Curvature, coefficient
from jaxcompress.auto.origins import digests_of
from jaxcompress.auto.parts import Part, replaced, sliced_axes
from jaxcompress.auto.second_order import parts_of_sites
from jaxcompress.core.batches import as_batches, as_inputs
from jaxcompress.core.checks import check_concrete, check_positive
from jaxcompress.core.kinds import check_each, check_key, check_takes
from jaxcompress.core.leaf import materialize
from jaxcompress.core.messages import shown
from jaxcompress.core.models import check_model
from jaxcompress.core.names import named_leaves
from jaxcompress.core.sharding import explicit_sharding, placed
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Key, Loss, Model, Params
from jaxcompress.distill.outputs import soft_targets
from jaxcompress.graph import trace

SIZES = (0.02, 0.03, 0.05, 0.08)
"""Of the noise relative to its part; rounding to 4 or 3 bits makes 0.1 to 0.2."""

LEAST = 4e-4
"""Of the sizes: outputs move with its square, which is to be above the resolution of
float32, 1.2e-7."""


def linearity(
    fn: Model,
    params: Params,
    batches: Iterable[Any],
    key: Key,
    *,
    divergence: Loss = soft_targets,
    sizes: Sequence[float] = SIZES,
) -> Curvature:
    """Fits how far outputs move with noise in one part, whose square they follow.

    Not for: what one format costs, which Gaussian noise only stands for;
    `auto.sensitivity` measures it.

        divergence ~ a · t²,   t = ||W' - W|| / ||W||
        a = sum over sizes of t² · divergence / sum of t⁴

    Noise is Gaussian, one draw per size, taken with both signs so that odd terms
    cancel; the interval is Student's over the sizes' divergence / t². Needs no labels
    and no gradient: 2 · parts · sizes runs over the data.

    Also known as: HIGGS linearity theorem, KL sensitivity, noise sensitivity.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of arrays; compressed leaves count as arrays.
      batches: each an input, or a tuple of the model's inputs.
      key: of the noise.
      divergence: (outputs, float outputs) to one number per example, 0 at equality; by
        default the KL divergence of logits, in nats.
      sizes: relative sizes t of the noise, at least two, each small but not below
        0.0004, whose square float32 resolves; one that is repeated is drawn again.

    Returns:
      Curvature for `predicted_sensitivity`, of every real leaf that meets data.

    Raises:
      TypeError: an argument is not of its kind.
      ValueError: there is no batch, no real weight meets data, a divergence is not
        finite, or there are fewer than two sizes, or one is too small.

    Example:
      >>> squares = lambda outputs, exact: ((outputs - exact) ** 2).sum(-1)
      >>> fn, params = lambda params, x: x @ params["w"], {"w": jnp.ones((2, 1))}
      >>> found = jc.auto.linearity(
      ...     fn, params, [jnp.eye(2)], jax.random.key(0), divergence=squares
      ... )
      >>> [round(each.value, 3) for each in found.coefficients.values()]  # 1/2 of |x|²
      [0.5]

    Source: Malinovskii et al. 2024, arXiv:2411.17525, section 4 (HIGGS). Differs:
    layers of a scan apart, both signs of a draw, intervals.
    """
    caller = "linearity"
    check_model(caller, fn)
    check_arrays(caller, "params", params)
    _check_options(caller, key, divergence, sizes)
    check_concrete(caller, params=params)
    inputs = [as_inputs(batch) for batch in as_batches(caller, batches)]
    params = materialize(params)
    program = trace(fn, params, *inputs[0])
    parts = parts_of_sites(caller, params, program)
    mean, leaves = _mean(fn, params, inputs, divergence), named_leaves(params)
    coefficients: dict[Part, Coefficient] = {}
    left_out = {}
    for place, part in enumerate(part for each in parts.values() for part in each):
        leaf = leaves[part.name]
        squares = float(_squares(part.mask(leaf.shape), leaf))
        if squares == 0:
            left_out[part.name] = "it is all zeros"
            continue
        keys = jax.random.split(jax.random.fold_in(key, place), len(sizes))
        drawn = zip(sizes, keys, strict=True)
        found = np.array([_both_signs(mean, params, part, size, each) for size, each in drawn])
        if not np.all(np.isfinite(found)):
            raise ValueError(
                f"{caller}(divergence=...) is not finite with noise in leaf {part.name!r}. Check "
                "params, data and divergence."
            )
        coefficients[part] = _fitted(found, np.square(np.asarray(sizes, np.float64)), squares)
    method = f"noise of {len(sizes)} sizes up to {max(sizes):g}"
    sliced, digests = sliced_axes(program), digests_of(params, parts)
    return Curvature(coefficients, "divergence", method, sliced, left_out, digests=digests)


def _check_options(caller: str, key: Key, divergence: Loss, sizes: Sequence[float]) -> None:
    check_key(caller, "key", key)
    mend = "Pass divergence(outputs, float outputs), one number per example."
    check_takes(caller, "divergence", divergence, 2, mend)
    check_each(caller, "sizes", sizes, _check_size)
    if len(sizes) < 2:
        raise ValueError(f"{caller}(sizes={sizes}) needs two or more, for an interval.")


def _check_size(caller: str, argument: str, size: object) -> None:
    check_positive(caller, argument, size)
    if np.asarray(size) < LEAST:
        raise ValueError(
            f"{caller}({argument}={shown(size)}) must be at least {LEAST}: the outputs move with "
            "its square, which float32 does not tell from rounding below that."
        )


def _mean(
    fn: Model, params: Params, inputs: Sequence[tuple[Any, ...]], divergence: Loss
) -> Callable[[Params], float]:
    """Makes noisy params -> mean divergence from the outputs of `params`."""
    run = jax.jit(fn)
    exact = [run(params, *each) for each in inputs]
    apart = jax.jit(lambda outputs, exact: _total(divergence, outputs, exact))

    def mean(noisy: Params) -> float:
        sums = [apart(run(noisy, *each), one) for each, one in zip(inputs, exact, strict=True)]
        return sum(float(total) for total, _ in sums) / sum(int(count) for _, count in sums)

    return mean


def _both_signs(
    mean: Callable[[Params], float], params: Params, part: Part, size: float, key: Key
) -> float:
    """The divergence of one draw of noise, the mean of that of both its signs."""
    leaf = named_leaves(params)[part.name]
    mask = part.mask(leaf.shape)
    ends = [_noisy(mask, leaf, end, key) for end in (size, -size)]
    return 0.5 * sum(mean(replaced(params, part.name, noisy)) for noisy in ends)


def _fitted(found: np.ndarray, t: np.ndarray, squares: float) -> Coefficient:
    """The coefficient by squared error of the weights.

    Args:
      found: (sizes,) divergences.
      t: (sizes,) squared relative sizes of the noise.
      squares: sum of the part's squared weights.
    """
    spread = coefficient(found / t, 0.95)
    fitted = float(np.sum(t * found) / np.sum(t * t))
    shift = fitted - spread.value
    # The squared error of the weights is t times their own squares.
    ends = (fitted, spread.low + shift, spread.high + shift)
    return Coefficient(*(end / squares for end in ends))


def _total(divergence: Loss, outputs: Any, exact: Any) -> tuple[Array, int]:
    each = divergence(outputs, exact)
    return jnp.sum(each.astype(jnp.float32)), math.prod(each.shape)


@jax.jit
def _squares(mask: Array, leaf: Array) -> Array:
    return jnp.sum(jnp.square(jnp.where(mask, leaf, 0.0)))


@jax.jit
def _noisy(mask: Array, leaf: Array, size: float, key: Key) -> Array:
    """The leaf with noise of a relative size in one part."""
    # All devices draw the same numbers, whichever part of the leaf they hold.
    drawn = placed(jax.random.normal(key, leaf.shape, jnp.float32), explicit_sharding(leaf))
    noise = jnp.where(mask, drawn, 0.0)
    own = jnp.where(mask, leaf, 0).astype(jnp.float32)
    scale = size * jnp.sqrt(jnp.sum(jnp.square(own)) / jnp.sum(jnp.square(noise)))
    return (leaf.astype(jnp.float32) + scale * noise).astype(leaf.dtype)
