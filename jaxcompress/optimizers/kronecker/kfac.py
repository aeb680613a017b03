"""K-FAC: gradients times the inverse of a Fisher matrix in Kronecker factors."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_positive
from jaxcompress.core.kinds import check_each, check_key, check_transformation
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.types import Key, Params, Selector
from jaxcompress.optimizers.curvature.curvature import require_function
from jaxcompress.optimizers.descent import descending
from jaxcompress.optimizers.hyperparameters import (
    check_counts,
    check_decays,
    check_rates,
    check_sizes,
)
from jaxcompress.optimizers.kronecker.factors import (
    AllFactors,
    Factors,
    inverse_factors,
    natural_updates,
)
from jaxcompress.optimizers.kronecker.kl_clipping import clip_kl
from jaxcompress.optimizers.kronecker.layers import KfacLayer, check_layer, check_layers
from jaxcompress.optimizers.leafwise import check_gradients, check_trainable
from jaxcompress.optimizers.moments import average, unbiased


class KfacState(NamedTuple):
    """The state of K-FAC.

    Attributes:
      count: () int32, updates so far.
      key: () PRNG key of the next estimate.
      factors: running means of the factors, by the name of the kernel.
      inverses: of the damped factors, as of the last time that they were formed.
      others: the state of what treats the other leaves.
    """

    count: ArrayLike
    key: Key
    factors: AllFactors
    inverses: AllFactors
    others: optax.OptState


def scale_by_kfac(
    layers: Sequence[KfacLayer],
    key: Key,
    *,
    decay: ArrayLike = 0.95,
    damping: float = 1e-3,
    every: int = 20,
    measure_every: int = 1,
    others: optax.GradientTransformation = optax.identity(),
) -> optax.GradientTransformationExtraArgs:
    """The natural gradient, layer by layer, of a Fisher matrix A ⊗ S.

        A, S <- running means of `factors(key)`, each divided by 1 - decay^t
        update = (S + sqrt(damping) / π · I)⁻¹ G (A + π · sqrt(damping) · I)⁻¹
        π = sqrt((trace A / side of A) / (trace S / side of S))

    G is the gradient of a kernel as (outputs, inputs), its bias as the last column.
    `update` takes the extra argument `factors`, a function of a key that is called only
    where it is time to: `factors=lambda key: kfac_factors(model, params, (x,), key)`.
    Inverses are formed at the first step and every `every`: by eigendecomposition, on a
    TPU by products of matrices alone. By itself no bound holds: small factors leave
    gradients times 1 / damping. `kfac` clips.

    Args:
      layers: what `kfac_layers(model, params, x).layers` found, or some of them.
      key: PRNG key of the estimates; the state holds it. Under `inject_hyperparams` it
        goes into `static_args`, and so does all but `decay`.
      decay: () in [0, 1), how long the means of factors remember.
      damping: above 0.
      every: steps from one inversion to the next.
      measure_every: steps from one call of `factors` to the next.
      others: what treats all other leaves: embeddings, norms, biases of no layer. By
        default their gradient is the update.

    Returns:
      Transformation with a `KfacState`, in float32 inside; updates keep their dtype.

    Raises:
      ValueError: a number is outside its range; when `init` sees the params: a leaf of
        a layer is missing or has another shape; in `update`: there is no `factors`, or
        it gives other factors.
      TypeError: when `init` sees the params: a leaf is not real floating; in `update`:
        `factors` cannot be called.

    Example:
      >>> model = lambda params, x: x @ params["kernel"]
      >>> params, x = {"kernel": jnp.zeros((2, 2))}, 2.0 * jnp.eye(2)
      >>> layers = jc.optimizers.kfac_layers(model, params, x).layers
      >>> scaled = jc.optimizers.scale_by_kfac(layers, jax.random.key(0), damping=1e-8)
      >>> known = {"kernel": jc.optimizers.Factors(2 * jnp.eye(2), 5 * jnp.eye(2))}
      >>> grads, state = {"kernel": jnp.ones((2, 2))}, scaled.init(params)
      >>> updates, _ = scaled.update(grads, state, params, factors=lambda key: known)
      >>> updates["kernel"].round(2)
      Array([[0.1, 0.1],
             [0.1, 0.1]], dtype=float32)

    Source: Martens and Grosse 2015, arXiv:1503.05671, sections 4.2 and 6.3. Differs:
    damping is constant, no momentum and no rescaling by the exact Fisher matrix; means
    are unbiased.
    """
    _check_kinds("scale_by_kfac", layers, key, others)
    _check("scale_by_kfac", decay, damping, every=every, measure_every=measure_every)
    layers = tuple(layers)
    own = {name for layer in layers for name in (layer.kernel, layer.bias)}
    rest = optax.masked(others, lambda tree: map_named(lambda name, _: name not in own, tree))

    def init(params: Params) -> KfacState:
        check_trainable("scale_by_kfac", params)
        check_layers(layers, params)
        # Copies, so that a caller who gives the state away keeps the key.
        return KfacState(
            count=jnp.zeros((), jnp.int32),
            key=jnp.copy(key),
            factors={layer.kernel: _nothing_yet(layer) for layer in layers},
            inverses={layer.kernel: _nothing_yet(layer) for layer in layers},
            others=rest.init(params),
        )

    def update(
        updates: optax.Updates,
        state: Any,
        params: Params = None,
        *,
        factors: Callable[[Key], AllFactors] | None = None,
        **extra,
    ):
        check_gradients("scale_by_kfac", updates, params)
        mend = "lambda key: kfac_factors(model, params, (x,), key)"
        factors_of = require_function("scale_by_kfac", "factors", factors, mend)

        def measure(means: AllFactors, key: Key) -> tuple[AllFactors, Key]:
            following, now = jax.random.split(key)
            seen = _chosen(factors_of(now), means)
            means = jax.tree.map(lambda mean, new: average(mean, new, decay), means, seen)
            return means, following

        def keep(means: AllFactors, key: Key) -> tuple[AllFactors, Key]:
            return means, key

        due = state.count % measure_every == 0
        means, following = jax.lax.cond(due, measure, keep, state.factors, state.key)
        measured = state.count // measure_every + 1

        def invert() -> AllFactors:
            whole = jax.tree.map(lambda mean: unbiased(mean, measured, decay), means)
            return inverse_factors(whole, damping)

        inverses = jax.lax.cond(state.count % every == 0, invert, lambda: state.inverses)
        natural = {}
        for layer in layers:
            natural |= natural_updates(layer, named_leaves(updates), inverses[layer.kernel])
        plain, others_state = rest.update(updates, state.others, params, **extra)
        updates = map_named(lambda name, leaf: natural.get(name, leaf), plain)
        count = optax.safe_increment(state.count)
        return updates, KfacState(count, following, means, inverses, others_state)

    return optax.GradientTransformationExtraArgs(init, update)


def kfac(
    learning_rate: ArrayLike | optax.Schedule,
    layers: Sequence[KfacLayer],
    key: Key,
    *,
    decay: ArrayLike = 0.95,
    damping: float = 1e-3,
    every: int = 20,
    measure_every: int = 1,
    limit: ArrayLike = 1e-3,
    others: optax.GradientTransformation = optax.identity(),
    weight_decay: ArrayLike = 0.0,
    select: Selector | None = None,
) -> optax.GradientTransformationExtraArgs:
    """`scale_by_kfac` inside `clip_kl`, then decoupled `weight_decay`, then the rate.

    Not for: layers of many thousand inputs or outputs, of which it inverts a matrix
    each; take `adamw`.

    Bound: without `others` a step is no longer than sqrt(limit / min(damping, 1)) but
    for the decay, all leaves together, whatever the gradients: clipping allows
    rate² · update·g = limit, and no eigenvalue of the inverse is above 1 / damping.

    Args:
      learning_rate: at least 0: a number, a () array or a schedule.
      layers: from `kfac_layers`.
      key: PRNG key of the estimates. Under `inject_hyperparams` it goes into
        `static_args`, and so do `layers`, `damping`, `every`, `measure_every` and
        `others`.
      decay: () in [0, 1).
      damping: above 0.
      every: steps from one inversion to the next.
      measure_every: steps from one call of `factors` to the next.
      limit: () at least 0, of the divergence that a step may cause.
      others: what treats leaves of no layer; they count in the divergence, too.
      weight_decay: () at least 0.
      select: which leaves decay; by default matrices and kernels, see `weights`. Under
        `inject_hyperparams` it goes into `static_args`.

    Raises:
      ValueError: a number is outside its range; in `update`: there is no `factors`, or,
        with a decay, params are missing.

    Example:
      >>> model = lambda params, x: x @ params["kernel"]
      >>> params, x = {"kernel": jnp.zeros((2, 2))}, 2.0 * jnp.eye(2)
      >>> layers = jc.optimizers.kfac_layers(model, params, x).layers
      >>> optimizer = jc.optimizers.kfac(0.1, layers, jax.random.key(0))
      >>> grads, state = {"kernel": jnp.ones((2, 2))}, optimizer.init(params)
      >>> factors = lambda key: jc.optimizers.kfac_factors(model, params, (x,), key)
      >>> updates, state = optimizer.update(grads, state, params, factors=factors)
      >>> bool(jnp.all(updates["kernel"] < 0))
      True

    Also known as: K-FAC, Kronecker-factored approximate curvature.
    """
    _check_kinds("kfac", layers, key, others)
    check_rates("kfac", learning_rate=learning_rate)
    check_sizes("kfac", limit=limit)
    _check("kfac", decay, damping, every=every, measure_every=measure_every)
    scaled = scale_by_kfac(
        layers,
        key,
        decay=decay,
        damping=damping,
        every=every,
        measure_every=measure_every,
        others=others,
    )
    clipped = clip_kl(scaled, learning_rate, limit=limit)
    return descending("kfac", clipped, learning_rate, weight_decay, select)


def _nothing_yet(layer: KfacLayer) -> Factors:
    sides = (layer.inputs, layer.outputs)
    return Factors(*(jnp.zeros((*layer.batch, side, side), jnp.float32) for side in sides))


def _chosen(factors: AllFactors, like: AllFactors) -> AllFactors:
    """The factors of the layers of this transformation, without those of others."""
    shapes = jax.tree.map(jnp.shape, like)
    for name in like:
        given = jax.tree.map(jnp.shape, factors[name]) if name in factors else None
        if given != shapes[name]:
            raise ValueError(
                f"scale_by_kfac(...).update(..., factors=...): layer {name!r} has factors of "
                f"shapes {tuple(shapes[name])}, but factors= gave {given and tuple(given)}. "
                "Take layers= and factors= from the same model."
            )
    return {name: factors[name] for name in like}


def _check_kinds(caller: str, layers: object, key: object, others: object) -> None:
    check_each(caller, "layers", layers, check_layer)
    check_key(caller, "key", key)
    check_transformation(caller, "others", others)


def _check(caller: str, decay: ArrayLike, damping: float, **periods: int) -> None:
    check_decays(caller, decay=decay)
    check_positive(caller, "damping", damping)
    check_counts(caller, **periods)
