# %% [markdown]
# # A convolutional network in int8
#
# A small network that reads handwritten digits goes from float32 to 8-bit integers,
# first its weights and then its activations too, without training it again.
#
# - **Shows** that 8 bits are enough for a trained network, what calibration is for, and
#   where fewer bits begin to hurt.
# - **Use it** first of all methods: it takes seconds and no labels.
# - **Do not use it** below 4 bits, where the network must be trained through its codes,
#   and do not expect a smaller file to be a faster model: time it on your own device
#   (`jc.quantize.plan_execution` does).

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
# scikit-learn brings 1,797 digits of 8 x 8 pixels. Half of them train the network, a
# fifth is there to choose by, and the last 540 are the test: nothing below looks at
# them until everything is decided.

# %%
pixels, classes = load_digits(return_X_y=True)
images = np.asarray(pixels, np.float32).reshape(-1, 8, 8, 1) / 16
labels = np.asarray(classes, np.int32)

train, choose, test = jc.validate.split(
    len(images), fractions=(0.5, 0.2, 0.3), labels=labels, seed=0
)
jc.validate.check_disjoint(train=images[train], choose=images[choose], test=images[test])

# %% [markdown]
# ## The network
#
# Two convolutions and two dense layers, as a function of its params. jaxcompress needs
# nothing else to know about a model.


# %%
def convolved(x, kernel, stride):
    """A convolution of (n, height, width, channels) by (3, 3, channels, outputs)."""
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), "SAME", dimension_numbers=layout
    )


def model(params, x):
    """Logits, (n, 10)."""
    x = jax.nn.relu(convolved(x, params["conv1"], 1))
    x = jax.nn.relu(convolved(x, params["conv2"], 2))
    x = jax.nn.relu(x.reshape(len(x), -1) @ params["hidden"])
    return x @ params["head"]


he = jax.nn.initializers.he_normal()
shapes = {
    "conv1": (3, 3, 1, 16),
    "conv2": (3, 3, 16, 32),
    "hidden": (512, 64),
    "head": (64, 10),
}
keys = jax.random.split(jax.random.key(0), len(shapes))
start = {name: he(key, shape) for key, (name, shape) in zip(keys, shapes.items(), strict=True)}

# %% [markdown]
# ## Training in float32
#
# Images are shifted by up to a pixel, anew in every step.

# %%
STEPS = 600
recipe = jc.train.Recipe(
    jc.train.objectives.supervised(model, jc.distill.outputs.hard_targets),
    optax.adam(optax.cosine_decay_schedule(3e-3, STEPS)),
    augment=jc.train.augment.shifts(1),
)
plan = jc.train.Plan(STEPS, batch_size=64, seed=0)
params = jc.train.fit(recipe, start, (images[train], labels[train]), plan).params

# %% [markdown]
# ## Weights in 8 bits
#
# A weight becomes an integer from -127 to 127, and all weights of one output share a
# scale. `axes` says which axis of each array counts outputs; it is read from the
# program. The report has a line for every array.

# %%
axes = jc.graph.axes(model, params, images[:1])
weights8, report = jc.quantize.quantize(params, jc.quantize.int8(), axes=axes)
print(report)

# %% [markdown]
# ## Activations in 8 bits
#
# What flows between layers has no fixed range, so some training images go through the
# network and the extremes that each layer meets are noted. That is calibration; it
# needs no labels, and 128 images are plenty here.

# %%
seen = [images[train][:64], images[train][64:128]]
readings = jc.graph.calibrate(model, params, seen, jc.quantize.ranges.min_max())
fixed = jc.quantize.execution.static(readings)
both8 = jc.quantize.fake_quantize_activations(jc.materialized(model), fixed)

# %% [markdown]
# ## How few bits?
#
# The same two steps at every width from 8 bits to 2, judged on the images that are
# there to choose by. Weights alone hold out longer; with activations rounded as well
# errors add up from layer to layer.

# %%
chosen = images[choose], labels[choose]
formats = jc.quantize.formats
widths = {
    8: formats.int8(),
    6: formats.int6(),
    5: formats.int5(),
    4: formats.int4(),
    3: formats.int3(),
    2: formats.int2(),
}
alone, together = [], []
for spec in widths.values():
    coarse, _ = jc.quantize.quantize(params, spec, axes=axes)
    rounded = jc.quantize.execution.static(readings, spec)
    narrow = jc.quantize.fake_quantize_activations(jc.materialized(model), rounded)
    alone.append(jc.validate.evaluate(jc.materialized(model), coarse, *chosen).accuracy)
    together.append(jc.validate.evaluate(narrow, coarse, *chosen).accuracy)

figure, plot = plt.subplots(figsize=(6, 3.4), layout="constrained")
plot.plot(list(widths), np.multiply(alone, 100), "o-", label="weights")
plot.plot(list(widths), np.multiply(together, 100), "s-", label="weights and activations")
plot.set(xlabel="bits", ylabel="right, % of 359 images to choose by")
plot.invert_xaxis()
plot.legend(frameon=False)
figure.savefig(OUT / "int8_cnn_bits.png", dpi=90)

# %% [markdown]
# ## Files
#
# A file holds the codes as they are, so it is a quarter as large. The activations'
# ranges are one number for each layer and stay with the program.

# %%
sizes = {
    "float32": jc.storage.save(OUT / "float32.safetensors", params),
    "int8": jc.storage.save(OUT / "int8.safetensors", weights8),
}
shipped = jc.storage.load(OUT / "int8.safetensors")

# %% [markdown]
# ## The test, opened once
#
# Both networks answer the same 540 images, so they are compared in pairs. The interval
# says how large a difference these images leave room for. That is the honest limit of
# a small test set: "no difference found" is not "no difference".

# %%
tested = images[test], labels[test]
answers = {
    "float32": jc.validate.evaluate(model, params, *tested),
    "int8 weights": jc.validate.evaluate(jc.materialized(model), shipped, *tested),
    "int8 weights and activations": jc.validate.evaluate(both8, shipped, *tested),
}
figure, plot = plt.subplots(figsize=(6, 2.2), layout="constrained")
for row, answer in enumerate(answers.values()):
    low, high = answer["accuracy"].interval()
    plot.plot([100 * low, 100 * high], [row, row], color="grey")
    plot.plot(100 * answer.accuracy, row, "o", color="C0")
plot.set(xlabel="right, % of 540 test images, 95 % interval", yticks=range(3))
plot.set_yticklabels(list(answers))
plot.invert_yaxis()
figure.savefig(OUT / "int8_cnn_test.png", dpi=90)

# %%
for name, answer in answers.items():
    low, high = answer["accuracy"].interval()
    size = sizes["float32" if name == "float32" else "int8"]
    print(f"{name:29} {answer.accuracy:.1%} [{low:.1%}, {high:.1%}]  {size:7,} bytes")
for name in ("int8 weights", "int8 weights and activations"):
    comparison = jc.validate.compare(answers["float32"], answers[name])
    low, high = comparison.accuracy_interval
    print(f"{name}: {comparison.verdict}, {100 * low:+.1f} to {100 * high:+.1f} points")
