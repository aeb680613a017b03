"""Bytes of codes chosen on a trellis, beside codes chosen one by one, at equal error.

    python -m benchmarks.trellis_codes [--data DIR] [--out DIR]

`rounding.trellis` coded by `coders.trellis`, and `rounding.rate_distortion` coded by
`coders.context`, over a sweep of slopes: of random matrices, and of the first layer of
a LeNet-300-100 that was trained on MNIST, dense and pruned to 3.3 % of its weights.
The slope of single codes is the largest at which their squared error is no more.
"""

import math
import pathlib
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

import jaxcompress as jc
from benchmarks import deep_compression, runner
from jaxcompress.core.types import Params
from jaxcompress.storage.coders import context, trellis
from jaxcompress.storage.coders.words import Layout, Words

q = jc.quantize

SIDES = 784, 300
"""Inputs and outputs of every matrix."""

SLOPES = (0.005, 0.02, 0.06, 0.15, 0.3, 0.5)
"""Squares of weights, in their mean, that a bit is worth on the trellis."""

HALVINGS = 10
"""Of the range of slopes in which single codes have the same error."""

KEPT = 0.033
"""Of the weights of the pruned net."""

RATES = {"order_0": q.rates.order_0, "by_lines": q.rates.by_lines}


def laplace(seed: int, data: pathlib.Path) -> np.ndarray:
    """Independent weights whose magnitudes are exponential."""
    del data
    return np.random.default_rng(seed).laplace(size=SIDES)


def normal(seed: int, data: pathlib.Path) -> np.ndarray:
    """Independent normal weights."""
    del data
    return np.random.default_rng(seed).standard_normal(SIDES)


def dense(seed: int, data: pathlib.Path) -> np.ndarray:
    """The first layer of a trained net."""
    return first_kernel(deep_compression.pruned(data, "LeNet-300-100", KEPT, seed)[1])


def pruned(seed: int, data: pathlib.Path) -> np.ndarray:
    """The first layer of a net that was pruned while it trained."""
    return first_kernel(deep_compression.pruned(data, "LeNet-300-100", KEPT, seed)[2])


def first_kernel(params: Params) -> np.ndarray:
    """Of a LeNet-300-100."""
    return next(leaf for leaf in map(np.asarray, jc.named_leaves(params).values()) if leaf.ndim > 1)


ARRAYS = {
    "Laplace": (laplace, "order_0"),
    "normal": (normal, "order_0"),
    "LeNet-300-100, dense": (dense, "order_0"),
    "LeNet-300-100, 3.3 % kept": (pruned, "by_lines"),
}
"""By name what gives a matrix, and the rate model of both roundings."""


class Coded(NamedTuple):
    """A matrix in codes.

    Attributes:
      error: squared error, as a share of the weights' squares.
      words: its codes.
    """

    error: float
    words: Words


def coded(weight: np.ndarray, rounding: q.rounding.Rounding) -> Coded:
    """The matrix in codes of 8 bits at one step."""
    spec = q.int8(per="tensor")
    leaf = q.quantize({"kernel": jnp.asarray(weight)}, spec, rounding=rounding)[0]["kernel"]
    codes = np.asarray(leaf.unpacked_codes).view(np.uint8)
    error = np.sum(np.square(np.float64(leaf.materialize()) - weight))
    words = Words(codes.reshape(-1), Layout(8, codes.shape, inputs_last=True))
    return Coded(float(error / np.sum(np.square(np.float64(weight)))), words)


def as_near(weight: np.ndarray, error: float, slope: float, rate: q.rates.Rate) -> Coded:
    """The codes of `rate_distortion` at the largest slope of no more error."""
    low, high = slope / 4, slope * 4
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        near = coded(weight, q.rounding.rate_distortion(middle, rate)).error <= error
        low, high = (middle, high) if near else (low, middle)
    return coded(weight, q.rounding.rate_distortion(low, rate))


def measure(weight: np.ndarray, rate: q.rates.Rate) -> dict[str, list[dict[str, float]]]:
    """Errors and bytes of both roundings, of each slope."""
    weight = np.asarray(weight, np.float32)
    square, rows = float(np.mean(np.square(weight))), []
    for slope in SLOPES:
        path = coded(weight, q.rounding.trellis(slope * square, rate))
        single = as_near(weight, path.error, slope * square, rate)
        rows.append(
            {
                "trellis_error": path.error,
                "trellis_bytes": trellis.size_bytes(path.words),
                "rate_distortion_error": single.error,
                "rate_distortion_bytes": context.size_bytes(single.words),
            }
        )
    return {"slopes": rows}


def main() -> None:
    """Measures what has no record yet and prints it."""
    options = runner.arguments((__doc__ or "").partition("\n")[0]).parse_args()
    for name, (make, rate) in ARRAYS.items():
        rows = runner.record(
            "trellis_codes",
            lambda make=make, rate=rate: measure(make(0, options.data), RATES[rate]),
            settings={"array": name, "rate": rate, "slopes": SLOPES, "sides": SIDES},
            seed=0,
            out=options.out,
        )["figures"]["slopes"]
        print(name)
        for row in rows:
            own, other = row["trellis_bytes"], row["rate_distortion_bytes"]
            bits = 8 * own / (SIDES[0] * SIDES[1])
            print(
                f"  {bits:5.3f} bits, error {row['trellis_error']:.4f}: {own:,} bytes, "
                f"one by one {other:,}, saved {1 - own / other:.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
