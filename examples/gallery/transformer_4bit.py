# %% [markdown]
# # A transformer in 4 bits
#
# A small character transformer is stored in 4, 3 and 2 bits without training it again,
# and then in the fewest of these by training through the codes.
#
# - **Shows** what rounding to nearest costs, what a few batches of text win back
#   (GPTQ), and what training wins back where that is not enough.
# - **Use it** for models whose weights fill the memory, as language models do:
#   rounding on data needs no labels and no optimizer.
# - **Do not use it** for a model that fits as it is: 8 bits cost next to nothing, see
#   the int8 network. And judge on text of the kind that you will meet.

# %%
import os
import pathlib
import pydoc_data.topics

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import jaxcompress as jc

OUT = pathlib.Path(os.environ.get("GALLERY_OUT", "gallery-out"))
OUT.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## Text
#
# Python's manual, as `help()` shows it: some 460,000 characters that come with every
# Python, and change a little with its version. Eight tenths train, one is there to
# choose by, and the last is the test.

# %%
text = "\n".join(pydoc_data.topics.topics[key] for key in sorted(pydoc_data.topics.topics))
alphabet = [chr(i) for i in (10, *range(32, 127))]
numbers = {character: i for i, character in enumerate(alphabet)}
codes = np.array([numbers[each] for each in text if each in numbers], np.int32)
train, choose, test = np.split(codes, [len(codes) * 8 // 10, len(codes) * 9 // 10])

# %% [markdown]
# ## The model
#
# Two layers, 96 wide, that see 48 characters. Layers are stacked, and a scan runs
# through them; jaxcompress reads from the program what each axis does.

# %%
WIDTH, HEADS, LAYERS, CONTEXT = 96, 4, 2, 48
shapes = {
    "embedding": (len(alphabet), WIDTH),
    "positions": (CONTEXT, WIDTH),
    "qkv": (LAYERS, WIDTH, 3, HEADS, WIDTH // HEADS),
    "attended": (LAYERS, HEADS, WIDTH // HEADS, WIDTH),
    "up": (LAYERS, WIDTH, 4 * WIDTH),
    "down": (LAYERS, 4 * WIDTH, WIDTH),
    "readout": (WIDTH, len(alphabet)),
}
keys = jax.random.split(jax.random.key(0), len(shapes))
start = {
    name: 0.05 * jax.random.normal(key, shape)
    for key, (name, shape) in zip(keys, shapes.items(), strict=True)
}


def normalized(x):
    """Every vector at mean 0 and variance 1."""
    x = x - x.mean(-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-5)


def layer(x, weights):
    """Causal attention and a perceptron, (n, length, WIDTH) to the same."""
    query, key, value = jnp.einsum("nld,dphe->pnlhe", normalized(x), weights["qkv"])
    mixed = jax.nn.dot_product_attention(query, key, value, is_causal=True)
    x = x + jnp.einsum("nlhe,hed->nld", mixed, weights["attended"])
    return x + jax.nn.gelu(normalized(x) @ weights["up"]) @ weights["down"], None


MATRICES = "qkv", "attended", "up", "down"


def model(params, codes):
    """Logits of the next character, (n, length, characters)."""
    x = params["embedding"][codes] + params["positions"][None, : codes.shape[1]]
    x, _ = jax.lax.scan(layer, x, {name: params[name] for name in MATRICES})
    return normalized(x) @ params["readout"]


# %% [markdown]
# ## Training
#
# Batches are windows drawn at random, inside of one compiled loop. `view` is how the
# model sees its weights; for now, as they are.

# %%
BATCH = 16


def trained(params, steps, rate, view=lambda params: params):
    """The params after so many steps."""
    text = jnp.asarray(train)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adam(optax.warmup_cosine_decay_schedule(0.0, rate, steps // 10, steps), b2=0.99),
    )

    def step(carry, key):
        params, state = carry
        begins = jax.random.randint(key, (BATCH, 1), 0, len(text) - CONTEXT)
        codes = text[begins + jnp.arange(CONTEXT + 1)]

        def loss(params):
            logits = model(view(params), codes[:, :-1])
            return jc.distill.outputs.hard_targets(logits, codes[:, 1:]).mean()

        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    carry = params, optimizer.init(params)
    keys = jax.random.split(jax.random.key(1), steps)
    return jax.jit(lambda carry: jax.lax.scan(step, carry, keys)[0][0])(carry)


params = trained(start, steps=400, rate=6e-3)

# %% [markdown]
# ## Two ways to round
#
# *Nearest* looks at the weights alone. *GPTQ* rounds one input after the other and lets
# those that are left make up for the error, on what the layer reads. Here it also
# searches the interval that codes cover, and each layer makes up for half of the error
# of the layers before it.


# %%
def windows_of(text):
    """Windows side by side, (n, CONTEXT + 1)."""
    begins = np.arange(0, len(text) - CONTEXT, CONTEXT + 1)
    return text[begins[:, None] + np.arange(CONTEXT + 1)]


axes = jc.graph.axes(model, params, jnp.zeros((1, CONTEXT), jnp.int32))
batches = [windows_of(train)[i : i + 64, :-1] for i in (0, 64, 128, 192)]
rounding, ranges = jc.quantize.rounding, jc.quantize.ranges


def nearest(spec):
    """By the weights alone."""
    return jc.quantize.quantize(params, spec, axes=axes)[0]


def gptq(spec):
    """On what each matrix reads, in searched ranges and with half a correction."""
    how = rounding.gptq(ranges=ranges.mean_squared_error)
    return jc.quantize.reconstruct(model, params, batches, spec, how, correction=0.5)[0]


@jax.jit
def losses(params, windows):
    """The mean loss of each window, in nats per character: (n,)."""
    logits = jc.materialized(model)(params, windows[:, :-1])
    return jc.distill.outputs.hard_targets(logits, windows[:, 1:]).mean(-1)


# %% [markdown]
# ## 4, 3 and 2 bits
#
# The matrices of the layers are rounded, one scale for each output; tables and readout
# stay. All six are judged on the text that is there to choose by.

# %%
formats = jc.quantize.formats
bits = {4: formats.int4(), 3: formats.int3(), 2: formats.int2()}
ways = {"nearest": nearest, "GPTQ": gptq}
made = {
    (way, width): function(jc.Rules(dict.fromkeys(MATRICES, spec)))
    for way, function in ways.items()
    for width, spec in bits.items()
}
look = windows_of(choose)
figure, plot = plt.subplots(figsize=(6, 3.4), layout="constrained")
for way in ways:
    plot.plot(
        list(bits),
        [float(losses(made[way, width], look).mean()) for width in bits],
        "o-",
        label=way,
    )
plot.axhline(float(losses(params, look).mean()), color="grey", linestyle="--", label="float32")
plot.set(xlabel="bits", ylabel="loss, nats per character", xticks=list(bits))
plot.invert_xaxis()
plot.legend(frameon=False)
figure.savefig(OUT / "transformer_4bit.png", dpi=90)

# %% [markdown]
# ## Two bits by training
#
# The loss sees the weights as `quantize` would store them, and the gradient passes
# straight through the rounding. It is the one way here that needs an optimizer, and the
# 150 steps would make float32 better, too, so the difference is not one of rounding
# alone.

# %%
two = jc.Rules(dict.fromkeys(MATRICES, formats.int2()))
view = jc.quantize.fake_quantize(two, axes=axes)
through = trained(params, steps=150, rate=2e-3, view=view)
made["trained through codes", 2], _ = jc.quantize.quantize(through, two, axes=axes)

# %% [markdown]
# ## The test, opened once
#
# The difference to float32 window by window, with an interval. Windows of one text
# resemble each other, so the intervals, which take them for independent, are those of
# this text and not of all English.

# %%
windows = windows_of(test)
whole = np.asarray(losses(params, windows), np.float64)
low, high = jc.validate.skewed_mean_interval(whole)
size = jc.storage.size(params).disk
print(f"float32                  loss {whole.mean():.3f} [{low:.3f}, {high:.3f}]  {size:,} bytes")
for (way, width), small in made.items():
    rise = np.asarray(losses(small, windows), np.float64) - whole
    low, high = jc.validate.skewed_mean_interval(rise)
    size = jc.storage.size(small).disk
    label = f"{width} bits, {way}"
    print(f"{label:29} {rise.mean():+.3f} [{low:+.3f}, {high:+.3f}]  {size:,} bytes")
