# %% [markdown]
# # LoRA on 4 bits (QLoRA)
#
# A character model that has read Python's manual is stored in 4 bits and learns to
# write Python itself, by small adapters beside its frozen codes.
#
# - **Shows** the three parts of QLoRA (nf4 codes with quantized scales, adapters, an
#   optimizer for the adapters alone), and what is left on the disk for one more task.
# - **Use it** where one base serves several tasks, or where the optimizer's state of
#   the whole model does not fit.
# - **Do not use it** where one task is all there is and memory suffices: training all
#   weights is simpler and, as below, ends lower.

# %%
import ast
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
# ## Two texts
#
# Both come with Python: the manual behind `help()`, and the sources of a few modules
# without their comments and docstrings. Figures change a little with Python's version.
# Of each text the last tenth is the test.


# %%
def code_of(path):
    """A module's code as Python itself would write it, without docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if documented and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
    return ast.unparse(tree)


modules = "argparse", "tarfile", "turtle", "typing", "zipfile", "doctest", "inspect"
library = pathlib.Path(os.__file__).parent
files = [library / f"{name}.py" for name in modules]
manual = "\n".join(pydoc_data.topics.topics[key] for key in sorted(pydoc_data.topics.topics))
code = "\n".join(code_of(path) for path in files if path.exists())

alphabet = [chr(i) for i in (10, *range(32, 127))]
numbers = {character: i for i, character in enumerate(alphabet)}


def encoded(text):
    """Numbers of the characters that the alphabet has, (n,)."""
    return np.array([numbers[each] for each in text if each in numbers], np.int32)


def parted(codes):
    """Nine tenths to learn from, and the last tenth."""
    cut = len(codes) * 9 // 10
    return codes[:cut], codes[cut:]


manual_train, manual_test = parted(encoded(manual))
code_train, code_test = parted(encoded(code))
print(f"manual: {len(manual_train):,} characters, code: {len(code_train):,}")

# %% [markdown]
# ## The model
#
# Two layers of a transformer, 96 wide, that see 48 characters. Layers are stacked, and
# a scan runs through them.

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


def model(params, codes):
    """Logits of the next character, (n, length, characters)."""
    x = params["embedding"][codes] + params["positions"][None, : codes.shape[1]]
    stacked = {name: params[name] for name in ("qkv", "attended", "up", "down")}
    x, _ = jax.lax.scan(layer, x, stacked)
    return normalized(x) @ params["readout"]


# %% [markdown]
# ## Training
#
# One function trains everything below. It moves a tree and asks `seen` what the model
# is to see of it: the tree itself, or a frozen base with adapters beside it.

# %%
BATCH = 16


def loss(logits, codes):
    """Mean cross-entropy of the next characters, in nats."""
    return jc.distill.outputs.hard_targets(logits, codes[:, 1:]).mean()


def trained(moved, answers, text, steps, rate):
    """The tree after so many steps on windows drawn at random."""
    text = jnp.asarray(text)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adam(optax.warmup_cosine_decay_schedule(0.0, rate, steps // 10, steps), b2=0.99),
    )

    def step(carry, key):
        moved, state = carry
        begins = jax.random.randint(key, (BATCH, 1), 0, len(text) - CONTEXT)
        codes = text[begins + jnp.arange(CONTEXT + 1)]
        grads = jax.grad(lambda moved: loss(answers(moved, codes[:, :-1]), codes))(moved)
        updates, state = optimizer.update(grads, state, moved)
        return (optax.apply_updates(moved, updates), state), None

    carry = moved, optimizer.init(moved)
    keys = jax.random.split(jax.random.key(1), steps)
    return jax.jit(lambda carry: jax.lax.scan(step, carry, keys)[0][0])(carry)


base = trained(start, model, manual_train, steps=500, rate=6e-3)

# %% [markdown]
# ## Four bits
#
# nf4 has 16 levels at the quantiles of a normal distribution. 48 weights share a scale,
# and the scales are stored as codes in turn ("double quantization"). The two tables
# and the output stay as they are.

# %%
axes = jc.graph.axes(model, base, jnp.zeros((1, CONTEXT), jnp.int32))
nf4 = jc.quantize.formats.nf4(group_size=48, scales="codes")
frozen, report = jc.quantize.quantize(
    base, jc.Rules(dict.fromkeys(("qkv", "attended", "up", "down"), nf4)), axes=axes
)
print(report)

# %% [markdown]
# ## Adapters
#
# Beside every weight stands a product of two thin matrices of rank 4 that begins as
# zero. The gradient is taken with respect to those alone; the codes are a constant.
# Adapters take a larger rate than whole weights do; both rates were set once and not
# tuned.

# %%
technique = jc.adapt.lora(4, jc.adapt.starts.random(jax.random.key(2)), alpha=8.0, axes=axes)
beside = jc.adapt.run(model)
TUNING = 150
adapters = trained(
    technique.init(frozen),
    lambda adapters, codes: beside(technique.apart(frozen, adapters), codes),
    code_train,
    steps=TUNING,
    rate=1e-2,
)
whole = trained(base, model, code_train, steps=TUNING, rate=2e-3)

# %% [markdown]
# ## The test, opened once
#
# The loss on the code that none of them has read, window by window. Windows of one
# text resemble each other, so the intervals, which take them for independent, are
# those of this text and not of all Python.

# %%
models = {
    "base": base,
    "base in 4 bits": frozen,
    "4 bits and adapters": technique.freeze(frozen, adapters),
    "all weights trained": whole,
}
windows = code_test[
    np.arange(0, len(code_test) - CONTEXT, CONTEXT + 1)[:, None] + np.arange(CONTEXT + 1)
]


@jax.jit
def losses(params):
    """The mean loss of each window."""
    logits = jc.materialized(model)(params, windows[:, :-1])
    return jc.distill.outputs.hard_targets(logits, windows[:, 1:]).mean(-1)


judged = {name: np.asarray(losses(params), np.float64) for name, params in models.items()}
sizes = {
    "the base in floats": jc.storage.size(base).disk,
    "the base in 4 bits": jc.storage.size(frozen).disk,
    "adapters for a task": jc.storage.size(adapters).disk,
}
figure, plots = plt.subplots(1, 2, figsize=(8, 2.6), layout="constrained")
plots[0].barh(list(judged), [each.mean() for each in judged.values()])
plots[0].set(xlabel="loss on code, nats per character")
plots[1].barh(list(sizes), [size / 1000 for size in sizes.values()], color="C1")
plots[1].set(xlabel="kilobytes of the file")
for plot in plots:
    plot.invert_yaxis()
figure.savefig(OUT / "qlora.png", dpi=90)

# %%
for name, each in judged.items():
    low, high = jc.validate.skewed_mean_interval(each)
    print(f"{name:20} loss {each.mean():.3f} [{low:.3f}, {high:.3f}]")
for name, size in sizes.items():
    print(f"{name:20} {size:9,} bytes")
fall = [judged["base"].mean() - judged[name].mean() for name in list(models)[2:]]
print(f"adapters bring {fall[0] / fall[1]:.0%} of what training all weights brings")
low, high = jc.validate.skewed_mean_interval(
    judged["4 bits and adapters"] - judged["all weights trained"]
)
print(f"and end {low:+.3f} to {high:+.3f} nats from it")
