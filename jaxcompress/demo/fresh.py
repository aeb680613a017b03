"""Checks that a file gives bit-identical outputs in another process.

That process is `python -m jaxcompress.demo.fresh CHECKS`: it reads the list of files
and images, and prints digests.
"""

import dataclasses
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np

from jaxcompress import storage
from jaxcompress.core.names import map_named
from jaxcompress.core.observers import Range
from jaxcompress.core.types import Model, Params
from jaxcompress.demo.models import Architecture, network
from jaxcompress.demo.variants import BATCH, Variant, inference
from jaxcompress.validate import predict


def check(variants: list[Variant], images: np.ndarray, folder: pathlib.Path) -> dict[str, bool]:
    """Whether each file gives identical outputs in a fresh process.

    Args:
      variants: their files lie in `folder`.
      images: to run on.
      folder: holds the files.

    Returns:
      Per variant name, True where the outputs are the same bits.

    Raises:
      RuntimeError: the other process failed; its message is passed on.
    """
    with tempfile.TemporaryDirectory() as scratch:
        np.save(pathlib.Path(scratch) / "images.npy", images)
        orders = [
            {
                "file": str(folder / variant.file_name),
                "architecture": dataclasses.asdict(variant.architecture),
            }
            for variant in variants
        ]
        (pathlib.Path(scratch) / "orders.json").write_text(json.dumps(orders))
        command = [sys.executable, "-m", "jaxcompress.demo.fresh", scratch]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"The fresh process failed:\n{done.stderr}")
    digests = json.loads(done.stdout.splitlines()[-1])
    return {
        variant.name: digest == _digest(variant.fn, variant.shipped.params, images)
        for variant, digest in zip(variants, digests, strict=True)
    }


def decode(file: str, architecture: Architecture) -> tuple[Model, Params]:
    """The function to judge and its parameters, from the file alone."""
    model, tree = network(architecture, 0), storage.load(file)
    params = map_named(lambda name, leaf: tree["params"][name], model.params)
    ranges = {site: Range(**reading) for site, reading in tree["ranges"].items()}
    return inference(model, ranges), params


def main(scratch: str) -> None:
    """Prints one digest per order as a JSON list."""
    images = np.load(pathlib.Path(scratch) / "images.npy")
    orders = json.loads((pathlib.Path(scratch) / "orders.json").read_text())
    digests = []
    for order in orders:
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in order["architecture"].items()
        }
        digests.append(_digest(*decode(order["file"], Architecture(**fields)), images))
    print(json.dumps(digests))


def _digest(fn: Model, params: Params, images: np.ndarray) -> str:
    return hashlib.sha256(predict(fn, params, images, batch_size=BATCH).tobytes()).hexdigest()


if __name__ == "__main__":
    main(sys.argv[1])
