"""What plots share: a figure without global state, its colours, the file it goes to.

Matplotlib is loaded when a plot is drawn, without pyplot: no backend is chosen, and the
settings of the caller are neither used nor changed.
"""

import contextlib
import io
import pathlib
from collections.abc import Iterator
from typing import Any

from jaxcompress.core.kinds import check_path

SVG = {"format": "svg", "metadata": dict.fromkeys(("Creator", "Date", "Format", "Type"))}
PNG = {"format": "png", "dpi": 200, "metadata": {"Software": None}}
FORMS = {".svg": SVG, ".png": PNG}

INK, MUTED, RULE, ACCENT = "#1d2430", "#8a919c", "#e6e8eb", "#0b5c8a"


def destination(caller: str, path: str | pathlib.Path) -> tuple[pathlib.Path, dict[str, Any]]:
    """Where a plot goes and in which form, or a ValueError that names the endings."""
    check_path(caller, "path", path)
    path = pathlib.Path(path)
    if path.suffix not in FORMS:
        raise ValueError(f"{caller}(path={str(path)!r}) must end in {' or '.join(FORMS)}.")
    return path, FORMS[path.suffix]


@contextlib.contextmanager
def axes_of(name: str, title: str, size: tuple[float, float]) -> Iterator[Any]:
    """The axes of a new figure under the library's style.

    Args:
      name: of the function in `report`, which also makes the names in an SVG, and so
        its bytes, the same each time.
      title: the line above the plot.
      size: width and height in inches.

    Raises:
      ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib import style
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            f"report.{name} needs matplotlib: pip install jaxcompress[plots]"
        ) from error
    with style.context(["default", {"svg.hashsalt": name}]):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.set_title(
            title, loc="left", color=INK, fontsize=11, fontweight="bold", pad=12, parse_math=False
        )
        yield axes


def drawn(axes: Any, form: dict[str, Any]) -> bytes:
    """The figure as the bytes of a file; to be called under its style."""
    buffer = io.BytesIO()
    axes.figure.savefig(buffer, **form)
    return buffer.getvalue()
