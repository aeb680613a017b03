"""`jaxcompress demo`."""

import argparse
import contextlib
import dataclasses
import json
import pathlib
import sys
from typing import Any

from jaxcompress.cli import answers


def add(commands: Any) -> None:
    """Adds the command."""
    added = answers.add(
        commands,
        demo,
        "train, compress, prove and save a small model",
        "jaxcompress demo --out digits",
    )
    added.add_argument(
        "--out",
        type=pathlib.Path,
        default=pathlib.Path("jaxcompress-demo"),
        help="folder to write (default: jaxcompress-demo); its other files stay",
    )
    added.add_argument(
        "--data",
        type=pathlib.Path,
        help="folder with the four MNIST files; without it, the digits of scikit-learn",
    )
    added.add_argument("--linen", action="store_true", help="Flax Linen instead of NNX")
    added.add_argument("--seed", type=int, help="of the split, the weights and the order of images")
    added.add_argument("--recipe", type=pathlib.Path, help="a recipe.json to repeat or vary")


def demo(options: argparse.Namespace) -> answers.Answer:
    """Runs the demo, which prints as it goes; for programs, on standard error."""
    from jaxcompress.demo.recipe import Recipe
    from jaxcompress.demo.run import run

    recipe = Recipe.load(options.recipe) if options.recipe else Recipe()
    if options.linen:
        recipe = dataclasses.replace(recipe, framework="linen")
    if options.seed is not None:
        recipe = dataclasses.replace(recipe, seed=options.seed)
    aside = contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext()
    with aside:
        run(recipe, out=options.out, data=options.data)
    return answers.Answer("", json.loads((options.out / "report.json").read_text()))
