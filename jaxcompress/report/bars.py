"""Bars in the rows of a table, as HTML."""

import math
from html import escape

from jaxcompress.report.sections import Bar, Bars


def legend(section: Bars) -> str:
    """What the colours are that are seen; nothing where there is only one."""
    seen = {place for bar in section.bars if bar for place, value in enumerate(bar.values) if value}
    keys = "".join(
        f'<li><span class="key s{place}"></span>{escape(name)}</li>'
        for place, name in enumerate(section.series)
        if place in seen
    )
    if not keys:
        return ""
    return f'<ul class="legend">{keys}</ul>'


def cells(section: Bars) -> list[str]:
    """The last cell of each row, drawn on the scale of all."""
    ends = [bar.ends for bar in section.bars if bar is not None]
    low = min((end[0] for end in ends), default=0.0)
    high = max((end[1] for end in ends), default=0.0)
    length = high - low or 1.0
    return [_cell(bar, low, length) for bar in section.bars]


def _cell(bar: Bar | None, low: float, length: float) -> str:
    if bar is None:
        return "<td></td>"
    parts, begin = [], min(0.0, *bar.values)
    for place, value in enumerate(bar.values):
        if value:
            parts.append(f'<span class="s{place}" {_span(begin - low, abs(value), length)}></span>')
        begin += abs(value)
    if low < 0:
        parts.append(f'<i class="zero" {_span(-low, 0, length)}></i>')
    if bar.interval is not None:
        begin, end = bar.interval
        parts.append(f'<i class="whisker" {_span(begin - low, end - begin, length)}></i>')
    # What the bar shows stands in the row as a number.
    return f'<td class="bar" aria-hidden="true"><div>{"".join(parts)}</div></td>'


def _span(begin: float, width: float, length: float) -> str:
    left, wide = (100 * math.fabs(part) / length for part in (begin, width))
    return f'style="left:{left:.3g}%;width:{wide:.3g}%"'
