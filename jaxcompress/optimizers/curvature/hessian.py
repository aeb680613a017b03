"""Curvature from products: the Hessian times a vector, and estimates of its diagonal.

Pure functions over trees, for the extra arguments of optimizers and for a look at a
loss. They work on float32 copies of the params, whatever their dtype: second
differences of narrow numbers are noise.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxcompress.core.kinds import check_function, check_key
from jaxcompress.core.trees import first_difference
from jaxcompress.core.types import Array, Key, Params, PyTree
from jaxcompress.optimizers.curvature.likelihoods import categorical
from jaxcompress.optimizers.curvature.vectors import in_float32
from jaxcompress.optimizers.leafwise import check_trainable

ScalarLoss = Callable[[Params], Array]
"""params -> () float."""

LOSS = "It gives the loss of the params, for example lambda params: mean_loss(params, batch)."


def hessian_vector(loss: ScalarLoss, params: Params, vector: PyTree) -> PyTree:
    """The Hessian of a loss times a vector, without forming it.

        H v = derivative of grad(loss) along v

    It costs about two gradients.

    Args:
      loss: of the params, twice differentiable; it is given float32 copies.
      params: tree of real floating arrays.
      vector: tree of the same structure and shapes.

    Returns:
      Tree of float32 arrays of the params' shapes.

    Example:
      >>> loss, w = lambda w: w[0] ** 2 * w[1], jnp.array([1.0, 2.0])
      >>> jc.optimizers.hessian_vector(loss, w, jnp.array([1.0, 0.0]))
      Array([4., 2.], dtype=float32)

    Source: Pearlmutter 1994, "Fast exact multiplication by the Hessian".
    """
    check_function("hessian_vector", "loss", loss, LOSS)
    check_trainable("hessian_vector(params=...)", params)
    check_trainable("hessian_vector(vector=...)", vector)
    if jax.tree.map(jnp.shape, params) != jax.tree.map(jnp.shape, vector):
        raise ValueError(
            "hessian_vector(params=..., vector=...) must have one structure and equal shapes: "
            f"{first_difference(params, vector)}."
        )
    return jax.jvp(jax.grad(loss), (in_float32(params),), (in_float32(vector),))[1]


def hutchinson(loss: ScalarLoss, params: Params, key: Key) -> PyTree:
    """An estimate of the Hessian's diagonal, right in the mean over keys.

        d = z · (H z),   z = ±1 at random

    Entries may be negative, and are exact where the Hessian is diagonal.

    Args:
      loss: of the params, twice differentiable; it is given float32 copies.
      params: tree of real floating arrays.
      key: PRNG key of z.

    Returns:
      Tree of float32 arrays of the params' shapes.

    Example:
      >>> loss = lambda w: jnp.sum(jnp.array([1.0, 3.0]) * w**2)
      >>> jc.optimizers.hutchinson(loss, jnp.ones(2), jax.random.key(0))
      Array([2., 6.], dtype=float32)

    Source: Bekas, Kokiopoulou and Saad 2007, "An estimator for the diagonal of a
    matrix"; with z = ±1 as in Yao et al. 2020, arXiv:2006.00719, equation 6.
    """
    check_function("hutchinson", "loss", loss, LOSS)
    check_trainable("hutchinson(params=...)", params)
    check_key("hutchinson", "key", key)
    leaves, outline = jax.tree.flatten(in_float32(params))
    keys = jax.random.split(key, len(leaves)) if leaves else ()
    # ±1 at random; a product with ones is sharded as the leaf is.
    signs = outline.unflatten(
        [
            jnp.ones_like(leaf) * jax.random.rademacher(each, leaf.shape, jnp.float32)
            for leaf, each in zip(leaves, keys, strict=True)
        ]
    )
    products = hessian_vector(loss, params, signs)
    return jax.tree.map(jnp.multiply, signs, products)


def gauss_newton_bartlett(logits: Callable[[Params], Array], params: Params, key: Key) -> PyTree:
    """An estimate of the Gauss-Newton matrix's diagonal for the mean cross-entropy.

        d = examples · ĝ²,   ĝ the gradient of the mean loss on labels that are drawn
                             from softmax(logits)

    One gradient; entries are never negative.

    Args:
      logits: of the params, (…, classes); all leading axes count examples. It is given
        float32 copies.
      params: tree of real floating arrays.
      key: PRNG key of the labels.

    Returns:
      Tree of float32 arrays of the params' shapes, at least 0.

    Example:
      >>> logits, key = lambda w: jnp.ones((5, 1)) * w[None], jax.random.key(0)
      >>> estimate = jc.optimizers.gauss_newton_bartlett(logits, jnp.zeros(2), key)
      >>> bool(jnp.all(estimate >= 0))
      True

    Source: Liu et al. 2023, arXiv:2305.14342, algorithm 2.
    """
    caller = "gauss_newton_bartlett"
    check_function(caller, "logits", logits, "It gives the logits of the params.")
    check_trainable(f"{caller}(params=...)", params)
    check_key(caller, "key", key)

    def total(params: Params) -> tuple[Array, int]:
        losses = categorical(logits(params), key)
        return jnp.sum(losses), losses.size

    gradient, examples = jax.grad(total, has_aux=True)(in_float32(params))
    # Of the sum of losses: examples · (gradient / examples)².
    return jax.tree.map(lambda leaf: leaf * (leaf / examples), gradient)
