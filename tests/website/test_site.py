"""The site lists every page, and every public name has its place in the reference."""

import collections
import re
import subprocess
import sys

import pytest

from website import links, navigation, places, reference

yaml = pytest.importorskip("yaml", reason="comes with Flax and with the extra `docs`")

MODULES = list(reference.public_modules())
NAMES = {f"{module}.{name}" for module in MODULES for name in reference.members(module)}


def listed() -> list[str]:
    """The pages that the navigation lists."""
    settings = yaml.safe_load((links.ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    return list(navigation.pages(navigation.navigation(settings["nav"], places.every())))


def test_every_page_is_listed_once():
    assert collections.Counter(listed()) == collections.Counter(places.every())


def test_every_name_is_on_one_page_of_the_reference():
    pages = reference.pages()
    assert len(pages) == len(MODULES)
    named = re.compile(r"^::: (\S+)$|^## .*{ #(\S+)", re.MULTILINE)
    shown = [match[1] or match[2] for text in pages.values() for match in named.finditer(text)]
    assert collections.Counter(shown) == collections.Counter(NAMES)


def test_a_page_that_is_named_is_not_listed_with_its_folder():
    folder = ["a/b.md", "a/c.md"]
    assert navigation.navigation(["a/c.md", "a/"], folder) == ["a/c.md", "a/b.md"]


def test_a_folder_becomes_sections():
    folder = ["a/README.md", "a/b.md", "a/c/README.md", "a/c/d.md", "e.md"]
    expected = ["e.md", "a/README.md", "a/b.md", {"c": ["a/c/README.md", "a/c/d.md"]}]
    assert navigation.expanded(["e.md", "a/"], folder) == expected
    assert navigation.expanded({"A": "a/"}, folder) == {"A": expected[1:]}
    assert list(navigation.pages(expected)) == ["e.md", *folder[:-1]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a](pruning.md#b)", "[a](../pruning.md#b)"),
        ("[a](../benchmarks/race.py)", "[a](../source/benchmarks/race.py.md)"),
        ("![a](../benchmarks/x.png)", "![a](../source/benchmarks/x.png)"),
        ("[a](../benchmarks/README.md)", "[a](../benchmarks/README.md)"),
        ("[a](decisions)", "[a](../decisions/README.md)"),
        ("[a](#b) [c](https://d.org/e.md)", "[a](#b) [c](https://d.org/e.md)"),
        ("[a](https://github.com/jaxcompress/jaxcompress/blob/main/docs/b.md)", "[a](../b.md)"),
        ("`[a](b.md)` [a](b.md)", "`[a](b.md)` [a](../b.md)"),
        ("```\n[a](b.md)\n```", "```\n[a](b.md)\n```"),
    ],
)
def test_links_are_rewritten_outside_code(text, expected):
    assert links.rewritten(text, "docs/here.md", "there/here.md", places.place) == expected


@pytest.mark.slow
def test_the_built_site_has_an_anchor_for_every_name(tmp_path):
    pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=False, cwd=links.ROOT, text=True)
    assert done.returncode == 0, done.stderr
    for module in MODULES:
        place = reference.place(module).replace("README.md", "index.md")
        text = (tmp_path / place.replace(".md", ".html")).read_text(encoding="utf-8")
        anchors = set(re.findall(r'id="([^"]+)"', text))
        names = {f"{module}.{name}" for name in reference.members(module)}
        assert names <= anchors, module
