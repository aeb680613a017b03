"""Preprocessing whose constants are fitted inside of each fold."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.kinds import check_function, check_kind
from jaxcompress.core.types import Array, Key, PyTree
from jaxcompress.validate.cross_validation.candidate import Candidate


class Preparation(NamedTuple):
    """Preprocessing with constants that come from training examples.

    Attributes:
      fit: `fit(examples, weights) -> constants`, any tree of arrays; examples of weight
        0 must not count.
      apply: `apply(constants, examples) -> examples`, of training and of test.
    """

    fit: Callable[[PyTree, Array], PyTree]
    apply: Callable[[PyTree, PyTree], PyTree]


class Prepared(NamedTuple):
    """What `prepared` fits: the constants and the model of prepared examples."""

    constants: PyTree
    model: PyTree


def prepared(preparation: Preparation, recipe: Candidate) -> Candidate:
    """A recipe whose preprocessing is fitted on the training examples alone.

    Not for: steps that take no constants from other examples, such as a logarithm; do
    them once before.

    Constants from all examples would let the test set into training.

    Args:
      preparation: such as `standardize()`.
      recipe: what is done to prepared examples.

    Returns:
      The recipe of both, whose models hold the constants.

    Raises:
      TypeError: an argument is of another kind.

    Example:
      >>> cross_validation = jc.validate.cross_validation
      >>> mean = cross_validation.Candidate(
      ...     fit=lambda examples, weights, key: examples[0].mean(),
      ...     evaluate=lambda model, examples: jnp.abs(examples[0] - model).sum(1),
      ... )
      >>> recipe = cross_validation.prepared(cross_validation.standardize(), mean)
      >>> x = jnp.array([[1.0], [3.0]])
      >>> recipe.evaluate(recipe.fit((x,), jnp.ones(2), jax.random.key(0)), (x,))
      Array([1., 1.], dtype=float32)

    Also known as: `Pipeline`.
    """
    check_kind("prepared", "preparation", preparation, Preparation, "Such as standardize().")
    check_kind("prepared", "recipe", recipe, Candidate, "Make it with Candidate(fit, evaluate).")
    for field, function in {**preparation._asdict(), **recipe._asdict()}.items():
        check_function("prepared", field, function, "A recipe and a preparation hold two each.")

    def fit(examples: PyTree, weights: Array, key: Key) -> Prepared:
        constants = preparation.fit(examples, weights)
        return Prepared(constants, recipe.fit(preparation.apply(constants, examples), weights, key))

    def evaluate(made: Prepared, examples: PyTree) -> dict[str, Array] | Array:
        return recipe.evaluate(made.model, preparation.apply(made.constants, examples))

    return Candidate(fit, evaluate)


def standardize() -> Preparation:
    """Inputs with mean 0 and variance 1 over the training examples, entry by entry.

    Not for: inputs whose outliers move mean and deviation; take medians in a
    preparation of your own.

        (x - mean) / deviation,  deviation 1 where all training examples are equal

    Examples are a tuple whose first part is the inputs, an array or a tree of arrays;
    the other parts stay.

    Returns:
      The preparation; its constants are computed in float32, or wider where inputs are.

    Example:
      >>> fit, apply = jc.validate.cross_validation.standardize()
      >>> x, labels = jnp.array([[1.0], [3.0], [100.0]]), jnp.arange(3)
      >>> constants = fit((x, labels), jnp.array([1.0, 1.0, 0.0]))
      >>> apply(constants, (x, labels))[0]
      Array([[-1.], [ 1.], [98.]], dtype=float32)

    Also known as: z-scores, `StandardScaler`.

    Source: scikit-learn's `StandardScaler`, with weights.
    """
    return Preparation(_moments, _scaled)


def _moments(examples: tuple[Any, ...], weights: Array) -> PyTree:
    _check_parts(examples)
    return jax.tree.map(lambda x: _moments_of(_floating(x), weights), examples[0])


def _moments_of(x: Array, weights: Array) -> tuple[Array, Array]:
    weights = weights.astype(x.dtype)
    shares = weights / jnp.sum(weights)
    mean = jnp.tensordot(shares, x, axes=1)
    variance = jnp.tensordot(shares, jnp.square(x - mean[None]), axes=1)
    # By rounding the variance of equal entries is not always 0.
    equal = jnp.all((x == x[:1]) | (weights == 0).reshape(-1, *[1] * (x.ndim - 1)), axis=0)
    return mean, jnp.where(equal | (variance == 0), 1, jnp.sqrt(variance))


def _scaled(constants: PyTree, examples: tuple[Any, ...]) -> tuple[Any, ...]:
    _check_parts(examples)

    def scaled(x: Array, moments: tuple[Array, Array]) -> Array:
        mean, deviation = moments
        return (_floating(x) - mean[None]) / deviation[None]

    inputs, *rest = examples
    return (jax.tree.map(scaled, inputs, constants), *rest)


def _floating(x: Array) -> Array:
    x = jnp.asarray(x)
    wide = jnp.issubdtype(x.dtype, jnp.floating) and x.dtype.itemsize >= 4
    return x if wide else x.astype(jnp.float32)


def _check_parts(examples: object) -> None:
    mend = "Examples are (inputs, targets), or another tuple that begins with the inputs."
    check_kind("standardize", "examples", examples, tuple, mend)
