"""What 8 and 4 bits cost a recurrent network in loss, and what roundings win back.

    python -m benchmarks.quantized_lstm [--data DIR] [--seeds 0 1 2]

An LSTM of 128 units on tiny Shakespeare, trained by Adam; then its three matrices are
quantized without training, one scale for each output: rounded to nearest, or on the
data that they meet. The recurrent matrix meets what it makes itself, in a loop at which
the program cannot be cut, so it is run again up to there. Test windows are opened once
per seed; nothing was chosen on them.
"""

import argparse
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

import jaxcompress as jc
from benchmarks import runner
from benchmarks.shakespeare import CHARACTERS, batch, text, windows
from jaxcompress.core.types import Array, Key, Params

UNITS, EMBEDDED, STEPS, RATE, BATCH, CALIBRATION, JUDGED = 128, 64, 2000, 4e-3, 64, 512, 1536
BITS, CORRECTION = (8, 4, 3), 0.5
quantize = jc.quantize
GPTQ = quantize.rounding.gptq()
CLIPPED = quantize.rounding.gptq(ranges=quantize.ranges.mean_squared_error)
METHODS = {
    "nearest": (quantize.rounding.nearest(), 0.0),
    "gptq": (GPTQ, 0.0),
    "gptq, mse ranges": (CLIPPED, 0.0),
    "gptq, mse ranges, corrected": (CLIPPED, CORRECTION),
}

Objective = Callable[[Params, Array], Array]
"""(params, windows (n, length + 1)) to the loss of a batch."""


def initial(key: Key, units: int = UNITS, embedded: int = EMBEDDED) -> Params:
    """Normal of deviation 1 / sqrt(inputs); the forget gates start open."""
    shapes = {
        "embedding": (CHARACTERS, embedded),
        "input": (embedded, 4 * units),
        "hidden": (units, 4 * units),
        "out": (units, CHARACTERS),
    }
    keys = jax.random.split(key, len(shapes))
    drawn = {
        name: jax.random.normal(each, shape) * shape[0] ** -0.5
        for each, (name, shape) in zip(keys, shapes.items(), strict=True)
    }
    bias = jnp.zeros(4 * units).at[units : 2 * units].set(1.0)
    return drawn | {"bias": bias, "out_bias": jnp.zeros(CHARACTERS)}


def lstm(params: Params, codes: Array) -> Array:
    """Logits of the next character: (n, length) int32 to (n, length, CHARACTERS)."""
    fed = params["embedding"][codes] @ params["input"] + params["bias"][None, None]

    def step(state: tuple[Array, Array], x: Array) -> tuple[tuple[Array, Array], Array]:
        hidden, cell = state
        gates = x + hidden @ params["hidden"]
        enter, forget, give, candidate = jnp.split(gates, 4, axis=-1)
        cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(enter) * jnp.tanh(candidate)
        hidden = jax.nn.sigmoid(give) * jnp.tanh(cell)
        return (hidden, cell), hidden

    start = jnp.zeros((len(codes), params["bias"].size // 4))
    _, hidden = jax.lax.scan(step, (start, start), jnp.swapaxes(fed, 0, 1))
    return jnp.swapaxes(hidden, 0, 1) @ params["out"] + params["out_bias"][None, None]


def loss(params: Params, codes: Array) -> Array:
    """Mean cross-entropy of the characters of windows, in nats: ()."""
    return jc.distill.outputs.hard_targets(lstm(params, codes[:, :-1]), codes[:, 1:]).mean()


def trained(codes: Array, seed: int) -> Params:
    """The params after training on windows at random."""
    key, params_key = jax.random.split(jax.random.key(seed))
    return fitted(loss, initial(params_key), codes, key)


def fitted(
    objective: Objective,
    params: Params,
    codes: Array,
    key: Key,
    *,
    steps: int = STEPS,
    rate: float = RATE,
) -> Params:
    """The params after the steps of Adam on windows at random that the key draws."""
    schedule = optax.cosine_decay_schedule(rate, steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))

    def step(carry: tuple, key: Key) -> tuple[tuple, None]:
        params, state = carry
        grads = jax.grad(objective)(params, batch(codes, BATCH, key))
        updates, state = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    keys = jax.random.split(key, steps)
    (params, _), _ = jax.jit(lambda carry: jax.lax.scan(step, carry, keys))(
        (params, optimizer.init(params))
    )
    return params


def measure(data: pathlib.Path, seed: int) -> dict[str, Any]:
    """Test losses of the float model and of every method at every width."""
    parts = text(data)
    dense = trained(jnp.asarray(parts.train), seed)
    seen = jnp.asarray(windows(parts.train, CALIBRATION)[:, :-1])
    batches = list(seen.reshape(-1, BATCH, seen.shape[1]))
    held_out, judge = windows(parts.test, JUDGED), jax.jit(jc.materialized(loss))
    losses = {"float": float(judge(dense, held_out))}
    for bits in BITS:
        spec = getattr(quantize.formats, f"int{bits}")()
        rules = jc.Rules(dict.fromkeys(("input", "hidden", "out"), spec))
        for name, (rounding, correction) in METHODS.items():
            quantized, _ = quantize.reconstruct(
                lstm, dense, batches, rules, rounding, correction=correction
            )
            losses[f"{bits} bits, {name}"] = float(judge(quantized, held_out))
    return {"test": losses}


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The records of all seeds, those that are there already as they are."""
    settings = {
        "units": UNITS,
        "embedded": EMBEDDED,
        "steps": STEPS,
        "rate": RATE,
        "batch": BATCH,
        "calibration": CALIBRATION,
        "judged": JUDGED,
        "correction": CORRECTION,
        "methods": list(METHODS),
    }
    return [
        runner.record(
            "quantized_lstm",
            functools.partial(measure, options.data, seed),
            settings=settings,
            seed=seed,
            out=options.out,
        )
        for seed in options.seeds
    ]


def main() -> None:
    """Runs the seeds, then prints means."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    records = run(parser.parse_args())
    for name in records[0]["figures"]["test"]:
        found = runner.summary([record["figures"]["test"][name] for record in records])
        print(f"{name:36} {found.mean:.4f} ± {found.standard_error:.4f}")


if __name__ == "__main__":
    main()
