"""The parser of the whole command line."""

import argparse

from jaxcompress.cli import compare, completion, demo, environment, inspect, report
from jaxcompress.core.version import VERSION

_END = """exit status:
  0  the command did its work; of compare: the files are the same
  1  an error, told in one sentence on standard error
  2  a wrong command line
  3  of compare: the files differ

example:
  jaxcompress inspect model.safetensors"""


def parser() -> argparse.ArgumentParser:
    """The parser; the function of a command is the `command` of what it gives."""
    whole = argparse.ArgumentParser(
        prog="jaxcompress",
        description="Makes a trained JAX model smaller and faster, and proves what that cost.",
        epilog=_END,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    version = f"jaxcompress {VERSION}"
    whole.add_argument("--version", action="version", version=version)
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    for each in (demo, inspect, compare, report, environment):
        each.add(commands)
    completion.add(commands, parser)
    return whole
