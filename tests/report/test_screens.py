"""Pages as a browser lays them out: three widths, light and dark."""

import numpy as np
import pytest

from jaxcompress import report, storage
from tests.report import browser, samples
from tests.validate.test_card import full_card

WIDTHS = {1280: 900, 768: 1024, 390: 844}
"""Of screens, with their heights."""
SCREENS = [(width, scheme) for width in WIDTHS for scheme in ("light", "dark")]

LAID_OUT = """() => {
  const page = document.documentElement.clientWidth;
  const seen = (element) => element.getClientRects().length > 0;
  const all = [...document.querySelectorAll('body, body *')].filter(seen);
  const scrolls = (element) => element.closest('.table, pre');
  const wide = all.filter((element) =>
    (!scrolls(element) || scrolls(element) === element)
    && element.getBoundingClientRect().right > page + 0.5);

  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => {
    const [red, green, blue] = channels(color).map((channel) => {
      const share = channel / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const color = getComputedStyle(each).backgroundColor;
      if (!(channels(color).length === 4 && channels(color)[3] === 0)) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  const spoken = all.filter((element) => [...element.childNodes].some(
    (node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim())
    && !element.closest('title'));
  const contrasts = spoken.map((element) => {
    const style = getComputedStyle(element);
    const color = element.closest('svg') ? style.fill : style.color;
    const [dark, bright] = [light(color), light(ground(element))].sort((a, b) => a - b);
    return [(bright + 0.05) / (dark + 0.05), element.textContent.slice(0, 40), color];
  });

  const box = (element) => {
    const {left, top, right, bottom} = element.getBoundingClientRect();
    return [left, top, right, bottom];
  };
  const boxes = (selector) => [...document.querySelectorAll(selector)].filter(seen).map(box);
  const last = (selector) => Math.max(...boxes(selector).map((each) => each[3]));
  return {
    page, scroll: document.documentElement.scrollWidth,
    wide: wide.map((element) => element.outerHTML.slice(0, 80)),
    contrasts: contrasts.sort((a, b) => a[0] - b[0]).slice(0, 3), count: contrasts.length,
    first: ['.headline', '.ground', '.named .verdict', '.named .accuracy'].map(last),
    labels: boxes('svg .label'),
    marks: boxes('svg .interval, svg .cap, svg circle, svg .tick'),
    paper: getComputedStyle(document.body).backgroundColor,
  };
}"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with browser.opened(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture(scope="module")
def pages():
    html = samples.page()
    return {"report": html, "open": html.replace("<details>", "<details open>")}


def overlapping(one, two) -> bool:
    return all(one[axis] < two[axis + 2] and two[axis] < one[axis + 2] for axis in (0, 1))


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_a_report_fits_and_can_be_read(tab, pages, tmp_path, width, scheme):
    height = WIDTHS[width]
    tab.show(pages["report"], width=width, height=height, scheme=scheme)
    screen = tab.picture()
    (tmp_path / f"report-{width}-{scheme}.png").write_bytes(screen)
    # Width and height are the first two big-endian words of a PNG's header.
    assert int.from_bytes(screen[16:20], "big") == width
    found = tab.found(LAID_OUT)
    assert found["page"] == found["scroll"] == width
    assert found["wide"] == []
    assert found["count"] > 100
    assert found["contrasts"][0][0] >= 4.5, found["contrasts"]
    assert max(found["first"]) <= height
    dark = sum(map(int, found["paper"][4:-1].split(","))) < 3 * 128
    assert dark == (scheme == "dark")


@pytest.mark.parametrize("width", WIDTHS)
def test_labels_cover_no_mark_and_no_label(tab, pages, width):
    tab.show(pages["report"], width=width, height=WIDTHS[width], scheme="light")
    found = tab.found(LAID_OUT)
    labels, marks = found["labels"], found["marks"]
    assert len(labels) == len(samples.SIZES) + 1
    for place, label in enumerate(labels):
        others = labels[:place] + labels[place + 1 :]
        assert [other for other in [*marks, *others] if overlapping(label, other)] == []


def test_what_is_unfolded_fits_a_phone(tab, pages):
    tab.show(pages["open"], width=390, height=844, scheme="dark")
    found = tab.found(LAID_OUT)
    assert found["scroll"] == 390
    assert found["wide"] == []
    assert found["contrasts"][0][0] >= 4.5, found["contrasts"]


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_cards_and_files_fit_and_can_be_read(tab, tmp_path, width, scheme):
    storage.save(tmp_path / "model.safetensors", {"kernel": np.ones((40, 30))})
    file = storage.breakdown(tmp_path / "model.safetensors")
    for html in (report.card_page(full_card()), report.file_page(file)):
        tab.show(html, width=width, height=WIDTHS[width], scheme=scheme)
        found = tab.found(LAID_OUT)
        assert found["scroll"] == width
        assert found["wide"] == []
        assert found["contrasts"][0][0] >= 4.5, found["contrasts"]


def test_a_page_that_is_too_wide_or_too_pale_is_seen(tab):
    html = report.page("Page", []).replace(
        "</main>", '<div style="width: 500px; color: #ccc; background: #fff">pale</div></main>'
    )
    tab.show(html, width=390, height=844, scheme="light")
    found = tab.found(LAID_OUT)
    assert found["scroll"] > 390
    assert len(found["wide"]) == 1
    assert found["contrasts"][0][0] < 2
