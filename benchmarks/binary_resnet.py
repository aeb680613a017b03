"""How a residual network of binary weights, or of binary weights and data, does.

    python -m benchmarks.binary_resnet [--seeds 0 1 2] [--data DIR]

Three blocks on the subset of CIFAR-10 of `benchmarks.structured_resnet`, in the order
that XNOR-Net wants: norm, sign, convolution, relu. Every form trains from scratch for
the same epochs on the same images; the first convolution and the last layer stay in
floats. Accuracy is told on the last 2,500 validation images and on the 1,000 test
images, opened once per seed, with paired intervals to the float model of the seed.
"""

import argparse
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

import jaxcompress as jc
from benchmarks import runner
from benchmarks.quantized_resnet import CHOSEN_BY, judged
from benchmarks.removal import Training, train
from benchmarks.structured_resnet import WIDTHS, augmented, splits
from jaxcompress.bridges.functional import Functional
from jaxcompress.core.companions import Companion
from jaxcompress.core.types import Array, Key, Model, Params
from jaxcompress.demo.data import Images

training = jc.quantize.training
PLAN = Training(epochs=6, learning_rate=4e-3, weight_decay=0.0)
BLOCKS = "Block_*/kernel"
INSIDE = jc.matching(BLOCKS)


class Block(nn.Module):
    """Two convolutions of normed data beside a strided one.

    Attributes:
      width: channels that leave.
    """

    width: int

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """(n, h, w, c) to (n, h / 2, w / 2, width)."""
        norm = functools.partial(nn.BatchNorm, use_running_average=not train, momentum=0.9)
        conv = functools.partial(nn.Conv, use_bias=False)
        y = nn.relu(conv(self.width, (3, 3), 2)(norm()(x)))
        y = conv(self.width, (3, 3))(norm()(y))
        return y + conv(self.width, (1, 1), 2)(norm()(x))


class Network(nn.Module):
    """A first convolution, three blocks, and a norm before the last layer."""

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """(n, 32, 32, 3) to logits (n, 10)."""
        x = nn.Conv(WIDTHS[0], (3, 3), use_bias=False)(x)
        for width in WIDTHS:
            x = Block(width)(x, train)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        return nn.Dense(10)(x.mean((1, 2)))


class Form(NamedTuple):
    """How weights are seen, and the factor of outputs of signs; None: floats."""

    weights: Companion | None
    scale: training.data.SignScale | None

    def seen(self, params: Params) -> Params:
        """The params as the model sees them in training."""
        return params if self.weights is None else self.weights.view(params, {})

    def shipped(self, params: Params) -> Params:
        """The params that are shipped."""
        return params if self.weights is None else self.weights.freeze(params, {})

    def model(self, fn: Model) -> Model:
        """The model whose data inside the blocks are signs, where they are scaled."""
        if self.scale is None:
            return fn
        return training.binary_activations(fn, jc.Rules({BLOCKS: self.scale})).model


FORMS = {
    "float": Form(None, None),
    "BinaryConnect": Form(training.binary_connect(select=INSIDE), None),
    "XNOR-Net": Form(training.binary_weights(select=INSIDE), training.data.mean_magnitude()),
}


def trained(form: Form, start: Functional, images: Images, seed: int) -> Params:
    """The params after training, latent weights among them."""

    def objective(params: Params, batch: tuple, key: Key) -> tuple[Array, Params]:
        x, labels = batch
        model = form.model(lambda params, x: start.train_fn(params, x, key=key))
        logits, after = model(form.seen(params), augmented(x, key))
        loss = jc.distill.outputs.hard_targets(logits, labels).mean()
        return loss, params | {"batch_stats": after["batch_stats"]}

    trainable = jc.none_of(jc.matching("batch_stats/*"))
    data = images.images, images.labels
    return train(objective, start.params, data, PLAN, seed=seed, trainable=trainable)


def measure(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Accuracy of every form as it is shipped, and bytes of its file."""
    parts = splits(options.data)
    images, validation = parts["train"], parts["val"]
    variables = Network().init(jax.random.key(seed), jnp.asarray(images.images[:1]), train=False)
    start = jc.bridges.linen.functional(
        Network(), variables, evaluation={"train": False}, training={"train": True}
    )
    models: dict[str, tuple[Model, Params]] = {}
    for name, form in FORMS.items():
        params = trained(form, start, images, seed)
        models[name] = (form.model(jc.materialized(start.fn)), form.shipped(params))
        print(seed, name, flush=True)
    judging = {
        "further": Images(validation.images[CHOSEN_BY:], validation.labels[CHOSEN_BY:]),
        "test": parts["test"],
    }
    coders = jc.storage.coders.SMALLEST
    sizes = {name: jc.storage.size(each, coders=coders).disk for name, (_, each) in models.items()}
    return {part: judged(models, each) for part, each in judging.items()} | {"file_bytes": sizes}


def main() -> None:
    """Runs every seed that has no record yet, then prints means over seeds."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    options = parser.parse_args()
    records = [
        runner.record(
            "binary_resnet",
            functools.partial(measure, options, seed),
            settings={"training": PLAN._asdict(), "widths": WIDTHS, "forms": list(FORMS)},
            seed=seed,
            out=options.out,
        )
        for seed in options.seeds
    ]
    for part in ("further", "test"):
        for name in FORMS:
            found = [record["figures"][part][name]["accuracy"] for record in records]
            mean = runner.summary(found)
            print(f"{part:8} {name:16} {mean.mean:.2%} ± {mean.standard_error:.2%}")


if __name__ == "__main__":
    main()
