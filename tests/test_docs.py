"""Every name that the pages speak of is there."""

import functools
import pathlib
import re

import pytest

import jaxcompress
from website import links

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
    assert "prune.prune" in names(ROOT / "docs" / "coming-from" / "jaxpruner.md")


def test_the_readme_links_absolutely_since_the_package_index_shows_it_alone():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = [match["target"] for match in links.LINK.finditer(text) if match["target"]]
    assert targets
    assert [target for target in targets if "://" not in target] == []
