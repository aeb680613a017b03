"""The pages tell the truth: every ```python block of README.md and of docs/ runs.

The blocks of one page run in the order they are read and share one namespace, as a
reader's session would. What is only to be looked at (another library's code, output)
carries another tag than `python`.
"""

import pathlib
import re

import jax
import pytest

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str) -> list[tuple[int, str]]:
    """The ```python blocks of a page, each with the number of lines above its first."""
    return [(text.count("\n", 0, match.start(1)), match[1]) for match in BLOCK.finditer(text)]


def run(page: pathlib.Path) -> dict:
    """The namespace that a page's blocks leave; tracebacks name page and line.

    A page that counts what was compiled begins without caches, as a reader's session
    does: JAX counts in one cache for the whole process, and counts nothing once that is
    full. Where Flax is not installed, the test is skipped at the first block that needs
    it.
    """
    text = page.read_text(encoding="utf-8")
    if "_cache_size" in text:
        jax.clear_caches()
    namespace = {"__name__": page.stem}
    for above, source in blocks(text):
        try:
            exec(compile("\n" * above + source, str(page), "exec"), namespace)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "flax":
                raise
            pytest.skip(f"{page.name}:{above + 1} and what follows needs Flax.")
    return namespace


def test_blocks_share_a_namespace_and_know_their_lines(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Title\n```python\na = 1\n```\n```sh\nls\n```\n\n```python\nb = a + 1\n```\n")
    assert blocks(page.read_text()) == [(2, "a = 1\n"), (9, "b = a + 1\n")]
    assert run(page)["b"] == 2


@pytest.mark.parametrize(
    ("module", "outcome"),
    [("flax.missing", pytest.skip.Exception), ("no_such_module", ModuleNotFoundError)],
)
def test_only_flax_may_be_missing_and_only_where_it_is_used(tmp_path, monkeypatch, module, outcome):
    page = tmp_path / "page.md"
    page.write_text(
        f"```python\nimport pathlib\npathlib.Path('ran').touch()\nimport {module}\n```\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(outcome):
        run(page)
    assert (tmp_path / "ran").exists()


def test_readme_shows_python():
    assert blocks((ROOT / "README.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.exists() and blocks(page.read_text(encoding="utf-8"))],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # A reader has JAX's own setting, so `x @ kernel + bias` is fine here.
    with jax.numpy_rank_promotion("allow"):
        run(page)
