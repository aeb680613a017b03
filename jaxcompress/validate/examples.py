"""Labelled examples as one value, for code that evaluates a model repeatedly."""

from typing import NamedTuple

from jax.typing import ArrayLike

from jaxcompress.core.types import PyTree


class Examples(NamedTuple):
    """Held-out examples with labels, and how a judge reads them: see `evaluate`.

    Attributes:
      inputs: array, or tree of arrays, with first axis n, n at least 1.
      labels: (n,), integer in [0, classes).
      ignore: the label of examples to leave out, such as -100 for padding.
      batch_size: examples per call; fewer when there are fewer.

    Example:
      >>> examples = jc.validate.Examples(jnp.eye(2), jnp.array([0, 1]))
      >>> classifier = lambda params, x: x @ params
      >>> jc.validate.evaluate(classifier, jnp.eye(2), **examples._asdict()).accuracy
      1.0
    """

    inputs: PyTree
    labels: ArrayLike
    ignore: int | None = None
    batch_size: int = 256
