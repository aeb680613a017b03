"""How well multilayer perceptrons of single bits answer MNIST.

    python -m benchmarks.binary_mnist [--nets "3 × 64"] [--seeds 0 1 2] [--data DIR]

Three hidden layers of one width; every weight is -1 or 1, and so is all that enters a
layer but the image. A batch norm stands behind each layer. Trained from scratch on
55,000 images that are shifted by up to a pixel, without a teacher. Every choice was
made on the 5,000 validation images; the test images are opened once for each seed. They
had been opened before for a first recipe without shifts, of two nets of seed 0.

What others published: 93.17, 97.81 and 98.88 % for the widths 64, 256 and 1024.
"""

import argparse
import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxcompress as jc
from benchmarks import runner
from benchmarks.lenets import splits
from benchmarks.removal import cropped
from jaxcompress.core.types import Array, Key, Params
from jaxcompress.demo.data import Images

training = jc.quantize.training
PIXELS, CLASSES, BATCH, BORDER, RATE, DECAY, EPSILON = 784, 10, 128, 1, 3e-3, 0.99, 1e-4
LAYERS = ("first", "second", "third", "last")
HIDDEN_DATA = LAYERS[1:]
"""The layers whose data are signs: those that do not see the image."""


class Net(NamedTuple):
    """The width of the hidden layers, and how long the net trains."""

    width: int
    epochs: int


NETS = {"3 × 64": Net(64, 200), "3 × 256": Net(256, 200), "3 × 1024": Net(1024, 50)}


def initial(width: int, key: Key) -> Params:
    """Weights and norms; `mean` and `variance` are statistics, not trained."""
    sizes = (PIXELS, width, width, width, CLASSES)
    keys = jax.random.split(key, len(LAYERS))
    return {
        name: {
            "kernel": jax.random.uniform(each, shape, jnp.float32, -1, 1),
            "gain": jnp.ones(shape[1]),
            "offset": jnp.zeros(shape[1]),
            "mean": jnp.zeros(shape[1]),
            "variance": jnp.ones(shape[1]),
        }
        for each, name, shape in zip(keys, LAYERS, itertools.pairwise(sizes), strict=True)
    }


def perceptron(params: Params, x: Array) -> Array:
    """Logits (n, 10) of images (n, 784), normed by the statistics in the params."""
    for layer in (params[name] for name in LAYERS):
        x = x @ layer["kernel"]
        x = normed(x, layer, layer["mean"], layer["variance"])
    return x


def in_training(params: Params, x: Array) -> tuple[Array, Params]:
    """Logits normed by the batch, and the params with statistics moved towards it."""
    moved = {}
    for name, layer in ((name, params[name]) for name in LAYERS):
        x = x @ layer["kernel"]
        mean, variance = jnp.mean(x, 0), jnp.var(x, 0)
        moved[name] = layer | {
            "mean": DECAY * layer["mean"] + (1 - DECAY) * mean,
            "variance": DECAY * layer["variance"] + (1 - DECAY) * variance,
        }
        x = normed(x, layer, mean, variance)
    return x, moved


def normed(x: Array, layer: Params, mean: Array, variance: Array) -> Array:
    """A batch norm with the gain and the offset of a layer."""
    scale = jax.lax.rsqrt(variance + EPSILON) * layer["gain"]
    return (x - mean[None]) * scale[None] + layer["offset"][None]


def on_signs(fn: Callable) -> training.BinaryActivations:
    """The model on signs of its hidden data, with gradients where |x| <= 1."""
    hidden = [f"{layer}/kernel" for layer in HIDDEN_DATA]
    scale = training.data.unscaled()
    return training.binary_activations(fn, jc.Rules(dict.fromkeys(hidden, scale)))


def optimizer(steps: int) -> optax.GradientTransformation:
    """Adam on a cosine; latent weights stay in [-1, 1], statistics are left alone."""
    kernels, statistics = jc.matching("*/kernel"), jc.matching("*/mean", "*/variance")
    return optax.chain(
        optax.adam(optax.cosine_decay_schedule(RATE, steps)),
        jc.optimizers.clip_weights(-1.0, 1.0, select=kernels),
        optax.masked(optax.set_to_zero(), statistics),
    )


def with_statistics(params: Params, moved: Params) -> Params:
    """The params with the statistics of others."""
    return {
        name: layer | {part: moved[name][part] for part in ("mean", "variance")}
        for name, layer in params.items()
    }


def trained(net: Net, images: Images, seed: int) -> Params:
    """The params after training, latent weights among them."""
    technique, model = (
        training.binary_connect(select=jc.matching("*/kernel")),
        on_signs(in_training).model,
    )
    per_epoch = len(images) // BATCH
    update = optimizer(net.epochs * per_epoch)
    pictures, labels = jax.device_put((images.images, images.labels))

    def loss(params: Params, chosen: Array, key: Key) -> tuple[Array, Params]:
        x = cropped(pictures[chosen], key, BORDER).reshape(-1, PIXELS)
        logits, moved = model(technique.view(params, {}), x)
        return jc.distill.outputs.hard_targets(logits, labels[chosen]).mean(), moved

    def step(carry: tuple, drawn: tuple[Array, Key]) -> tuple[tuple, None]:
        params, state = carry
        grads, moved = jax.grad(loss, has_aux=True)(params, *drawn)
        updates, state = update.update(grads, state, params)
        return (with_statistics(optax.apply_updates(params, updates), moved), state), None

    epoch = jax.jit(lambda carry, drawn: jax.lax.scan(step, carry, drawn)[0], donate_argnums=0)
    params = initial(net.width, jax.random.key(seed))
    carry, generator = (params, update.init(params)), np.random.default_rng(seed)
    for number in range(net.epochs):
        order = generator.permutation(len(images))[: per_epoch * BATCH]
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), number), per_epoch)
        carry = epoch(carry, (jnp.asarray(order.reshape(per_epoch, BATCH)), keys))
    return carry[0]


def measure(options: argparse.Namespace, name: str, seed: int) -> dict[str, Any]:
    """Accuracies of what training saw and of what is shipped, and bytes of its file."""
    parts = splits(options.data, seed)
    params = trained(NETS[name], parts.train, seed)
    technique = training.binary_connect(select=jc.matching("*/kernel"))
    signs, shipped = on_signs(perceptron), technique.freeze(params, {})
    seen = jax.jit(lambda params, x: signs.model(technique.view(params, {}), x))
    images = parts.validation.images.reshape(-1, PIXELS)
    frozen = signs.freeze(params, images[:1])
    on_codes = jc.quantize.fake_quantize_activations(jc.materialized(perceptron), frozen)
    packed = jc.quantize.execution.packed_model(perceptron, shipped, frozen, images[:BATCH])
    # As an argument: XLA rounds what it computes of constants beforehand otherwise.
    on_words = jax.jit(lambda packed, x: packed(x))
    ways = {
        "frozen": functools.partial(jax.jit(on_codes), shipped),
        "packed": functools.partial(on_words, packed),
    }
    found: dict[str, Any] = {
        "file_bytes": jc.storage.size(shipped, coders=jc.storage.coders.SMALLEST).disk,
        "float_bytes": jc.storage.size(params).disk,
        "packed_bytes": packed.size_bytes,
    }
    for part in ("validation", "test"):
        images = getattr(parts, part)
        x = jnp.asarray(images.images.reshape(-1, PIXELS))
        logits = seen(params, x)
        found[part] = {
            "accuracy": float(jnp.mean(jnp.argmax(logits, -1) == images.labels)),
            "equal": {name: bool(jnp.array_equal(way(x), logits)) for name, way in ways.items()},
        }
    print(name, seed, found, flush=True)
    return found


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The records of all nets and seeds, those that are there already as they are."""
    return [
        runner.record(
            "binary_mnist",
            functools.partial(measure, options, name, seed),
            settings={"net": name, **NETS[name]._asdict(), "rate": RATE, "border": BORDER},
            seed=seed,
            out=options.out,
        )
        for seed in options.seeds
        for name in options.nets
    ]


def main() -> None:
    """Runs what has no record yet, then prints means over seeds."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--nets", nargs="+", default=list(NETS), choices=list(NETS))
    options = parser.parse_args()
    records = run(options)
    for name in options.nets:
        own = [each["figures"] for each in records if each["settings"]["net"] == name]
        for part in ("validation", "test"):
            found = runner.summary([each[part]["accuracy"] for each in own])
            print(f"{name:10} {part:10} {found.mean:.2%} ± {found.standard_error:.2%}")


if __name__ == "__main__":
    main()
