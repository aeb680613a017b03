"""`jaxcompress report FOLDER`."""

import argparse
import pathlib
from typing import Any

from jaxcompress.cli import answers


def add(commands: Any) -> None:
    """Adds the command."""
    added = answers.add(
        commands,
        report,
        "write one HTML page about a folder of results",
        "jaxcompress report jaxcompress-demo --out page.html",
    )
    added.add_argument("folder", type=pathlib.Path, help="what a demo or evaluations left")
    added.add_argument(
        "--out",
        type=pathlib.Path,
        help="file to write or replace (default: report.html in the folder; results.html where the "
        "demo's report.html is)",
    )
    added.add_argument(
        "--reference", help="name of the evaluation with which the others are compared"
    )


def report(options: argparse.Namespace) -> answers.Answer:
    """Writes the page, and the card's forms anew where the folder has one."""
    from jaxcompress.cli import folder, results
    from jaxcompress.report import save_card
    from jaxcompress.storage.container.disk import replacing

    found = folder.read(options.folder)
    out = found.page if options.out is None else options.out
    content = results.html(found, options.reference).encode()
    with replacing("report", str(out)) as file:
        file.write(content)
    written = [str(out)]
    if found.card is not None:
        save_card(found.card, options.folder)
        written += [str(options.folder / f"card.{ending}") for ending in ("html", "json", "md")]
    lines = [f"{out}: {len(content):,} bytes, from {', '.join(found.read)}."]
    lines += [f"not read: {name}: {reason}" for name, reason in found.left_out.items()]
    record = {"written": written, "read": found.read, "left_out": found.left_out}
    return answers.Answer("\n".join(lines), record)
