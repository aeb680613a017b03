"""The command line, `jaxcompress COMMAND`; `docs/command-line.md` shows every command.

Each command is a file with its options and a function from options to an `Answer`;
`parser` puts them together, `main` prints the answer. Until a command runs only the
standard library is loaded.
"""

import json
import os
import sys
from collections.abc import Sequence

from jaxcompress.cli import failures
from jaxcompress.cli.parser import parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and prints its answer.

    Args:
      arguments: as typed after `jaxcompress`; the default is what the shell gave.

    Returns:
      Exit status: 0; 1 after a message on standard error; 3 from `compare` where files
      differ. A wrong command line ends the process with 2, `--help` and `--version`
      with 0, as `argparse` does.
    """
    options = parser().parse_args(arguments)
    try:
        answer = options.command(options)
        text = json.dumps(answer.record, indent=2) if options.json else answer.text
        if text:
            print(text, flush=True)
    except BrokenPipeError:
        # Whoever read the output has closed it, as `head` does. Python would try again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except failures.EXPECTED as error:
        print(f"jaxcompress: {failures.sentence(error)}", file=sys.stderr)
        return 1
    return answer.status
