"""The page: escaped, whole, self-contained, and the same each time."""

import base64
import re
from html.parser import HTMLParser

import pytest

from jaxcompress.report import (
    Column,
    Heading,
    Paragraph,
    Picture,
    Preformatted,
    page,
    table,
)

HOSTILE = """<script>alert("1 & 2")</script>'"""
PNG = b"\x89PNG\r\n\x1a\nrest"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
UNCLOSED = {"meta", "img"}


class Elements(HTMLParser):
    """Elements, attributes and text; every element must be closed in its turn."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.seen, self.attributes, self.text = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.attributes += attributes
        if tag not in UNCLOSED:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parsed(text: str) -> Elements:
    elements = Elements()
    elements.feed(text)
    elements.close()
    assert elements.open == []
    return elements


def everything(text: str) -> str:
    """A page with every kind of section, and this text in each place that takes one."""
    columns = [Column("name", text), Column("count", "Count", ",d")]
    return page(
        text,
        [
            Heading(text),
            Paragraph(text),
            Preformatted(text),
            table([{"name": text, "count": -1234}], columns=columns, title=text, captions=[text]),
            Picture(PNG, text, text),
            Picture(SVG, "drawing"),
        ],
    )


def test_every_text_is_escaped_and_none_is_lost():
    text = everything(HOSTILE)
    elements = parsed(text)
    assert "script" not in elements.seen
    assert "<script" not in text
    # Title twice, heading, paragraph, preformatted; the table's title, heading, cell
    # and caption; the picture's caption, whose description is an attribute.
    assert elements.text.count(HOSTILE) == 10
    assert ("alt", HOSTILE) in elements.attributes


def test_every_kind_of_section_has_its_element():
    seen = parsed(everything("words")).seen
    assert [tag for tag in seen if tag in ("h1", "h2", "p", "pre", "table", "figure")] == [
        "h1",
        "h2",
        "p",
        "pre",
        "table",
        "figure",
        "figure",
    ]


def test_a_table_keeps_its_numbers_and_their_side():
    text = everything("words")
    assert '<th scope="row">words</th><td class="number">−1,234</td>' in text


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
        page("Page", ["words"])
