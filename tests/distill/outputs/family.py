"""The table of losses on outputs: a row has its oracle, its inputs and its laws.

Options are passed traced, so that all rows of one loss share one compiled function.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcompress.distill import outputs
from tests.distill.outputs import oracles

EPS = float(np.finfo(np.float32).eps)
EXAMPLES, CLASSES, LARGEST = 6, 5, 8.0
LABELS = np.arange(EXAMPLES) % CLASSES

SHIFT, RULED_OUT = "shift", "ruled out"
"""Adding a constant to logits changes nothing; a class at -inf in all adds nothing."""


def rounding(temperature=1.0, largest=LARGEST):
    """Most error of T² · sum p · (log p - log q) in float32.

    A log probability is at most `size` and about four roundings off, so p is off by as
    much relative to itself, times a log ratio of `size`; the sum rounds once a class.
    """
    size = 2 * largest / temperature + np.log(CLASSES)
    return temperature**2 * EPS * size * (8 + 4 * size + CLASSES)


def squares(largest=LARGEST):
    """Most error of a sum of squares, each at most (2 · largest)²."""
    return EPS * (2 * largest) ** 2 * CLASSES * (4 + CLASSES)


class Inputs(NamedTuple):
    """Arguments of a loss, and the student at which a divergence is 0."""

    student: np.ndarray
    others: tuple
    equal: Any


Draw = Callable[..., np.ndarray]
"""Random arrays of the examples and the axes given."""


def logits(draw: Draw, options) -> Inputs:
    student, teacher = draw(CLASSES), draw(CLASSES)
    return Inputs(student, (teacher,), teacher)


def softer(draw: Draw, options) -> Inputs:
    made = logits(draw, options)
    return made._replace(equal=(made.equal / np.float32(options["temperature"])))


def labelled(draw: Draw, options) -> Inputs:
    return Inputs(draw(CLASSES), (LABELS,), None)


def both(draw: Draw, options) -> Inputs:
    made = logits(draw, options)
    return made._replace(others=(*made.others, LABELS))


def with_targets(draw: Draw, options) -> Inputs:
    """The student that is right is the one at which the loss is 0."""
    student, teacher, targets = draw(CLASSES), draw(CLASSES), draw(CLASSES)
    return Inputs(student, (teacher, targets), targets)


def masks(draw: Draw, options) -> Inputs:
    student, teacher = draw(3, 2), draw(3, 2)
    return Inputs(student, (teacher,), teacher)


def boxes(draw: Draw, options) -> Inputs:
    corners = [np.sort(draw(2, 2), axis=-2) for _ in range(2)]  # (n, low and high, axis)
    student, teacher = (each.reshape(len(each), 4) for each in corners)
    return Inputs(student, (teacher,), teacher)


def stored(teacher: np.ndarray, temperature: float, k: int = 2) -> outputs.TopK:
    """What `top_k` gives, by sorting."""
    chances = np.array([oracles.log_softmax(row, temperature) for row in teacher])
    indices = np.argsort(-chances, axis=-1, kind="stable")
    ordered = np.take_along_axis(chances, indices, -1)
    tail = np.log(np.maximum(np.exp(ordered[:, k:]).sum(-1), 1e-300))
    dtype = teacher.dtype
    return outputs.TopK(ordered[:, :k].astype(dtype), indices[:, :k], tail.astype(dtype))


def truncated(draw: Draw, options) -> Inputs:
    student, teacher = draw(CLASSES), draw(CLASSES)
    return Inputs(student, (stored(teacher, options["temperature"]),), teacher)


def drawn(draw: Draw, options) -> Inputs:
    indices = np.arange(EXAMPLES)[:, None] * np.array([1, 2, 2]) % CLASSES
    weights = np.abs(draw(3))
    return Inputs(draw(CLASSES), (outputs.Draws(indices, weights / weights.max()),), None)


class Case(NamedTuple):
    """A loss with options.

    Attributes:
      name: of the row.
      loss: (student, *others, **options) -> losses.
      oracle: the same of one example, in NumPy.
      options: numbers, passed traced.
      inputs: what arguments it takes.
      tolerance: of a loss, in absolute terms, for arguments up to `LARGEST`.
      laws: of `SHIFT`, `RULED_OUT`.
      divergence: whether it is least, and 0, at equality.
      huge: up to which float32 arguments it stays finite.
      batch: whether an example's loss depends on the others, and `oracle` takes all.
    """

    name: str
    loss: Callable
    oracle: Callable
    options: Mapping[str, float] = {}
    inputs: Callable[..., Inputs] = logits
    tolerance: float = rounding()
    laws: frozenset[str] = frozenset()
    divergence: bool = True
    huge: float = 1e30
    batch: bool = False

    @property
    def gradient_tolerance(self) -> float:
        """Each derivative is of two factors with the errors of a loss, over T."""
        return 2 * self.tolerance * max(1, 1 / self.options.get("temperature", 1)) + 1e-8

    def losses(self, student, others) -> np.ndarray:
        """The oracle's, in float64."""
        if self.batch:
            return self.oracle(student, *others, **self.options)
        rows = [jax.tree.map(lambda each, i=i: each[i], others) for i in range(len(student))]
        pairs = zip(student, rows, strict=True)
        return np.array([self.oracle(one, *row, **self.options) for one, row in pairs])

    def gradient(self, student, others) -> np.ndarray:
        """Central differences of the sum of the oracle's losses."""
        student, step = np.array(student, np.float64), 1e-5
        result = np.zeros_like(student)
        for index in np.ndindex(student.shape):
            ends = []
            for sign in (1, -1):
                moved = student.copy()
                moved[index] += sign * step
                ends.append(self.losses(moved, others).sum())
            result[index] = (ends[0] - ends[1]) / (2 * step)
        return result


def uniform(seed: int = 0, largest: float = LARGEST, dtype: Any = np.float32) -> Draw:
    rng = np.random.default_rng(seed)
    return lambda *axes: rng.uniform(-largest, largest, (EXAMPLES, *axes)).astype(dtype)


def extreme(largest: float, dtype: Any = np.float32) -> Draw:
    """Numbers of which most are the largest of their sign."""
    rng = np.random.default_rng(0)
    return lambda *axes: (largest * rng.choice([-1, -1, 0, 1, 1], (EXAMPLES, *axes))).astype(dtype)


TRACES: dict[Callable, int] = {}
"""How often each loss was traced by `compiled`."""


@functools.cache
def compiled(loss: Callable) -> Callable:
    """(student, others, options) to losses, and gradients by the first two."""

    def total(student, others, options):
        TRACES[loss] = TRACES.get(loss, 0) + 1
        losses = loss(student, *others, **options)
        return losses.sum(), losses

    gradient = jax.value_and_grad(total, argnums=(0, 1), has_aux=True, allow_int=True)

    @jax.jit
    def run(student, others, options):
        (_, losses), gradients = gradient(student, others, options)
        return losses, *gradients

    return run


def graded(loss: Callable) -> Callable:
    """Compiled: the losses, and the gradient of their sum by the first argument."""

    def total(*arguments, **options):
        losses = loss(*arguments, **options)
        return losses.sum(), losses

    @jax.jit
    def run(*arguments, **options):
        (_, losses), gradient = jax.value_and_grad(total, has_aux=True)(*arguments, **options)
        return losses, gradient

    return run


def evaluated(case: Case, student, others):
    """Losses and gradients of a row; its options are traced numbers of float32."""
    options = {name: np.float32(value) for name, value in case.options.items()}
    with jax.numpy_dtype_promotion("strict"):
        return compiled(case.loss)(student, others, options)


BOTH = frozenset((SHIFT, RULED_OUT))


def at(temperature: float, loss: Callable, oracle: Callable, /, **options) -> Case:
    """A row of a divergence of softened outputs."""
    said = ", ".join(f"{name} {value}" for name, value in options.items())
    options["temperature"] = temperature
    return Case(
        f"{loss.__name__} at {temperature} {said}".strip(),
        loss,
        oracle,
        options,
        tolerance=rounding(temperature),
        laws=BOTH,
    )


def alpha_row(alpha: float, temperature: float) -> Case:
    row = at(temperature, outputs.alpha_divergence, oracles.alpha, alpha=alpha)
    return row._replace(tolerance=row.tolerance / (alpha * (1 - alpha)))


def decoupled_row(weight: float, temperature: float) -> Case:
    row = at(temperature, outputs.decoupled_targets, oracles.decoupled, weight=weight)
    return row._replace(inputs=both, tolerance=(1 + weight) * row.tolerance)


CASES = [
    *(at(t, outputs.soft_targets, oracles.forward) for t in (1.0, 0.5, 4.0, 20.0)),
    *(at(t, outputs.reverse_kl, oracles.reverse) for t in (1.0, 0.5, 4.0)),
    at(1.0, outputs.jensen_shannon, oracles.jensen_shannon, beta=0.5),
    at(3.0, outputs.jensen_shannon, oracles.jensen_shannon, beta=0.9),
    at(1.0, outputs.skewed_kl, oracles.skewed, skew=0.1),
    at(3.0, outputs.skewed_kl, oracles.skewed, skew=0.7),
    at(1.0, outputs.skewed_reverse_kl, oracles.skewed_reverse, skew=0.1),
    at(3.0, outputs.skewed_reverse_kl, oracles.skewed_reverse, skew=0.7),
    alpha_row(0.5, 1.0),
    alpha_row(0.2, 3.0),
    decoupled_row(8.0, 1.0),
    decoupled_row(0.0, 4.0),
    at(2.0, outputs.standardized_targets, oracles.standardized),
    at(4.0, outputs.transformed_targets, oracles.transformed)._replace(
        inputs=softer, tolerance=CLASSES * rounding()
    ),
    at(2.0, outputs.inter_class_relation, oracles.inter_class)._replace(laws=frozenset((SHIFT,))),
    at(2.0, outputs.intra_class_relation, oracles.intra_class)._replace(
        tolerance=EXAMPLES * rounding(2.0),
        laws=frozenset((SHIFT,)),
        batch=True,
    ),
    at(2.0, outputs.multi_label_targets, oracles.multi_label)._replace(
        tolerance=CLASSES * rounding(2.0), laws=frozenset((RULED_OUT,))
    ),
    at(2.0, outputs.mask_targets, oracles.mask)._replace(inputs=masks, laws=frozenset()),
    at(2.0, outputs.soft_dice, oracles.dice)._replace(inputs=masks, laws=frozenset()),
    at(2.0, outputs.top_k_targets, oracles.top_k)._replace(
        inputs=truncated, laws=frozenset((SHIFT,))
    ),
    at(2.0, outputs.sampled_targets, oracles.sampled)._replace(
        inputs=drawn, divergence=False, laws=frozenset((SHIFT,))
    ),
    Case(
        "hard_targets", outputs.hard_targets, oracles.cross_entropy, {}, labelled, laws=BOTH
    )._replace(divergence=False),
    Case("smoothed_labels", outputs.smoothed_labels, oracles.smoothed, {"smoothing": 0.3})._replace(
        inputs=labelled, divergence=False, laws=BOTH
    ),
    Case("squared_distance", outputs.squared_distance, oracles.squared)._replace(
        tolerance=squares(), huge=1e4, laws=frozenset((RULED_OUT,))
    ),
    Case("huber_distance", outputs.huber_distance, oracles.huber, {"delta": 1.5})._replace(
        tolerance=squares(), laws=frozenset((RULED_OUT,))
    ),
    Case("bounded_distance", outputs.bounded_distance, oracles.bounded, {"margin": 100.0})._replace(
        inputs=with_targets, tolerance=squares(), huge=1e4
    ),
    # Products of sides in units of the box around both, each a few roundings off; boxes
    # of a sixteenth of its area lose four bits.
    Case("box_overlap", outputs.box_overlap, oracles.overlap, inputs=boxes, tolerance=256 * EPS),
]
