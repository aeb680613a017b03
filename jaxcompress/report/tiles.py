"""A card for each model of a report, as HTML."""

from html import escape

from jaxcompress.report import units
from jaxcompress.report.sections import Tiles
from jaxcompress.report.variants import Variant, named, reference


def tiles(section: Tiles) -> str:
    """The cards as a list; the headline's is marked."""
    original, best = reference("Tiles", section.variants), named(section.variants)
    items = [_tile(variant, original, variant is best) for variant in section.ordered]
    return f'<ul class="tiles">\n{"".join(items)}</ul>'


def _tile(variant: Variant, original: Variant, best: bool) -> str:
    point, test = variant.point, variant.comparison
    verdict = "the original" if test is None else test.verdict
    kind = f"tile {variant.outcome}" + " named" * best
    return (
        f'<li class="{kind}">\n<h3>{escape(variant.name)}</h3>\n<dl>'
        f"<div><dt>File</dt><dd>{units.size(point.size_bytes)}</dd>"
        f"<dd>{_ratio(variant, original)}</dd></div>"
        f'<div class="accuracy"><dt>Accuracy</dt><dd>{units.percent(point.accuracy)} %</dd>'
        f"<dd>{units.percent(point.low)} to {units.percent(point.high)} %</dd></div></dl>\n"
        f'<p class="verdict">{escape(units.unbroken(verdict))}</p>\n</li>\n'
    )


def _ratio(variant: Variant, original: Variant) -> str:
    if variant.comparison is None:
        return "as it was trained"
    ratio = original.size_bytes / variant.size_bytes
    if ratio < 1:
        return f"{1 / ratio:.1f} times larger"
    return f"{ratio:.1f} times smaller"
