"""Paragraphs of what programs are told to be: lines of one width, without paths."""

import re
import textwrap

WIDTH = 110
"""Columns of a report."""


def wrapped(text: str) -> list[str]:
    """The lines of an indented paragraph, no name broken.

    Example:
      >>> wrapped("in axis 1, out axis 0")
      ['    in axis 1, out axis 0']
    """
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent="    ",
        subsequent_indent="        ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def short(reason: str) -> str:
    """The reason with file names in place of paths.

    Example:
      >>> short("sort at /home/me/model.py:12 mixes it")
      'sort at model.py:12 mixes it'
    """
    return re.sub(r"/\S*/(?=[^/\s]+:\d+)", "", reason)
