# %% [markdown]
# # A mixture of experts in 4 bits
#
# Four experts share the work, and a router sends each image to one of them. What does
# rounding do to the experts, and what to the router?
#
# - **Shows** scales for each expert of a stacked array, how many images change their
#   expert when the router is rounded, and which expert is hurt most.
# - **Use it** where experts fill the memory and few of them run at a time.
# - **Do not use it** for small models: one dense network of the cost of one expert is
#   the rival to beat, and it is in the last table.

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
# Digits of 8 x 8 pixels, upright and turned by 90, 180 and 270 degrees, which gives
# experts something to divide. Half of them train, each in all four orientations; a
# fifth is there to choose by and 540 are the test, each in one orientation.

# %%
pixels, classes = load_digits(return_X_y=True)
upright = np.asarray(pixels, np.float32).reshape(-1, 8, 8) / 16
labels = np.asarray(classes, np.int32)
train, choose, test = jc.validate.split(
    len(upright), fractions=(0.5, 0.2, 0.3), labels=labels, seed=0
)
jc.validate.check_disjoint(train=upright[train], choose=upright[choose], test=upright[test])

turned = np.stack([np.rot90(upright, turn, (1, 2)) for turn in range(4)]).reshape(4, -1, 64)
turns = np.random.default_rng(0).integers(0, 4, len(upright))
x = turned[turns, np.arange(len(upright))]
to_learn = turned[:, train].reshape(-1, 64), np.tile(labels[train], 4)

# %% [markdown]
# ## The model
#
# Experts lie stacked in one array, (experts, inputs, outputs). Every image goes to the
# expert with the largest probability, whose answer counts by that probability, so that
# the router gets a gradient. All experts are computed here and one is kept, which is
# simple; a large model would compute the chosen one alone.

# %%
EXPERTS, UNITS = 4, 48


def routed(params, x):
    """Probabilities of the experts, (n, EXPERTS)."""
    return jax.nn.softmax(jax.nn.relu(x @ params["look"]) @ params["router"])


def model(params, x):
    """Logits, (n, 10)."""
    shares = routed(params, x)
    chosen = jax.nn.one_hot(jnp.argmax(shares, -1), EXPERTS) * shares
    hidden = jax.nn.relu(jnp.einsum("ni,eiu->neu", x, params["up"]))
    answers = jnp.einsum("neu,euc->nec", hidden, params["down"])
    return jnp.einsum("ne,nec->nc", chosen, answers)


def initial(key):
    """Normal weights."""
    shapes = {
        "look": (64, 32),
        "router": (32, EXPERTS),
        "up": (EXPERTS, 64, UNITS),
        "down": (EXPERTS, UNITS, 10),
    }
    keys = jax.random.split(key, len(shapes))
    pairs = zip(keys, shapes.items(), strict=True)
    return {
        name: jax.random.normal(key, shape) * (2 / shape[-2]) ** 0.5 for key, (name, shape) in pairs
    }


def dense(params, x):
    """The rival: one network of the size of one expert."""
    return jax.nn.relu(x @ params["up"]) @ params["down"]


# %% [markdown]
# ## Training
#
# A second loss keeps the experts equally busy: the share of images of an expert times
# its mean probability, summed, is least when all have the same. Without it one expert
# soon does everything.

# %%
STEPS = 1_500


def trained(objective, params):
    """The params after so many batches."""
    optimizer = optax.adamw(optax.cosine_decay_schedule(3e-3, STEPS), weight_decay=1e-2)
    plan = jc.train.Plan(STEPS, batch_size=64, seed=0)
    recipe = jc.train.Recipe(objective, optimizer)
    return jc.train.fit(recipe, params, to_learn, plan).params


def balanced(params, batch, key):
    """Cross-entropy and half of the imbalance."""
    images, targets = batch
    shares = routed(params, images)
    busy = jax.nn.one_hot(jnp.argmax(shares, -1), EXPERTS).mean(0)
    imbalance = EXPERTS * jnp.sum(busy * shares.mean(0))
    loss = jc.distill.outputs.hard_targets(model(params, images), targets)
    return loss + 0.5 * imbalance, params


params = trained(balanced, initial(jax.random.key(0)))
one = {name: initial(jax.random.key(1))[name][0] for name in ("up", "down")}
rival = trained(jc.train.objectives.supervised(dense, jc.distill.outputs.hard_targets), one)

# %% [markdown]
# Who got what? The router has never been told the orientation, and still pairs of
# orientations go to pairs of experts.

# %%
expert = np.argmax(routed(params, x[choose]), -1)
table = np.array(
    [[np.sum((turns[choose] == t) & (expert == e)) for e in range(4)] for t in range(4)]
)
figure, plot = plt.subplots(figsize=(4.4, 3.2), layout="constrained")
shown = plot.imshow(table, cmap="Blues")
for turn, each in np.ndindex(*table.shape):
    plot.text(each, turn, str(table[turn, each]), ha="center", va="center", color="C1")
plot.set(xlabel="expert", ylabel="turned by, degrees", xticks=range(4), yticks=range(4))
plot.set_yticklabels(["0", "90", "180", "270"])
figure.savefig(OUT / "mixture_of_experts_routes.png", dpi=90)

# %% [markdown]
# ## Experts in 4 bits, router in floats
#
# The program says that axis 0 of `up` and `down` counts experts and that the last one
# counts outputs, so that every output of every expert has a scale of its own. The
# router is small and decides much: it stays as it is.

# %%
axes = jc.graph.axes(model, params, x[:1])
int4 = jc.quantize.int4()
experts4, report = jc.quantize.quantize(params, jc.Rules({"up": int4, "down": int4}), axes=axes)
everything4, _ = jc.quantize.quantize(params, int4, axes=axes)
print(report)

# %% [markdown]
# ## Which images change their expert?
#
# A router that is rounded sends some images elsewhere: a jump, where a rounded expert
# answers a little differently. And one expert at a time shows whom rounding hurts.

# %%
again = np.argmax(routed(jc.materialize(everything4), x[choose]), -1)
low, high = jc.validate.wilson(int(np.sum(again != expert)), len(choose))
moved = np.mean(again != expert)
print(f"the rounded router sends {moved:.1%} [{low:.1%}, {high:.1%}] of the images elsewhere")

before = jc.validate.evaluate(model, params, x[choose], labels[choose])
materialized = jc.materialize(experts4)
for each in range(EXPERTS):
    one = params | {
        name: params[name].at[each].set(materialized[name][each]) for name in ("up", "down")
    }
    after = jc.validate.evaluate(model, one, x[choose], labels[choose])
    rise = after.mean_loss - before.mean_loss
    print(f"expert {each} alone in 4 bits: loss {rise:+.4f}, busy with {np.sum(expert == each)}")

# %% [markdown]
# ## The test, opened once

# %%
fn = jc.materialized(model)
models = {
    "float32": (model, params),
    "experts in 4 bits": (fn, experts4),
    "router in 4 bits too": (fn, everything4),
    "one dense network": (dense, rival),
}
answers = {
    name: jc.validate.evaluate(function, tree, x[test], labels[test])
    for name, (function, tree) in models.items()
}

# %%
for name, answer in answers.items():
    low, high = answer["accuracy"].interval()
    size = jc.storage.size(models[name][1]).disk
    print(f"{name:21} {answer.accuracy:.1%} [{low:.1%}, {high:.1%}]  {size:7,} bytes")
for one, other in (
    ("experts in 4 bits", "float32"),
    ("router in 4 bits too", "float32"),
    ("float32", "one dense network"),
):
    low, high = jc.validate.compare(answers[other], answers[one]).accuracy_interval
    print(f"{one} against {other}: {100 * low:+.1f} to {100 * high:+.1f} points")
