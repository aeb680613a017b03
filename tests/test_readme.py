"""The pages tell the truth: every ```python block of README.md and of docs/ runs.

The blocks of one page run in the order they are read and share one namespace, as a
reader's session would; a ```text block that follows one directly is what it prints.
What is only to be looked at (another library's code, a file's layout) carries another
tag than `python`.
"""

import pathlib

import jax
import pytest

from tests.pages import Block, agrees, alike, blocks, run, written_anew

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def page_of(tmp_path, text: str) -> pathlib.Path:
    page = tmp_path / "page.md"
    page.write_text(text)
    return page


def test_blocks_share_a_namespace_and_know_their_lines(tmp_path):
    text = "# Title\n```python\na = 1\n```\n```sh\nls\n```\n\n```python\nb = a + 1\n```\n"
    assert blocks(text) == [Block(2, "a = 1\n", None), Block(9, "b = a + 1\n", None)]
    assert run(page_of(tmp_path, text))["b"] == 2


PRINTS = "```python\nprint(1.25, 3)\n```\n\n```text\n{}\n```\n"
RAISES = "```python\nprint('so far')\nint('x')\n```\n\n```text\nso far\n{}: invalid ...\n```\n"


def test_what_a_page_shows_is_what_its_block_prints(tmp_path):
    run(page_of(tmp_path, PRINTS.format("1.2  3")))
    run(page_of(tmp_path, PRINTS.format("1.2 3").replace("\n\n", "\n\nwhich is not\n\n")))
    with pytest.raises(AssertionError, match=r"page.md:2 prints\n1.25 3\n"):
        run(page_of(tmp_path, PRINTS.format("1.2 4")))


def test_figures_that_were_measured_may_differ_and_words_may_not(tmp_path):
    text = PRINTS.replace("```text", '```text title="measured"')
    run(page_of(tmp_path, text.format("7.9 13,000")))
    with pytest.raises(AssertionError, match="prints"):
        run(page_of(tmp_path, text.format("7.9 bytes")))


def test_an_error_that_a_page_shows_is_its_last_line(tmp_path):
    run(page_of(tmp_path, RAISES.format("ValueError")))
    with pytest.raises(ValueError, match="invalid literal"):
        run(page_of(tmp_path, RAISES.format("KeyError")))
    with pytest.raises(ValueError, match="invalid literal"):
        run(page_of(tmp_path, RAISES.format("ValueError").partition("\n\n")[0]))


def test_an_error_that_a_page_promises_and_does_not_get_fails(tmp_path):
    with pytest.raises(AssertionError):
        run(page_of(tmp_path, RAISES.format("ValueError").replace("int('x')", "int('1')")))


def test_pages_are_written_anew_only_where_they_differ(tmp_path):
    page = page_of(tmp_path, PRINTS.format("1.2 ...") + PRINTS.format("2.5 3") + "end\n")
    assert written_anew(page) == PRINTS.format("1.2 ...") + PRINTS.format("1.25 3") + "end\n"


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("0.31", "0.3149", True),
        ("0.31", "0.29", False),
        ("-0.50 [a]", "-0.51   [a]\n", True),
        ("1.5e-7", "1.58e-07", True),
        ("1.5e-7", "1.9e-07", False),
        ("10,000", "10,001", False),
        ("97.5%", "97.58%", True),
        ("a ... c", "a\nb\nc", True),
        ("a ... c", "a\nb", False),
        ("v0.1.2", "v0.1.3", False),
    ],
)
def test_numbers_are_as_exact_as_they_are_shown(shown, printed, same):
    assert agrees(shown, printed) is same


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("+0.4 points [−0.7, +1.6]: no loss", "-1.2 points [-2.0, -0.4]: no loss", True),
        ("38,824 bytes became 7,224", "38,824 bytes became 719", True),
        ("int4 in 7,224 bytes", "int8 in 7,224 bytes", False),
        ("2 lost", "2 gained", False),
        ("loss 1.2e-7", "loss nan", False),
    ],
)
def test_measured_figures_are_figures(shown, printed, same):
    assert alike(shown, printed) is same


@pytest.mark.parametrize(
    ("module", "outcome"),
    [("flax.missing", pytest.skip.Exception), ("no_such_module", ModuleNotFoundError)],
)
def test_only_flax_may_be_missing_and_only_where_it_is_used(tmp_path, monkeypatch, module, outcome):
    page = page_of(
        tmp_path, f"```python\nimport pathlib\npathlib.Path('ran').touch()\nimport {module}\n```\n"
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
    if page.name == "equinox.md" and jax.__version_info__ < (0, 9):
        pytest.skip("The page shows an error of a leaf that this JAX raises in its own words.")
    monkeypatch.chdir(tmp_path)
    # A reader has JAX's own setting, so `x @ kernel + bias` is fine here.
    with jax.numpy_rank_promotion("allow"):
        run(page)
