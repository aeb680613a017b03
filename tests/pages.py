"""The pages' ```python blocks, run as a reader would, beside what is shown of them.

    python -m tests.pages docs/start/*.md

Writes anew what the pages say that their blocks print: the ```text block that follows a
```python block directly, with nothing but empty lines between. Look through the change:
`...`, numbers of few digits that still agree and figures below ```text title="measured"
are left as they are.
"""

import contextlib
import io
import os
import pathlib
import re
import sys
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

import jax
import pytest

BLOCK = re.compile(
    r"^```python\n(?P<source>.*?)^```$"
    r"(?:\n+^```text(?P<title> title=\"measured\")?\n(?P<shown>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
FIGURE = re.compile(r"(?<![\w.])[+\-−]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")
NUMBER = re.compile(r"(?<![\w.,])[+-]?\d+\.\d+(?:[eE][+-]?\d+)?")


class Block(NamedTuple):
    """A ```python block: how many lines are above it, its text, what is shown below.

    Figures that were measured, or trained to, differ between processors and versions.
    """

    above: int
    source: str
    shown: str | None
    measured: bool = False

    def shows(self, printed: str) -> bool:
        """Whether the page shows what was printed, or shows nothing."""
        if self.shown is None:
            return True
        return (alike if self.measured else agrees)(self.shown, printed)


def blocks(text: str) -> list[Block]:
    """The ```python blocks of a page, in their order."""
    return [
        Block(
            text.count("\n", 0, match.start("source")),
            match["source"],
            match["shown"],
            match["title"] is not None,
        )
        for match in BLOCK.finditer(text)
    ]


def agrees(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed, by the rules of this project's doctests.

    `...` stands for any text, runs of spaces are equal, and a number with a point is as
    exact as its digits: 0.31 is shown of all from 0.30 to 0.32.
    """
    words, expected = [], []
    for part in re.split(rf"(\.\.\.|{NUMBER.pattern}|\s+)", shown.strip()):
        if part == "...":
            words.append(".*?")
        elif part.isspace():
            words.append(r"\s+")
        elif NUMBER.fullmatch(part):
            words.append(rf"({NUMBER.pattern})")
            expected.append(part)
        else:
            words.append(re.escape(part))
    found = re.fullmatch("".join(words), printed.strip(), re.DOTALL)
    return found is not None and all(map(close, expected, found.groups()))


def alike(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed but for its figures."""
    return agrees(FIGURE.sub("0", shown), FIGURE.sub("0", printed))


def close(shown: str, printed: str) -> bool:
    """Whether two numbers differ by at most one in the last digit that is shown."""
    mantissa, _, exponent = shown.lower().partition("e")
    digits = len(mantissa.partition(".")[2]) - int(exponent or 0)
    return abs(float(printed) - float(shown)) <= 1.000001 * 10.0**-digits


def outputs(page: pathlib.Path, namespace: dict) -> Iterator[tuple[Block, str]]:
    """Each block with what it prints; an error that the page shows is its last line.

    Tracebacks of other errors name page and line. A page that counts what was compiled
    begins without caches, as a reader's session does: JAX counts in one cache for the
    whole process, and counts nothing once that is full. Where Flax or Orbax
    is not installed, the test is skipped at the first block that needs it.
    """
    text = page.read_text(encoding="utf-8")
    if "_cache_size" in text:
        jax.clear_caches()
    for block in blocks(text):
        code = compile("\n" * block.above + block.source, str(page), "exec")
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                exec(code, namespace)
        except Exception as error:
            missing = absent(error)
            if missing in ("flax", "orbax"):
                pytest.skip(f"{page.name}:{block.above + 1} and what follows needs {missing}.")
            if block.shown is None or type(error).__name__ not in block.shown:
                raise
            print(f"{type(error).__name__}: {error}", file=printed)
        yield block, printed.getvalue()


def absent(error: BaseException) -> str:
    """The package that an error, or its cause, says is not installed; "" if none."""
    cause = error if isinstance(error, ModuleNotFoundError) else error.__cause__
    found = isinstance(cause, ModuleNotFoundError) and cause.name
    return (found or "").partition(".")[0]


def run(page: pathlib.Path) -> dict:
    """The namespace that a page's blocks leave, which print what the page shows."""
    namespace = {"__name__": page.stem}
    for block, printed in outputs(page, namespace):
        place = f"{page.name}:{block.above + 1} prints\n{printed}\nand not\n{block.shown}"
        assert block.shows(printed), place
    return namespace


def written_anew(page: pathlib.Path) -> str:
    """The page's text with what its blocks print, where it shows something else."""
    text, end = [], 0
    whole = page.read_text(encoding="utf-8")
    matches = list(BLOCK.finditer(whole))
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        found = list(outputs(page, {"__name__": page.stem}))
    for match, (block, printed) in zip(matches, found, strict=True):
        if not block.shows(printed):
            kept = "\n".join(line.rstrip() for line in printed.strip().splitlines()) + "\n"
            text += [whole[end : match.start("shown")], kept]
            end = match.end("shown")
    return "".join([*text, whole[end:]])


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = pathlib.Path(name).resolve()
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
        path.write_text(written_anew(path), encoding="utf-8")
