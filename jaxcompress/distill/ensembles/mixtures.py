"""Weighted means of what several models answer, and weights that fit labels best."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_concrete, check_positive
from jaxcompress.core.kinds import check_each, check_function, check_numeric
from jaxcompress.core.labels import check_classes, class_labels
from jaxcompress.core.types import Array, Model, Params
from jaxcompress.distill.checks import check_same_shape
from jaxcompress.distill.outputs.arrays import checked
from jaxcompress.distill.outputs.logits import log_mean

_MOST_STEPS = 100_000


def mixture(logits: ArrayLike, weights: ArrayLike | Sequence[float]) -> Array:
    """Log of the weighted mean of the models' probabilities.

    Not for: the cost of one model, since all of them run; `average` makes one of one
    start, `cascade` asks the large one seldom.

        log sum_m w_m · softmax(logits_m)

    The result serves as logits anywhere: for metrics, and as a teacher's.

    Args:
      logits: (models, ..., classes), floating.
      weights: (models,) real, at least 0 and of sum 1, as `fit_weights` gives them.

    Returns:
      (..., classes) float32.

    Raises:
      TypeError: logits are not floating, or weights no numbers.
      ValueError: there is not one weight for each model, or concrete weights are
        negative or sum to something else than 1.

    Example:
      >>> logits = jnp.log(jnp.array([[0.9, 0.1], [0.5, 0.5]]))
      >>> jnp.exp(jc.distill.ensembles.mixture(logits, [0.5, 0.5]))
      Array([0.7, 0.3], dtype=float32)

    Also known as: ensemble, linear opinion pool, averaging of probabilities.
    """
    logits = _stacked("mixture", logits)
    weights = _on_simplex("mixture", weights, logits.shape[0])
    return log_mean(jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1), weights)


def mixed(fns: Sequence[Model], weights: ArrayLike | Sequence[float]) -> Model:
    """Returns the model that answers with the `mixture` of several classifiers.

    Args:
      fns: models of the same inputs, whose outputs are logits (..., classes) of one
        shape, of any floating dtypes; one function may stand several times.
      weights: (models,) as in `mixture`.

    Returns:
      `fn(params, *inputs) -> (..., classes)` float32, whose params are a tuple of those
      of each model, compressed or not as its function takes them.

    Raises:
      TypeError: an entry is no function; when called, a model's answer is not floating.
      ValueError: as `mixture`; when called, there is not one params tree per model, or
        answers differ in shape.

    Example:
      >>> fn = lambda params, x: x @ params
      >>> model = jc.distill.ensembles.mixed([fn, fn], [0.5, 0.5])
      >>> params = (jnp.eye(2), jnp.zeros((2, 2)))
      >>> jnp.exp(model(params, jnp.array([[0.0, 1.0]])))
      Array([[0.384, 0.616]], dtype=float32)
    """
    check_each("mixed", "fns", fns, _check_model)
    shares = _on_simplex("mixed", weights, len(fns))

    def model(params: Params, *inputs) -> Array:
        members = params if isinstance(params, tuple | list) else ()
        if len(members) != len(fns):
            raise ValueError(
                f"mixed(fns of {len(fns)} models): params must be a tuple of as many trees, "
                f"not {type(params).__name__}."
            )
        answers = {
            f"answer of model {index}": fn(member, *inputs)
            for index, (fn, member) in enumerate(zip(fns, members, strict=True))
        }
        answers = {name: checked("mixed", name, each) for name, each in answers.items()}
        check_same_shape("mixed", **answers)
        return mixture(jnp.stack([each.astype(jnp.float32) for each in answers.values()]), shares)

    return model


def fit_weights(logits: ArrayLike, labels: ArrayLike, *, tolerance: float = 1e-6) -> np.ndarray:
    """Weights of models whose `mixture` makes labels most likely.

    Not for: the most accurate `mixture`, since likelihood is what it fits: on MNIST
    equal weights answered as well.

        max over w of  mean_i log sum_m w_m · p_m(label_i),   w >= 0,  sum w = 1

    The problem is concave: no start matters. It ends with a proof, since no weights are
    better by more than the largest entry of the gradient minus 1.

    Args:
      logits: (models, n, classes), floating, on validation data that trained none of
        the models.
      labels: (n,), integer in [0, classes).
      tolerance: nats; the mean log-likelihood is at most this far below the best.

    Returns:
      (models,) float64, at least 0 and of sum 1. A model that adds nothing has a weight
      of 0 or little above.

    Raises:
      TypeError: logits are not floating, labels not integer, or something is traced.
      ValueError: shapes do not fit, a label is no class, or every model gives the label
        of an example probability 0.

    Example:
      >>> sure, unsure = [[4.0, 0.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]
      >>> fit = jc.distill.ensembles.fit_weights
      >>> fit(jnp.array([sure, unsure]), jnp.array([0, 1])).round(3)
      array([1., 0.])

    Also known as: linear opinion pool fitted by likelihood, stacking of densities
    (Smyth and Wolpert 1999), mixture weights by expectation maximization.
    """
    check_concrete("fit_weights", "", logits=logits, labels=labels)
    check_positive("fit_weights", "tolerance", tolerance)
    stacked = _stacked("fit_weights", logits)
    likelihoods = _likelihoods(stacked, _labels("fit_weights", stacked, labels))
    start = np.full(len(likelihoods), 1 / len(likelihoods))
    found = scipy.optimize.minimize(
        lambda weights: -np.mean(np.log(np.maximum(weights @ likelihoods, 1e-300))),
        start,
        jac=lambda weights: -_gradient(weights, likelihoods),
        bounds=[(0, 1)] * len(start),
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
        method="SLSQP",
    )
    # A weight of 0 would stay 0 below, so none begins there.
    weights = 0.999 * np.clip(found.x, 0, None) / np.clip(found.x, 0, None).sum() + 0.001 * start
    for _ in range(_MOST_STEPS):
        gradient = _gradient(weights, likelihoods)
        if gradient.max() - 1 <= tolerance:
            break
        weights = weights * gradient  # expectation maximization: it never lowers the mean
    return weights / weights.sum()


def _gradient(weights: np.ndarray, likelihoods: np.ndarray) -> np.ndarray:
    """Of the mean log-likelihood: (models,); its mean under the weights is 1."""
    return np.mean(likelihoods / np.maximum(weights @ likelihoods, 1e-300), axis=1)


def _likelihoods(logits: Array, labels: np.ndarray) -> np.ndarray:
    """Label's probability over that of the best model for it, (models, n) float64."""
    each = np.asarray(logits, np.float64)
    highest = each.max(axis=-1, keepdims=True)
    totals = np.log(np.exp(each - highest).sum(axis=-1)) + highest[..., 0]
    logs = np.take_along_axis(each, np.broadcast_to(labels, totals.shape)[..., None], -1)[..., 0]
    logs = logs - totals
    best = logs.max(axis=0)
    if not np.all(np.isfinite(best)):
        first = int(np.argmin(np.isfinite(best)))
        raise ValueError(
            f"fit_weights(logits): no model gives the label of example {first} a probability "
            "above 0 that is finite. Look for infinities or NaN there."
        )
    return np.exp(logs - best)


def _stacked(caller: str, logits: ArrayLike) -> Array:
    array = checked(caller, "logits", logits)
    if array.ndim < 2 or 0 in (array.shape[0], array.shape[-1]):
        raise ValueError(
            f"{caller}(logits of shape {array.shape}) needs the shape (models, ..., classes)."
        )
    return array


def _labels(caller: str, logits: Array, labels: ArrayLike) -> np.ndarray:
    check_numeric(caller, "labels", labels)
    found = np.asarray(class_labels(caller, labels))
    if logits.ndim != 3 or found.shape != logits.shape[1:2] or not found.size:
        raise ValueError(
            f"{caller}(logits of shape {logits.shape}, labels of shape {found.shape}) needs the "
            "shapes (models, n, classes) and (n,)."
        )
    check_classes(caller, found, logits.shape[-1])
    return found


def _on_simplex(caller: str, weights: ArrayLike | Sequence[float], models: int) -> Array:
    check_numeric(caller, "weights", weights)
    shares = jnp.asarray(weights, jnp.float32)
    if shares.shape != (models,):
        raise ValueError(
            f"{caller}(weights of shape {shares.shape}) needs one for each of {models} models."
        )
    if not isinstance(shares, Tracer):
        values = np.asarray(weights, np.float64)
        if not (np.all(values >= 0) and abs(values.sum() - 1) <= 1e-5):
            raise ValueError(
                f"{caller}(weights={values}) must be at least 0 and of sum 1. fit_weights gives "
                "such."
            )
    return shares


def _check_model(caller: str, argument: str, value: object) -> None:
    check_function(caller, argument, value, "It holds models, fn(params, *inputs).")
