"""Batch-norm statistics measured again on data.

Only the model's training function is needed: no layer is looked at and no framework is
known, so it works for every statistic that is a running average.
"""

import functools
from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import check_concrete, check_fits
from jaxcompress.core.finite import not_finite
from jaxcompress.core.kinds import check_iterable, check_key
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.models import check_train_fn
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.trees import check_arrays, trained
from jaxcompress.core.types import Array, Key, Params

Update = Callable[[Params], dict[str, Array]]
"""`train_fn` on one batch: params to the new leaves by name."""


def recalibrate(
    train_fn: Callable[..., Any], params: Params, batches: Iterable[tuple[Any, ...]], *, key: Key
) -> Params:
    """Re-estimates batch-norm statistics: the plain average over the given batches.

    Pruning and quantizing change the inputs of a batch norm, so its stored mean and
    variance no longer fit. A running average is affine in its old value, so what one
    batch contributes can be read off without knowing the layer:

        new(old) = momentum · old + (1 - momentum) · batch
        momentum = (new(s) - new(0)) / s
        result   = average over batches of new(0) / (1 - momentum)

    So the old statistics leave no trace and every batch counts the same, which a run
    with momentum gives only in the limit. A batch that does not reach a norm, as in a
    branch that it does not take, does not count there.

    Args:
      train_fn: `train_fn(params, *inputs, key) -> (outputs, new_params)`, in training
        mode; dropout, where there is some, is active. It is jitted here.
      params: weights and statistics; leaves of any kind, compressed ones too.
      batches: one tuple of inputs each, read once. Every new shape compiles anew.
      key: for `train_fn`, folded with the batch's index.

    Returns:
      Params of the same structure. Leaves that `train_fn` moves are measured anew in
      their dtype, all others are the given ones: a model without statistics is left as
      it is, and so are statistics that no batch reaches. The momentum's rounding leaves
      a relative error of about eps / (1 - momentum).

    Raises:
      TypeError: a batch is not a tuple or list of inputs; `train_fn` takes no key, or
        gives no such pair.
      ValueError: there is no batch, or `train_fn` moves a leaf otherwise than as a
        running average with a momentum in [0, 1), or to what is not finite.

    Example:
      >>> def train_fn(params, x, key):
      ...     new_mean = 0.75 * params["mean"] + 0.25 * x.mean()
      ...     return x - x.mean(), {"mean": new_mean}
      >>> batches = [(jnp.array([1.0, 3.0]),), (jnp.array([5.0, 7.0]),)]
      >>> params = {"mean": jnp.array([100.0])}
      >>> jc.recalibrate(train_fn, params, batches, key=jax.random.key(0))
      {'mean': Array([4.], dtype=float32)}

    Also known as: batch-norm recalibration, BN re-estimation, precise BN.

    Source: Wu and Johnson 2021, arXiv:2105.07576, section 3 (precise batch norm).
    Differs: the variance is the average of the batches' own, as a running average's is;
    how the mean varies between batches is not added.
    """
    check_train_fn("recalibrate", train_fn)
    check_arrays("recalibrate", "params", params)
    check_iterable("recalibrate", "batches", batches, "Pass one tuple of inputs each.")
    check_key("recalibrate", "key", key)
    check_concrete("recalibrate", params=params)
    found: dict[str, _Sum] = {}
    passed: set[str] = set()
    names = [
        name
        for name, leaf in named_leaves(params).items()
        if not is_compressed(leaf) and jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
    ]

    @jax.jit
    def update(params: Params, inputs: tuple[Any, ...], key: Key) -> dict[str, Array]:
        before = named_leaves(params)
        _, after = trained("recalibrate", train_fn(params, *inputs, key=key), params)
        passed.update(name for name in names if after[name] is before[name])
        return after

    index = -1
    for index, batch in enumerate(batches):
        inputs = _checked(batch, index)
        each = functools.partial(update, inputs=inputs, key=jax.random.fold_in(key, index))
        # Weights are handed through as they are, so only the first batch tries them.
        unknown = [name for name in names if name not in found and name not in passed]
        new = _moved(each, params, key, unknown)
        zeros = dict.fromkeys((*found, *new), 0.0)
        after = each(_filled(params, zeros))
        # Sum in float32: bfloat16 stops growing after about 256 equal terms.
        start = {name: after[name].astype(jnp.float32) for name in zeros}
        try:
            _check_finite(start, found)
            momentum = _momentum(each, params, {name: start[name] for name in new})
        except ValueError as error:
            if said := not_finite("inputs", inputs):
                raise ValueError(f"recalibrate(batches=): batch {index}. {said}") from error
            raise
        found |= {name: _Sum(momentum[name], jnp.zeros_like(start[name]), 0) for name in new}
        for name in _reached(each, params, start):
            found[name] = found[name].plus(start[name])
    if index < 0:
        raise ValueError("recalibrate(batches=) is empty. Give at least one tuple of inputs.")
    return _filled(params, {name: each.average for name, each in found.items()})


class _Sum(NamedTuple):
    """What the batches that reach a statistic add up to.

    Attributes:
      momentum: of the running average, of each entry.
      total: the sum of what it is after one batch from 0, float32.
      count: of the batches.
    """

    momentum: Array
    total: Array
    count: int

    def plus(self, start: Array) -> "_Sum":
        return self._replace(total=self.total + start, count=self.count + 1)

    @property
    def average(self) -> Array:
        return self.total / self.count / (1 - self.momentum)


def _checked(inputs, index: int) -> tuple[Any, ...]:
    if not isinstance(inputs, tuple | list):
        raise TypeError(
            f"recalibrate(batches=): batch {index} is of type {type(inputs).__name__}. "
            "Give each batch as a tuple of inputs, for example (x,)."
        )
    check_concrete("recalibrate", batches=[*[None] * index, inputs])
    check_fits("recalibrate", batches=inputs)
    return tuple(inputs)


def _check_finite(start: dict[str, Array], known: Collection[str]) -> None:
    """Raises a ValueError where a batch makes a known statistic NaN or infinite."""
    for name in known:
        if not np.isfinite(start[name]).all():
            raise ValueError(
                f"recalibrate(train_fn): leaf {name!r} moves to what is not finite. Look for an "
                "overflow in the model."
            )


def _moved(update: Update, params: Params, key: Key, names: list[str]) -> list[str]:
    """Those of the leaves that come back changed.

    The params are disturbed first: a statistic that already fits would not move, and a
    disturbed one fits with probability zero.
    """
    if not names:
        return []
    keys = dict(zip(names, jax.random.split(key, len(names)), strict=True))

    def disturbed(name: str, leaf):
        if name not in keys:
            return leaf
        noise = jax.random.uniform(keys[name], leaf.shape, leaf.dtype, -0.125, 0.125)
        return leaf + (1 + jnp.abs(leaf)) * noise

    before = map_named(disturbed, params)
    after = update(before)
    return [name for name in names if not jnp.array_equal(after[name], named_leaves(before)[name])]


def _reached(update: Update, params: Params, start: dict[str, Array]) -> list[str]:
    """The statistics that a batch moves from 0, or from 1 if 0 is what it says."""
    still = [name for name, value in start.items() if not np.any(value)]
    if not still:
        return list(start)
    ones = update(_filled(params, dict.fromkeys(still, 1.0)))
    return [name for name in start if name not in still or np.any(np.asarray(ones[name]) != 1)]


def _momentum(update: Update, params: Params, start: dict[str, Array]) -> dict[str, Array]:
    """The momentum of each entry, from one more old value; a third one checks it.

    The old values are powers of two far above what the batch contributes, so that the
    momentum is read with no rounding but its own.
    """
    step = {
        name: 2.0 ** np.ceil(np.log2(1 + np.abs(value).max()) + 10) for name, value in start.items()
    }
    once = update(_filled(params, step))
    twice = update(_filled(params, {name: 2 * value for name, value in step.items()}))
    momentum = {}
    for name, zero in start.items():
        momentum[name] = (once[name].astype(jnp.float32) - zero) / step[name]
        again = (twice[name].astype(jnp.float32) - zero) / (2 * step[name])
        tolerance = 4 * float(jnp.finfo(once[name].dtype).eps)
        affine = jnp.abs(momentum[name] - again) <= tolerance
        if not jnp.all(affine & (momentum[name] >= -tolerance) & (momentum[name] < 1)):
            raise ValueError(
                f"recalibrate(train_fn): leaf {name!r} moves, but not as a running average with a "
                "momentum in [0, 1). Let train_fn pass it through, or measure it yourself."
            )
    return momentum


def _filled(params: Params, values: dict[Any, Any]) -> Params:
    """The params with these values in the named leaves, whose shape and dtype stay."""

    def replaced(name: str, leaf):
        return jnp.full_like(leaf, values[name]) if name in values else leaf

    return map_named(replaced, params)
