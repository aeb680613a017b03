"""The words of a validation card: blocks of lines and tables, and their Markdown."""

import re
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from jaxcompress.validate.cards.findings import FAILS, HOLDS, MEASURED, UNDECIDED, VERDICTS, Finding
from jaxcompress.validate.cards.records import DataRecord, ModelRecord
from jaxcompress.validate.cards.topics import TOPICS, Topic

NOT_GIVEN = "not given"
_SPECIAL = re.compile(r"([\\`*_\[\]#|~])")
_LEADING = re.compile(r"^(\d+)([.)])|^([-+=])")


class Block(NamedTuple):
    """One section of the page.

    Attributes:
      heading: its title; empty for the opening.
      lines: its text.
      columns: the headings of its table; empty where it has none.
      rows: the cells of its table, each a text.
    """

    heading: str
    lines: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def blocks(
    models: Sequence[ModelRecord],
    data: Sequence[DataRecord],
    findings: Sequence[Finding],
    not_tested: Sequence[Topic],
    date: str,
) -> tuple[Block, ...]:
    """The page as headings, lines and tables.

    Args:
      models: what was tested.
      data: what it was tested on.
      findings: what was found.
      not_tested: topics without a finding.
      date: when; left out where empty.

    Returns:
      Blocks from top to bottom.
    """
    return (
        _opening(findings, not_tested, date),
        _models(models),
        _data(data),
        _results(findings),
        _needs(findings, not_tested),
        _not_tested(not_tested),
        _reading(findings),
    )


def markdown(title: str, page: Sequence[Block]) -> str:
    """Blocks as Markdown with tables; every text is escaped."""
    parts = [f"# {escaped(title)}"]
    for block in page:
        if block.heading:
            parts.append(f"## {escaped(block.heading)}")
        parts.extend(escaped(line) for line in block.lines)
        if block.rows:
            parts.append("\n".join(_table_lines(block)))
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    r"""Text on one line, in which Markdown and HTML mean nothing.

    Example:
      >>> print(escaped("a|b *c* <script>"))
      a\|b \*c\* &lt;script&gt;
    """
    line = _SPECIAL.sub(r"\\\1", escape(" ".join(text.split()), quote=False))
    return _LEADING.sub(lambda found: rf"{found[1] or ''}\{found[2] or found[3]}", line)


def _table_lines(block: Block) -> list[str]:
    rows = [block.columns, tuple("---" for _ in block.columns)]
    written = [rows[0], *block.rows]
    cells = [" | ".join(escaped(cell) or " " for cell in row) for row in written]
    cells.insert(1, " | ".join(rows[1]))
    return [f"| {line} |" for line in cells]


def _opening(findings: Sequence[Finding], not_tested: Sequence[Topic], date: str) -> Block:
    counts = {verdict: sum(f.verdict == verdict for f in findings) for verdict in VERDICTS}
    claims = sum(count for verdict, count in counts.items() if verdict != MEASURED)
    lines = [
        f"{_counted(claims, 'claim')} tested: {counts[HOLDS]} of them supported by the data, "
        f"{counts[FAILS]} contradicted, {counts[UNDECIDED]} left open for lack of examples. "
        f"{_counted(counts[MEASURED], 'figure')} measured without a claim.",
        f"Of {len(TOPICS)} kinds of test, {len(TOPICS) - len(not_tested)} were made; the others "
        "are listed below as not tested. About what was not tested this page says nothing.",
    ]
    return Block("", tuple([f"Date: {date}"] * bool(date) + lines))


def _models(models: Sequence[ModelRecord]) -> Block:
    if not models:
        return Block("What was tested", ("No model is named.",))
    rows = tuple(
        (
            model.name,
            NOT_GIVEN if model.size_bytes is None else f"{model.size_bytes:,} bytes",
            model.sha256 or NOT_GIVEN,
        )
        for model in models
    )
    return Block("What was tested", columns=("model", "file", "SHA-256 of the file"), rows=rows)


def _data(data: Sequence[DataRecord]) -> Block:
    if not data:
        return Block("On which data", ("No data set is named.",))
    rows = tuple(
        (each.name, f"{each.n:,}", each.origin or NOT_GIVEN, each.fingerprint or NOT_GIVEN)
        for each in data
    )
    return Block(
        "On which data",
        columns=("data", "examples", "where they come from", "fingerprint (SHA-256)"),
        rows=rows,
    )


def _results(findings: Sequence[Finding]) -> Block:
    if not findings:
        return Block("Results", ("Nothing was tested.",))
    order = {topic.name: place for place, topic in enumerate(TOPICS)}
    rows = tuple(
        (
            finding.topic,
            finding.about,
            finding.statement,
            "; ".join(map(str, finding.figures)),
            finding.verdict,
        )
        for finding in sorted(findings, key=lambda finding: order[finding.topic])
    )
    columns = ("test", "of", "what was found", "figures (interval)", "verdict")
    return Block("Results", columns=columns, rows=rows)


def _needs(findings: Sequence[Finding], not_tested: Sequence[Topic]) -> Block:
    rows = dict.fromkeys(
        (finding.topic, finding.about, need) for finding in findings for need in finding.needs
    )
    lines = () if rows else ("The findings above ask for nothing more.",)
    more = ("Tests that were not made need what the next section names.",) * bool(not_tested)
    columns = ("test", "of", "what it would take") if rows else ()
    return Block("What it would take to claim more", lines + more, columns, tuple(rows))


def _not_tested(not_tested: Sequence[Topic]) -> Block:
    if not not_tested:
        return Block("What was not tested", ("Every kind of test was made at least once.",))
    rows = tuple(
        (topic.name, topic.question, topic.takes, f"jaxcompress.{topic.call}")
        for topic in not_tested
    )
    columns = ("test", "question left open", "what it takes", "how")
    return Block("What was not tested", columns=columns, rows=rows)


def _reading(findings: Sequence[Finding]) -> Block:
    levels = sorted({f.confidence for each in findings for f in each.figures if f.interval})
    count = sum(f.interval is not None for each in findings for f in each.figures)
    lines = [f"{verdict}: {meaning}." for verdict, meaning in VERDICTS.items()]
    if levels:
        shares = " or ".join(f"{100 * level:g} %" for level in levels)
        missed = sum(
            1 - f.confidence for each in findings for f in each.figures if f.interval is not None
        )
        lines.append(
            f"Intervals in parentheses hold the true value with {shares} confidence, each on its "
            f"own: of the {count} on this page about {missed:.1f} can be expected to miss it."
        )
    return Block("How to read it", tuple(lines))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun} was" if count == 1 else f"{count} {noun}s were"
