"""Curves of several runs in one picture: means over seeds and the range around."""

import pathlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike


def curves(
    path: pathlib.Path,
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    x: str,
    y: str,
    level: float | None = None,
    logarithmic: bool = False,
) -> None:
    """Writes a PNG.

    Args:
      path: where to.
      series: by label the places on the x axis and, per seed, the values there.
      x: what the x axis counts.
      y: what the y axis counts.
      level: a dashed line at this height.
      logarithmic: how the y axis runs.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for rank, (label, (places, runs)) in enumerate(series.items()):
        values = np.asarray(runs)
        # Colours come again after ten.
        style = "solid" if rank < 10 else "dashed"
        (line,) = axes.plot(places, values.mean(0), label=label, linewidth=1.5, linestyle=style)
        axes.fill_between(
            places, values.min(0), values.max(0), color=line.get_color(), alpha=0.15, linewidth=0
        )
    if level is not None:
        axes.axhline(level, color="grey", linestyle="--", linewidth=1)
    axes.set(xlabel=x, ylabel=y, yscale="log" if logarithmic else "linear")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
