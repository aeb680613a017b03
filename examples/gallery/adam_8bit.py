# %% [markdown]
# # Adam with a state of 8 bits
#
# Adam keeps two numbers for every weight. Between steps they can be stored in 8 bits,
# or in 4, and the training loop stays as it is.
#
# - **Shows** that the format is said around any optimizer, how many bytes it saves, and
#   how to find out over seeds whether the loss suffers.
# - **Use it** where weights, gradients and state do not fit into the memory.
# - **Do not use it** to train faster on a CPU: the state is decoded and encoded in
#   every step. And leave embeddings out, as the paper (arXiv:2110.02861) does.

# %%
import os
import pathlib

import jax
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
# Digits of 8 x 8 pixels: 900 to train on, 897 for the test. Nothing is tuned here; rate
# and schedule are the same for all.

# %%
pixels, classes = load_digits(return_X_y=True)
x, labels = np.asarray(pixels / 16, np.float32), np.asarray(classes, np.int32)
train, test = jc.validate.split(len(x), fractions=(900 / 1797, 897 / 1797), labels=labels, seed=0)
jc.validate.check_disjoint(train=x[train], test=x[test])

# %% [markdown]
# ## The model


# %%
def model(params, x):
    """Logits, (n, 10)."""
    for kernel in (params["first"], params["second"]):
        x = jax.nn.relu(x @ kernel)
    return x @ params["head"]


def initial(key):
    """64 pixels, twice 192 units, 10 classes."""
    he, keys = jax.nn.initializers.he_normal(), jax.random.split(key, 3)
    shapes = {"first": (64, 192), "second": (192, 192), "head": (192, 10)}
    return {name: he(each, shape) for each, (name, shape) in zip(keys, shapes.items(), strict=True)}


# %% [markdown]
# ## Four states
#
# `quantize_state` takes any optimizer. Arrays of 4,096 numbers and more are stored as
# codes, a scale for each block; smaller ones are not worth it. 4 bits round at random,
# so that steps smaller than a code act in the mean.

# %%
STEPS = 250
o = jc.optimizers
adamw = o.adamw(optax.cosine_decay_schedule(3e-3, STEPS), weight_decay=1e-2)
optimizers = {
    "float32": adamw,
    "bfloat16": o.quantize_state(adamw, o.bfloat16(), key=jax.random.key(0)),
    "8 bits": o.quantize_state(adamw, o.dynamic8()),
    "4 bits": o.quantize_state(adamw, o.linear4(), key=jax.random.key(0)),
}
params = initial(jax.random.key(0))
states = {name: jax.eval_shape(optimizer.init, params) for name, optimizer in optimizers.items()}
sizes = {
    name: sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    for name, state in states.items()
}

# %% [markdown]
# ## Five seeds each
#
# The same seeds, and so the same first weights and batches, for every state.

# %%
SEEDS = 5
loss = jc.train.objectives.supervised(model, jc.distill.outputs.hard_targets)
keys = jax.random.split(jax.random.key(1), SEEDS)
trained = {}
for name, optimizer in optimizers.items():
    recipe = jc.train.Recipe(loss, optimizer)
    fit = jax.jit(jc.train.fitting(recipe, initial, steps=STEPS, batch_size=64))
    ones = np.ones(len(train), np.float32)
    trained[name] = [fit((x[train], labels[train]), ones, key) for key in keys]

# %% [markdown]
# ## The test, opened once
#
# Two figures: the loss, which sees small changes, and the accuracy. The differences to
# float32 are taken seed by seed.

# %%
answers = {
    name: [jc.validate.evaluate(model, params, x[test], labels[test]) for params in group]
    for name, group in trained.items()
}
losses = {name: np.array([answer.mean_loss for answer in group]) for name, group in answers.items()}
figure, plots = plt.subplots(1, 2, figsize=(8, 2.6), layout="constrained")
plots[0].barh(list(sizes), [size / 1000 for size in sizes.values()])
plots[0].set(xlabel="kilobytes of state")
for row, found in enumerate(losses.values()):
    plots[1].plot(found, np.full(SEEDS, row), "o", color="C1", alpha=0.6)
plots[1].set(xlabel="test loss, nats; a dot is a seed", yticks=range(len(losses)))
plots[1].set_yticklabels(list(losses))
for plot in plots:
    plot.invert_yaxis()
figure.savefig(OUT / "adam_8bit.png", dpi=90)

# %%
for name, group in answers.items():
    accuracy = np.mean([answer.accuracy for answer in group])
    print(f"{name:9} {sizes[name]:9,} bytes  {accuracy:.1%} right  loss {losses[name].mean():.4f}")
for name in list(optimizers)[1:]:
    rise = losses[name] - losses["float32"]
    low, high = jc.validate.mean_interval(rise)
    print(f"{name:9} against float32 {rise.mean():+.4f} nats [{low:+.4f}, {high:+.4f}]")
