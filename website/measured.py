"""What our benchmarks measured of methods, read from the records.

A file of `sentences/` tells figures of the record of its name. Each of its sentences
stands above a table of the calls that it is told of; a word that heads a further column
stands in it for the words of a call's row:

    half of a layer's weights pruned: {NAME, 50 % · error:±} of its energy is error

    | call | NAME |
    |---|---|
    | `prune.solvers.alps` | alps |
    | `prune.solvers.least_squares` | least squares |

`benchmarks/templates.py` says how a sentence names a figure. Words with digits stand in
quotes, `{"20 epochs"}`, and a test finds those that the benchmark did not choose.
"""

import functools
import pathlib
import re
from typing import NamedTuple

from benchmarks import templates

FOLDER = pathlib.Path(__file__).parent / "sentences"
WORD = re.compile(r"\w+")


class Told(NamedTuple):
    """What is told of a method: a template, and the record that has its figures."""

    record: str
    template: str

    def sentence(self) -> str:
        """The template with the figures of the record in their places."""
        return templates.filled(self.template, self.record).strip()


@functools.cache
def measured() -> dict[str, Told]:
    """By call what was measured of it.

    Raises:
      ValueError: a call has several sentences, or a file is not as it is read.
    """
    found: dict[str, Told] = {}
    for path in sorted(FOLDER.iterdir()):
        for call, template in read(path.read_text(encoding="utf-8"), path.name):
            if call in found:
                raise ValueError(f"{path.name} tells of {call}, as {found[call].record}.md does.")
            found[call] = Told(path.stem, template)
    return found


def read(text: str, name: str) -> list[tuple[str, str]]:
    """The calls of a file of this name, each with its sentence as a template.

    Raises:
      ValueError: a sentence has no table of calls, or its table does not fit it.
    """
    parts = text.strip().split("\n\n")
    if len(parts) % 2:
        raise ValueError(f"{name} is not sentences, each above a table of its calls.")
    found: list[tuple[str, str]] = []
    for above, below in zip(parts[::2], parts[1::2], strict=True):
        sentence, table = " ".join(above.split()), [cells(line) for line in below.splitlines()]
        (first, *columns), rows = table[0], table[2:]
        if first != "call" or not rows or any(len(row) != len(table[0]) for row in rows):
            raise ValueError(f"{name} has no table of calls below: {sentence}")
        unused = [column for column in columns if column not in WORD.findall(sentence)]
        if unused:
            raise ValueError(f"{name} has columns {unused} of which nothing is in: {sentence}")
        for call, *words in rows:
            found.append((call.strip("`"), put(sentence, dict(zip(columns, words, strict=True)))))
    return found


def put(sentence: str, words: dict[str, str]) -> str:
    """The sentence with other words in the place of those that stand for them."""
    return WORD.sub(lambda match: words.get(match[0], match[0]), sentence)


def cells(line: str) -> list[str]:
    """The cells of a line of a table."""
    return [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]
