"""`jaxcompress completion SHELL`: a script made from the parser itself."""

import argparse
import pathlib
from collections.abc import Callable
from typing import Any

from jaxcompress.cli import answers, shells
from jaxcompress.cli.shells import Option, Typed


def add(commands: Any, parser: Callable[[], argparse.ArgumentParser]) -> None:
    """Adds the command; `parser` gives the whole parser once it is complete."""

    def completion(options: argparse.Namespace) -> answers.Answer:
        script = shells.SCRIPTS[options.shell](*described(parser()))
        return answers.Answer(script, {"shell": options.shell, "script": script})

    added = answers.add(
        commands,
        completion,
        "a script that completes commands, options and paths in a shell",
        'eval "$(jaxcompress completion bash)"',
    )
    added.add_argument("shell", choices=tuple(shells.SCRIPTS), help="the shell that reads it")


def described(parser: argparse.ArgumentParser) -> tuple[tuple[Option, ...], tuple[Typed, ...]]:
    """The options before any command, and the commands with theirs."""
    [found] = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    helps = {choice.dest: choice.help or "" for choice in found._choices_actions}
    commands = (
        Typed(name, helps[name], _options(each)) for name, each in dict(found.choices).items()
    )
    return _options(parser), tuple(commands)


def _options(parser: argparse.ArgumentParser) -> tuple[Option, ...]:
    return tuple(
        _option(action)
        for action in parser._actions
        if not isinstance(action, argparse._SubParsersAction)
    )


def _option(action: argparse.Action) -> Option:
    return Option(
        flags=tuple(action.option_strings),
        name=str(action.metavar or action.dest),
        help=action.help or "",
        valued=action.nargs != 0,
        path=action.type is pathlib.Path,
        choices=tuple(map(str, action.choices or ())),
    )
