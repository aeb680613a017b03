# %% [markdown]
# # A recipe validated by k folds
#
# Is a perceptron that is pruned by 80 % and stored in int8 as good as the same
# perceptron in float32? Five folds, repeated, train and judge both recipes in pairs.
#
# - **Shows** what is validated, which is the recipe and not one model; how compression
#   goes inside of the folds; and an interval that knows that folds overlap.
# - **Use it** where data are few and one test set would leave wide intervals.
# - **Do not use it** where examples belong together, as several of one patient do (take
#   `splits.grouped_k_fold`) or follow one another in time (`splits.time_ordered`), nor
#   to report the best of many recipes: choose by `cv.nested_cross_validate`.

# %%
import os
import pathlib

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from sklearn.datasets import load_breast_cancer

import jaxcompress as jc

cv = jc.validate.cross_validation
OUT = pathlib.Path(os.environ.get("GALLERY_OUT", "gallery-out"))
OUT.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## Data
#
# 569 tumours with 30 measurements each, benign or malignant; scikit-learn bundles them.
# A fifth is held apart for the very end. All folds lie within the rest.

# %%
table, classes = load_breast_cancer(return_X_y=True)
table, labels = np.asarray(table, np.float32), np.asarray(classes, np.int32)
rest, test = jc.validate.split(len(table), fractions=(0.8, 0.2), labels=labels, seed=0)
jc.validate.check_disjoint(rest=table[rest], test=table[test])
x, y = table[rest], labels[rest]

# %% [markdown]
# ## The model


# %%
def model(params, x):
    """Logits of two classes, (n, 2)."""
    hidden = jax.nn.relu(x @ params["hidden"] + params["bias"][None])
    return hidden @ params["out"]


def initial(key):
    """30 measurements, 64 units, two classes."""
    he, (first, second) = jax.nn.initializers.he_normal(), jax.random.split(key)
    return {"hidden": he(first, (30, 64)), "bias": jnp.zeros(64), "out": he(second, (64, 2))}


# %% [markdown]
# ## Two recipes
#
# A recipe is a function of examples, weights and a key that gives a model. The
# compressed one prunes gradually while it trains and quantizes at the end, so the model
# that a fold judges is the one that would be shipped. Rows of weight 0 do not count;
# that is how folds of unequal size fit into one program.

# %%
STEPS = 400
axes = jc.graph.axes(model, initial(jax.random.key(0)), x[:1])
adam = optax.adamw(optax.cosine_decay_schedule(3e-3, STEPS), weight_decay=1e-2)
pruned = jc.prune.prune(
    adam,
    jc.prune.criteria.magnitude(),
    jc.prune.Target(jc.schedules.cubic(0.0, 0.8, begin=STEPS // 5, end=STEPS // 2), axes=axes),
    when=jc.schedules.every(20, end=STEPS // 2),
)


def training(optimizer):
    """A training run as a function of examples, weights and a key."""
    objective = jc.train.objectives.supervised(model, jc.distill.outputs.hard_targets)
    recipe = jc.train.Recipe(objective, optimizer)
    return jc.train.fitting(recipe, initial, steps=STEPS, batch_size=64)


dense = training(adam)


def compressed(examples, weights, key):
    """Trained, pruned and quantized."""
    params = training(pruned)(examples, weights, key)
    return jc.quantize.quantize(params, jc.quantize.int8(), axes=axes)[0]


# %% [markdown]
# ## Preprocessing belongs to the recipe
#
# Measurements are standardized by means and deviations of the training rows of each
# fold. Standardizing all rows at once would let test rows have a say.

# %%
evaluate = cv.evaluating(jc.materialized(model))
recipes = {
    "float32": cv.prepared(cv.standardize(), cv.Candidate(dense, evaluate)),
    "pruned int8": cv.prepared(cv.standardize(), cv.Candidate(compressed, evaluate)),
}

# %% [markdown]
# ## Five folds, three times
#
# Fifteen networks of each recipe are trained side by side in one compiled program.

# %%
folds = jc.validate.splits.repeated(
    lambda seed: jc.validate.splits.stratified_k_fold(y, folds=5, seed=seed), repeats=3
)
results = {
    name: jc.validate.cross_validate(*recipe, (x, y), folds, key=jax.random.key(1))
    for name, recipe in recipes.items()
}
for name, result in results.items():
    print(f"{name}: {result}")

# %% [markdown]
# ## In pairs
#
# Both recipes saw the same folds, so what makes a fold hard cancels in the difference.
# Training sets of folds share most of their rows, and the interval is wider for it
# (Nadeau and Bengio's correction).

# %%
difference = cv.compare_folds(results["float32"], results["pruned int8"], "accuracy")
print(difference.verdict)

figure, plot = plt.subplots(figsize=(6, 3), layout="constrained")
scores = {
    name: 100 * result.by_fold(lambda values, fold: float(np.mean(values["accuracy"])))
    for name, result in results.items()
}
for one, other in zip(*scores.values(), strict=True):
    plot.plot([0, 1], [one, other], "o-", color="C0", alpha=0.4)
plot.set(ylabel="right, % of a fold", xticks=[0, 1], xlim=(-0.3, 1.3))
plot.set_xticklabels(list(scores))
figure.savefig(OUT / "kfold_recipe.png", dpi=90)

# %% [markdown]
# ## The model that is shipped, and the test
#
# The recipe is settled, so the model is trained once on all rows but the test, and the
# test is opened. Its 114 rows leave wide intervals, which is why there are folds; they
# should hold what the folds said.

# %%
final = {
    name: jax.jit(recipe.fit)((x, y), np.ones(len(x), "f4"), jax.random.key(2))
    for name, recipe in recipes.items()
}
right = {
    name: np.asarray(recipe.evaluate(final[name], (table[test], labels[test]))["accuracy"]) > 0.5
    for name, recipe in recipes.items()
}
gained = int(np.sum(right["pruned int8"] & ~right["float32"]))
lost = int(np.sum(right["float32"] & ~right["pruned int8"]))

# %%
for name, result in results.items():
    low, high = jc.validate.wilson(int(right[name].sum()), len(test))
    size = jc.storage.size(final[name].model).disk
    folded = 100 * result.mean("accuracy")
    print(f"{name:12} folds {folded:.1f} %, test {right[name].mean():.1%} [{low:.1%}, {high:.1%}]")
    print(f"{name:12} {size:,} bytes")
low, high = difference.interval
print(f"difference over folds: {100 * low:+.1f} to {100 * high:+.1f} points")
low, high = jc.validate.paired_interval(gained, lost, len(test))
print(f"difference on the test: {100 * low:+.1f} to {100 * high:+.1f} points")
