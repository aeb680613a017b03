# %% [markdown]
# # A ResNet cut in half
#
# Whole channels leave a residual network until half of its multiply-adds are left, and
# the smaller network is trained on for a short while.
#
# - **Shows** how a budget in multiply-adds is met through residual branches and batch
#   norms, why norms are measured again, and what training on wins back.
# - **Use it** where a model must run faster on any device: arrays get smaller, no
#   kernel for zeros is needed.
# - **Do not use it** before trying the obvious rival, a network that is that small from
#   the start and trained for as long; the last cell compares the two. Where only the
#   file has to shrink, pruning single weights or fewer bits go further.

# %%
import os
import pathlib

import jax
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import nnx
from sklearn.datasets import load_digits

import jaxcompress as jc

OUT = pathlib.Path(os.environ.get("GALLERY_OUT", "gallery-out"))
OUT.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## Data
#
# Digits of 8 x 8 pixels. A third of them, 600, train the networks, so that the task is
# not too easy; 300 are there to look at on the way; 897 are the test, opened once.

# %%
pixels, classes = load_digits(return_X_y=True)
images = np.asarray(pixels, np.float32).reshape(-1, 8, 8, 1) / 16
labels = np.asarray(classes, np.int32)

sizes = np.array([600, 300, 897]) / 1797
train, choose, test = jc.validate.split(len(images), fractions=tuple(sizes), labels=labels, seed=0)
jc.validate.check_disjoint(train=images[train], choose=images[choose], test=images[test])

# %% [markdown]
# ## The network
#
# Three blocks of two convolutions beside a projection, in Flax NNX. The bridge makes
# functions of the module: `fn` in evaluation mode, `train_fn` in training mode, which
# also gives new statistics of the norms.


# %%
class Block(nnx.Module):
    """Two convolutions beside a projection."""

    def __init__(self, inputs: int, within: int, width: int, stride: int, rngs: nnx.Rngs):
        self.conv1 = nnx.Conv(inputs, within, (3, 3), stride, use_bias=False, rngs=rngs)
        self.conv2 = nnx.Conv(within, width, (3, 3), use_bias=False, rngs=rngs)
        self.beside = nnx.Conv(inputs, width, (1, 1), stride, use_bias=False, rngs=rngs)
        self.norm1 = nnx.BatchNorm(within, momentum=0.9, rngs=rngs)
        self.norm2 = nnx.BatchNorm(width, momentum=0.9, rngs=rngs)

    def __call__(self, x):
        """(n, height, width, inputs) to (n, height / stride, width / stride, width)."""
        y = nnx.relu(self.norm1(self.conv1(x)))
        return nnx.relu(self.norm2(self.conv2(y)) + self.beside(x))


class ResNet(nnx.Module):
    """A stem, three blocks, a mean over pixels and a head."""

    def __init__(self, stem: int, widths: list[tuple[int, int]], rngs: nnx.Rngs):
        self.stem = nnx.Conv(1, stem, (3, 3), use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(stem, momentum=0.9, rngs=rngs)
        inputs = [stem, *(width for _, width in widths)]
        self.blocks = nnx.List(
            Block(inputs[i], within, width, stride=1 if i == 0 else 2, rngs=rngs)
            for i, (within, width) in enumerate(widths)
        )
        self.head = nnx.Linear(inputs[-1], 10, rngs=rngs)

    def __call__(self, x):
        """Logits, (n, 10)."""
        x = nnx.relu(self.norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((1, 2)))


module = ResNet(12, [(12, 12), (24, 24), (32, 32)], nnx.Rngs(0))
dense = jc.bridges.nnx.functional(module)

# %% [markdown]
# ## Training
#
# One function trains every network below: the same images, shifted by up to a pixel,
# and the same schedule. The norms' statistics follow the data, so the optimizer does
# not get them.

# %%
STEPS, AGAIN = 200, 100


def trained(network, params, steps):
    """The params after so many batches."""
    recipe = jc.train.Recipe(
        jc.train.objectives.supervised_with_state(
            network.train_fn, jc.distill.outputs.hard_targets
        ),
        optax.adam(optax.cosine_decay_schedule(4e-3, steps)),
        jc.none_of(jc.matching("*/mean", "*/var")),
        jc.train.augment.shifts(1),
    )
    plan = jc.train.Plan(steps, batch_size=50, seed=0)
    return jc.train.fit(recipe, params, (images[train], labels[train]), plan).params


def cost(fn, params):
    """Multiply-adds of one image."""
    return jc.graph.cost(jc.graph.trace(fn, params, images[:1])).macs


whole = trained(dense, dense.params, STEPS)
print(f"{cost(dense.fn, whole):,} multiply-adds")

# %% [markdown]
# ## What goes
#
# A channel is worth what the loss would rise by without it, estimated by a first-order
# Taylor expansion on 256 training images. Channels that a residual connection ties
# together go together; the program says which those are. The budget is half of the
# multiply-adds, whatever layer they come from.

# %%
sample = train[:256]
removed = jc.structure.remove(
    dense.fn,
    whole,
    jc.structure.importance.normalized(
        jc.structure.importance.taylor(
            jc.distill.outputs.hard_targets, [(images[sample], labels[sample])]
        )
    ),
    images[:1],
    cut=jc.structure.amounts.within_macs(cost(dense.fn, whole) // 2),
)
print(removed.report.plan)

# %% [markdown]
# ## Measure the norms again, then train on
#
# The norms still hold the means and variances of the whole network, and a network with
# wrong statistics answers badly. Measuring them on training images takes seconds and
# no labels; 100 steps of training do the rest. The bridge gives a module of the
# smaller layers first, whose training mode we need.

# %%
small_module = jc.bridges.nnx.shrunk(module, removed, images[:1]).module
small = jc.bridges.nnx.functional(small_module)
measured = jc.recalibrate(small.train_fn, small.params, [(images[sample],)], key=jax.random.key(0))
again = trained(small, measured, AGAIN)

# %% [markdown]
# ## The rival
#
# A network of the very same widths, with random weights, trained for as many steps as
# the other two trainings took together. If it is as good, as it often is, what pruning
# has found are the widths (Liu et al. 2019, arXiv:1810.05270).

# %%
blocks = [(block.conv1.out_features, block.conv2.out_features) for block in small_module.blocks]
rival = jc.bridges.nnx.functional(ResNet(small_module.stem.out_features, blocks, nnx.Rngs(1)))
scratch = trained(rival, rival.params, STEPS + AGAIN)

figure, plot = plt.subplots(figsize=(6, 3), layout="constrained")
before = [12, 12, 12, 24, 24, 32, 32]
after = [small_module.stem.out_features, *(width for block in blocks for width in block)]
names = ["stem"] + [f"block {i}, {part}" for i in "123" for part in ("within", "out")]
plot.barh(names, before, color="lightgrey", label="before")
plot.barh(names, after, height=0.5, label="after")
plot.set(xlabel="channels")
plot.invert_yaxis()
plot.legend(frameon=False)
figure.savefig(OUT / "resnet_in_half_channels.png", dpi=90)

# %% [markdown]
# ## The test, opened once

# %%
models = {
    "whole": (dense.fn, whole),
    "cut": (small.fn, small.params),
    "cut, norms measured": (small.fn, measured),
    "cut, trained on": (small.fn, again),
    "small from the start": (rival.fn, scratch),
}
answers = {
    name: jc.validate.evaluate(*model, images[test], labels[test]) for name, model in models.items()
}
figure, plot = plt.subplots(figsize=(6, 2.6), layout="constrained")
for row, answer in enumerate(answers.values()):
    low, high = answer["accuracy"].interval()
    plot.plot([100 * low, 100 * high], [row, row], color="grey")
    plot.plot(100 * answer.accuracy, row, "o", color="C0")
plot.set(xlabel="right, % of 897 test images, 95 % interval", yticks=range(len(answers)))
plot.set_yticklabels(list(answers))
plot.invert_yaxis()
figure.savefig(OUT / "resnet_in_half_test.png", dpi=90)

# %%
for name, model in models.items():
    low, high = answers[name]["accuracy"].interval()
    print(
        f"{name:21} {answers[name].accuracy:.1%} [{low:.1%}, {high:.1%}] "
        f"{cost(*model):10,} multiply-adds"
    )
for rivals in (("whole", "cut, trained on"), ("small from the start", "cut, trained on")):
    comparison = jc.validate.compare(*(answers[name] for name in rivals))
    low, high = comparison.accuracy_interval
    print(f"{rivals[1]} against {rivals[0]}: {100 * low:+.1f} to {100 * high:+.1f} points")
