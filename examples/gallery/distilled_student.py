# %% [markdown]
# # A student that learns from a teacher
#
# Three networks that vote learn from a hundred labels, and teach one small perceptron,
# which has a sixteenth of the weights of one of them, on images without labels.
#
# - **Shows** how soft targets enter the loss, and that the gain is measured against
#   the same student trained on labels alone, over several seeds.
# - **Use it** where the small model is a different architecture, or where images
#   without labels are at hand: a teacher can label anything.
# - **Do not use it** where the student does as well by itself: with 300 labels in
#   place of 100 this file ended at -0.6 points [-0.8, -0.4]. Nor where the teacher is
#   wrong in ways that matter, since the student learns its mistakes.

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
# Only 100 digits have labels here, and 800 more have none: the usual case where labels
# cost money. The other 897 are the test.

# %%
pixels, classes = load_digits(return_X_y=True)
images = np.asarray(pixels, np.float32).reshape(-1, 8, 8, 1) / 16
labels = np.asarray(classes, np.int32)

sizes = np.array([100, 800, 897]) / 1797
labelled, plain, test = jc.validate.split(
    len(images), fractions=tuple(sizes), labels=labels, seed=0
)
jc.validate.check_disjoint(labelled=images[labelled], plain=images[plain], test=images[test])

# %% [markdown]
# ## Two networks
#
# The teacher has a convolution and a wide layer, the student 32 hidden units.


# %%
def teacher(params, x):
    """Logits, (n, 10)."""
    layout = ("NHWC", "HWIO", "NHWC")
    x = jax.lax.conv_general_dilated(x, params["conv"], (1, 1), "VALID", dimension_numbers=layout)
    x = jax.nn.relu(x).reshape(len(x), -1)
    return jax.nn.relu(x @ params["hidden"]) @ params["head"]


def student(params, x):
    """Logits, (n, 10)."""
    return jax.nn.relu(x.reshape(len(x), -1) @ params["hidden"]) @ params["head"]


def initial(key, **shapes):
    """He's normal weights."""
    he, keys = jax.nn.initializers.he_normal(), jax.random.split(key, len(shapes))
    return {name: he(each, shape) for each, (name, shape) in zip(keys, shapes.items(), strict=True)}


# %% [markdown]
# ## The teachers
#
# Three networks from three seeds, trained on the labelled images under small shifts.
# Their mean probability is the teacher: an ensemble is right more often than its
# members, and nobody has to ship it.

# %%
STEPS = 300
teachers = []
for seed in range(3):
    start = initial(jax.random.key(seed), conv=(3, 3, 1, 16), hidden=(576, 64), head=(64, 10))
    recipe = jc.train.Recipe(
        jc.train.objectives.supervised(teacher, jc.distill.outputs.hard_targets),
        optax.adam(optax.cosine_decay_schedule(3e-3, STEPS)),
        augment=jc.train.augment.shifts(1),
    )
    plan = jc.train.Plan(STEPS, batch_size=50, seed=seed)
    examples = images[labelled], labels[labelled]
    teachers.append(jc.train.fit(recipe, start, examples, plan).params)


def vote(x):
    """Logits of the mean of the teachers' probabilities, (n, 10)."""
    logits = jnp.stack([teacher(params, x) for params in teachers])
    return jc.distill.ensembles.mixture(logits, [1 / 3] * 3)


# %% [markdown]
# ## The student, three ways
#
# 1. **labels**: 100 images and their labels.
# 2. **soft targets**: the same images, and what the teacher says of each class.
# 3. **soft targets, all images**: the 800 images without labels as well.
#
# The student sees images as they are, so the teacher is asked once, beforehand. All
# three take the same number of steps. `jc.train.fitting` makes a function of a key,
# and `jax.vmap` trains ten students from ten seeds in one program.


# %%
def on_labels(logits, label, soft):
    """Cross-entropy with the labels, (n,)."""
    return jc.distill.outputs.hard_targets(logits, label)


def on_teacher(logits, label, soft):
    """Divergence from the teacher's probabilities, (n,)."""
    return jc.distill.outputs.soft_targets(logits, soft, temperature=1.0)


def initial_student(key):
    """The student before training."""
    return initial(key, hidden=(64, 32), head=(32, 10))


ways = {
    "labels": (on_labels, labelled),
    "soft targets": (on_teacher, labelled),
    "soft targets, all images": (on_teacher, np.concatenate([labelled, plain])),
}
SEEDS, LONGER = 10, 600
answered = np.asarray(vote(images))
students = {}
for name, (loss, rows) in ways.items():
    recipe = jc.train.Recipe(
        jc.train.objectives.supervised(student, loss),
        optax.adam(optax.cosine_decay_schedule(5e-3, LONGER)),
    )
    fit = jc.train.fitting(recipe, initial_student, steps=LONGER, batch_size=50)
    examples, alike = (images[rows], labels[rows], answered[rows]), np.ones(len(rows), "f4")
    several = jax.jit(jax.vmap(fit, in_axes=(None, None, 0)))
    students[name] = several(examples, alike, jax.random.split(jax.random.key(0), SEEDS))

# %% [markdown]
# ## The test, opened once
#
# A student's accuracy changes with its seed by a point or so, so the three ways are
# compared seed by seed, with Student's t interval of the differences. It speaks of
# other seeds on these 897 images; other images would move all three.

# %%
tested = images[test], labels[test]


def accuracy(group, seed):
    """Of one of the students."""
    params = jax.tree.map(lambda leaf: leaf[seed], group)
    return jc.validate.evaluate(student, params, *tested).accuracy


accuracies = {
    name: np.array([accuracy(group, seed) for seed in range(SEEDS)])
    for name, group in students.items()
}
voted = jc.validate.evaluate(lambda params, x: vote(x), {}, *tested)

figure, plot = plt.subplots(figsize=(6, 2.6), layout="constrained")
for row, found in enumerate(accuracies.values()):
    plot.plot(100 * found, np.full(SEEDS, row), "o", color="C0", alpha=0.5)
    plot.plot(100 * found.mean(), row, "|", color="black", markersize=18)
plot.axvline(100 * voted.accuracy, color="grey", linestyle="--", label="teacher")
plot.set(xlabel="right, % of 897 test images; a dot is a seed", yticks=range(len(ways)))
plot.set_yticklabels(list(ways))
plot.invert_yaxis()
plot.legend(frameon=False)
figure.savefig(OUT / "distilled_student.png", dpi=90)

# %%
low, high = voted["accuracy"].interval()
shapes = jax.eval_shape(initial_student, jax.random.key(0))
numbers = [sum(leaf.size for leaf in jax.tree.leaves(each)) for each in (teachers[0], shapes)]
print(f"teacher, 3 x {numbers[0]:,} weights: {voted.accuracy:.1%} [{low:.1%}, {high:.1%}]")
for name, found in accuracies.items():
    print(f"student, {numbers[1]:,} weights, {name}: {found.mean():.1%}, mean of {SEEDS} seeds")
for name in list(ways)[1:]:
    difference = 100 * (accuracies[name] - accuracies["labels"])
    low, high = jc.validate.mean_interval(difference)
    print(f"{name} against labels: {difference.mean():+.1f} points [{low:+.1f}, {high:+.1f}]")
