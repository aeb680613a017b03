"""The error for a name that no leaf of a file has."""

import difflib
import itertools
from collections.abc import Collection, Iterable
from typing import Any

from jaxcompress.core.messages import shown


def no_such_leaf(call: str, name: Any, names: Collection[str]) -> KeyError:
    """The KeyError that says which leaves have names like the wrong one.

    Args:
      call: who asked for the leaf, with the file and the name.
      name: that no leaf has.
      names: of the file's leaves.
    """
    near = _near(name, names) if isinstance(name, str) else ""
    return KeyError(
        f"{call}: the file has no such leaf, and {len(names)} others.{near} storage.describe "
        "lists them."
    )


def _near(name: str, names: Iterable[str]) -> str:
    """Names like a wrong one, as a question; comparing long or many ones takes long."""
    short = [each for each in itertools.islice(names, 1000) if len(each) <= 100]
    near = difflib.get_close_matches(name[:100], short, n=3, cutoff=0.4)
    return f" Did you mean {' or '.join(map(shown, near))}?" if near else ""
