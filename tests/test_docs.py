"""Every name that the pages speak of is there."""

import functools
import pathlib
import re

import pytest

import jaxcompress

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
HOME = re.compile(
    r"https://(?:github\.com/jaxcompress/jaxcompress/blob"
    r"|raw\.githubusercontent\.com/jaxcompress/jaxcompress)/main/(.+)"
)
NAMES = re.compile(r"\bjc\.([a-z]\w*(?:\.\w+)*)")


def names(page: pathlib.Path) -> set[str]:
    return set(NAMES.findall(page.read_text(encoding="utf-8")))


def links(page: pathlib.Path) -> list[str]:
    """Where a page's links and pictures lead, without the place on that page."""
    return re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_exist(page):
    pytest.importorskip("flax")
    for name in sorted(names(page)):
        functools.reduce(getattr, name.split("."), jaxcompress)


def test_the_table_of_calls_is_read():
    assert "prune.prune" in names(ROOT / "docs" / "coming-from.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in links(page):
        ours = HOME.fullmatch(target)
        if ours or "://" not in target:
            assert (ROOT / ours[1] if ours else page.parent / target).exists(), target


def test_the_readme_links_absolutely_since_the_package_index_shows_it_alone():
    targets = links(ROOT / "README.md")
    assert targets
    assert [target for target in targets if "://" not in target] == []
