"""Links between Markdown files lead to a file, and to a heading on it."""

import functools
import re

import pytest

from website import links

PAGES = sorted(
    path.relative_to(links.ROOT).as_posix()
    for folder, pattern in (
        (".", "*.md"),
        ("docs", "**/*.md"),
        ("examples", "**/*.md"),
        ("benchmarks", "*.md"),
    )
    for path in (links.ROOT / folder).glob(pattern)
)


def text(page: str) -> str:
    return (links.ROOT / page).read_text(encoding="utf-8")


@functools.cache
def anchors(page: str) -> set[str]:
    """The names that the code host gives the headings of a page."""
    found: dict[str, int] = {}
    fenced = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
    for heading in re.findall(r"^#+ (.+)$", fenced.sub("", text(page)), re.MULTILINE):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    return {f"{slug}-{n}" if n else slug for slug, last in found.items() for n in range(last + 1)}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page):
    for match in links.LINK.finditer(links.CODE.sub("", text(page))):
        target, anchor = match["target"] or "", match["anchor"]
        if target and not links.is_ours(target):
            continue
        there = links.resolved(target, page) if target else page
        assert (links.ROOT / there).exists(), target
        if anchor:
            assert anchor[1:] in anchors(there), match[0]


def test_headings_are_named_as_on_the_code_host(tmp_path, monkeypatch):
    monkeypatch.setattr(links, "ROOT", tmp_path)
    (tmp_path / "a.md").write_text("# `jc.a`: b – c\n```\n# no\n```\n## [D](e.md)\n## D\n")
    assert anchors("a.md") == {"jca-b--c", "d", "d-1"}


def test_pages_with_links_are_many():
    assert sum(len(list(links.targets(text(page)))) for page in PAGES) > 500
