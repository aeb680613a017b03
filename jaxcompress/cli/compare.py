"""`jaxcompress compare FIRST SECOND`."""

import argparse
import pathlib
from typing import Any

from jaxcompress.cli import answers

DIFFERENT = 3
"""Exit status where files differ: 1 is an error, 2 a wrong command line."""


def add(commands: Any) -> None:
    """Adds the command."""
    added = answers.add(
        commands,
        compare,
        "what differs between two safetensors files, leaf by leaf (exit status 3 if they differ)",
        "jaxcompress compare dense.safetensors int8.safetensors --tolerance 0.01",
    )
    added.add_argument("first", type=pathlib.Path, help="a file, or the index of several")
    added.add_argument("second", type=pathlib.Path, help="the file to compare with it")
    added.add_argument(
        "--tolerance",
        type=float,
        help="take numbers for the same that are at most so far apart, in any dtype and format "
        "(default: the same bits in the same formats)",
    )
    added.add_argument("--max-bytes", type=int, help="what a leaf may take in memory (16 GiB)")


def compare(options: argparse.Namespace) -> answers.Answer:
    """Compares two files of this library or others."""
    from jaxcompress.core.checks import check_count
    from jaxcompress.storage import comparison
    from jaxcompress.storage.container.limits import MAX_BYTES

    max_bytes = MAX_BYTES if options.max_bytes is None else options.max_bytes
    check_count("compare", "--max-bytes", max_bytes)
    found = comparison.compare(
        options.first, options.second, tolerance=options.tolerance, max_bytes=max_bytes
    )
    return answers.Answer(str(found), found.to_json(), 0 if found.same else DIFFERENT)
