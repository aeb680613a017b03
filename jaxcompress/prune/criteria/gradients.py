"""Criteria that accumulate gradients while training.

They see the raw gradient of every step and accumulate it. An entry that is not finite,
or whose square or product with its weight is not, is ignored. Without gradients there
are no scores, and asking for them raises; outside training, as for `one_shot`, give
gradients with `informed`.
"""

from collections.abc import Iterable

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxcompress.core.checks import check_range
from jaxcompress.core.kinds import check_iterable
from jaxcompress.core.names import named_leaves
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import PyTree
from jaxcompress.prune.criteria.accumulated import accumulated
from jaxcompress.prune.criteria.weights import aligned
from jaxcompress.prune.criterion import Criterion, check_criterion


def saliency(decay: float = 0.9) -> Criterion:
    """Scores the first-order change of the loss without the weight, by a mean gradient.

    Not for: the end of training, where mean gradients are all but noise; take `fisher`
    or `taylor_squared`.

        m <- decay · m + (1 - decay) · g
        score = |m · w|

    Also known as: first-order Taylor pruning.

    Args:
      decay: weight of the past, in [0, 1); 0 looks at the last gradient alone.

    Returns:
      Criterion whose state holds m, float32 of the params' shapes. A weight that is 0
      is worth 0, so a removed one does not return before others are worth as little.

    Raises:
      ValueError: `decay` is outside [0, 1); scores are asked for before any gradient.

    Example:
      >>> criterion = jc.prune.criteria.saliency(decay=0.0)
      >>> params = {"kernel": jnp.array([2.0, 3.0])}
      >>> grads = {"kernel": jnp.array([-1.0, 0.1])}
      >>> state = criterion.update(grads, criterion.init(params), params)
      >>> criterion.score(state, params)
      {'kernel': Array([2. , 0.3], dtype=float32)}

    Source: Molchanov et al. 2017, arXiv:1611.06440, section 2.2, on weights. Differs:
    signs of gradients cancel over steps, and the weight is that of the moment.
    """
    check_range("saliency", "decay", decay, 0, 1)
    return accumulated(
        "saliency",
        decay,
        1 - decay,
        what=lambda grad, param: grad,
        score=lambda m, param: jnp.abs(m * param),
    )


def taylor_squared(decay: float = 0.9) -> Criterion:
    """Scores the mean squared first-order change of the loss without the weight.

    Not for: models without labels; `wanda` takes inputs alone, `magnitude` no data.

        v <- decay · v + (1 - decay) · (g · w)²
        score = v

    Unlike in `saliency` opposite gradients of different batches do not cancel.

    Also known as: Taylor-FO pruning.

    Args:
      decay: weight of the past, in [0, 1).

    Returns:
      Criterion whose state holds v, float32 of the params' shapes.

    Raises:
      ValueError: `decay` is outside [0, 1); scores are asked for before any gradient.

    Example:
      >>> criterion = jc.prune.criteria.taylor_squared(decay=0.0)
      >>> params = {"kernel": jnp.array([2.0, 3.0])}
      >>> grads = {"kernel": jnp.array([-1.0, 0.1])}
      >>> state = criterion.update(grads, criterion.init(params), params)
      >>> criterion.score(state, params)
      {'kernel': Array([4.  , 0.09], dtype=float32)}

    Source: Molchanov et al. 2019, arXiv:1906.10771, equation 8. Differs: an average
    that forgets.
    """
    check_range("taylor_squared", "decay", decay, 0, 1)
    return accumulated(
        "taylor_squared",
        decay,
        1 - decay,
        what=lambda grad, param: jnp.square(grad * param),
        score=lambda v, param: v,
    )


def fisher(decay: float = 0.99) -> Criterion:
    """Scores the second-order rise of the loss without the weight at a minimum.

    Not for: weights far from a minimum, where the loss changes to first order; take
    `saliency` or `taylor_squared`.

        h <- decay · h + (1 - decay) · g²
        score = h · w² / 2

    The squared gradient of a batch stands for the curvature: with one example in a
    batch its mean is the diagonal of the empirical Fisher information.

    Also known as: OBD (Optimal Brain Damage), Fisher pruning.

    Args:
      decay: weight of the past, in [0, 1).

    Returns:
      Criterion whose state holds h, float32 of the params' shapes.

    Raises:
      ValueError: `decay` is outside [0, 1); scores are asked for before any gradient.

    Example:
      >>> criterion = jc.prune.criteria.fisher(decay=0.5)
      >>> params = {"kernel": jnp.array([2.0, 3.0])}
      >>> grads = {"kernel": jnp.array([-1.0, 0.2])}
      >>> state = criterion.update(grads, criterion.init(params), params)
      >>> criterion.score(state, params)
      {'kernel': Array([1.  , 0.09], dtype=float32)}

    Source: LeCun et al. 1990, "Optimal Brain Damage", equation 5, with the Fisher form
    of Theis et al. 2018, arXiv:1801.05787, equation 6.
    """
    check_range("fisher", "decay", decay, 0, 1)
    return accumulated(
        "fisher",
        decay,
        1 - decay,
        what=lambda grad, param: jnp.square(grad),
        score=lambda h, param: h * jnp.square(param) / 2,
    )


def gradient_momentum(decay: float = 0.9) -> Criterion:
    """Scores a weight by the magnitude of its mean gradient, also where it is masked.

    Not for: choosing what goes, since it ignores how large weights are; take
    `magnitude` or `taylor_squared`.

        m <- decay · m + (1 - decay) · g
        score = |m|

    Also known as: the growth of RigL and of sparse momentum.

    Args:
      decay: weight of the past, in [0, 1).

    Returns:
      Criterion whose state holds m, float32 of the params' shapes.

    Raises:
      ValueError: `decay` is outside [0, 1); scores are asked for before any gradient.

    Example:
      >>> criterion = jc.prune.criteria.gradient_momentum(decay=0.0)
      >>> params = {"kernel": jnp.array([0.0, 3.0])}
      >>> grads = {"kernel": jnp.array([-1.0, 0.1])}
      >>> state = criterion.update(grads, criterion.init(params), params)
      >>> criterion.score(state, params)
      {'kernel': Array([1. , 0.1], dtype=float32)}

    Source: Dettmers and Zettlemoyer 2019, arXiv:1907.04840, section 3, whose growth
    goes by it.
    """
    check_range("gradient_momentum", "decay", decay, 0, 1)
    return accumulated(
        "gradient_momentum",
        decay,
        1 - decay,
        what=lambda grad, param: grad,
        score=lambda m, param: jnp.abs(m),
    )


def movement() -> Criterion:
    """Scores weights higher the more training moves them away from zero.

    Not for: models that are trained no further, whose weights do not move; take `wanda`
    or `magnitude`.

        S <- S - g · w
        score = S

    For fine-tuning, where weights begin near good values and their size
    says little.

    Also known as: movement pruning.

    Returns:
      Criterion whose state holds S, float32 of the params' shapes; scores have a sign.

    Raises:
      ValueError: scores are asked for before any gradient.

    Example:
      >>> criterion = jc.prune.criteria.movement()
      >>> params = {"kernel": jnp.array([2.0, 3.0])}
      >>> grads = {"kernel": jnp.array([-1.0, 0.1])}
      >>> state = criterion.update(grads, criterion.init(params), params)
      >>> criterion.score(state, params)
      {'kernel': Array([ 2. , -0.3], dtype=float32)}

    Source: Sanh et al. 2020, arXiv:2005.07683, section 4, hard movement pruning.
    Differs: a removed weight is 0, so its score stays as it was until others have
    fallen below it.
    """
    return accumulated(
        "movement",
        1.0,
        1.0,
        what=lambda grad, param: -grad * param,
        score=lambda total, param: total,
    )


def informed(criterion: Criterion, gradients: Iterable[PyTree]) -> Criterion:
    """Gives a criterion that has already seen some gradients.

    So criteria that watch gradients serve `one_shot`, and `prune` from its first step.

    Args:
      criterion: any.
      gradients: trees of the params' names and shapes, seen in this order at the params
        that `init` gets.

    Returns:
      Criterion.

    Raises:
      ValueError: there are no gradients, or some are not finite; when params are seen:
        one to be pruned has no gradient, or one of another shape.

    Example:
      >>> params = {"kernel": jnp.array([[2.0, 3.0]])}
      >>> grads = {"kernel": jnp.array([[1.0, 0.1]])}
      >>> criterion = jc.prune.criteria.informed(jc.prune.criteria.fisher(), [grads])
      >>> jc.prune.masks(params, criterion, 0.5)
      {'kernel': Array([[ True, False]], dtype=bool)}
    """
    check_criterion("informed", criterion)
    check_iterable("informed", "gradients", gradients, "Pass [grads], also where there is one.")
    seen = tuple(gradients)
    if not seen:
        raise ValueError("informed(gradients=[]) holds no gradients. Pass one tree or more.")
    for grads in seen:
        check_arrays("informed", "gradients", grads)
        _require_finite(grads)

    def init(params):
        state = criterion.init(params)
        for grads in seen:
            state = criterion.update(aligned("informed", "gradients", grads, params), state, params)
        return state

    return criterion._replace(init=init)


def _require_finite(grads: PyTree) -> None:
    """Raises a ValueError for concrete gradients that hold a NaN or an infinity."""
    for name, leaf in named_leaves(grads).items():
        if isinstance(leaf, Tracer) or not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            continue
        if not np.all(np.isfinite(np.asarray(leaf, np.float32))):
            raise ValueError(
                f"informed(gradients=...): those of leaf {name!r} are not finite. Take them from "
                "batches whose loss is."
            )
