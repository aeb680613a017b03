"""How fast is a binary network on words of bits, and are its outputs training's?

MLPs with three binary layers of 256 or of 1024 between a real first layer and a head
of signs, batch norm after each, at batch 1, 32 and 256:

    float32   the same layers with float32 weights and no rounding
    signs     the network as it is trained: signs as floats, weights held as arrays
    integer   signs as int8 codes, products in int32, batch norm in floats
    packed    `quantize.execution.packed_model`

All variants are timed in turn in one process, by the clock and by the processor's time,
which other processes of a shared machine do not add to. Weights are drawn, not trained.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxcompress as jc
from benchmarks import runner
from jaxcompress.core.sizes import size_bytes

WIDTHS = (256, 1024)
BATCHES = (1, 32, 256)
INPUTS, CLASSES = 64, 10
HIDDEN = ("one", "two", "three")
SIGNS = (*HIDDEN, "head")
REPEATS = 30


def network(params, x):
    """A real layer, three layers and a head; batch norm in evaluation mode."""
    h = norm(x @ params["in"], params["in_norm"])
    for name in HIDDEN:
        h = norm(h @ params[name], params[f"{name}_norm"])
    return h @ params["head"]


def norm(x, stored):
    """Batch norm with stored statistics."""
    mean, variance, gain, offset = stored
    return (x - mean[None]) * jax.lax.rsqrt(variance + 1e-5)[None] * gain[None] + offset[None]


def drawn(width: int, seed: int) -> dict[str, Any]:
    """Params of the network, with statistics that fit the sums of signs."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    params: dict[str, Any] = {"in": normal(INPUTS, width), "head": normal(width, CLASSES)}
    params |= {name: normal(width, width) for name in HIDDEN}
    for name, fan_in in {"in": INPUTS, **dict.fromkeys(HIDDEN, width)}.items():
        variance = fan_in * jnp.exp(0.3 * normal(width))
        mean = 0.3 * np.sqrt(fan_in) * normal(width)
        params[f"{name}_norm"] = (mean, variance, normal(width), 0.5 * normal(width))
    return params


def measure(width: int, batch: int, seed: int) -> dict[str, Any]:
    """Milliseconds and bytes of each variant, and whether outputs are training's."""
    spec = jc.quantize.formats.binary(scales="power_of_two")
    params = drawn(width, seed)
    codes, _ = jc.quantize.quantize(params, jc.Rules(dict.fromkeys(SIGNS, spec)))
    sign = jc.observers.Range(jnp.float32(-1.0), jnp.float32(1.0))
    data = jc.quantize.execution.static(
        dict.fromkeys(SIGNS, sign), jc.quantize.formats.binary(per="tensor")
    )
    rules = jc.Rules(dict.fromkeys(SIGNS, data))
    rng = np.random.default_rng(seed + 1)
    x = jnp.asarray(rng.normal(size=(batch, INPUTS)), jnp.float32)
    packed = jc.quantize.execution.packed_model(network, codes, rules, x)
    signs = jax.jit(jc.quantize.fake_quantize_activations(network, rules))
    arrays = jc.materialize(codes)
    eight = eight_bits(codes)
    calls = {
        "float32": partial(jax.jit(network), params, x),
        "signs": partial(signs, arrays, x),
        "integer": partial(jax.jit(on_int8), eight, x),
        "packed": partial(jax.jit(lambda packed, x: packed(x)), packed, x),
    }
    held = {"float32": params, "signs": arrays, "integer": eight, "packed": packed}
    return compared(calls, held)


def compared(calls: Mapping[str, Callable[[], Any]], held: Mapping[str, Any]) -> dict[str, Any]:
    """Milliseconds of each call, bytes of what it holds, and outputs unlike "signs"."""
    expected = np.asarray(calls["signs"]())
    timings = runner.interleaved(calls, repeats=REPEATS)
    processor = processor_ms(calls)
    return {
        name: {
            "median_ms": timings[name].median_seconds * 1e3,
            "processor_ms": processor[name],
            "times_as_fast": timings[name].ratio,
            "spread": timings[name].spread,
            "bytes": size_bytes(held[name]),
            "outputs_unlike_training": int(np.sum(np.asarray(call()) != expected)),
        }
        for name, call in calls.items()
    }


def processor_ms(calls: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
    """The median milliseconds of processor time that a call takes, in turn."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(REPEATS):
        for name, call in calls.items():
            begin = time.process_time()
            jax.block_until_ready(call())
            spent[name].append(time.process_time() - begin)
    return {name: statistics.median(each) * 1e3 for name, each in spent.items()}


def eight_bits(codes) -> dict[str, Any]:
    """The params with weights of signs as (int8 signs (outputs, inputs), scales)."""
    return {
        name: (leaf.unpacked_codes * 2 - 1, leaf.scales.reshape(1, -1)) if name in SIGNS else leaf
        for name, leaf in codes.items()
    }


def on_int8(params, x):
    """The network with products of int8 signs, as the integer form multiplies them."""

    def product(x, weight):
        signs, scale = weight
        codes = jnp.where(x > 0, 1, -1).astype(jnp.int8)
        return jc.kernels.int8_matmul(codes, signs).astype(jnp.float32) * scale

    h = norm(x @ params["in"], params["in_norm"])
    for name in HIDDEN:
        h = norm(product(h, params[name]), params[f"{name}_norm"])
    return product(h, params["head"])


def main() -> None:
    """Measures what is missing and prints all of it."""
    options = runner.arguments("Times binary networks on words of bits.").parse_args()
    for width in WIDTHS:
        for batch in BATCHES:
            settings = {"width": width, "batch": batch, "repeats": REPEATS, "jax": jax.__version__}
            figures = runner.record(
                "packed_bits",
                partial(measure, width, batch, 0),
                settings=settings,
                seed=0,
                out=options.out,
            )["figures"]
            for name, row in figures.items():
                print(
                    f"width {width:5} batch {batch:3} {name:8} {row['median_ms']:8.3f} ms "
                    f"{row['processor_ms']:8.3f} ms of processor, {row['bytes']:10,} bytes, "
                    f"{row['outputs_unlike_training']} outputs unlike training"
                )


if __name__ == "__main__":
    main()
