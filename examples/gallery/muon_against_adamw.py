# %% [markdown]
# # Muon against AdamW
#
# Which optimizer gets a small transformer lower in as many steps? Each may choose its
# rate among four, and then both run over three seeds.
#
# - **Shows** how a comparison of optimizers is made fair: the same number of tries, a
#   rate chosen on other text than the test, several seeds, and the cost of a step.
# - **Use it** (Muon) for the matrices inside of a network; tables and the readout stay
#   with Adam, and so do norms and biases.
# - **Do not use it** because of this page alone: the network is tiny and so are its
#   batches. `benchmarks/race.py` has a longer race.

# %%
import os
import pathlib
import pydoc_data.topics
import time

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
# Python's manual, as `help()` shows it; it changes a little with Python's version.
# Eight tenths train, one is there to choose rates by, and the last is the test.

# %%
text = "\n".join(pydoc_data.topics.topics[key] for key in sorted(pydoc_data.topics.topics))
alphabet = [chr(i) for i in (10, *range(32, 127))]
numbers = {character: i for i, character in enumerate(alphabet)}
codes = np.array([numbers[each] for each in text if each in numbers], np.int32)
train, choose, test = np.split(codes, [len(codes) * 8 // 10, len(codes) * 9 // 10])

# %% [markdown]
# ## The model
#
# Two layers of a transformer, 64 wide, that see 32 characters.

# %%
WIDTH, HEADS, LAYERS, CONTEXT = 64, 4, 2, 32
shapes = {
    "embedding": (len(alphabet), WIDTH),
    "positions": (CONTEXT, WIDTH),
    "qkv": (LAYERS, WIDTH, 3, HEADS, WIDTH // HEADS),
    "attended": (LAYERS, HEADS, WIDTH // HEADS, WIDTH),
    "up": (LAYERS, WIDTH, 4 * WIDTH),
    "down": (LAYERS, 4 * WIDTH, WIDTH),
    "readout": (WIDTH, len(alphabet)),
}


def initial(key):
    """Normal weights."""
    keys = jax.random.split(key, len(shapes))
    pairs = zip(keys, shapes.items(), strict=True)
    return {name: 0.05 * jax.random.normal(key, shape) for key, (name, shape) in pairs}


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


def model(params, codes):
    """Logits of the next character, (n, length, characters)."""
    x = params["embedding"][codes] + params["positions"][None, : codes.shape[1]]
    stacked = {name: params[name] for name in ("qkv", "attended", "up", "down")}
    x, _ = jax.lax.scan(layer, x, stacked)
    return normalized(x) @ params["readout"]


# %% [markdown]
# ## Two optimizers
#
# `o.hidden(axes)` selects what multiplies data as a matrix, and the readout is left
# out by name, since no program tells it from other matrices. Everything that Muon does
# not take is AdamW's. With `adam_scale` one rate serves both parts.

# %%
STEPS, BATCH = 200, 16
o = jc.optimizers
axes = jc.graph.axes(model, initial(jax.random.key(0)), jnp.zeros((1, CONTEXT), jnp.int32))
inside = jc.all_of(o.hidden(axes), jc.none_of(jc.matching("readout")))


def adamw(rate):
    """AdamW for everything."""
    return o.adamw(rate, b2=0.99, weight_decay=0.1)


def muon(rate):
    """Muon for the matrices inside, AdamW for the rest."""
    return o.muon(rate, scale=o.adam_scale, b2=0.99, weight_decay=0.1, select=inside, axes=axes)


# %% [markdown]
# ## A run
#
# The rate warms up and then falls along a cosine. The rate and the seed are arguments
# of the compiled run, so that each optimizer is compiled once.


# %%
def run_of(make):
    """A compiled run: (rate, key) to the params and the training losses."""
    text = jnp.asarray(train)
    shape = optax.warmup_cosine_decay_schedule(0.0, 1.0, 25, STEPS, 0.1)

    @jax.jit
    def run(rate, key):
        optimizer = optax.chain(
            optax.clip_by_global_norm(1.0), make(lambda count: rate * shape(count))
        )

        def step(carry, key):
            params, state = carry
            begins = jax.random.randint(key, (BATCH, 1), 0, len(text) - CONTEXT)
            codes = text[begins + jnp.arange(CONTEXT + 1)]

            def loss(params):
                logits = model(params, codes[:, :-1])
                return jc.distill.outputs.hard_targets(logits, codes[:, 1:]).mean()

            value, grads = jax.value_and_grad(loss)(params)
            updates, state = optimizer.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), value

        params = initial(key)
        keys = jax.random.split(key, STEPS)
        (params, _), losses = jax.lax.scan(step, (params, optimizer.init(params)), keys)
        return params, losses

    return run


def windows_of(text):
    """Windows side by side, (n, CONTEXT + 1)."""
    begins = np.arange(0, len(text) - CONTEXT, CONTEXT + 1)
    return text[begins[:, None] + np.arange(CONTEXT + 1)]


@jax.jit
def held_out(params, windows):
    """The mean loss on windows, in nats per character."""
    logits = model(params, windows[:, :-1])
    return jc.distill.outputs.hard_targets(logits, windows[:, 1:]).mean()


# %% [markdown]
# ## Choosing a rate
#
# Four rates each, one seed, judged on the text that is there to choose by. A rate at
# the edge of what was tried says that the range was too small: Muon's is at the edge,
# level with its neighbour, so that more tries could only help Muon.

# %%
runs = {"AdamW": run_of(adamw), "Muon": run_of(muon)}
rates = {"AdamW": (1e-3, 2e-3, 4e-3, 8e-3), "Muon": (4e-3, 8e-3, 1.6e-2, 3.2e-2)}
look, best = windows_of(choose), {}
for name, run in runs.items():
    tried = {rate: float(held_out(run(rate, jax.random.key(0))[0], look)) for rate in rates[name]}
    best[name] = min(tried, key=lambda rate: tried[rate])
    print(name, {rate: round(loss, 3) for rate, loss in tried.items()}, "chosen:", best[name])

# %% [markdown]
# ## Three seeds, and the test

# %%
SEEDS = range(1, 4)
ends, curves, seconds = {}, {}, {}
for name, run in runs.items():
    begin = time.process_time()
    made = [jax.block_until_ready(run(best[name], jax.random.key(seed))) for seed in SEEDS]
    seconds[name] = (time.process_time() - begin) / len(SEEDS) / STEPS
    ends[name] = np.array([held_out(params, windows_of(test)) for params, _ in made], np.float64)
    curves[name] = np.mean([losses for _, losses in made], 0)

figure, plot = plt.subplots(figsize=(6, 3.4), layout="constrained")
for name, curve in curves.items():
    smooth = np.convolve(curve, np.ones(15) / 15, "valid")
    plot.plot(np.arange(15, STEPS + 1), smooth, label=name)
plot.set(xlabel="steps; means of 15 steps and 3 seeds", ylabel="training loss, nats")
plot.legend(frameon=False)
figure.savefig(OUT / "muon_against_adamw.png", dpi=90)

# %%
for name, losses in ends.items():
    print(f"{name:6} test loss {losses.mean():.3f} after {STEPS} steps, mean of {len(SEEDS)} seeds")
difference = ends["Muon"] - ends["AdamW"]
low, high = jc.validate.mean_interval(difference)
print(f"Muon against AdamW {difference.mean():+.3f} nats [{low:+.3f}, {high:+.3f}]")
print(f"a step of Muon costs {seconds['Muon'] / seconds['AdamW']:.2f} of one of AdamW here")
