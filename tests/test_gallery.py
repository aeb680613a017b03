"""The gallery runs, and its pages are made of its files."""

import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
FOLDER, PAGES = ROOT / "examples" / "gallery", ROOT / "docs" / "gallery"
SECONDS = 600
"""Of one example, on slow cores that others use too; most take less than one minute."""


def loaded():
    spec = importlib.util.spec_from_file_location("gallery", FOLDER / "__main__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


gallery = loaded()


def on_page(name):
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


def test_every_file_is_an_example_with_a_page_and_a_place_on_the_index():
    files = {path.stem for path in FOLDER.glob("*.py")} - {"__main__"}
    assert files == set(gallery.EXAMPLES)
    assert {path.stem for path in PAGES.glob("*.md")} == files | {"README"}
    assert (PAGES / "README.md").read_text(encoding="utf-8") == gallery.index()


@pytest.mark.parametrize("name", gallery.EXAMPLES)
def test_a_page_is_its_file_and_what_a_run_showed(name):
    text, of = on_page(name), gallery.cells(gallery.source_of(name))
    shown = gallery.shown_on(text)
    assert gallery.page(name, of, shown, gallery.ran_on(text)) == text
    assert shown[-1].printed
    assert re.match(r"Ran in \d+ s of processor time", gallery.ran_on(text))


def test_pictures_are_small_and_all_are_shown():
    shown = [each for name in gallery.EXAMPLES for each in gallery.shown_on(on_page(name))]
    pictures = [picture for each in shown for picture in each.pictures]
    assert sorted(pictures) == sorted(path.name for path in PAGES.glob("*.png"))
    assert all((PAGES / picture).stat().st_size <= gallery.LARGEST for picture in pictures)


@pytest.mark.parametrize("name", gallery.EXAMPLES)
def test_a_file_opens_as_a_notebook(name):
    jupytext = pytest.importorskip("jupytext")
    source = gallery.source_of(name)
    notebook = jupytext.reads(source, fmt="py:percent")
    read = [(cell.cell_type, cell.source) for cell in notebook.cells]
    assert read == [(cell.kind, cell.text) for cell in gallery.cells(source)]
    assert source.startswith("# %% [markdown]\n# # ")


@pytest.mark.parametrize("name", gallery.EXAMPLES)
def test_a_file_can_be_copied_alone_and_says_when_not_to_use_it(name):
    source = gallery.source_of(name)
    assert not re.search(r"^(from|import) (examples|benchmarks|tests)", source, re.MULTILINE)
    assert "**Do not use it**" in gallery.cells(source)[0].text


def test_cells_pages_and_what_they_show():
    source = "# %% [markdown]\n# # Title\n#\n# Text.\n\n\n# %%\na = 1\n\n# %%\n\n\nprint(a)\n"
    of = gallery.cells(source)
    assert [(cell.kind, cell.text) for cell in of] == [
        ("markdown", "# Title\n\nText."),
        ("code", "a = 1"),
        ("code", "print(a)"),
    ]
    assert [source.splitlines()[cell.line] for cell in of] == ["# # Title", "a = 1", "print(a)"]
    shown = [gallery.Shown(), gallery.Shown("1\n\n2", ("one.png", "two.png"))]
    text = gallery.page("name", of, shown, "Ran in 3 s.")
    assert gallery.shown_on(text) == shown
    assert gallery.ran_on(text) == "Ran in 3 s."
    assert text.startswith("# Title\n\nText.\n\n```py\na = 1\n```\n\n```py\nprint(a)\n```\n\n")


def test_new_text_is_taken_over_and_new_code_is_not(tmp_path, monkeypatch):
    source = "# %% [markdown]\n# # Title\n\n# %%\nprint(1)\n"
    monkeypatch.setattr(gallery, "PAGES", tmp_path)
    monkeypatch.setattr(gallery, "FOLDER", tmp_path)
    file, page = tmp_path / "name.py", tmp_path / "name.md"
    text = gallery.page("name", gallery.cells(source), [gallery.Shown("1")], "Ran in 3 s.")
    page.write_text(text)
    file.write_text(source.replace("Title", "Heading"))
    gallery.renew("name")
    assert page.read_text() == text.replace("Title", "Heading")
    file.write_text(source.replace("print(1)", "print(2)"))
    with pytest.raises(ValueError, match="name: code has changed"):
        gallery.renew("name")


@pytest.mark.slow
@pytest.mark.parametrize("name", gallery.EXAMPLES)
def test_an_example_runs(name, tmp_path):
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    # A reader's process: neither the devices nor the compiler's settings of the tests.
    settings = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py"],
        env=settings | {"GALLERY_OUT": str(tmp_path / "out"), "MPLBACKEND": "Agg"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    shown = gallery.shown_on(on_page(name))
    pictures = {picture for each in shown for picture in each.pictures}
    assert pictures == {path.name for path in (tmp_path / "out").glob("*.png")}
    # The same lines as on the page, but for the numbers in them and what follows those.
    begins = [line.split()[0] for line in shown[-1].printed.splitlines()]
    assert [line.split()[0] for line in done.stdout.splitlines()][-len(begins) :] == begins
