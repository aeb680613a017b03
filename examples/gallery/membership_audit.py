# %% [markdown]
# # Who was in the training set?
#
# Somebody who holds a model asks which examples it was trained on. We play the
# attacker, on a network, on its compressed copies, and on one that was trained for a
# shorter time.
#
# - **Shows** the strongest known attack (LiRA, with shadow models), how to read it at
#   low false positive rates, and that rounding weights hides nothing that matters.
# - **Use it** before a model leaves the house that was trained on data of people.
# - **Do not use it** as a proof of privacy: an attack that finds nobody shows that this
#   attack found nobody. A guarantee comes from private training (`jc.train` has it).

# %%
import os
import pathlib

import jax
import matplotlib.pyplot as plt
import numpy as np
import optax
from sklearn.datasets import load_digits

import jaxcompress as jc

membership = jc.validate.membership
OUT = pathlib.Path(os.environ.get("GALLERY_OUT", "gallery-out"))
OUT.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## Data
#
# 800 digits are the pool: every model is trained on a random half of them. One label in
# ten is wrong, as happens in real data; such examples cannot be learned but by heart,
# and they are what an attacker finds first. The other 997 digits keep their labels and
# are the test.

# %%
pixels, classes = load_digits(return_X_y=True)
x, labels = np.asarray(pixels / 16, np.float32), np.asarray(classes, np.int32)
pool, test = jc.validate.split(len(x), fractions=(800 / 1797, 997 / 1797), labels=labels, seed=0)
jc.validate.check_disjoint(pool=x[pool], test=x[test])

random = np.random.default_rng(0)
wrong = random.random(len(pool)) < 0.1
noted = np.where(wrong, random.integers(0, 10, len(pool)), labels[pool]).astype(np.int32)
examples = x[pool], noted

# %% [markdown]
# ## The model, and two ways to train it
#
# A perceptron that is trained until it knows its examples by heart, and the same one
# stopped after a tenth of the steps.


# %%
def model(params, x):
    """Logits, (n, 10)."""
    return jax.nn.relu(x @ params["hidden"]) @ params["head"]


def initial(key):
    """64 pixels, 96 units, 10 classes."""
    he, (first, second) = jax.nn.initializers.he_normal(), jax.random.split(key)
    return {"hidden": he(first, (64, 96)), "head": he(second, (96, 10))}


def training(steps):
    """A training run as a function of examples, weights and a key."""
    objective = jc.train.objectives.supervised(model, jc.distill.outputs.hard_targets)
    optimizer = optax.adam(optax.cosine_decay_schedule(5e-3, steps))
    recipe = jc.train.Recipe(objective, optimizer)
    return jc.train.fitting(recipe, initial, steps=steps, batch_size=50)


LONG, SHORT = 600, 60

# %% [markdown]
# ## Copies
#
# What is published may be the network or a compressed copy. A copy is a function of the
# params; `fake_quantize` gives the numbers that the codes stand for.

# %%
axes = jc.graph.axes(model, initial(jax.random.key(0)), x[:1])
formats = jc.quantize.formats
copies = {
    "float32": lambda params: params,
    "int8": jc.quantize.fake_quantize(formats.int8(), axes=axes),
    "int4": jc.quantize.fake_quantize(formats.int4(), axes=axes),
    "2 bits": jc.quantize.fake_quantize(formats.int2(), axes=axes),
}

# %% [markdown]
# ## Shadow models
#
# 32 networks, each trained on its own half of the pool, so that every example is in 16
# of them and not in the other 16. Of each network and copy one number per example is
# kept: how much more likely it finds the noted label than all others.


# %%
def signal(params, examples):
    """Log odds of the label, (n,)."""
    x, labels = examples
    return membership.scaled_confidence(model(params, x), labels)


def shadows(steps):
    """What all copies of all shadow models say of the pool."""
    key, halves_key = jax.random.split(jax.random.key(1))
    halves = membership.halves(32, len(pool), halves_key)
    asked = membership.versions(signal, copies)
    return membership.shadows(training(steps), asked, examples, halves, key, chunk=16)


said = {"trained long": shadows(LONG), "stopped early": shadows(SHORT)}

# %% [markdown]
# ## The attack
#
# Each network is the target once, the others are its shadows. For every example LiRA
# fits a normal distribution to the log odds of shadows that were trained on it and
# another to those that were not, and asks which of the two the target's looks like.
# Intervals are Student's over the 32 targets, which share their pool and so are
# independent only nearly.

# %%
scores = {}
for trained, shadow in said.items():
    for column, copy in enumerate(copies):
        alone = shadow.with_signals(lambda signals, at=column: signals[..., at])
        scores[trained, copy] = membership.leave_one_out(membership.attacks.lira_online, alone)
audits = {
    which: membership.audit(*attacked, rates=(0.01, 0.1)) for which, attacked in scores.items()
}

# %% [markdown]
# Is the audit itself sound? Split the examples that a target never saw in two and call
# one half members: nobody can tell these apart, and if the audit does, it is broken.

# %%
control = membership.control(*scores["trained long", "float32"], rates=(0.01, 0.1))
print("the control:", control.verdict)

chosen = {"trained long": "float32", "trained long, 2 bits": "2 bits"}
curves = {label: audits["trained long", copy] for label, copy in chosen.items()}
curves["stopped early"] = audits["stopped early", "float32"]
figure, plot = plt.subplots(figsize=(5, 3.4), layout="constrained")
for label, audit in curves.items():
    plot.loglog(*audit.curve, label=label)
plot.loglog([1e-2, 1], [1e-2, 1], ":", color="grey", label="chance")
plot.set(xlabel="non-members accused", ylabel="members found", xlim=(2e-3, 1))
plot.legend(frameon=False)
figure.savefig(OUT / "membership_audit_roc.png", dpi=90)

# %% [markdown]
# ## The price
#
# A model that gives less away is only worth something if it is still right. One network
# of each kind answers the test, which is opened here.

# %%
half = membership.halves(2, len(pool), jax.random.key(2))[0].astype(np.float32)
right = {}
for trained, steps in {"trained long": LONG, "stopped early": SHORT}.items():
    params = jax.jit(training(steps))(examples, half, jax.random.key(3))
    for copy, view in copies.items():
        right[trained, copy] = jc.validate.evaluate(model, view(params), x[test], labels[test])

# %%
print("members found at 1 % false positives, and right answers on the test")
for (trained, copy), audit in audits.items():
    found, answer = audit.found[0], right[trained, copy]
    low, high = answer["accuracy"].interval()
    print(
        f"{trained:13} {copy:7} {found.true_positives:5.1%} [{found.low:.1%}, {found.high:.1%}]"
        f"   {answer.accuracy:.1%} [{low:.1%}, {high:.1%}]"
    )
