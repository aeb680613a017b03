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


def sizes(
    path: pathlib.Path, models: Mapping[str, tuple[float, float, float, float]], *, change: str
) -> None:
    """Writes a PNG: a row for each model, with its bytes and what changed beside them.

    Args:
      path: where to.
      models: by label the bytes of its file, a change, and its interval's two ends;
        the first is what the others are compared with.
      change: what changed, with its unit.
    """
    from matplotlib.figure import Figure

    labels = sorted(models, key=lambda label: -models[label][0])
    size, middle, low, high = np.array([models[label] for label in labels]).T
    first, rows = next(iter(models.values()))[0], -np.arange(len(labels))
    figure = Figure(figsize=(8, 0.9 + 0.38 * len(labels)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    left.barh(rows, size / 1000, color="#3b6ea8", height=0.6)
    for row, each in zip(rows, size, strict=True):
        less = "" if each == first else f", {first / each:.0f} times smaller"
        inside = each > 0.6 * first
        left.annotate(
            f"{each / 1000:,.0f} kB{less}",
            (each / 1000, row),
            xytext=(-5 if inside else 5, 0),
            textcoords="offset points",
            ha="right" if inside else "left",
            va="center",
            fontsize=9,
            color="white" if inside else "black",
        )
    reach = [middle - low, high - middle]
    right.errorbar(middle, rows, xerr=reach, fmt="o", color="#b0482f", markersize=5)
    right.axvline(0, color="grey", linestyle="--", linewidth=1, zorder=0)
    left.set(xlabel="file, kB", yticks=rows, yticklabels=labels)
    right.set(xlabel=change)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
