"""Haiku: a transformed function and its params as `(fn, params, train_fn)`.

A removal gives a smaller program. There is no module to shrink: Haiku builds modules
anew in each call, from sizes that stand in the code.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from jaxcompress.bridges.absent import absent
from jaxcompress.bridges.functional import NO_KEYWORDS, Functional, Keywords, check_keywords
from jaxcompress.core import exports, statistics
from jaxcompress.core.kinds import check_kind
from jaxcompress.core.leaf import materialize
from jaxcompress.core.messages import shown
from jaxcompress.core.names import named_leaves
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Key, Params

try:
    import haiku
except ModuleNotFoundError as error:
    raise absent("haiku", "haiku", error) from error

exports.list_definitions(globals())


def functional(
    transformed: haiku.Transformed,
    params: Params,
    *,
    evaluation: Keywords = NO_KEYWORDS,
    training: Keywords = NO_KEYWORDS,
) -> Functional:
    """A function without state as a pure function of its params.

    Haiku's functions switch to training by a keyword of their own choice
    (`is_training`), so the caller gives those of each mode. Compressed leaves are
    formed inside the call, so any layer takes them.

    Args:
      transformed: what `haiku.transform` gave.
      params: what its `init` gave.
      evaluation: keywords of `apply` in `fn`, which gets no random key.
      training: keywords of `apply` in `train_fn`.

    Returns:
      Functional with these params, whose `restore` is the identity.

    Raises:
      ValueError: `apply` takes no random key, as after `haiku.without_apply_rng`.

    Example:
      >>> import haiku as hk
      >>> layer = hk.transform(lambda x: hk.Linear(3)(x))
      >>> x = jnp.ones((5, 2))
      >>> model = jc.bridges.haiku.functional(layer, layer.init(jax.random.key(0), x))
      >>> list(jc.named_leaves(model.params)), model.fn(model.params, x).shape
      (['linear/b', 'linear/w'], (5, 3))
    """
    check_arrays("haiku.functional", "params", params)
    check_keywords("haiku.functional", evaluation=evaluation, training=training)
    _check("functional", transformed, haiku.Transformed)

    def fn(params: Params, *inputs):
        return transformed.apply(materialize(params), None, *inputs, **evaluation)

    def train_fn(params: Params, *inputs, key: Key):
        return transformed.apply(materialize(params), key, *inputs, **training), params

    return Functional(fn=fn, params=params, train_fn=train_fn, restore=lambda params: params)


def stateful(
    transformed: haiku.TransformedWithState,
    params: Params,
    state: Any,
    *,
    evaluation: Keywords = NO_KEYWORDS,
    training: Keywords = NO_KEYWORDS,
) -> Functional:
    """The same of a function with state.

    Args:
      transformed: what `haiku.transform_with_state` gave.
      params: what its `init` gave first.
      state: what its `init` gave second; its arrays count as statistics.
      evaluation: as in `functional`.
      training: as in `functional`.

    Returns:
      Functional whose params are {"params": params, "state": state}; `restore(params)`
      is (params, state).

    Raises:
      ValueError: as `functional`.

    Example:
      >>> import haiku as hk
      >>> norm = hk.transform_with_state(
      ...     lambda x, is_training: hk.BatchNorm(True, True, 0.9)(x, is_training)
      ... )
      >>> x = jnp.ones((5, 2))
      >>> model = jc.bridges.haiku.stateful(
      ...     norm,
      ...     *norm.init(jax.random.key(0), x, is_training=True),
      ...     evaluation={"is_training": False},
      ...     training={"is_training": True},
      ... )
      >>> outputs, new = model.train_fn(model.params, x, key=jax.random.key(0))
      >>> new["state"]["batch_norm/~/mean_ema"]["average"]
      Array([[1., 1.]], dtype=float32)
    """
    check_arrays("haiku.stateful", "params", params)
    check_arrays("haiku.stateful", "state", state)
    check_keywords("haiku.stateful", evaluation=evaluation, training=training)
    _check("stateful", transformed, haiku.TransformedWithState)

    def run(params: Params, key: Key | None, inputs: tuple[Any, ...], keywords: Keywords):
        _check_parts("fn" if key is None else "train_fn", params)
        arrays = materialize(params)
        return transformed.apply(arrays["params"], arrays["state"], key, *inputs, **keywords)

    def fn(params: Params, *inputs):
        return run(params, None, inputs, evaluation)[0]

    def train_fn(params: Params, *inputs, key: Key):
        outputs, new = run(params, key, inputs, training)
        return outputs, {**params, "state": new}

    def restore(params: Params):
        _check_parts("restore", params)
        return params["params"], params["state"]

    everything = {"params": params, "state": state}
    return Functional(
        fn=fn,
        params=everything,
        train_fn=train_fn,
        restore=restore,
        statistics=statistics.named(named_leaves({"state": state}).keys()),
    )


def _check_parts(caller: str, params: Params) -> None:
    if not isinstance(params, Mapping) or params.keys() != {"params", "state"}:
        raise ValueError(
            f"haiku: {caller}(params={shown(params)}) must be of the parts 'params' and 'state'. "
            "Pass the params of the bridge, or what was trained, compressed or loaded of them."
        )


def _check(caller: str, transformed, kind: type[Any]) -> None:
    check_kind(f"haiku.{caller}", "transformed", transformed, kind, "Pass what it is named after.")
    if "rng" not in inspect.signature(transformed.apply).parameters:
        raise ValueError(
            f"haiku.{caller}(transformed=...): its apply takes no random key, which training "
            "needs. Give what haiku.transform gave, without haiku.without_apply_rng."
        )
