"""What the pages say of records: what was found, and on which processor.

    python -m benchmarks.records

Writes the parts of the pages that stand between marks anew; a test says when that is
due. What was found is told by a template for each benchmark, in a folder of `findings/`
for each subject:

    line 1          the question
    paragraph 1     the answer, which the table of the subject shows
    then            how it was measured and the other figures: in a block to unfold
    from `####` on  what is told at length, below the table

`templates.py` says how a template names a figure.
"""

import collections
import functools
import pathlib
import re
from typing import NamedTuple

from benchmarks import runner, templates

PAGE = pathlib.Path(__file__).parent / "README.md"
FRONT = PAGE.parent.with_name("README.md")
FINDINGS = PAGE.with_name("findings")
COLUMNS = ("record", "runs", "processor", "cores", "accelerator", "jax")
MARKED = re.compile(
    r"(<!-- (?P<name>\w+), made by benchmarks.records -->\n).*?(<!-- end -->\n)", re.DOTALL
)
OPENING = "<details><summary>How each was measured, and the other figures</summary>"
CLOSING = "</details>"
"""Around how it was measured: GitHub unfolds it, and Markdown inside holds."""


class Finding(NamedTuple):
    """The parts of a template; details may be empty."""

    question: str
    answer: str
    how: str
    details: str


@functools.cache
def sources() -> dict[str, pathlib.Path]:
    """The templates by benchmark, subject after subject."""
    return {path.stem: path for path in sorted(FINDINGS.glob("*/*.md"))}


@functools.cache
def finding(name: str) -> Finding:
    """What a benchmark found, figures in their places.

    Raises:
      ValueError: a figure of the template is not in the record.
    """
    try:
        text = templates.filled(sources()[name].read_text(encoding="utf-8"), name)
    except ValueError as error:
        raise ValueError(f"findings of {name}: {error}") from error
    return parts(text)


def parts(text: str) -> Finding:
    """A template, or its text with figures, in its parts."""
    question, _, rest = text.partition("\n")
    told, heading, details = rest.partition("\n#### ")
    answer, _, how = told.strip().partition("\n\n")
    return Finding(question, " ".join(answer.split()), how, f"{heading}{details}".strip())


def findings() -> str:
    """What was found: for each subject a table, and below it how and at length."""
    subjects: dict[str, list[str]] = {}
    for name, path in sources().items():
        subjects.setdefault(path.parent.name, []).append(name)
    return "".join(section(subject, names) for subject, names in subjects.items())


def section(subject: str, names: list[str]) -> str:
    """The findings on one subject."""
    told = {name: finding(name) for name in names}
    lines = [f"| `{name}` | {each.question} | {each.answer} |" for name, each in told.items()]
    table = "\n".join(["| benchmark | question | found |", "|---|---|---|", *lines])
    how = [f"**`{name}`**: {each.how}" for name, each in told.items()]
    details = [each.details for each in told.values() if each.details]
    title = subject.replace("-", " ").capitalize()
    return "\n\n".join([f"\n### {title}", table, OPENING, *how, CLOSING, *details]) + "\n"


def machine(environment: dict) -> tuple[str, str, str, str]:
    """Processor, cores, accelerator and JAX of one run, as the table says them."""
    device = environment["device"]
    return (
        environment["cpu"],
        str(environment["cores"]),
        "–" if device == "cpu" else device,
        environment["versions"]["jax"],
    )


def rows(results: pathlib.Path) -> list[tuple[str, ...]]:
    """One row for each record file and each machine that its runs were made on."""
    found = []
    for path in sorted(results.rglob("*.json")):
        name = path.relative_to(results).with_suffix("").as_posix()
        machines = collections.Counter(machine(run["environment"]) for run in runner.read(path))
        found += [(name, str(runs), *where) for where, runs in machines.most_common()]
    return found


def table(results: pathlib.Path = runner.RESULTS) -> str:
    """The rows in Markdown."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *rows(results)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def highlights() -> str:
    """What the first page says of ten benchmarks."""
    return templates.filled((FINDINGS / "highlights.md").read_text(encoding="utf-8"), "")


PARTS = {"findings": findings, "machines": table, "highlights": highlights}
"""What stands between marks, by their names."""


def rewritten(page: str) -> str:
    """The page with its parts between marks made anew."""
    return MARKED.sub(lambda match: match[1] + PARTS[match["name"]]() + match[3], page)


def main() -> None:
    """Writes the pages anew."""
    for page in (PAGE, FRONT):
        page.write_text(rewritten(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
