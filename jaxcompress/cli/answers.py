"""What a command gives, and how a command is added to the parser."""

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Answer:
    """The result of a command.

    Attributes:
      text: for people.
      record: the same for programs, as plain values.
      status: of the process.
    """

    text: str
    record: dict[str, Any]
    status: int = 0


Command = Callable[[argparse.Namespace], Answer]


def add(commands: Any, command: Command, help: str, example: str) -> argparse.ArgumentParser:
    """The parser of a new command, named as the function is.

    Args:
      commands: the sub-parsers of the whole.
      command: what it does; `report_environment` is typed `report-environment`.
      help: what it does, in the list of commands.
      example: a line that a reader may type.
    """
    added = commands.add_parser(
        command.__name__.replace("_", "-"),
        help=help,
        description=f"{help[0].upper()}{help[1:]}.",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    added.add_argument("--json", action="store_true", help="print the answer as JSON")
    added.set_defaults(command=command)
    return added
