"""Rotations learned so that a quantized model loses least."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.batches import as_batches
from jaxcompress.core.checks import check_concrete, check_count, check_positive
from jaxcompress.core.kinds import check_kind, check_takes
from jaxcompress.core.report import Report
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Params
from jaxcompress.graph import symmetries
from jaxcompress.graph.symmetries import Rotation, Rotations
from jaxcompress.quantize.equivalent.rotations import rotation_report

Loss = Callable[[Params, Any], Array]
"""From params and a batch to one number, that of the quantized model."""

Matrices = tuple[Array, ...]
"""What moves of the matrix of each rotation."""


def learn_rotations(
    params: Params,
    rotations: Rotations,
    batches: Iterable[Any],
    loss: Loss,
    *,
    steps: int = 100,
    learning_rate: float = 0.5,
) -> tuple[Params, Report]:
    """Learns the matrices of rotations so that the loss of a quantized model falls.

    Not for: models without data to judge a loss by, or without time for a hundred
    backward passes; `rotate` takes neither.

    Descends on orthogonal matrices: with G the gradient by a matrix R, and r the
    learning rate, which falls to 0 in equal steps,

        Y = G Rᵀ - R Gᵀ,   Y ← r · Y / |Y|,   R ← (I + Y / 2)⁻¹ (I - Y / 2) R

    It starts from the params as they are: `rotate` them first, since a random Hadamard
    matrix is the better start. Of all passes over the batches it keeps the best one, so
    the loss over the batches never rises. Before quantizing, the outputs stay.

    Also known as: SpinQuant, Cayley SGD.

    Args:
      params: tree of arrays, that the rotations were found for.
      rotations: `graph.symmetries.rotations(fn, params, *inputs)`.
      batches: what `loss` takes, one batch a step, in turn; a batch is an array or a
        tree of arrays.
      loss: `loss(params, batch)` gives one number: a loss of the quantized model, such
        as that of `fake_quantize_model(fn, spec)`, or its squared distance from the
        outputs of the model in floats.
      steps: of descent, at least 1.
      learning_rate: how far the first step turns each matrix: the norm of Y, in
        radians.

    Returns:
      (params, report): the same structure, shapes and dtypes; the report's title
      has the loss over the batches before and after.

    Raises:
      TypeError: an argument is of another kind, or a value is traced.
      ValueError: there is no batch or an empty one, no rotation, `steps` is below 1,
        the rate is not positive, or the loss of the params is not one finite number.

    Example:
      >>> fn = lambda params, x: x @ params["in"] @ params["out"]
      >>> params = {
      ...     "in": jnp.array([[9.0, 1.0], [1.0, 2.0]]),
      ...     "out": jnp.array([[1.0, 0.4], [0.3, 1.0]]),
      ... }
      >>> x = jnp.array([[1.0, -1.0], [0.5, 2.0]])
      >>> exact = fn(params, x)
      >>> coarse = jc.quantize.fake_quantize(jc.quantize.formats.int2())
      >>> loss = lambda params, x: jnp.mean((fn(coarse(params), x) - exact) ** 2)
      >>> found = jc.graph.symmetries.rotations(fn, params, x)
      >>> learn = jc.quantize.equivalent.learn_rotations
      >>> learned, report = learn(params, found, [x], loss, steps=10)
      >>> bool(loss(learned, x) < 0.5 * loss(params, x))
      True

    Source: Liu et al. 2024, arXiv:2405.16406, section 3.2; the step is that of Li et
    al. 2020, arXiv:2002.01113, solved exactly. Differs: steps have a length of
    their own instead of the gradient's, so that one rate fits losses of any size.
    """
    check_arrays("learn_rotations", "params", params)
    mend = "Pass graph.symmetries.rotations(fn, params, *inputs)."
    check_kind("learn_rotations", "rotations", rotations, Rotations, mend)
    check_takes("learn_rotations", "loss", loss, 2, "Pass loss(params, batch), one number.")
    check_count("learn_rotations", "steps", steps)
    check_positive("learn_rotations", "learning_rate", learning_rate)
    check_concrete("learn_rotations", params=params)
    batches = as_batches("learn_rotations", batches)
    if not rotations.found:
        raise ValueError(
            "learn_rotations(rotations=...) has none: nothing of this model may be rotated. Print "
            "the rotations to see why."
        )
    turns = [_Turn(each) for each in rotations.found]

    def objective(inner: Matrices, batch) -> Array:
        turned = params
        for turn, each in zip(turns, inner, strict=True):
            turned = symmetries.rotate(turned, turn.rotation, turn.matrix(each))
        return loss(turned, batch)

    start = tuple(turn.start for turn in turns)
    found = _descended(objective, start, batches, steps, learning_rate)
    result = params
    for turn, each in zip(turns, found.best, strict=True):
        result = symmetries.rotate(result, turn.rotation, turn.exact(each))
    told = f"learn_rotations: loss {found.before:.4g}, after step {found.step} of {steps}"
    return result, rotation_report(f"{told} {found.lowest:.4g}", params, rotations)


class _Learned(NamedTuple):
    """The best pass over the batches, its step and its loss, and the loss before."""

    best: Matrices
    step: int
    lowest: float
    before: float


def _descended(
    objective: Callable[[Matrices, Any], Array],
    start: Matrices,
    batches: Sequence[Any],
    steps: int,
    learning_rate: float,
) -> _Learned:
    """Descends, one batch a step, and looks at the loss after each pass."""
    of_batch, step = jax.jit(objective), jax.jit(_step(objective))

    def judged(inner: Matrices) -> float:
        return float(np.mean([of_batch(inner, batch) for batch in batches]))

    _check_loss(of_batch(start, batches[0]))
    before = judged(start)
    if not np.isfinite(before):
        raise ValueError(
            f"learn_rotations(loss=...) is {before} before the first step. Give batches and "
            "params that are finite."
        )
    inner, found = start, _Learned(start, 0, before, before)
    for number, batch in zip(range(1, steps + 1), itertools.cycle(batches), strict=False):
        inner = step(inner, batch, jnp.float32(learning_rate * (1 - (number - 1) / steps)))
        if number % len(batches) == 0 or number == steps:
            now = judged(inner)
            if now < found.lowest:
                found = _Learned(inner, number, now, before)
    return found


def _check_loss(value: Array) -> None:
    if np.shape(value) != ():
        raise ValueError(
            f"learn_rotations(loss=...) gives an array of shape {np.shape(value)}; it must give "
            "one number, for example the mean."
        )


class _Turn:
    """One rotation's matrix as what may move of it: all, or all beside the ones."""

    def __init__(self, rotation: Rotation):
        self.rotation = rotation
        free = rotation.size - rotation.fixes_ones
        # Columns of an orthogonal matrix whose first one is the vector of ones.
        ones = np.concatenate([np.ones((rotation.size, 1)), np.eye(rotation.size)[:, 1:]], axis=1)
        self.beside = np.linalg.qr(ones)[0][:, rotation.size - free :]
        layers = (rotation.layers,) if rotation.layers else ()
        self.start = jnp.broadcast_to(jnp.eye(free, dtype=jnp.float32), (*layers, free, free))

    def matrix(self, inner: Array) -> Array:
        """The whole matrix of what moves."""
        if not self.rotation.fixes_ones:
            return inner
        beside = jnp.asarray(self.beside, jnp.float32)
        return self.rotation.size**-1 + beside @ inner @ beside.T

    def exact(self, inner: Array) -> np.ndarray:
        """The orthogonal matrix that is nearest, in float64."""
        left, _, right = np.linalg.svd(np.asarray(inner, np.float64))
        nearest = left @ right
        if not self.rotation.fixes_ones:
            return nearest
        return self.rotation.size**-1 + self.beside @ nearest @ self.beside.T


def _step(objective: Callable[..., Any]) -> Callable[..., Any]:
    """One step of Cayley descent on each of the matrices."""

    def step(matrices: Matrices, batch, rate: Array) -> Matrices:
        gradients = jax.grad(objective)(matrices, batch)
        return tuple(
            cayley(matrix, gradient, rate)
            for matrix, gradient in zip(matrices, gradients, strict=True)
        )

    return step


def cayley(matrix: Array, gradient: Array, rate: Array) -> Array:
    """Turns orthogonal matrices down a gradient by an angle.

    Args:
      matrix: (…, size, size) float32, orthogonal.
      gradient: of the same shape.
      rate: (), the norm of the turn's generator.

    Returns:
      Matrices of the same shape, orthogonal; as they were where the gradient is 0 along
      all turns.
    """
    descent = gradient @ jnp.swapaxes(matrix, -1, -2)
    descent = descent - jnp.swapaxes(descent, -1, -2)
    norm = jnp.sqrt(jnp.sum(descent**2, axis=(-1, -2), keepdims=True))
    half = jnp.where(norm > 0, rate / 2 / jnp.where(norm > 0, norm, 1), 0) * descent
    one = jnp.broadcast_to(jnp.eye(matrix.shape[-1], dtype=matrix.dtype), matrix.shape)
    turned = jnp.linalg.solve(one + half, (one - half) @ matrix)
    # One step towards the nearest orthogonal matrix, lest errors of many steps add up.
    product = turned @ jnp.swapaxes(turned, -1, -2)
    return 1.5 * turned - 0.5 * product @ turned
