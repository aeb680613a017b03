"""A two-layer perceptron trained by every classic optimizer: curves in one picture.

    python -m benchmarks.classics [--seeds 0 1 2] [--data DIR]

MNIST, 784-100-10, batches of 128, a constant learning rate: of four, a factor of three
apart, the one with the lowest validation loss of a first run. The picture shows the
loss on training images.
"""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

import jaxcompress as jc
from benchmarks import plots, runner
from jaxcompress.core.types import Array, Params
from jaxcompress.demo.data import Images, mnist_folder

HIDDEN, BATCH, STEPS, EVERY, JUDGED = 100, 128, 1000, 25, 2000
RATES = (0.3, 1.0, 3.0, 10.0)

rooms = jc.optimizers

CLASSICS: dict[str, tuple[Callable, float]] = {
    "sgd": (rooms.sgd, 0.1),
    "heavy_ball": (rooms.heavy_ball, 0.03),
    "nesterov": (rooms.nesterov, 0.03),
    "adagrad": (rooms.adagrad, 0.01),
    "rmsprop": (rooms.rmsprop, 1e-3),
    "centered_rmsprop": (rooms.centered_rmsprop, 1e-3),
    "adam": (rooms.adam, 1e-3),
    "adamw": (rooms.adamw, 1e-3),
    "nadam": (rooms.nadam, 1e-3),
    "amsgrad": (rooms.amsgrad, 1e-3),
    "lion": (rooms.lion, 1e-4),
}
"""By name the optimizer and the usual learning rate, which `RATES` multiply."""


def initial(key: jax.Array) -> Params:
    """He's weights, zero biases."""
    first, second = jax.random.split(key)
    he = jax.nn.initializers.he_normal()
    return {
        "hidden": {"kernel": he(first, (784, HIDDEN)), "bias": jnp.zeros(HIDDEN)},
        "out": {"kernel": he(second, (HIDDEN, 10)), "bias": jnp.zeros(10)},
    }


def loss(params: Params, images: ArrayLike, labels: ArrayLike) -> Array:
    """Mean cross-entropy of a perceptron with one hidden layer: ()."""
    x = jnp.reshape(images, (-1, 784))
    x = jax.nn.relu(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    logits = x @ params["out"]["kernel"] + params["out"]["bias"]
    return jc.distill.outputs.hard_targets(logits, jnp.asarray(labels)).mean()


def trained(name: str, rate: float, parts: dict[str, Images], seed: int) -> dict[str, Any]:
    """Losses on training and validation images every so many steps."""
    optimizer = CLASSICS[name][0](rate)
    images, labels = jnp.asarray(parts["train"].images), jnp.asarray(parts["train"].labels)
    key = jax.random.key(seed)

    def step(carry, count):
        params, opt_state = carry
        index = jax.random.randint(jax.random.fold_in(key, count), (BATCH,), 0, len(images))
        grads = jax.grad(loss)(params, images[index], labels[index])
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), None

    def stretch(carry, begin):
        carry, _ = jax.lax.scan(step, carry, begin + jnp.arange(EVERY))
        judged = {
            split: loss(carry[0], part.images[:JUDGED], part.labels[:JUDGED])
            for split, part in parts.items()
        }
        return carry, judged

    params = initial(key)
    start = params, optimizer.init(params)
    _, found = jax.jit(lambda: jax.lax.scan(stretch, start, jnp.arange(0, STEPS, EVERY)))()
    return {split: np.nan_to_num(values, nan=99.0).tolist() for split, values in found.items()}


def measure(parts: dict[str, Images], name: str, seed: int) -> dict[str, Any]:
    """The curves of one seed at the rate that the first seed chose."""
    rates = [share * CLASSICS[name][1] for share in RATES]
    runs = {rate: trained(name, rate, parts, 0) for rate in rates}
    best = min(runs, key=lambda rate: runs[rate]["validation"][-1])
    return {"rate": best, **(runs[best] if seed == 0 else trained(name, best, parts, seed))}


def splits(data: pathlib.Path) -> dict[str, Images]:
    """Training and validation images of MNIST."""
    parts = mnist_folder(data / "mnist", seed=0)
    return {"train": parts.train, "validation": parts.validation}


def main() -> None:
    """Runs what has no record yet, then draws all."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=range(3))
    options = parser.parse_args()
    parts = splits(options.data)
    settings = {"hidden": HIDDEN, "batch": BATCH, "steps": STEPS, "every": EVERY, "rates": RATES}
    series = {}
    for name in CLASSICS:
        records = [
            runner.record(
                "classics",
                functools.partial(measure, parts, name, seed),
                settings=settings | {"optimizer": name},
                seed=seed,
                out=options.out,
            )["figures"]
            for seed in options.seeds
        ]
        losses = runner.summary([record["validation"][-1] for record in records])
        print(f"{name:18} rate {records[0]['rate']:g}: {losses.mean:.4f} validation loss")
        places = np.arange(EVERY, STEPS + 1, EVERY)
        series[name] = places, [record["train"] for record in records]
    plots.curves(
        options.out / "classics.png", series, x="steps", y="training loss", logarithmic=True
    )


if __name__ == "__main__":
    main()
