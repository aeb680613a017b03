"""The least that an installed jaxcompress must do; a script to run off the checkout."""

import pathlib
import sys

import jax.numpy as jnp
import numpy as np

import jaxcompress as jc


def main(folder: pathlib.Path):
    """Quantizes a small tree, saves it, loads it back and compares every bit."""
    kernel = jnp.linspace(-1.0, 1.0, 64 * 32, dtype=jnp.float32).reshape(64, 32)
    params = {"dense": {"kernel": kernel, "bias": jnp.ones((32,), jnp.float32)}}
    shipped, report = jc.quantize.quantize(params, jc.quantize.int8())
    path = folder / "small.safetensors"
    jc.storage.save(path, shipped)
    expected, actual = jc.materialize(shipped), jc.materialize(jc.storage.load(path))
    np.testing.assert_array_equal(actual["dense"]["kernel"], expected["dense"]["kernel"])
    np.testing.assert_array_equal(actual["dense"]["bias"], params["dense"]["bias"])
    print(f"jaxcompress {jc.__version__} from {jc.__file__}: {path.stat().st_size} bytes")
    print(report)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
