"""Differentially private training: Poisson batches, clipped gradients, Gaussian noise.

The account of what it spends is `validate.privacy.epsilon`, and that of Poisson
batches: it does not hold for batches of a shuffled set.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcompress.core.batches import whole_rows
from jaxcompress.core.checks import check_count, check_inside, check_size
from jaxcompress.core.kinds import (
    check_key,
    check_kind,
    check_shape,
    check_takes,
    check_transformation,
)
from jaxcompress.core.messages import shown
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Fit, Key, Params, PyTree

ExampleLoss = Callable[[Params, PyTree], Array]
"""(params, one example) to its loss (): a tree without the axis of examples."""


@dataclasses.dataclass(frozen=True)
class SubsampledGaussian:
    """What a private training does at each step, and how often.

    Each example takes part in a step with probability batch_size / population, of its
    own; the gradients of those that do are clipped and summed, and noise is added.

    Also known as: DP-SGD, Poisson-subsampled Gaussian mechanism.

    Invariants:
      - The fields are numbers; the divisor of the sum is `batch_size`, whatever the
        number of examples that took part.

    Args:
      clip: largest L2 norm of an example's gradient, over all leaves; above 0.
      noise_multiplier: standard deviation of the noise, in units of `clip`; at least 0,
        and 0 is no privacy.
      batch_size: examples that take part in a step on average, at least 1.
      population: examples to train on, at least `batch_size`; a public number.
      steps: number of steps, at least 1.
      microbatch: examples whose gradients are held at once, at least 1: memory is
        microbatch times the params. No other effect.
    """

    clip: float
    noise_multiplier: float
    batch_size: int
    population: int
    steps: int
    microbatch: int = 32

    def __post_init__(self) -> None:
        name = "SubsampledGaussian"
        check_inside(name, "clip", self.clip, 0, float("inf"))
        check_size(name, "noise_multiplier", self.noise_multiplier)
        for each in ("batch_size", "population", "steps", "microbatch"):
            check_count(name, each, getattr(self, each))
        if self.batch_size > self.population:
            raise ValueError(
                f"{name}(batch_size={self.batch_size}, population={self.population}) needs"
                " batch_size <= population, since each example takes part with probability"
                " batch_size / population."
            )

    @property
    def sampling_probability(self) -> float:
        """Probability of an example to take part in a step, in (0, 1]."""
        return self.batch_size / self.population

    def to_json(self) -> dict[str, Any]:
        """All fields and the sampling probability, as plain numbers."""
        return dataclasses.asdict(self) | {"sampling_probability": self.sampling_probability}


def private_gradient(
    loss: ExampleLoss, mechanism: SubsampledGaussian
) -> Callable[[Params, PyTree, Array, Key], Params]:
    """The noisy gradient of one private step, for a training loop of your own.

        chosen_i ~ Bernoulli(batch_size / population), where weights_i = 1
        g_i      = gradient of loss(params, example_i)
        sum      = Σ_chosen g_i · min(1, clip / |g_i|)
        gradient = (sum + clip · noise_multiplier · N(0, 1)) / batch_size

    Every batch is whole, however many examples were chosen: they are gone through in
    microbatches until none is left, so that no chosen example is dropped and nothing is
    to be added to delta. A gradient with a NaN or an infinity counts as 0, since one
    example must not decide whether the sum is finite. Adding or removing an example
    moves the sum by at most `clip`, up to rounding in float32.

    Args:
      loss: (params, example) -> (), differentiable; `example` has no axis of examples.
        A model that needs one takes `x[None]`. It must not depend on other examples:
        no batch normalisation.
      mechanism: clipping norm, noise, batch size and population.

    Returns:
      A function (params, examples, weights, key) -> gradient, to be jitted or vmapped:
      params of real floating leaves; examples, a tree of arrays (n, …); weights (n,), 1
      for an example to train on and 0 for one that only fills up; a new key for each
      step. The gradient has the params' structure and dtypes. It can be passed to any
      optimizer of optax, whose state is as private as the gradients are.

    Raises:
      TypeError: `loss` takes no two arguments, or `mechanism` is of another type.

    Example:
      >>> mechanism = jc.train.SubsampledGaussian(
      ...     clip=1.0, noise_multiplier=0.0, batch_size=2, population=2, steps=1
      ... )
      >>> gradient = jc.train.private_gradient(lambda w, x: w @ x, mechanism)
      >>> x = jnp.array([[3.0, 4.0], [0.0, 0.5]])
      >>> gradient(jnp.zeros(2), x, jnp.ones(2), jax.random.key(0))
      Array([0.3 , 0.65], dtype=float32)

    Source: Abadi et al. 2016, arXiv:1607.00133, algorithm 1. The clipped sums are those
    of `optax.contrib.differentially_private_aggregate`, which divides by the rows it
    sees and draws noise at each call, so that it fits neither Poisson batches nor
    microbatches. Noise is drawn in float32, not by a cryptographic generator.
    """
    check_takes("private_gradient", "loss", loss, 2, "Pass loss(params, example).")
    _check_mechanism("private_gradient", mechanism)
    spread = float(mechanism.clip) * float(mechanism.noise_multiplier)

    def gradient(params: Params, examples: PyTree, weights: Array, key: Key) -> Params:
        _check_step("private_gradient", params, examples, weights, key)
        examples, weights = whole_rows((examples, weights))
        chosen_key, noise_key = jax.random.split(key)
        probability = mechanism.sampling_probability
        # Of all bits: the default rounds a small probability to a multiple of 2^-23.
        drawn = jax.random.bernoulli(chosen_key, probability, weights.shape, mode="high")
        total = _clipped_sum(loss, mechanism, params, examples, drawn & (weights > 0))
        leaves, structure = jax.tree.flatten(total)
        keys = jax.random.split(noise_key, max(len(leaves), 1))
        noisy = [
            (leaf + spread * jax.random.normal(each, leaf.shape, jnp.float32))
            / mechanism.batch_size
            for leaf, each in zip(leaves, keys, strict=False)
        ]
        return jax.tree.map(
            lambda leaf, param: leaf.astype(param.dtype), structure.unflatten(noisy), params
        )

    return gradient


def private_fit(
    loss: ExampleLoss,
    init: Callable[[Key], Params],
    optimizer: optax.GradientTransformation,
    mechanism: SubsampledGaussian,
) -> Fit:
    """A recipe of differentially private training: any optax optimizer, one program.

    Not for: training without a promise of privacy, where its noise costs accuracy; take
    `fit`.

    What it spends is `validate.privacy.epsilon(mechanism.noise_multiplier,
    mechanism.sampling_probability, mechanism.steps, delta)`. It is traceable, so that
    `jax.vmap` over weights and keys trains many shadow models in one program.

    Also known as: DP-SGD, DP-Adam, differentially private training.

    Args:
      loss: as in `private_gradient`.
      init: key -> params, without a look at the examples.
      optimizer: any gradient transformation of optax.
      mechanism: what each step does, and the number of steps.

    Returns:
      `fit(examples, weights, key) -> params`.

    Raises:
      TypeError: an argument is of another kind.

    Example:
      >>> mechanism = jc.train.SubsampledGaussian(
      ...     clip=1.0, noise_multiplier=0.5, batch_size=32, population=64, steps=60
      ... )
      >>> fit = jc.train.private_fit(
      ...     lambda w, example: (w - example) ** 2,
      ...     lambda key: jnp.float32(0),
      ...     optax.sgd(0.1),
      ...     mechanism,
      ... )
      >>> w = jax.jit(fit)(jnp.full(64, 3.0), jnp.ones(64), jax.random.key(0))
      >>> bool(jnp.abs(w - 3) < 0.2)
      True

    Source: Abadi et al. 2016, arXiv:1607.00133, algorithm 1.
    """
    check_takes("private_fit", "loss", loss, 2, "Pass loss(params, example).")
    check_takes("private_fit", "init", init, 1, "Pass init(key), which gives the params.")
    check_transformation("private_fit", "optimizer", optimizer)
    _check_mechanism("private_fit", mechanism)
    gradient = private_gradient(loss, mechanism)

    def fit(examples: PyTree, weights: Array, key: Key) -> Params:
        check_key("private_fit", "key", key)
        init_key, steps_key = jax.random.split(key)
        params = init(init_key)
        _check_step("private_fit", params, examples, weights, steps_key)
        examples, weights = whole_rows((examples, weights))

        def step(carry: tuple[Any, ...], step_key: Key) -> tuple[Any, ...]:
            params, state = carry
            updates = gradient(params, examples, weights, step_key)
            updates, state = optimizer.update(updates, state, params)
            return (optax.apply_updates(params, updates), state), None

        keys = jax.random.split(steps_key, mechanism.steps)
        (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), keys)
        return params

    return fit


def _clipped_sum(
    loss: ExampleLoss,
    mechanism: SubsampledGaussian,
    params: Params,
    examples: PyTree,
    chosen: Array,
) -> Params:
    """The sum of the clipped gradients of the chosen examples, leaves of float32."""
    n, rows = chosen.size, min(mechanism.microbatch, chosen.size)
    # The chosen come first; (n + rows,), so that the last microbatch has all rows.
    order = jnp.nonzero(chosen, size=n, fill_value=0)[0]
    order = jnp.concatenate([order, jnp.zeros(rows, order.dtype)])
    count = jnp.sum(chosen)
    gradients = jax.vmap(jax.grad(loss), in_axes=(None, 0))

    def add(index: Array, total: list[Array]) -> list[Array]:
        at = jax.lax.dynamic_slice_in_dim(order, index * rows, rows)
        batch = jax.tree.map(lambda leaf: leaf[at], examples)
        leaves = [leaf.astype(jnp.float32) for leaf in jax.tree.leaves(gradients(params, batch))]
        finite = [jnp.isfinite(leaf).reshape(rows, -1).all(axis=1) for leaf in leaves]
        counts = (index * rows + jnp.arange(rows) < count) & jnp.stack(finite).all(axis=0)
        leaves = [
            jnp.where(counts.reshape(rows, *[1] * (leaf.ndim - 1)), leaf, 0.0) for leaf in leaves
        ]
        # Rounded to bfloat16, as matrix units do by default, a norm may exceed `clip`.
        with jax.default_matmul_precision("highest"), jax.numpy_dtype_promotion("standard"):
            clipped, _ = optax.per_example_global_norm_clip(leaves, float(mechanism.clip))
        return jax.tree.map(jnp.add, total, clipped)

    leaves, structure = jax.tree.flatten(params)
    zeros = [jnp.zeros(leaf.shape, jnp.float32) for leaf in leaves]
    batches = (count + rows - 1) // rows
    return structure.unflatten(jax.lax.fori_loop(0, batches, add, zeros))


def _check_mechanism(caller: str, mechanism: object) -> None:
    mend = "For example train.SubsampledGaussian(clip=1.0, noise_multiplier=1.0, ...)."
    check_kind(caller, "mechanism", mechanism, SubsampledGaussian, mend)


def _check_step(name: str, params: Params, examples: PyTree, weights: Array, key: Key) -> None:
    check_key(name, "key", key)
    check_shape(name, "weights", weights, "(n,)")
    for argument, tree in {"params": params, "examples": examples}.items():
        check_arrays(name, argument, tree)
        if not jax.tree.leaves(tree):
            raise ValueError(f"{name}({argument}=...) holds no array.")
    lengths = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(examples)}
    if lengths != {weights.shape} or not weights.size:
        raise ValueError(
            f"{name}(examples, weights of shape {weights.shape}): each array of the examples needs"
            f" one row per weight, at least one; they have {sorted(lengths)}."
        )
    for leaf in jax.tree.leaves(params):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise TypeError(
                f"{name}(params=...) holds {shown(leaf)}. Train real floating leaves alone: close"
                " over the others, or see jc.partition."
            )
