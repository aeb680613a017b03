"""Bytes of a model's file, told only where a fresh process gives the same outputs.

    python -m benchmarks.files FOLDER MODULE:FUNCTION

prints the digest of what the function answers on the model and inputs in a folder.
"""

import hashlib
import importlib
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence

import numpy as np

import jaxcompress as jc
from jaxcompress.core.types import Array, Params

Answers = Callable[[Params, np.ndarray], Array]
"""(params, inputs) to outputs: a function of a module that another process imports."""


def written(
    params: Params,
    coders: Sequence[jc.storage.coders.Coder],
    answers: Answers,
    inputs: np.ndarray,
) -> int:
    """The bytes of a file from which a fresh process gives the same outputs.

    Args:
      params: of the model.
      coders: that may write arrays.
      answers: of the model; what it depends on beside params must be in its module.
      inputs: on which outputs are compared, bit for bit.

    Raises:
      RuntimeError: they differ.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        path = folder / "model.safetensors"
        jc.storage.save(path, params, coders=coders)
        np.save(folder / "inputs.npy", inputs)
        place = f"{_module(answers)}:{answers.__name__}"
        command = [sys.executable, "-m", "benchmarks.files", name, place]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        if done.stdout.split()[-1] != digest(answers, params, inputs):
            raise RuntimeError(f"a fresh process gave other outputs of {place}")
        return path.stat().st_size


def _module(answers: Answers) -> str:
    """Where another process finds a function, of the module that runs too."""
    spec = sys.modules[answers.__module__].__spec__
    if spec is None:
        raise RuntimeError(f"{answers.__module__} has no name to import it by. Run it with -m.")
    return spec.name


def digest(answers: Answers, params: Params, inputs: np.ndarray) -> str:
    """Of the outputs, bit for bit."""
    outputs = jc.validate.predict(jc.materialized(answers), params, inputs)
    return hashlib.sha256(np.asarray(outputs).tobytes()).hexdigest()


def main() -> None:
    """Prints the digest of what the file in a folder answers."""
    folder, place = pathlib.Path(sys.argv[1]), sys.argv[2]
    module, _, function = place.partition(":")
    params = jc.storage.load(folder / "model.safetensors")
    answers = getattr(importlib.import_module(module), function)
    print(digest(answers, params, np.load(folder / "inputs.npy")))


if __name__ == "__main__":
    main()
