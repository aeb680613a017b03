"""A batch of data: one input of the model, or a tuple of its inputs."""

from typing import Any


def as_inputs(batch: Any) -> tuple:
    """The inputs of a batch: a tuple as it is, anything else as a tuple of one.

    Example:
      >>> as_inputs({"ids": 1}), as_inputs((1, 2))
      (({'ids': 1},), (1, 2))
    """
    return batch if isinstance(batch, tuple) else (batch,)
