"""Every name that the pages speak of is there."""

import functools
import pathlib
import re

import pytest

import jaxcompress

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = re.compile(r"\bjc\.([a-z]\w*(?:\.\w+)*)")


def names(page: pathlib.Path) -> set[str]:
    return set(NAMES.findall(page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_exist(page):
    pytest.importorskip("flax")
    for name in sorted(names(page)):
        functools.reduce(getattr, name.split("."), jaxcompress)


def test_the_table_of_calls_is_read():
    assert "prune.prune" in names(ROOT / "docs" / "coming-from.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target
