# %% [markdown]
# # An LSTM in few bits
#
# A recurrent network reads the same matrices at every step, so a rounding error comes
# back with every character. Does it grow?
#
# - **Shows** rounding to nearest at 8, 4 and 3 bits, training with learned steps (LSQ),
#   and the loss by position in the text, where growing errors would be seen.
# - **Use it** where a small recurrent model runs on a small device.
# - **Do not use it** to judge long texts: 40 characters are read here. Where a state
#   runs for hours, test it for hours.

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
# Python's manual, as `help()` shows it; it changes a little with Python's version. The
# last tenth is the test.

# %%
text = "\n".join(pydoc_data.topics.topics[key] for key in sorted(pydoc_data.topics.topics))
alphabet = [chr(i) for i in (10, *range(32, 127))]
numbers = {character: i for i, character in enumerate(alphabet)}
codes = np.array([numbers[each] for each in text if each in numbers], np.int32)
train, test = np.split(codes, [len(codes) * 9 // 10])

# %% [markdown]
# ## The network
#
# 96 units. The four gates of a step are one product with what was read and one with the
# state.

# %%
UNITS, CONTEXT = 96, 40
shapes = {
    "embedding": (len(alphabet), UNITS),
    "input": (UNITS, 4 * UNITS),
    "hidden": (UNITS, 4 * UNITS),
    "out": (UNITS, len(alphabet)),
}
keys = jax.random.split(jax.random.key(0), len(shapes))
start = {
    name: 0.1 * jax.random.normal(key, shape)
    for key, (name, shape) in zip(keys, shapes.items(), strict=True)
}


def model(params, codes):
    """Logits of the next character, (n, length, characters)."""
    read = jnp.swapaxes(params["embedding"][codes] @ params["input"], 0, 1)
    nothing = jnp.zeros((len(codes), UNITS))

    def step(carry, read):
        state, output = carry
        keep, write, show, new = jnp.split(read + output @ params["hidden"], 4, axis=-1)
        state = jax.nn.sigmoid(keep + 1) * state + jax.nn.sigmoid(write) * jnp.tanh(new)
        output = jax.nn.sigmoid(show) * jnp.tanh(state)
        return (state, output), output

    _, outputs = jax.lax.scan(step, (nothing, nothing), read)
    return jnp.swapaxes(outputs, 0, 1) @ params["out"]


# %% [markdown]
# ## Training
#
# `seen` says what the model sees of what is trained: the tree as it is, or codes.

# %%
BATCH = 32


def trained(moved, steps, rate, seen=lambda moved: moved):
    """The tree after so many steps on windows drawn at random."""
    text = jnp.asarray(train)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(rate, steps))
    )

    def step(carry, key):
        moved, state = carry
        begins = jax.random.randint(key, (BATCH, 1), 0, len(text) - CONTEXT)
        codes = text[begins + jnp.arange(CONTEXT + 1)]

        def loss(moved):
            logits = model(seen(moved), codes[:, :-1])
            return jc.distill.outputs.hard_targets(logits, codes[:, 1:]).mean()

        updates, state = optimizer.update(jax.grad(loss)(moved), state, moved)
        return (optax.apply_updates(moved, updates), state), None

    carry = moved, optimizer.init(moved)
    keys = jax.random.split(jax.random.key(1), steps)
    return jax.jit(lambda carry: jax.lax.scan(step, carry, keys)[0][0])(carry)


params = trained(start, steps=800, rate=1e-2)

# %% [markdown]
# ## Rounded to nearest
#
# The three matrices, one scale for each output. The table of characters stays.

# %%
MATRICES = "input", "hidden", "out"
axes = jc.graph.axes(model, params, jnp.zeros((1, CONTEXT), jnp.int32))
formats = jc.quantize.formats
made = {"float32": params}
for bits, spec in {8: formats.int8(), 4: formats.int4(), 3: formats.int3()}.items():
    rules = jc.Rules(dict.fromkeys(MATRICES, spec))
    made[f"{bits} bits"], _ = jc.quantize.quantize(params, rules, axes=axes)

# %% [markdown]
# ## Trained at 3 bits
#
# The step between codes is trained beside the weights (LSQ). The control is fair only
# if it gets the same steps: float32 trains on, too.

# %%
three = jc.Rules(dict.fromkeys(MATRICES, formats.int3()))
technique = jc.quantize.training.learned_steps(three, axes=axes)
TUNING, RATE = 200, 2e-3
both = trained(
    (params, technique.init(params)), TUNING, RATE, seen=lambda both: technique.view(*both)
)
made["3 bits, trained"] = technique.freeze(*both)
made["float32, trained on"] = trained(params, TUNING, RATE)

# %% [markdown]
# ## The test, opened once
#
# Windows of one text resemble each other, so the intervals, which take them for
# independent, are those of this text. In the picture the rise is there from the first
# characters on and stays what it is: gates forget errors along with the text.

# %%
begins = np.arange(0, len(test) - CONTEXT, CONTEXT + 1)
windows = test[begins[:, None] + np.arange(CONTEXT + 1)]


@jax.jit
def losses(params):
    """The loss of each character of each window, in nats: (n, CONTEXT)."""
    logits = jc.materialized(model)(params, windows[:, :-1])
    return jc.distill.outputs.hard_targets(logits, windows[:, 1:])


judged = {name: np.asarray(losses(params), np.float64) for name, params in made.items()}
figure, plot = plt.subplots(figsize=(6, 3.2), layout="constrained")
for name in ("8 bits", "4 bits", "3 bits"):
    rise = (judged[name] - judged["float32"]).mean(0)
    plot.plot(range(1, CONTEXT + 1), rise, label=name)
plot.axhline(0, color="grey", linestyle="--")
plot.set(xlabel="characters read", ylabel="rise of the loss, nats")
plot.legend(frameon=False)
figure.savefig(OUT / "lstm_few_bits.png", dpi=90)

# %%
whole = judged["float32"].mean(1)
low, high = jc.validate.skewed_mean_interval(whole)
size = jc.storage.size(params).disk
print(f"{'float32':19} loss {whole.mean():.3f} [{low:.3f}, {high:.3f}]  {size:7,} bytes")
for name in list(made)[1:]:
    rise = judged[name].mean(1) - whole
    low, high = jc.validate.skewed_mean_interval(rise)
    size = jc.storage.size(made[name]).disk
    print(f"{name:19} {rise.mean():+.3f} [{low:+.3f}, {high:+.3f}]       {size:7,} bytes")
