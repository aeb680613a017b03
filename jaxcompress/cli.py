"""The command line: `jaxcompress demo` and `jaxcompress inspect FILE`."""

import argparse
import dataclasses
import pathlib
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
      arguments: as typed after `jaxcompress`; the default is what the shell gave.

    Returns:
      Exit status: 0, or 1 after a message on standard error.
    """
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except (ValueError, TypeError, ImportError, OSError) as error:
        print(f"jaxcompress: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jaxcompress",
        description="Makes a trained JAX model smaller and faster, and proves what that cost.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_inspect(commands)
    return parser


def _add_demo(commands) -> None:
    demo = commands.add_parser("demo", help="train, compress, prove and save a small model")
    demo.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path("jaxcompress-demo"), help="folder to write"
    )
    demo.add_argument(
        "--data",
        type=pathlib.Path,
        help="folder with the four MNIST files; without it, the digits of scikit-learn",
    )
    demo.add_argument("--linen", action="store_true", help="Flax Linen instead of NNX")
    demo.add_argument("--seed", type=int, help="of the split, the weights and the order of images")
    demo.add_argument("--recipe", type=pathlib.Path, help="a recipe.json to repeat or vary")
    demo.set_defaults(command=_demo)


def _add_inspect(commands) -> None:
    inspect = commands.add_parser("inspect", help="what is in a model file")
    inspect.add_argument("file", type=pathlib.Path)
    inspect.add_argument(
        "--max-bytes", type=int, help="what its tree may take in memory (default: 16 GiB)"
    )
    inspect.add_argument(
        "--sizes", action="store_true", help="where its bytes go, and the entropy of its numbers"
    )
    inspect.set_defaults(command=_inspect)


def _demo(options: argparse.Namespace) -> None:
    from jaxcompress.demo.recipe import Recipe
    from jaxcompress.demo.run import run

    recipe = Recipe.load(options.recipe) if options.recipe else Recipe()
    if options.linen:
        recipe = dataclasses.replace(recipe, framework="linen")
    if options.seed is not None:
        recipe = dataclasses.replace(recipe, seed=options.seed)
    run(recipe, out=options.out, data=options.data)


def _inspect(options: argparse.Namespace) -> None:
    from jaxcompress import storage

    limits = {} if options.max_bytes is None else {"max_bytes": options.max_bytes}
    seen = storage.breakdown if options.sizes else storage.describe
    print(seen(options.file, **limits))
