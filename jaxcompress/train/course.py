"""How a run went so far: losses, looks, the best params."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import is_number
from jaxcompress.core.messages import shown
from jaxcompress.core.types import Array, Params
from jaxcompress.train.plan import Watch


@dataclasses.dataclass
class Course:
    """What a checkpoint holds beside the state.

    Args:
      losses: of the steps so far, in blocks.
      figures: (step, figure) of each look.
      best: the params of the least figure.
    """

    losses: list[np.ndarray]
    figures: list[tuple[int, float]]
    best: Params

    @property
    def best_step(self) -> int:
        """The first step of the least figure."""
        return min(self.figures, key=lambda look: look[1])[0]

    def add(self, losses: list[Array], *, may_be_nan: bool) -> None:
        """Reads the losses of the next steps.

        Raises:
          FloatingPointError: one is not finite.
        """
        before = sum(map(len, self.losses))
        block = np.concatenate([np.asarray(each) for each in losses])
        bad = np.flatnonzero(~np.isfinite(block))
        if bad.size and not may_be_nan:
            raise FloatingPointError(
                f"fit: the loss of step {before + bad[0] + 1} is {block[bad[0]]}."
            )
        self.losses.append(block)

    def look(self, watch: Watch, params: Params, count: int) -> None:
        """Takes down the figure of the params, which are kept where it is the least.

        Raises:
          TypeError: the figure is no number.
          FloatingPointError: it is not finite.
        """
        figure: Any = watch.figure(params)
        if not is_number(figure):
            raise TypeError(f"Watch(figure=...) gives {shown(figure)}, which must be a number.")
        if not np.isfinite(float(figure)):
            raise FloatingPointError(f"fit: the figure watched is {figure} after step {count}.")
        self.figures.append((count, float(figure)))
        if self.best_step == count:
            # The next step reuses the memory of the params themselves.
            self.best = jax.tree.map(jnp.array, params)

    @property
    def said(self) -> str:
        """What stands beside a progress bar."""
        loss = f"loss {self.losses[-1][-1]:.4f}" if self.losses else ""
        return f"{loss}  figure {self.figures[-1][1]:.4f}" if self.figures else loss

    def is_over(self, watch: Watch | None) -> bool:
        """Whether so many looks in a row found nothing better."""
        if watch is None or watch.patience is None or not self.figures:
            return False
        return sum(step > self.best_step for step, _ in self.figures) >= watch.patience
