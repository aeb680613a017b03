"""Views: the model sees pruned weights while all weights are trained.

Here no weight is set to 0 for good: `apply` or `one_shot` does it in the end.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxcompress.core import exports
from jaxcompress.core.checks import check_number, check_range
from jaxcompress.core.kinds import check_takes
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.masks import apply_mask, fitted
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.numerics import straight_through as passing
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Masks, Params, View
from jaxcompress.prune import chosen
from jaxcompress.prune.criteria.weights import magnitude
from jaxcompress.prune.target import Aim, without_steps

exports.list_definitions(globals())

Masking = Callable[[Params], Masks]
"""Params to their masks, traceable; `lambda params: masks` for masks that are known."""


def by_magnitude(target: Aim) -> Masking:
    """Gives masks of the current weights by magnitude, inside jit.

    Unlike `masks` it works inside jit, and looks for nothing that is not finite.

    Args:
      target: which weights, how much and where: a `Target`, or its sparsity, which may
        be a traced () array such as `schedule(step)`.

    Returns:
      Function from params to masks of their structure.

    Raises:
      ValueError: as `Target`; when the params are seen: as `masks`.
      TypeError: a sparsity is a schedule; a selected leaf is not real floating, or is
        already compressed.

    Example:
      >>> params = {"kernel": jnp.array([[0.1, -2.0]]), "bias": jnp.ones(2)}
      >>> jc.prune.views.by_magnitude(0.5)(params)
      {'bias': Array(True, dtype=bool), 'kernel': Array([[False,  True]], dtype=bool)}
    """
    target = without_steps("by_magnitude", target)

    def masking(params: Params) -> Masks:
        found = chosen.choose("by_magnitude", params, target).groups
        fixed = jax.lax.stop_gradient(chosen.targeted(chosen.selection(params, found), params))
        scores = named_leaves(magnitude().score((), fixed))
        return chosen.mask_tree(chosen.masks_at(0, scores, found, target), params)

    return masking


def straight_through(masking: Masking) -> View:
    """Shows the model pruned weights, and gives all weights the gradient.

    Not for: masks that should settle, since masked weights learn on freely; `sr_ste`
    pulls them to 0.

        value = where(mask, w, 0)
        d value / d w = 1

    A weight that is masked goes on learning, and comes back when it is worth more. Use
    it inside the loss: `fn(view(params), x)`.

    Also known as: STE, the straight-through estimator.

    Args:
      masking: for example `by_magnitude(Target(0.5, n_of_m(2, 4)))`, so that
        masks follow the weights at every step.

    Returns:
      View: params to params of the same structure, shapes and dtypes.

    Raises:
      ValueError: (when applied) a mask does not fit its leaf.

    Example:
      >>> view = jc.prune.views.straight_through(jc.prune.views.by_magnitude(0.5))
      >>> params = {"kernel": jnp.array([[0.1, -2.0]])}
      >>> view(params)["kernel"]
      Array([[ 0., -2.]], dtype=float32)
      >>> jax.grad(lambda params: view(params)["kernel"].sum())(params)["kernel"]
      Array([[1., 1.]], dtype=float32)

    Source: Bengio et al. 2013, arXiv:1308.3432, section 4; Zhou et al. 2021,
    arXiv:2102.04010, equation 5.
    """
    _check_masking("straight_through", masking)
    return _masked("straight_through", masking, lambda mask, leaf: leaf)


def sr_ste(masking: Masking, decay: float = 2e-4) -> View:
    """Pulls masked weights of `straight_through` to 0, so that masks settle.

    Not for: scaled losses, beside which its pull weighs less; `straight_through` has
    none.

        value = where(mask, w, 0)
        gradient of w = gradient of value + where(mask, 0, decay · w)

    The pull comes once with each backward pass through the view, however large the
    gradient of the value is: do not scale the loss, and take means, not sums, of
    gradients over microbatches and devices.

    Also known as: SR-STE.

    Args:
      masking: for example `by_magnitude(Target(0.5, n_of_m(2, 4)))`.
      decay: of masked weights, at least 0.

    Returns:
      View, for reverse-mode gradients of first order.

    Raises:
      ValueError: `decay` is negative; when applied: a mask does not fit its leaf.

    Example:
      >>> view = jc.prune.views.sr_ste(jc.prune.views.by_magnitude(0.5), decay=0.5)
      >>> params = {"kernel": jnp.array([[0.2, -2.0]])}
      >>> jax.grad(lambda params: view(params)["kernel"].sum())(params)["kernel"]
      Array([[1.1, 1. ]], dtype=float32)

    Source: Zhou et al. 2021, arXiv:2102.04010, equation 8.
    """
    _check_masking("sr_ste", masking)
    check_range("sr_ste", "decay", decay, 0, float("inf"))

    def pulled(mask: Array, leaf: Array) -> Array:
        pull = jnp.where(mask, 0.0, decay * leaf.astype(jnp.float32))
        return _pulled(leaf, narrowed(jax.lax.stop_gradient(pull), leaf.dtype))

    return _masked("sr_ste", masking, pulled)


def surgery(masks: Masks, params: Params, *, deviations: float, margin: float = 0.1) -> Masks:
    """Updates masks: small weights are pruned, large ones spliced back in.

    Not for: a share of weights that is given, since it follows from two thresholds;
    `prune` meets one.

        threshold = mean |w| + deviations · standard deviation of |w|
        mask <- False where |w| < (1 - margin) · threshold
                True where |w| >= (1 + margin) · threshold

    Each leaf has its own threshold, of all its weights, masked ones included. Call it
    in the training step, at ever longer intervals; the model sees
    `straight_through(lambda params: masks)`, so that masked weights go on learning.

    Also known as: Dynamic Network Surgery.

    Args:
      masks: of the leaves' shapes, looked up by name; a () mask stays.
      params: dense.
      deviations: above or below 0: the larger, the more is removed.
      margin: half the width of the band in which a mask stays, in [0, 1).

    Returns:
      Masks of the same structure.

    Raises:
      ValueError: `deviations` is not finite, `margin` outside [0, 1), or a mask does
        not fit its leaf.

    Example:
      >>> masks = {"kernel": jnp.array([True, True, False, False])}
      >>> params = {"kernel": jnp.array([-0.1, 1.0, 1.0, -1.9])}
      >>> jc.prune.views.surgery(masks, params, deviations=0.0)
      {'kernel': Array([False,  True, False,  True], dtype=bool)}

    Source: Guo et al. 2016, arXiv:1608.04493, equation 4. Differs: thresholds follow
    the weights.
    """
    check_arrays("surgery", "params", params)
    check_number("surgery", "deviations", deviations)
    check_range("surgery", "margin", margin, 0, 1)
    masks = fitted("surgery", masks, params)

    def renewed(mask: Array, leaf) -> Array:
        if mask.shape == ():
            return mask
        size = jnp.abs(leaf.astype(jnp.float32))
        threshold = jnp.mean(size) + deviations * jnp.std(size)
        return jnp.where(mask, size >= (1 - margin) * threshold, size >= (1 + margin) * threshold)

    return jax.tree.map(renewed, masks, params)


def _check_masking(caller: str, masking: Masking) -> None:
    mend = "Pass by_magnitude(target), or lambda params: masks."
    check_takes(caller, "masking", masking, 1, mend)


def _masked(caller: str, masking: Masking, learning: Callable[[Array, Array], Array]) -> View:
    """Shows where(mask, w, 0); the gradient goes to `learning(mask, w)`."""

    def view(params: Params) -> Params:
        masks = fitted(caller, masking(params), params)

        def seen(_, leaf, mask: Array):
            if is_compressed(leaf) or mask.shape == ():
                return leaf
            return passing(apply_mask(mask, leaf), learning(mask, leaf), jnp.ones((), bool))

        return map_named(seen, params, masks)

    return view


@jax.custom_vjp
def _pulled(x: Array, pull: Array) -> Array:
    """`x`, whose gradient is larger by `pull`."""
    del pull
    return x


_pulled.defvjp(
    lambda x, pull: (x, pull), lambda pull, gradient: (gradient + pull, jnp.zeros_like(pull))
)
