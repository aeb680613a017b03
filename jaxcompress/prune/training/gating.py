"""Weights behind gates that learn to close: the L0 penalty.

A gate stands before one weight, or before a group that shares it. The gates are a dict
from leaf name to their log_alpha, trained beside the params; their maths is in
`core/gates`.
"""

import math

import jax
import jax.numpy as jnp

from jaxcompress.core import gates
from jaxcompress.core.checks import check_positive, check_range
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.selectors import weights
from jaxcompress.core.types import Array, Key, Params, Selector
from jaxcompress.prune import chosen

LogAlphas = dict[str, Array]
"""By leaf name, of shapes that broadcast to the leaves; the larger, the more open."""


def open_gates(
    params: Params, opening: float = 0.9, *, select: Selector | None = None
) -> LogAlphas:
    """One gate for each weight, equally open.

    For a gate that a group shares give sizes of 1 along the group instead, for example
    (1, outputs).

    Args:
      params: tree of arrays.
      opening: the chance that a gate is not 0, in (0, 1).
      select: which leaves; by default those that meet data.

    Returns:
      log_alpha by name, float32, to be trained.

    Raises:
      ValueError: `opening` is outside (0, 1), or a selected leaf is empty.
      TypeError: a selected leaf is not real floating, or is already compressed.

    Example:
      >>> jc.prune.open_gates({"kernel": jnp.ones((1, 2)), "bias": jnp.ones(2)})
      {'kernel': Array([[0.599, 0.599]], dtype=float32)}
    """
    check_positive("open_gates", "opening", opening)
    check_range("open_gates", "opening", opening, 0, 1)
    threshold = gates.TEMPERATURE * math.log(-gates.LOW / gates.HIGH)
    log_alpha = math.log(opening / (1 - opening)) + threshold
    selected = named_leaves((select or weights())(params))
    opened = {}
    for name, leaf in named_leaves(params).items():
        if selected[name]:
            chosen.check_leaf("open_gates", name, leaf)
            opened[name] = jnp.zeros_like(leaf, jnp.float32) + log_alpha
    return opened


def gated(params: Params, log_alphas: LogAlphas, key: Key) -> Params:
    """The params times one draw of their gates, for training.

    Args:
      params: tree of arrays.
      log_alphas: by name; leaves without gates stay as they are.
      key: random key, another one at each step.

    Returns:
      Tree of the same structure, shapes and dtypes; gradients reach both arguments.

    Raises:
      ValueError: gates are of no leaf, or of a shape that does not broadcast to it.

    Example:
      >>> log_alphas = {"kernel": jnp.array([20.0, -20.0])}
      >>> jc.prune.gated({"kernel": jnp.ones(2)}, log_alphas, jax.random.key(0))
      {'kernel': Array([1., 0.], dtype=float32)}

    Source: Louizos et al. 2018, arXiv:1712.01312, section 2.2.
    """
    keys = dict(zip(log_alphas, jax.random.split(key, max(len(log_alphas), 1)), strict=False))
    draws = {name: gates.sample(each, keys[name]) for name, each in log_alphas.items()}
    return _times("gated", params, draws)


def gated_at_test(params: Params, log_alphas: LogAlphas) -> Params:
    """The params times their gates without noise, many of them exactly 0.

    Args:
      params: tree of arrays.
      log_alphas: by name; leaves without gates stay as they are.

    Returns:
      Tree of the same structure, shapes and dtypes.

    Raises:
      ValueError: gates are of no leaf, or of a shape that does not broadcast to it.

    Example:
      >>> log_alphas = {"kernel": jnp.array([0.0, -3.0])}
      >>> jc.prune.gated_at_test({"kernel": jnp.ones(2)}, log_alphas)
      {'kernel': Array([0.5, 0. ], dtype=float32)}

    Source: Louizos et al. 2018, arXiv:1712.01312, equation 13.
    """
    still = {name: gates.at_test(each) for name, each in log_alphas.items()}
    return _times("gated_at_test", params, still)


def expected_count(params: Params, log_alphas: LogAlphas) -> Array:
    """How many of the gated weights are not 0 on average: times a weight, a loss.

    Args:
      params: tree of arrays or shapes.
      log_alphas: by name.

    Returns:
      () float32, differentiable in the gates.

    Raises:
      ValueError: gates are of no leaf, or of a shape that does not broadcast to it.

    Example:
      >>> log_alphas = {"kernel": jnp.array([[20.0, -20.0]])}
      >>> jc.prune.expected_count({"kernel": jnp.ones((3, 2))}, log_alphas)
      Array(3., dtype=float32)

    Source: Louizos et al. 2018, arXiv:1712.01312, equation 12.
    """
    leaves = named_leaves(params)
    _check("expected_count", leaves, log_alphas)
    return sum(
        (gates.penalty(each, leaves[name].size / each.size) for name, each in log_alphas.items()),
        jnp.zeros((), jnp.float32),
    )


def _times(caller: str, params: Params, factors: dict[str, Array]) -> Params:
    _check(caller, named_leaves(params), factors)

    def of_leaf(name: str, leaf):
        return leaf * factors[name].astype(leaf.dtype) if name in factors else leaf

    return map_named(of_leaf, params)


def _check(caller: str, leaves: dict, gates_by_name: dict[str, Array]) -> None:
    for name, each in gates_by_name.items():
        if name not in leaves:
            raise ValueError(
                f"{caller}(log_alphas=...): there is no leaf {name!r}. "
                f"Leaves are: {', '.join(leaves)}."
            )
        shape = tuple(leaves[name].shape)
        fits = all(a in (1, b) for a, b in zip(each.shape, shape, strict=False))
        if len(each.shape) != len(shape) or not fits:
            raise ValueError(
                f"{caller}(log_alphas=...): the gates of leaf {name!r} have shape {each.shape}. "
                f"Give them the leaf's, {shape}, or 1 where weights share a gate."
            )
