"""The two LeNets on MNIST as benchmarks of sparsity share them.

LeNet-300-100 has 266,200 weights and 410 biases, LeNet-5 as Caffe has it 430,500 and
580. Only weights are pruned, so a kept share is one of weights.
"""

import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxcompress as jc
from benchmarks.removal import cropped
from benchmarks.structured_lenet import initial as initial_convolutional
from benchmarks.structured_lenet import lenet as convolutional
from benchmarks.structured_lenet import splits as splits
from jaxcompress.core.types import Array, Key, Masks, Model, Params
from jaxcompress.demo.data import Images

Objective = Callable[[Params, Array, Array, Key], Array]
"""(params, images, labels, key) to the loss of a batch."""


class Net(NamedTuple):
    """A model and its random weights.

    Attributes:
      fn: (params, images) to logits (n, 10).
      initial: seed to params.
    """

    fn: Model
    initial: Callable[[int], Params]


class Panel(NamedTuple):
    """Errors against kept shares.

    Attributes:
      title: above it.
      series: by label the kept shares and, per seed, the errors there.
      marks: by label what others published, (kept, error) pairs.
      level: a dashed line at this error.
    """

    title: str
    series: Mapping[str, tuple[Sequence[float], Sequence[Sequence[float]]]]
    marks: Mapping[str, Sequence[tuple[float, float]]]
    level: float


def perceptron(params: Params, x: Array) -> Array:
    """LeNet-300-100: (n, 28, 28, 1) to logits (n, 10)."""
    x = x.reshape(x.shape[0], -1)
    x = jax.nn.relu(x @ params["dense1"][0] + params["dense1"][1])
    x = jax.nn.relu(x @ params["dense2"][0] + params["dense2"][1])
    return x @ params["dense3"][0] + params["dense3"][1]


def initial_perceptron(seed: int) -> Params:
    """Glorot's normal weights, zero biases."""
    shapes = {"dense1": (784, 300), "dense2": (300, 100), "dense3": (100, 10)}
    keys = jax.random.split(jax.random.key(seed), len(shapes))
    glorot = jax.nn.initializers.glorot_normal()
    return {
        name: (glorot(key, shape), jnp.zeros(shape[-1]))
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


NETS = {
    "LeNet-300-100": Net(perceptron, initial_perceptron),
    "LeNet-5": Net(convolutional, initial_convolutional),
}


def trained(
    objective: Objective,
    params: Params,
    optimizer: optax.GradientTransformation,
    images: Images,
    *,
    epochs: int,
    batch_size: int,
    border: int,
    seed: int,
) -> tuple[Params, optax.OptState]:
    """The params and the optimizer's state after training.

    Args:
      objective: the loss of a batch.
      params: where training starts; not changed.
      optimizer: with its schedules, counted in steps of this training.
      images: an incomplete last batch of each epoch is dropped.
      epochs: times through the images.
      batch_size: images per step.
      border: how many pixels an image may be shifted each way, anew in each step.
      seed: of the order of the images, of their shifts and of the objective's keys.
    """

    # A convolution is several times as slow inside a loop on the CPU, hence no scan.
    @functools.partial(jax.jit, donate_argnums=0)
    def step(carry, images, labels, order, keys):
        params, opt_state, count = carry
        index, key = order[count], keys[count]
        x = cropped(images[index], key, border)
        grads = jax.grad(objective)(params, x, labels[index], jax.random.fold_in(key, 0))
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, count + 1

    params = jax.tree.map(lambda leaf: leaf.copy(), params)
    opt_state = optimizer.init(params)
    arrays = jax.device_put((images.images, images.labels))
    generator, per_epoch = np.random.default_rng(seed), len(images) // batch_size
    for epoch in range(epochs):
        order = generator.permutation(len(images))[: per_epoch * batch_size]
        order = jnp.asarray(order.reshape(per_epoch, -1))
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), epoch), per_epoch)
        carry = params, opt_state, jnp.zeros((), jnp.int32)
        for _ in range(per_epoch):
            carry = step(carry, *arrays, order, keys)
        params, opt_state, _ = carry
    return params, opt_state


def cross_entropy(fn: Model) -> Objective:
    """The loss of a model on its labels."""

    def objective(params: Params, x: Array, labels: Array, key: Key) -> Array:
        return jc.distill.outputs.hard_targets(fn(params, x), labels).mean()

    return objective


def error(fn: Model, params: Params, images: Images) -> float:
    """The share of wrong answers."""
    return 1 - jc.validate.evaluate(fn, params, images.images, images.labels).accuracy


def left(masks: Masks) -> dict[str, Any]:
    """How many weights live: in all, by leaf, and as a share of those there were."""
    leaves = {name: leaf for name, leaf in jc.named_leaves(masks).items() if leaf.ndim}
    counts = {name: int(leaf.sum()) for name, leaf in leaves.items()}
    weights = sum(counts.values())
    share = weights / sum(leaf.size for leaf in leaves.values())
    return {"weights": weights, "share": share, "leaves": counts}


def picture(path: pathlib.Path, panels: Sequence[Panel]) -> None:
    """Writes a PNG: means over seeds, the range around, and what others published."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    figure = Figure(figsize=(6 * len(panels), 4.5), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for label, (places, errors) in panel.series.items():
            x, y = 100 * np.asarray(places), 100 * np.asarray(errors)
            (line,) = axes.plot(x, y.mean(0), label=label, marker=".", linewidth=1.5)
            axes.fill_between(
                x, y.min(0), y.max(0), color=line.get_color(), alpha=0.15, linewidth=0
            )
        for shape, (label, points) in zip("x+*^", panel.marks.items(), strict=False):
            x, y = 100 * np.asarray(points).T
            axes.plot(x, y, shape, color="black", label=f"{label}, published")
        axes.axhline(100 * panel.level, color="grey", linestyle="--", linewidth=1)
        axes.set(title=panel.title, xscale="log", xlabel="weights kept, %", ylabel="test error, %")
        ticks = sorted({100 * place for places, _ in panel.series.values() for place in places})
        axes.set_xticks(ticks[:: max(1, len(ticks) // 6)])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
