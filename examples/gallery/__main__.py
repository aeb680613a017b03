"""Runs the gallery and writes its pages: docs/gallery/NAME.md, then the index.

    python -m examples.gallery                  # all of them, one process each
    python -m examples.gallery int8_cnn lstm    # these, and the index
    python -m examples.gallery --text           # run nothing, take over new text

A file of the gallery is cells: `# %% [markdown]` begins one of text, `# %%` one of
code. A page is the same cells with what they printed and drew. Files that an example
leaves in the folder of the environment variable GALLERY_OUT as `.png` are its pictures.
"""

import argparse
import contextlib
import importlib.metadata
import io
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import NamedTuple

FOLDER = pathlib.Path(__file__).parent
ROOT = FOLDER.parent.parent
PAGES = ROOT / "docs" / "gallery"

EXAMPLES = (
    "int8_cnn",
    "resnet_in_half",
    "distilled_student",
    "qlora",
    "transformer_4bit",
    "kfold_recipe",
    "membership_audit",
    "deep_compression",
    "adam_8bit",
    "muon_against_adamw",
    "lstm_few_bits",
    "mixture_of_experts",
)
"""In the order of the index."""

LARGEST = 60_000
"""Bytes of a picture."""

INTRODUCTION = """# Gallery

Small studies, each one file to copy: run it as a script, or open it as a notebook with
[jupytext](https://jupytext.readthedocs.io). Data is what scikit-learn and Python bring along, so
nothing is downloaded. Every study holds test data apart, opens them once and prints an interval;
the first cell says when not to use the method. They show how a thing is done, on small data;
how good a method is, the [benchmarks](../../benchmarks/README.md) tell.

    pip install 'jaxcompress[demo]'
    python examples/gallery/int8_cnn.py

Pages are made by running the files: `python -m examples.gallery` (seconds are those of one core).
"""


class Cell(NamedTuple):
    """A cell of a file.

    Attributes:
      kind: "markdown" or "code".
      text: without the comment signs of Markdown.
      line: how many lines of the file are above it.
    """

    kind: str
    text: str
    line: int


class Shown(NamedTuple):
    """What a cell printed, and the names of the pictures that it drew."""

    printed: str = ""
    pictures: tuple[str, ...] = ()


def cells(source: str) -> list[Cell]:
    """The cells of a file, in order."""
    found: list[Cell] = []
    marks = list(re.finditer(r"^# %%(.*)\n", source, re.MULTILINE))
    ends = [mark.start() for mark in marks[1:]] + [len(source)]
    for mark, end in zip(marks, ends, strict=True):
        text = source[mark.end() : end].strip("\n")
        kind = "markdown" if mark[1].strip() == "[markdown]" else "code"
        if kind == "markdown":
            text = re.sub(r"^# ?", "", text, flags=re.MULTILINE)
        # Blank lines that open a cell count, so that tracebacks name the right line.
        opening = len(source[mark.end() : end]) - len(source[mark.end() : end].lstrip("\n"))
        found.append(Cell(kind, text, source.count("\n", 0, mark.end()) + opening))
    return found


def source_of(name: str) -> str:
    """The text of an example's file."""
    return (FOLDER / f"{name}.py").read_text(encoding="utf-8")


def page(name: str, of: Sequence[Cell], shown: Sequence[Shown], ran: str) -> str:
    """The Markdown page of an example; `shown` is that of its cells of code."""
    blocks, left = [], list(shown)
    for cell in of:
        if cell.kind == "markdown":
            blocks.append(cell.text)
            continue
        what = left.pop(0)
        blocks.append(f"```py\n{cell.text}\n```")
        blocks += [f"```text\n{what.printed}\n```"] * bool(what.printed)
        blocks += [f"![{said_of(picture)}]({picture})" for picture in what.pictures]
    link = f"[examples/gallery/{name}.py](../../examples/gallery/{name}.py)"
    return "\n\n".join([*blocks, ran, f"The file: {link}."]) + "\n"


def said_of(picture: str) -> str:
    """What stands for a picture where it is not seen."""
    return f"Picture: {pathlib.Path(picture).stem.replace('_', ' ')}"


def shown_on(text: str) -> list[Shown]:
    """What a page shows under each of its cells of code."""
    found = []
    for under in re.split(r"^```py\n.*?^```\n", text, flags=re.MULTILINE | re.DOTALL)[1:]:
        printed = re.match(r"\n```text\n(.*?)\n```\n", under, re.DOTALL)
        pictures = re.findall(r"^!\[.*?\]\((.*?)\)$", under, re.MULTILINE)
        found.append(Shown(printed[1] if printed else "", tuple(pictures)))
    return found


def ran_on(text: str) -> str:
    """The line of a page that says how long its run took."""
    found = re.search(r"^Ran in .*$", text, re.MULTILINE)
    return found[0] if found else ""


def run(name: str, out: pathlib.Path) -> list[Shown]:
    """What every cell of code showed; pictures lie in `out` afterwards."""
    import matplotlib

    matplotlib.use("Agg")
    os.environ["GALLERY_OUT"] = str(out)
    path = FOLDER / f"{name}.py"
    namespace = {"__name__": "__main__", "__file__": str(path)}
    shown, seen = [], set()
    for cell in cells(source_of(name)):
        if cell.kind == "markdown":
            continue
        printed = io.StringIO()
        code = compile("\n" * cell.line + cell.text, str(path), "exec")
        with contextlib.redirect_stdout(printed):
            exec(code, namespace)
        lines = [line.rstrip() for line in printed.getvalue().strip("\n").splitlines()]
        new = sorted({picture.name for picture in out.glob("*.png")} - seen)
        seen.update(new)
        shown.append(Shown("\n".join(lines), tuple(new)))
    return shown


def write(name: str) -> None:
    """Runs one example and writes its page and pictures."""
    with tempfile.TemporaryDirectory() as folder:
        begin, out = time.process_time(), pathlib.Path(folder)
        shown = run(name, out)
        seconds = time.process_time() - begin
        large = {each.name: each.stat().st_size for each in out.glob("*.png")}
        large = {picture: size for picture, size in large.items() if size > LARGEST}
        if large:
            raise ValueError(f"{name}: pictures of more than {LARGEST:,} bytes: {large}")
        versions = f"jax {importlib.metadata.version('jax')}, Python {platform.python_version()}"
        ran = f"Ran in {seconds:.0f} s of processor time ({versions})."
        text = page(name, cells(source_of(name)), shown, ran)
        PAGES.mkdir(exist_ok=True)
        for picture in out.glob("*.png"):
            shutil.copyfile(picture, PAGES / picture.name)
        (PAGES / f"{name}.md").write_text(text, encoding="utf-8")


def renew(name: str) -> None:
    """Takes over text that changed into a page whose code is that of the file."""
    path, of = PAGES / f"{name}.md", cells(source_of(name))
    text = path.read_text(encoding="utf-8")
    code = re.findall(r"^```py\n(.*?)\n```$", text, re.MULTILINE | re.DOTALL)
    if code != [cell.text for cell in of if cell.kind == "code"]:
        raise ValueError(f"{name}: code has changed since its page was made; run it.")
    path.write_text(page(name, of, shown_on(text), ran_on(text)), encoding="utf-8")


def entry(name: str, text: str) -> str:
    """An example on the index: title, sentence, picture, figures, time."""
    title, sentence = text.split("\n\n")[:2]
    shown = shown_on(text)
    blocks = [f"## [{title.removeprefix('# ')}]({name}.md)", sentence]
    pictures = [picture for each in shown for picture in each.pictures]
    blocks += [f"[![{said_of(each)}]({each})]({name}.md)" for each in pictures[:1]]
    figures = [each.printed for each in shown if each.printed]
    blocks += [f"```text\n{each}\n```" for each in figures[-1:]]
    return "\n\n".join([*blocks, ran_on(text)])


def index() -> str:
    """The index, from the pages that are there."""
    pages = {name: (PAGES / f"{name}.md").read_text(encoding="utf-8") for name in EXAMPLES}
    return "\n\n".join([INTRODUCTION.strip(), *(entry(*each) for each in pages.items())]) + "\n"


def main() -> None:
    """Runs what was asked for, and writes the index."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(EXAMPLES))
    parser.add_argument("--text", action="store_true", help="run nothing, take over new text")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(EXAMPLES))
    if unknown:
        parser.error(f"no example {', '.join(unknown)}; there are {', '.join(EXAMPLES)}")
    names = options.names or list(EXAMPLES)
    if options.text:
        for name in names:
            renew(name)
    elif len(names) == 1:
        write(names[0])
    else:
        for name in names:
            print(name, flush=True)
            subprocess.run([sys.executable, "-m", "examples.gallery", name], cwd=ROOT, check=True)
    (PAGES / "README.md").write_text(index(), encoding="utf-8")


if __name__ == "__main__":
    main()
