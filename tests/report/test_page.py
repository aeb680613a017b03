"""The page: escaped, whole, self-contained, and the same each time."""

import base64
import dataclasses
import re
from html.parser import HTMLParser

import pytest

from jaxcompress.core.report import LeafReport, Report
from jaxcompress.core.sensitivities import LeafSensitivity, Sensitivities
from jaxcompress.report import Column, Point, page, sections, table
from jaxcompress.report.sections import Heading, Headline, Paragraph, Picture, Preformatted
from jaxcompress.storage import LeafBytes
from tests.report import samples

HOSTILE = """<script>alert("1 & 2")</script>'"""
PNG = b"\x89PNG\r\n\x1a\nrest"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
UNCLOSED = {"meta", "img", "path", "circle"}


class Elements(HTMLParser):
    """Elements, attributes and text; every element must be closed in its turn."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.seen, self.attributes, self.text = [], [], [], []
        self.broken = False

    def handle_starttag(self, tag, attributes):
        if tag == "wbr":  # a line may end here; the text goes on
            self.broken = True
            return
        self.seen.append(tag)
        self.attributes += attributes
        if tag not in UNCLOSED:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.broken:
            self.text[-1] += data
        else:
            self.text.append(data)
        self.broken = False


def parsed(text: str) -> Elements:
    elements = Elements()
    elements.feed(text)
    elements.close()
    assert elements.open == []
    return elements


def everything(text: str) -> str:
    """A page with every kind of section, and this text wherever one is taken."""
    columns = [Column("name", text), Column("count", "Count", ",d")]
    counted = table([{"name": text, "count": -1234}], columns=columns, title=text, captions=[text])
    plain = table([{"name": text}], columns=columns[:1], title="")
    leaf = LeafReport(text, (2,), text, text, 8, 2)
    file = dataclasses.replace(samples.breakdown(), leaves=(LeafBytes(text, 4, 4, 0, 0, 0, 4),))
    row = LeafSensitivity(text, {"loss": -0.5}, choice="int4", intervals={"loss": (-1.0, 0.5)})
    original = samples.original()
    return page(
        text,
        [
            Headline(text, text),
            Heading(text),
            Paragraph(text),
            Preformatted(text),
            counted,
            Picture(PNG, text, text),
            Picture(SVG, "drawing"),
            sections.Tiles((original, dataclasses.replace(samples.variants()[1], name=text))),
            sections.Scatter((Point(text, 1000, 0.9, 0.8, 1.0),), text),
            sections.Bars(plain, (sections.Bar((1.0, 2.0)),), (text, "other")),
            sections.Beside(Paragraph(text), Paragraph("right")),
            sections.Folded(text, (Report("leaves", (leaf,)), file)),
            Sensitivities((row,), "loss", "measured"),
        ],
    )


def test_every_text_is_escaped_and_none_is_lost():
    text = everything(HOSTILE)
    elements = parsed(text)
    assert "script" not in elements.seen
    assert "<script" not in text
    # Title twice, headline and ground, heading, paragraph, preformatted; the table's
    # title, heading, cell and caption; the picture's caption, whose description is an
    # attribute; the tile; the point's name and label in two widths, and the caption;
    # the bar's heading, cell and series; beside; the fold, its leaf's name, action and
    # reason, the name beside its bytes; the name beside its sensitivity.
    assert elements.text.count(HOSTILE) == 7 + 4 + 1 + 1 + 5 + 3 + 1 + 5 + 1
    assert ("alt", HOSTILE) in elements.attributes


def test_every_kind_of_section_has_its_element():
    seen = parsed(everything("words")).seen
    kinds = ("h1", "h2", "p", "pre", "table", "img", "svg", "dl", "details")
    assert [tag for tag in seen if tag in kinds] == [
        *("h1", "p", "p", "h2", "p", "pre", "table", "img", "img"),
        *("dl", "p", "dl", "p", "svg", "svg", "table", "p", "p", "details", "table", "table"),
        "table",
    ]


def test_rows_of_many_words_stand_apart_where_it_is_narrow():
    def of(words: int) -> str:
        columns = [Column("name", "Name"), *(Column(f"{i}", f"Text {i}") for i in range(words))]
        row = {column.key: "words" for column in columns}
        return page("Page", [table([row], columns=columns, title="")])

    assert '<table class="wordy">' in of(3)
    assert '<td data-name="Text 2">words</td>' in of(3)
    assert '<table class="wordy">' not in of(2)


def test_a_bar_is_as_long_as_its_share():
    shown = table([{"a": "x"}, {"a": "y"}], columns=[Column("a", "A")], title="")
    bars = (sections.Bar((1.0, 2.0)), sections.Bar((4.0, 0.0)))
    text = page("Bars", [sections.Bars(shown, bars, ("one", "two"))])
    assert re.findall(r'class="(s\d)" style="left:(\S+)%;width:(\S+)%"', text) == [
        ("s0", "0", "25"),
        ("s1", "25", "50"),
        ("s0", "0", "100"),
    ]


def test_a_bar_below_zero_ends_at_zero_and_its_interval_is_on_the_same_scale():
    shown = table([{"a": "x"}], columns=[Column("a", "A")], title="")
    text = page("Bars", [sections.Bars(shown, (sections.Bar((-1.0,), (-3.0, 1.0)),))])
    assert re.findall(r'class="(\w+)" style="left:(\S+)%;width:(\S+)%"', text) == [
        ("s0", "50", "25"),
        ("zero", "75", "0"),
        ("whisker", "0", "100"),
    ]


def test_a_table_keeps_its_numbers_and_their_side():
    text = everything("words")
    assert '<th scope="row">words</th><td class="number" data-name="Count">−1,234</td>' in text


def test_nothing_outside_the_page_is_asked_for():
    text = everything("words")
    assert re.findall(r"https?:|//|url\(|@import", re.sub(r"base64,[\w+/=]*", "", text)) == []
    elements = parsed(text)
    assert not {"script", "link", "iframe", "base"} & set(elements.seen)
    addresses = [value for name, value in elements.attributes if name in ("src", "href")]
    assert len(addresses) == 2
    assert all(address.startswith("data:image/") for address in addresses)
    assert any("default-src 'none'" in (value or "") for _, value in elements.attributes)


@pytest.mark.parametrize(
    ("data", "media_type"), [(PNG, "image/png"), (SVG, "image/svg+xml")], ids=["png", "svg"]
)
def test_a_picture_is_embedded_whole(data, media_type):
    head, _, body = Picture(data, "drawing").uri.partition(";base64,")
    assert head == f"data:{media_type}"
    assert base64.b64decode(body) == data


def test_the_page_is_the_same_each_time():
    assert everything("words") == everything("words")
    assert everything("words") != everything("other words")


def test_what_cannot_be_shown_is_named():
    with pytest.raises(ValueError, match=r"Picture\('cat'\) is neither a PNG nor an SVG"):
        page("Page", [Picture(b"GIF89a", "cat")])
    with pytest.raises(TypeError, match=r"page\(sections='words'\) must be of type Heading"):
        page("Page", ["words"])  # type: ignore[list-item]
    shown = table([{"a": "x"}], columns=[Column("a", "A")], title="")
    with pytest.raises(ValueError, match=r"Bars\(bars\) has 0 for 1 rows"):
        sections.Bars(shown, ())
    with pytest.raises(ValueError, match=r"Bars\(series=\(\)\) must name the values"):
        sections.Bars(shown, (sections.Bar((1.0, 2.0)),))
    with pytest.raises(ValueError, match=r"Bar\(values=\(1, -2\)\) needs one value"):
        sections.Bar((1, -2))
    with pytest.raises(ValueError, match=r"Bar\(interval=\(2, 1\)\) must be \(low, high\)"):
        sections.Bar((1,), (2, 1))
    with pytest.raises(ValueError, match=r"Scatter\(points=\(\)\) is empty"):
        sections.Scatter(())
    with pytest.raises(TypeError, match=r"Folded\(sections='words'\) must be of type Heading"):
        sections.Folded("More", ("words",))  # type: ignore[arg-type]
