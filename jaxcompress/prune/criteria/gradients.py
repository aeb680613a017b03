"""What a weight is worth to the loss: criteria that watch gradients while training.

They see the raw gradient of every step, so their scores are of the steps so far. Where
there is no training, as in `one_shot`, `informed` shows them gradients first.
"""

from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp

from jaxcompress.core.checks import check_range
from jaxcompress.core.criterion import Criterion
from jaxcompress.core.types import Array, PyTree
from jaxcompress.prune.criteria.weights import aligned


def saliency(decay: float = 0.9) -> Criterion:
    """The change of the loss without the weight, to first order, from a mean gradient.

        m <- decay · m + (1 - decay) · g
        score = |m · w|

    Args:
      decay: weight of the past, in [0, 1); 0 looks at the last gradient alone.

    Returns:
      Criterion whose state is m, float32 of the params' shapes. A weight that is 0 is
      worth 0, so one that went does not return before others are worth as little.

    Raises:
      ValueError: `decay` is outside [0, 1).

    Example:
      >>> criterion = jc.prune.saliency(decay=0.0)
      >>> params = {"kernel": jnp.array([2.0, 3.0])}
      >>> grads = {"kernel": jnp.array([-1.0, 0.1])}
      >>> state = criterion.update(grads, criterion.init(params), params)
      >>> criterion.score(state, params)
      {'kernel': Array([2. , 0.3], dtype=float32)}

    Source: Molchanov et al. 2017, arXiv:1611.06440, section 2.2, on weights. Differs:
    signs of gradients cancel over steps, and the weight is that of the moment.
    """
    check_range("saliency", "decay", decay, 0, 1)
    return _accumulated(
        decay, 1 - decay, what=lambda grad, param: grad, score=lambda m, param: jnp.abs(m * param)
    )


def taylor_squared(decay: float = 0.9) -> Criterion:
    """The squared change of the loss without the weight, to first order.

        v <- decay · v + (1 - decay) · (g · w)²
        score = v

    Unlike in `saliency` opposite gradients of different batches do not cancel.

    Args:
      decay: weight of the past, in [0, 1).

    Returns:
      Criterion whose state is v, float32 of the params' shapes.

    Raises:
      ValueError: `decay` is outside [0, 1).

    Example:
      >>> criterion = jc.prune.taylor_squared(decay=0.0)
      >>> params = {"kernel": jnp.array([2.0, 3.0])}
      >>> grads = {"kernel": jnp.array([-1.0, 0.1])}
      >>> state = criterion.update(grads, criterion.init(params), params)
      >>> criterion.score(state, params)
      {'kernel': Array([4.  , 0.09], dtype=float32)}

    Source: Molchanov et al. 2019, arXiv:1906.10771, equation 8. Differs: an average
    that forgets.
    """
    check_range("taylor_squared", "decay", decay, 0, 1)
    return _accumulated(
        decay,
        1 - decay,
        what=lambda grad, param: jnp.square(grad * param),
        score=lambda v, param: v,
    )


def fisher(decay: float = 0.99) -> Criterion:
    """The rise of the loss without the weight at a minimum, to second order.

        h <- decay · h + (1 - decay) · g²
        score = h · w² / 2

    The squared gradient of a batch stands for the curvature: with one example in a
    batch its mean is the diagonal of the empirical Fisher information.

    Args:
      decay: weight of the past, in [0, 1).

    Returns:
      Criterion whose state is h, float32 of the params' shapes.

    Raises:
      ValueError: `decay` is outside [0, 1).

    Example:
      >>> criterion = jc.prune.fisher(decay=0.5)
      >>> params = {"kernel": jnp.array([2.0, 3.0])}
      >>> grads = {"kernel": jnp.array([-1.0, 0.2])}
      >>> state = criterion.update(grads, criterion.init(params), params)
      >>> criterion.score(state, params)
      {'kernel': Array([1.  , 0.09], dtype=float32)}

    Source: LeCun et al. 1990, "Optimal Brain Damage", equation 5, with the Fisher form
    of Theis et al. 2018, arXiv:1801.05787, equation 6.
    """
    check_range("fisher", "decay", decay, 0, 1)
    return _accumulated(
        decay,
        1 - decay,
        what=lambda grad, param: jnp.square(grad),
        score=lambda h, param: h * jnp.square(param) / 2,
    )


def gradient_momentum(decay: float = 0.9) -> Criterion:
    """How hard the loss pulls at the weight, whether it is there or not.

        m <- decay · m + (1 - decay) · g
        score = |m|

    Args:
      decay: weight of the past, in [0, 1).

    Returns:
      Criterion whose state is m, float32 of the params' shapes.

    Raises:
      ValueError: `decay` is outside [0, 1).

    Example:
      >>> criterion = jc.prune.gradient_momentum(decay=0.0)
      >>> params = {"kernel": jnp.array([0.0, 3.0])}
      >>> grads = {"kernel": jnp.array([-1.0, 0.1])}
      >>> state = criterion.update(grads, criterion.init(params), params)
      >>> criterion.score(state, params)
      {'kernel': Array([1. , 0.1], dtype=float32)}

    Source: Dettmers and Zettlemoyer 2019, arXiv:1907.04840, section 3, whose growth
    goes by it.
    """
    check_range("gradient_momentum", "decay", decay, 0, 1)
    return _accumulated(
        decay, 1 - decay, what=lambda grad, param: grad, score=lambda m, param: jnp.abs(m)
    )


def movement() -> Criterion:
    """Weights that move away from zero are worth something, those moving to it less.

        S <- S - g · w
        score = S

    For fine-tuning, where weights begin near good values and their size
    says little.

    Returns:
      Criterion whose state is S, float32 of the params' shapes; scores have a sign.

    Example:
      >>> criterion = jc.prune.movement()
      >>> params = {"kernel": jnp.array([2.0, 3.0])}
      >>> grads = {"kernel": jnp.array([-1.0, 0.1])}
      >>> state = criterion.update(grads, criterion.init(params), params)
      >>> criterion.score(state, params)
      {'kernel': Array([ 2. , -0.3], dtype=float32)}

    Source: Sanh et al. 2020, arXiv:2005.07683, section 4, hard movement pruning.
    Differs: a weight that went is 0, so its score stays as it was until others have
    fallen below it.
    """
    return _accumulated(
        1.0, 1.0, what=lambda grad, param: -grad * param, score=lambda total, param: total
    )


def informed(criterion: Criterion, gradients: Iterable[PyTree]) -> Criterion:
    """The same criterion as if it had seen these gradients already.

    So criteria that watch gradients serve `one_shot`, and `prune` from its first step.

    Args:
      criterion: any.
      gradients: trees of the params' names and shapes, seen in this order at the params
        that `init` gets.

    Returns:
      Criterion.

    Raises:
      ValueError: when params are seen: one to be pruned has no gradient, or one of
        another shape.

    Example:
      >>> params = {"kernel": jnp.array([[2.0, 3.0]])}
      >>> grads = {"kernel": jnp.array([[1.0, 0.1]])}
      >>> criterion = jc.prune.informed(jc.prune.fisher(), [grads])
      >>> jc.prune.masks(params, criterion, sparsity=0.5)
      {'kernel': Array([[ True, False]], dtype=bool)}
    """
    seen = tuple(gradients)

    def init(params):
        state = criterion.init(params)
        for grads in seen:
            state = criterion.update(aligned("informed", "gradients", grads, params), state, params)
        return state

    return criterion._replace(init=init)


def _accumulated(
    past: float,
    present: float,
    *,
    what: Callable[[Array, Array], Array],
    score: Callable[[Array, Array], Array],
) -> Criterion:
    """From past · state + present · what(grad, param); read as score(state, param)."""

    def init(params):
        return jax.tree.map(lambda leaf: jnp.zeros_like(leaf, jnp.float32), params)

    def update(grads, state, params):
        return jax.tree.map(
            lambda old, grad, param: past * old + present * what(_wide(grad), _wide(param)),
            state,
            grads,
            params,
        )

    def scores(state, params):
        return jax.tree.map(lambda each, param: score(each, _wide(param)), state, params)

    return Criterion(init, update, scores)


def _wide(x: Array) -> Array:
    return x.astype(jnp.float32)
