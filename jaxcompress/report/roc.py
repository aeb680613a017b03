"""ROC curves of membership audits on logarithmic axes, where low rates are seen."""

import pathlib
from collections.abc import Mapping

import numpy as np

from jaxcompress.core.kinds import check_kind, check_mapping, check_text
from jaxcompress.report.figures import INK, MUTED, RULE, axes_of, destination, drawn
from jaxcompress.validate.membership import Audit

_SOLID = 10
"""Colours come again after so many lines, which are dashed from there on."""


def roc(audits: Mapping[str, Audit], path: str | pathlib.Path, *, title: str = "") -> bytes:
    """Draws false against true positive rates of attacks, both axes logarithmic.

    Not for: classifiers of which low rates are not the question; `roc_auc` has their
    figure.

    On linear axes an attack that finds a few members beyond doubt looks like guessing.
    Lines are named from what finds most at the lowest rate; the dotted one is chance.

    Also known as: log-log ROC curve, log-scale ROC.

    Args:
      audits: by label, what `validate.membership.audit` gives.
      path: ends in ".svg" or ".png".
      title: the line above the plot.

    Returns:
      What was written, for embedding; the same audits give the same bytes.

    Raises:
      ImportError: matplotlib is not installed.
      TypeError: an argument is not of its kind.
      ValueError: there is no audit, or the path ends otherwise.

    Source: Carlini et al. 2022, arXiv:2112.03570, section III.
    """
    check_mapping("roc", "audits", audits, "Its values are audits, its keys their labels.")
    for label, audit in audits.items():
        check_text("roc", "audits", label)
        check_kind("roc", f"audits[{label!r}]", audit, Audit, "membership.audit gives one.")
    if not audits:
        raise ValueError("roc(audits) is empty. Give at least one.")
    check_text("roc", "title", title)
    path, form = destination("roc", path)
    with axes_of("roc", title, (6.8, 5.2)) as axes:
        _lines(axes, audits)
        data = drawn(axes, form)
    path.write_bytes(data)
    return data


def _lines(axes, audits: Mapping[str, Audit]) -> None:
    def at_the_lowest(each: tuple[str, Audit]) -> float:
        return -each[1].found[0].true_positives

    low = min(1 / audit.others for audit in audits.values())
    for rank, (label, audit) in enumerate(sorted(audits.items(), key=at_the_lowest)):
        false, true = (np.asarray(axis) for axis in audit.curve)
        line = "solid" if rank < _SOLID else "dashed"
        # A share of 0 has no place on a logarithmic axis.
        axes.plot(false[true > 0], true[true > 0], linestyle=line, linewidth=1.6, label=label)
    axes.plot([low, 1], [low, 1], color=MUTED, linestyle="dotted", linewidth=1.2, label="chance")
    axes.set(xscale="log", yscale="log", xlim=(low, 1), ylim=(low, 1.15))
    axes.set_xlabel("false positive rate", color=INK, labelpad=8)
    axes.set_ylabel("members found", color=INK, labelpad=8)
    axes.grid(color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, which="both", labelsize=9)
    axes.spines[:].set_visible(False)
    legend = axes.legend(frameon=False, fontsize=9, loc="lower right")
    for text in legend.get_texts():
        text.set_parse_math(False)  # a label may hold "$"
