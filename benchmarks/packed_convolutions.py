"""How fast are binary convolutions on words of bits, and are outputs training's?

Three binary 3 × 3 convolutions between a real one of 3 channels and a pooled head of
signs, batch norm after each, on square images at batch 1 and 32:

    float32   the same layers with float32 weights and no rounding
    signs     the network as it is trained: signs as floats, weights held as arrays
    packed    `quantize.execution.packed_model`

Timed as `benchmarks.packed_bits`. Weights are drawn, not trained.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxcompress as jc
from benchmarks import runner
from benchmarks.packed_bits import CLASSES, HIDDEN, REPEATS, SIGNS, compared

NETS = ((32, 16), (64, 16), (256, 8))
"""Channels, and the side of the images."""

BATCHES = (1, 32)


def network(params, x):
    """A real convolution, three of signs, and a head; batch norm in evaluation mode."""
    h = norm(windows(x, params["in"]), params["in_norm"])
    for name in HIDDEN:
        h = norm(windows(h, params[name]), params[f"{name}_norm"])
    h = jax.lax.reduce_window(h, -jnp.inf, jax.lax.max, (1, 4, 4, 1), (1, 4, 4, 1), "VALID")
    return h.reshape(len(x), -1) @ params["head"]


def windows(x, kernel):
    """A convolution over windows of 3 × 3, as large as its data."""
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=numbers)


def norm(x, stored):
    """Batch norm with stored statistics (4, 1, 1, 1, channels)."""
    mean, variance, gain, offset = stored
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * gain + offset


def drawn(channels: int, side: int, seed: int) -> dict[str, Any]:
    """Params of the network, with statistics that fit the sums of signs."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    params: dict[str, Any] = {"in": normal(3, 3, 3, channels)}
    params["head"] = normal((side // 4) ** 2 * channels, CLASSES)
    params |= {name: normal(3, 3, channels, channels) for name in HIDDEN}
    for name, fan_in in {"in": 27, **dict.fromkeys(HIDDEN, 9 * channels)}.items():
        variance = fan_in * jnp.exp(0.3 * normal(1, 1, 1, channels))
        mean = 0.3 * np.sqrt(fan_in) * normal(1, 1, 1, channels)
        gain, offset = normal(2, 1, 1, 1, channels)
        params[f"{name}_norm"] = jnp.stack([mean, variance, gain, 0.5 * offset])
    return params


def measure(channels: int, side: int, batch: int, seed: int) -> dict[str, Any]:
    """Milliseconds and bytes of each variant, and whether outputs are training's."""
    spec = jc.quantize.formats.binary(scales="power_of_two")
    params = drawn(channels, side, seed)
    x = jnp.asarray(np.random.default_rng(seed + 1).normal(size=(batch, side, side, 3)), "float32")
    axes = jc.graph.axes(network, params, x)
    codes, _ = jc.quantize.quantize(params, jc.Rules(dict.fromkeys(SIGNS, spec)), axes=axes)
    sign = jc.observers.Range(jnp.float32(-1.0), jnp.float32(1.0))
    data = jc.quantize.execution.static(
        dict.fromkeys(SIGNS, sign), jc.quantize.formats.binary(per="tensor")
    )
    rules = jc.Rules(dict.fromkeys(SIGNS, data))
    packed = jc.quantize.execution.packed_model(network, codes, rules, x)
    signs = jax.jit(jc.quantize.fake_quantize_activations(network, rules))
    arrays = jc.materialize(codes)
    calls = {
        "float32": partial(jax.jit(network), params, x),
        "signs": partial(signs, arrays, x),
        "packed": partial(jax.jit(lambda packed, x: packed(x)), packed, x),
    }
    return compared(calls, {"float32": params, "signs": arrays, "packed": packed})


def main() -> None:
    """Measures what is missing and prints all of it."""
    options = runner.arguments("Times binary convolutions on words of bits.").parse_args()
    for channels, side in NETS:
        for batch in BATCHES:
            settings = {"channels": channels, "side": side, "batch": batch, "repeats": REPEATS}
            figures = runner.record(
                "packed_convolutions",
                partial(measure, channels, side, batch, 0),
                settings=settings,
                seed=0,
                out=options.out,
            )["figures"]
            for name, row in figures.items():
                print(
                    f"{channels:3} channels of {side} x {side}, batch {batch:2} {name:8} "
                    f"{row['processor_ms']:8.3f} ms of processor, {row['bytes']:10,} bytes, "
                    f"{row['outputs_unlike_training']} outputs unlike training"
                )


if __name__ == "__main__":
    main()
