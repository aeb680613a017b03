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


def points(
    path: pathlib.Path,
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    marks: Mapping[str, tuple[float, float]],
    *,
    x: str,
    y: str,
) -> None:
    """Writes a PNG: each run a point, on a logarithmic x axis.

    Args:
      path: where to.
      series: by label the runs' places on both axes.
      marks: by label what others published.
      x: what the x axis counts.
      y: what the y axis counts.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for label, (across, up) in series.items():
        axes.plot(across, up, ".", label=label, markersize=8, alpha=0.7)
    for shape, (label, (across, up)) in zip("x+*^", marks.items(), strict=False):
        axes.plot(across, up, shape, color="black", label=f"{label}, published", markersize=8)
    axes.set(xlabel=x, ylabel=y, xscale="log")
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_major_formatter(plain)
    axes.xaxis.set_minor_formatter(plain)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
