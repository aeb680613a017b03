"""The validation card as one HTML page, and all its forms as files."""

import json
import os
import pathlib
from typing import Any

from jaxcompress.core.kinds import check_kind, check_path
from jaxcompress.report.page import page
from jaxcompress.report.sections import Heading, Paragraph, Section
from jaxcompress.report.tables import Column, Table, table
from jaxcompress.storage.container.disk import replacing
from jaxcompress.validate import Card

MAKE = "Make it with validate.Card."


def card_page(card: Card) -> str:
    """A validation card as one self-contained HTML page.

    Args:
      card: the card.

    Returns:
      HTML; write it as UTF-8. The same card gives the same text.

    Example:
      >>> "No data set is named." in jc.report.card_page(jc.validate.Card("Digits"))
      True
    """
    check_kind("card_page", "card", card, Card, MAKE)
    sections: list[Section] = []
    for block in card.blocks:
        if block.heading:
            sections.append(Heading(block.heading))
        sections.extend(map(Paragraph, block.lines))
        if block.rows:
            sections.append(_table(block.columns, block.rows))
    return page(card.title, sections)


def save_card(card: Card, folder: str | os.PathLike[Any], *, name: str = "card") -> None:
    """Writes a card as NAME.html, NAME.json and NAME.md, each whole or not at all.

    Args:
      card: the card.
      folder: where; it exists.
      name: of the files, without an ending.

    Raises:
      TypeError: `card` is no card, or `folder` no path.
      ValueError: `name` is no plain name of a file.
      OSError: there is no such folder, or a file cannot be written.

    Example:
      >>> import os, tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     jc.report.save_card(jc.validate.Card("Digits"), folder)
      ...     sorted(os.listdir(folder))
      ['card.html', 'card.json', 'card.md']
    """
    check_kind("save_card", "card", card, Card, MAKE)
    check_path("save_card", "folder", folder)
    if not isinstance(name, str) or not name or pathlib.PurePath(name).name != name:
        raise ValueError(f"save_card(name={name!r}) must be the name of a file, without a folder.")
    texts = {
        "html": card_page(card),
        "json": json.dumps(card.to_json(), indent=2, allow_nan=False, ensure_ascii=False) + "\n",
        "md": card.to_markdown(),
    }
    for ending, text in texts.items():
        with replacing("save_card", str(pathlib.Path(folder) / f"{name}.{ending}")) as file:
            file.write(text.encode())


def _table(columns: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> Table:
    # Its title is the heading above it.
    keyed = [dict(zip(columns, row, strict=True)) for row in rows]
    return table(keyed, columns=[Column(column, column) for column in columns], title="")
