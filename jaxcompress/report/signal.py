"""Signal-to-noise ratios of a compressed model, site by site."""

import math
import pathlib

from jaxcompress.core.kinds import check_kind, check_text
from jaxcompress.quantize.diagnosis import Diagnosis
from jaxcompress.report.figures import ACCENT, INK, MUTED, RULE, axes_of, destination, drawn

_LINES = {"weights": (MUTED, "s"), "inputs": (INK, "o"), "outputs": (ACCENT, "D")}
_NAMED = 40
"""Most sites whose names are written; of more every few."""


def signal(diagnosis: Diagnosis, path: str | pathlib.Path, *, title: str = "") -> bytes:
    """Draws the signal-to-noise ratios of weights, inputs and outputs along a model.

    Not for: what noise costs in answers; `auto.sensitivity` measures it.

    Sites stand in program order, the first on top, so that noise is seen to grow.
    Ratios that are not finite have no mark.

    Also known as: SQNR plot, quantization noise profile.

    Args:
      diagnosis: what `quantize.diagnose` gives.
      path: ends in ".svg" or ".png".
      title: the line above the plot.

    Returns:
      What was written, for embedding; the same diagnosis gives the same bytes.

    Raises:
      ImportError: matplotlib is not installed.
      TypeError: an argument is not of its kind.
      ValueError: the path ends otherwise.
    """
    check_kind("signal", "diagnosis", diagnosis, Diagnosis, "quantize.diagnose gives one.")
    check_text("signal", "title", title)
    path, form = destination("signal", path)
    height = 1.6 + 0.22 * min(len(diagnosis.sites), _NAMED)
    with axes_of("signal", title, (6.8, height)) as axes:
        _lines(axes, diagnosis)
        data = drawn(axes, form)
    path.write_bytes(data)
    return data


def _lines(axes, diagnosis: Diagnosis) -> None:
    places = range(len(diagnosis.sites))
    for field, (color, marker) in _LINES.items():
        each = [getattr(site, field) for site in diagnosis.sites]
        rows = [place for place in places if math.isfinite(each[place])]
        ratios = [each[place] for place in rows]
        style = {"color": color, "marker": marker, "markersize": 4, "linewidth": 1.2}
        axes.plot(ratios, rows, label=field, **style)
    every = -(-len(places) // _NAMED) or 1
    shown = [diagnosis.sites[place].name for place in places[::every]]
    axes.set_yticks(list(places[::every]), shown, fontsize=8, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel("signal to noise, dB", color=INK, labelpad=8)
    axes.grid(color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=8)
    axes.spines[:].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
