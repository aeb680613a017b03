"""The JSON of a file, read strictly: no name twice, no huge number, no NaN."""

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

from jaxcompress.core.messages import shown
from jaxcompress.storage.container.errors import FileError, contradiction

Value = TypeVar("Value")

_DIGITS = 20
"""Of the longest number that a file may hold."""

HALF = re.compile("[\ud800-\udfff]")
"""Half a surrogate pair, which JSON can spell and UTF-8 cannot."""


def as_bytes(caller: str, fields: Mapping[Any, Any]) -> bytes:
    """A file's fields as JSON without spaces, in UTF-8.

    Raises:
      ValueError: a name or text has no form in UTF-8.
    """
    characters = json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
    if half := HALF.search(characters):
        around = characters[max(half.start() - 20, 0) : half.end() + 20]
        raise ValueError(
            f"{caller}: names and texts hold {half[0]!r}, half a surrogate pair, which UTF-8 "
            f"does not have, in {around!r}. Take it out."
        )
    return characters.encode()


def parsed(text: str, what: str):
    """The value of a JSON text.

    Args:
      text: of a file.
      what: to call it in errors.

    Raises:
      FileError: it is no JSON, nests too deeply, names something twice in one object,
        or has a number that no field may be.
    """
    try:
        return json.loads(
            text, object_pairs_hook=_unique, parse_constant=_constant, parse_int=_integer
        )
    except (json.JSONDecodeError, RecursionError) as error:
        raise FileError(
            f"{what} is not JSON: the file is altered or foreign. Copy it again."
        ) from error


def compact(fields: list[Any] | dict[Any, Any]) -> str:
    """JSON without spaces."""
    return json.dumps(fields, separators=(",", ":"))


def entries_of(texts: Mapping[str, str], name: str) -> list[Any]:
    """The entries of the list that a text of the metadata is; none where there is none.

    Raises:
      FileError: the text is no list.
    """
    listed = parsed(texts.get(name, "[]"), f"the text {name!r}")
    if not isinstance(listed, list):
        raise contradiction(f"the text {name!r} is {shown(listed)} and no list")
    return listed


def one_for_each(names: Collection[str], listed: list[Any]) -> Iterable[tuple[str, object]]:
    """Each array's name beside its entry of a list.

    Raises:
      FileError: they are not equally many.
    """
    if len(names) != len(listed):
        raise contradiction(f"{len(listed)} leaves are described and {len(names)} arrays are there")
    return zip(names, listed, strict=True)


def read_by(reader: Callable[[dict[Any, Any]], Value], fields: Any, what: str) -> Value:
    """The value that a file describes by plain ones.

    Args:
      reader: fields -> value; a ValueError where they are none.
      fields: as the file has them.
      what: to call it in errors.

    Raises:
      FileError: they describe none.
    """
    try:
        return reader(fields)
    except ValueError as error:
        raise contradiction(f"{shown(fields)} describes no {what}") from error


def check_writable(text: str, what: str) -> None:
    """Raises a FileError for a text that cannot be written: half a surrogate pair."""
    if HALF.search(text):
        raise FileError(f"{what} {shown(text)} is not a text that UTF-8 has. Save the file again.")


def _unique(pairs: list[tuple[str, object]]) -> dict[Any, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        seen = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise FileError(f"the header has {shown(twice)} twice. Write the file again.")
    return fields


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise FileError(
            f"the header has a number of {len(digits)} digits, which no size has. Write the file "
            "again."
        )
    return int(digits)


def _constant(name: str):
    raise FileError(f"the header has the number {name}, which JSON does not. Write the file again.")
