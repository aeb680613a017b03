"""How long a run of `fit` is, where it runs, and what the host does beside it."""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import NamedSharding

from jaxcompress.core.checks import check_count
from jaxcompress.core.kinds import check_function, check_kind, check_path, check_text
from jaxcompress.core.types import Params

SPAN = 50
"""Steps in one compiled call on an accelerator, and from look to look on the CPU."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long a run is, and how it is executed.

    The first three fields decide what comes out; the others change nothing but time.

    Args:
      steps: batches to train on, at least 1.
      batch_size: examples per step, at least 1 and at most as many as there are.
      seed: of the order of examples, of augmentation and of dropout; at least 0.
      chunk: steps in one compiled call, at least 1. By default 50, and 1 on the CPU,
        where calls cost little and a convolution is many times as slow inside a loop.
        Where it does not divide the steps between two looks, two lengths are compiled.
      sharding: of batches over a mesh, such as
        `NamedSharding(mesh, PartitionSpec("data"))`; params are on every device. By
        default one device.
      title: beside the progress bar, which is shown on a terminal; "" shows none.

    Raises:
      ValueError: a number is out of range.
      TypeError: a field is of another kind.
    """

    steps: int
    batch_size: int = 64
    seed: int = 0
    chunk: int | None = None
    sharding: NamedSharding | None = None
    title: str = "training"

    def __post_init__(self) -> None:
        check_count("Plan", "steps", self.steps)
        check_count("Plan", "batch_size", self.batch_size)
        check_count("Plan", "seed", self.seed, least=0)
        if self.chunk is not None:
            check_count("Plan", "chunk", self.chunk)
        mend = 'For example NamedSharding(mesh, PartitionSpec("data")).'
        check_kind("Plan", "sharding", self.sharding, NamedSharding | None, mend)
        check_text("Plan", "title", self.title)

    @property
    def scanned(self) -> int:
        """Steps in one compiled call."""
        return self.chunk or (1 if jax.default_backend() == "cpu" else SPAN)

    @property
    def span(self) -> int:
        """Steps from one look at the losses to the next: whole calls, about fifty."""
        return self.scanned * max(1, SPAN // self.scanned)


@dataclasses.dataclass(frozen=True)
class Watch:
    """A figure of the params that is looked at now and then; the least is the best.

    Args:
      figure: params to a number, such as the loss on held-out examples, or 1 minus an
        accuracy. It keeps no params: the next step reuses their memory.
      every: steps between two looks, at least 1; the last step is looked at, too.
      patience: looks in a row without a new least figure after which the run stops, at
        least 1; by default it never does.

    Raises:
      ValueError: a number is out of range.
      TypeError: `figure` is no function.
    """

    figure: Callable[[Params], float]
    every: int = 100
    patience: int | None = None

    def __post_init__(self) -> None:
        check_function("Watch", "figure", self.figure, "Pass figure(params), a number.")
        check_count("Watch", "every", self.every)
        if self.patience is not None:
            check_count("Watch", "patience", self.patience)


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """Where and how often a run is saved, so that a stopped run goes on.

    Args:
      folder: of this run alone; made where missing. The two newest are kept.
      every: steps between two, at least 1; the last step is saved, too.

    Raises:
      ValueError: `every` is no count.
      TypeError: `folder` is no path.
    """

    folder: str | os.PathLike[Any]
    every: int = 1000

    def __post_init__(self) -> None:
        check_path("Checkpoints", "folder", self.folder)
        check_count("Checkpoints", "every", self.every)
