# %% [markdown]
# # Deep Compression of a LeNet
#
# Prune, share, code: LeNet-300-100 loses most of its weights, those that are left share
# a few values, and an entropy coder writes the file.
#
# - **Shows** the three steps of Han et al. (2016, arXiv:1510.00149), and what each of
#   them contributes to the file.
# - **Use it** where bytes count and time at load does not: for downloads and firmware.
# - **Do not use it** to run faster: zeros and shared values are decoded to arrays
#   before they multiply. And if training is possible anyway, training under a price on
#   bits (`jc.quantize.companions.learned_rate`) makes smaller files still.

# %%
import os
import pathlib

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from sklearn.datasets import load_digits

import jaxcompress as jc

OUT = pathlib.Path(os.environ.get("GALLERY_OUT", "gallery-out"))
OUT.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## Data
#
# The original reads MNIST. This one reads the 1,797 digits of 8 x 8 pixels that
# scikit-learn bundles: half to train, a fifth to choose by, 540 for the test.

# %%
pixels, classes = load_digits(return_X_y=True)
images = np.asarray(pixels, np.float32).reshape(-1, 8, 8, 1) / 16
labels = np.asarray(classes, np.int32)
train, choose, test = jc.validate.split(
    len(images), fractions=(0.5, 0.2, 0.3), labels=labels, seed=0
)
jc.validate.check_disjoint(train=images[train], choose=images[choose], test=images[test])

# %% [markdown]
# ## LeNet-300-100


# %%
def model(params, x):
    """Logits, (n, 10)."""
    x = x.reshape(len(x), -1)
    x = jax.nn.relu(x @ params["first"] + params["bias1"][None])
    x = jax.nn.relu(x @ params["second"] + params["bias2"][None])
    return x @ params["third"] + params["bias3"][None]


shapes = {"first": (64, 300), "second": (300, 100), "third": (100, 10)}
keys = jax.random.split(jax.random.key(0), len(shapes))
he = jax.nn.initializers.he_normal()
start = {name: he(key, shape) for key, (name, shape) in zip(keys, shapes.items(), strict=True)}
start |= {f"bias{i}": jnp.zeros(shape[1]) for i, shape in enumerate(shapes.values(), start=1)}
axes = jc.graph.axes(model, start, images[:1])

# %% [markdown]
# ## Step 0: train
#
# Images are shifted by up to a pixel, anew in every step. The same function serves all
# steps below.

# %%
STEPS = 1_000


def trained(params, optimizer, steps, view=lambda params: params):
    """The params after so many batches; the model sees them through `view`."""
    loss = jc.distill.outputs.hard_targets
    recipe = jc.train.Recipe(
        jc.train.objectives.supervised(jc.materialized(model), loss, view=view),
        optimizer,
        augment=jc.train.augment.shifts(1),
    )
    plan = jc.train.Plan(steps, batch_size=64, seed=0)
    return jc.train.fit(recipe, params, (images[train], labels[train]), plan).params


def adam(steps):
    """Adam, whose rate falls to 0."""
    return optax.adam(optax.cosine_decay_schedule(2e-3, steps))


dense = trained(start, adam(STEPS), STEPS)

# %% [markdown]
# ## Step 1: prune
#
# Training goes on while the smallest weights go, along a cubic schedule, and for as
# long again afterwards. Layers share the sparsity by LAMP, which leaves small layers
# more of their weights.


# %%
def pruned_by(sparsity):
    """The dense network without this share of its weights."""
    target = jc.prune.Target(
        jc.schedules.cubic(0.0, sparsity, begin=0, end=STEPS // 2),
        allocate=jc.prune.allocations.lamp,
        axes=axes,
    )
    pruning = jc.prune.prune(
        adam(STEPS),
        jc.prune.criteria.magnitude(),
        target,
        when=jc.schedules.every(25, end=STEPS // 2),
    )
    return trained(dense, pruning, STEPS)


def right(params):
    """The share of right answers on the images to choose by."""
    return jc.validate.evaluate(model, params, images[choose], labels[choose]).accuracy


# %% [markdown]
# How much may go? The most that costs at most a point on the images to choose by.

# %%
tried = {sparsity: pruned_by(sparsity) for sparsity in (0.7, 0.8, 0.9)}
found = {sparsity: right(params) for sparsity, params in tried.items()}
print(f"dense {right(dense):.1%},", {each: f"{accuracy:.1%}" for each, accuracy in found.items()})
good = [sparsity for sparsity, accuracy in found.items() if accuracy >= right(dense) - 0.01]
sparsity = max(good, default=min(tried))
pruned = tried[sparsity]
for name in shapes:
    kept = np.count_nonzero(np.asarray(pruned[name]))
    print(f"{name:7} keeps {kept:6,} of {pruned[name].size:6,} weights at sparsity {sparsity}")

# %% [markdown]
# ## Step 2: share
#
# k-means finds 16 values for each layer, zero among them. A weight is then a code of 4
# bits.

# %%
codebook = jc.quantize.formats.codebook(4, per="tensor")
k_means = jc.quantize.rounding.nearest(jc.quantize.sharing.k_means())
shared, _ = jc.quantize.quantize(pruned, codebook, axes=axes, rounding=k_means)

# %% [markdown]
# The values are trained on. The gradient of a value is the sum over all weights that
# share it; which weights those are stays as it is.

# %%
technique = jc.quantize.sharing.centroids()
levels = technique.init(shared)
TUNING = 300
rate = optax.adam(optax.cosine_decay_schedule(3e-4, TUNING))
tuned = technique.freeze(
    shared, trained(levels, rate, TUNING, view=lambda levels: technique.view(shared, levels))
)

figure, plot = plt.subplots(figsize=(6, 2.8), layout="constrained")
weights = np.asarray(pruned["first"])
plot.hist(weights[weights != 0], bins=80, color="lightgrey", label="weights that are left")
values = np.unique(np.asarray(jc.materialize(tuned)["first"]))
plot.plot(values, np.zeros(len(values)), "|", color="C1", markersize=22, label="shared values")
plot.set(xlabel="weight of the first layer", ylabel="count")
plot.legend(frameon=False)
figure.savefig(OUT / "deep_compression_values.png", dpi=90)

# %% [markdown]
# ## Step 3: code
#
# `save` measures several encodings of every array and takes the smallest; with
# `SMALLEST` the slow ones take part, too. What is loaded is what was saved, bit for
# bit.

# %%
smallest = jc.storage.coders.SMALLEST
sizes = {
    "dense": jc.storage.save(OUT / "dense.safetensors", dense),
    "pruned": jc.storage.save(OUT / "pruned.safetensors", pruned),
    "shared": jc.storage.save(OUT / "shared.safetensors", tuned),
    "coded": jc.storage.save(OUT / "coded.safetensors", tuned, coders=smallest),
}
coded = jc.storage.load(OUT / "coded.safetensors")

figure, plot = plt.subplots(figsize=(6, 2.2), layout="constrained")
bars = plot.barh(list(sizes), [size / 1000 for size in sizes.values()])
plot.bar_label(bars, [f"{size:,} bytes" for size in sizes.values()], padding=4)
plot.set(xlabel="kilobytes of the file", xlim=(0, 1.3 * max(sizes.values()) / 1000))
plot.invert_yaxis()
figure.savefig(OUT / "deep_compression_bytes.png", dpi=90)

# %% [markdown]
# ## The test, opened once

# %%
fn = jc.materialized(model)
answers = {
    name: jc.validate.evaluate(fn, params, images[test], labels[test])
    for name, params in {"dense": dense, "pruned": pruned, "shared": shared, "coded": coded}.items()
}

# %%
for name, answer in answers.items():
    low, high = answer["accuracy"].interval()
    label = "shared, not tuned" if name == "shared" else name
    size = sizes[name]
    print(f"{label:18} {answer.accuracy:.1%} [{low:.1%}, {high:.1%}]  {size:8,} bytes")
comparison = jc.validate.compare(answers["dense"], answers["coded"])
low, high = comparison.accuracy_interval
print(f"coded against dense: {comparison.verdict}, {100 * low:+.1f} to {100 * high:+.1f} points")
print(f"the file is {sizes['dense'] / sizes['coded']:.0f} times smaller")
