"""What a small ResNet loses when it keeps a half and a third of its multiply-adds.

    python -m benchmarks.structured_resnet [--seeds 0 1 2] [--data DIR]

Whole channels go at once, ranked on training images; accuracy is told before any
training, after measuring the norms' statistics again, and after some epochs. The data
is a subset of CIFAR-10 (20,000 images to train on, the first 1,000 of the official
test), so accuracies are not those of the full set. Images are flipped and cropped at
random while training. Every choice was made on validation images; the test images are
opened once per seed, at the end.
"""

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

import jaxcompress as jc
from benchmarks import runner
from benchmarks.removal import Objective, Training, cost, cropped, latency, macs, train
from jaxcompress.bridges.functional import Functional
from jaxcompress.core.types import Array, Key, Params
from jaxcompress.demo.data import Images
from jaxcompress.structure import SmallerModel

WIDTHS = (16, 32, 64)
SHARES = (2, 3)
DENSE = Training(epochs=16, learning_rate=4e-3)
AGAIN = Training(epochs=6, learning_rate=4e-3)
SCORED = 1_000
BORDER = 4

trainable = jc.none_of(jc.matching("batch_stats/*"))


class Block(nn.Module):
    """Two convolutions beside a strided projection.

    Attributes:
      within: channels between the convolutions.
      width: channels that leave.
    """

    within: int
    width: int

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """(n, h, w, c) to (n, h / 2, w / 2, width)."""
        norm = functools.partial(nn.BatchNorm, use_running_average=not train, momentum=0.9)
        conv = functools.partial(nn.Conv, use_bias=False)
        y = nn.relu(norm()(conv(self.within, (3, 3), 2)(x)))
        y = norm()(conv(self.width, (3, 3))(y))
        return nn.relu(y + norm()(conv(self.width, (1, 1), 2)(x)))


class ResNet(nn.Module):
    """ResNet-8 whose first stage is strided too: 3.6 million multiply-adds.

    Attributes:
      stem: channels of the first convolution.
      blocks: channels within and after each block.
    """

    stem: int
    blocks: tuple[tuple[int, int], ...]

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """(n, 32, 32, 3) to logits (n, 10)."""
        x = nn.Conv(self.stem, (3, 3), use_bias=False)(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        for within, width in self.blocks:
            x = Block(within, width)(x, train)
        return nn.Dense(10)(x.mean((1, 2)))


def bridged(network: ResNet, variables: Params) -> Functional:
    """The network as functions of its variables."""
    return jc.bridges.linen.functional(
        network, variables, evaluation={"train": False}, training={"train": True}
    )


def narrower(params: Params) -> ResNet:
    """The network of such params: what trains norms of fewer channels."""
    weights = params["params"]
    width = lambda of, name: of[name]["kernel"].shape[-1]  # noqa: E731
    blocks = [weights[f"Block_{index}"] for index in range(len(WIDTHS))]
    return ResNet(
        width(weights, "Conv_0"),
        tuple((width(block, "Conv_0"), width(block, "Conv_1")) for block in blocks),
    )


def splits(data: pathlib.Path) -> dict[str, Images]:
    """Training, validation and test images, of mean 0 and variance 1 per channel."""
    with np.load(data / "cifar10" / "cifar10_subset.npz") as archive:
        raw = dict(archive)
    mean = raw["x_train"].mean((0, 1, 2), dtype=np.float64)
    deviation = raw["x_train"].std((0, 1, 2), dtype=np.float64)
    return {
        part: Images(
            ((raw[f"x_{part}"] - mean) / deviation).astype(np.float32),
            raw[f"y_{part}"].astype(np.int32),
        )
        for part in ("train", "val", "test")
    }


def augmented(images: Array, key: Key) -> Array:
    """Each image flipped or not, and cropped out of itself with a border of zeros."""
    flip_key, crop_key = jax.random.split(key)
    flips = jax.random.bernoulli(flip_key, shape=(len(images), 1, 1, 1))
    return cropped(jnp.where(flips, images[:, :, ::-1], images), crop_key, BORDER)


def objective(model: Functional) -> Objective:
    """The cross-entropy on augmented images, and the norms' new statistics."""

    def loss(params, batch, key):
        x, labels = batch
        logits, after = model.train_fn(params, augmented(x, key), key=key)
        return jc.distill.outputs.hard_targets(logits, labels).mean(), after

    return loss


def fitted(model: Functional, images: Images, training: Training, seed: int) -> Params:
    """The model's params after training."""
    data = images.images, images.labels
    return train(objective(model), model.params, data, training, seed=seed, trainable=trainable)


def batches(images: Images) -> list[tuple[np.ndarray, np.ndarray]]:
    """The training images that units are scored on and norms measured on."""
    starts = range(0, SCORED, 250)
    return [(images.images[i : i + 250], images.labels[i : i + 250]) for i in starts]


def cut(
    dense: Functional, images: Images, share: int, seed: int
) -> tuple[SmallerModel, Functional]:
    """The model as cut, and one to fine-tune: its norms' statistics measured again."""
    few = batches(images)
    one = images.images[:1]
    removed = jc.structure.remove(
        dense.fn,
        dense.params,
        jc.structure.importance.normalized(
            jc.structure.importance.taylor(jc.distill.outputs.hard_targets, few)
        ),
        one,
        cut=jc.structure.amounts.within_macs(macs(dense.fn, dense.params, one) // share),
    )
    model = bridged(narrower(removed.params), removed.params)
    measured = jc.recalibrate(
        model.train_fn, model.params, [batch[:1] for batch in few], key=jax.random.key(seed)
    )
    return removed, bridged(narrower(measured), measured)


def tuning_seed(share: int, seed: int) -> int:
    """The seed of the order of images and of their augmentation after a cut."""
    return seed + 100 * share


def shrunk(dense: Functional, images: Images, share: int, seed: int) -> dict[str, Any]:
    """The model with so small a share of the multiply-adds, at three moments."""
    removed, start = cut(dense, images, share, seed)
    return {
        "removed": (removed.fn, removed.params),
        "norms measured": (removed.fn, start.params),
        "trained": (removed.fn, fitted(start, images, AGAIN, tuning_seed(share, seed))),
    }


def measure(data: pathlib.Path, seed: int) -> dict[str, Any]:
    """The figures of one seed."""
    parts = splits(data)
    network = ResNet(WIDTHS[0], tuple((width, width) for width in WIDTHS))
    x = parts["train"].images[:1]
    start = bridged(network, network.init(jax.random.key(seed), x, train=False))
    dense = bridged(network, fitted(start, parts["train"], DENSE, seed))
    models = {"dense": {"trained": (dense.fn, dense.params)}}
    for share in SHARES:
        models[f"1/{share}"] = shrunk(dense, parts["train"], share, seed)
    ready = {name: moments["trained"] for name, moments in models.items()}
    return {
        "costs": {name: cost(*model, x) for name, model in ready.items()},
        "latency": latency(ready, parts["val"].images),
        **{part: judged(models, parts[part]) for part in ("val", "test")},
    }


def judged(models: dict[str, dict[str, tuple]], images: Images) -> dict[str, Any]:
    """Accuracy of every model at every moment, beside that of the dense model."""

    def evaluated(fn, params):
        return jc.validate.evaluate(fn, params, images.images, images.labels)

    reference = evaluated(*models["dense"]["trained"])
    found = {}
    for name, moments in models.items():
        for moment, model in moments.items():
            evaluation = evaluated(*model)
            found[f"{name}, {moment}"] = {
                "accuracy": evaluation.accuracy,
                "interval": evaluation["accuracy"].interval(),
                "difference": jc.validate.compare(reference, evaluation).to_json(),
            }
    return found


def settings() -> dict[str, Any]:
    """All that the figures depend on but the seed."""
    return {
        "widths": WIDTHS,
        "shares": SHARES,
        "dense": DENSE._asdict(),
        "again": AGAIN._asdict(),
        "scored": SCORED,
        "border": BORDER,
        "importance": "normalized taylor",
    }


def main() -> None:
    """Runs every seed that has no record yet, then prints means over seeds."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=range(3))
    options = parser.parse_args()
    records = [
        runner.record(
            "structured_resnet",
            functools.partial(measure, options.data, seed),
            settings=settings(),
            seed=seed,
            out=options.out,
        )
        for seed in options.seeds
    ]
    for name in records[0]["figures"]["test"]:
        found = runner.summary([r["figures"]["test"][name]["accuracy"] for r in records])
        print(f"{name}: test accuracy {found.mean:.2%} ± {found.standard_error:.2%}")


if __name__ == "__main__":
    main()
