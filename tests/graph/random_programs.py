"""Programs composed at random: blocks on an array (batch, steps, width), as models are
built of them.

`program(seed)` is always the same model. A newcomer adds one block: a function of a
`Builder` and the width it gets, that returns what to apply and the width it gives.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

BATCH, STEPS, OUTPUTS = 2, 4, 3
WIDEST = 24

Apply = Callable[[dict, jax.Array], jax.Array]
Block = tuple[Apply, int]


class RandomProgram(NamedTuple):
    """A model with params and inputs, and the names of the blocks it is made of."""

    fn: Callable
    params: dict
    inputs: tuple
    blocks: tuple[str, ...]


class Builder:
    """Chooses blocks and collects their params."""

    def __init__(self, seed: int):
        self.random = np.random.default_rng(seed)
        self.params: dict = {}
        self.blocks: list[str] = []
        self.depth = 0

    def weight(self, *shape: int) -> str:
        name = f"w{len(self.params)}"
        self.params[name] = self.random.normal(size=shape) / np.sqrt(shape[0])
        return name

    def one_of(self, *options):
        return options[self.random.integers(len(options))]

    def block(self, width: int) -> Block:
        """Any block; nested ones only two deep."""
        if width < 4:
            apply, wide = dense(self, width)
            return after(apply, *self.block(wide))
        blocks = PLAIN + ALONG_STEPS + (NESTED if self.depth < 2 else ())
        kinds = blocks if self.random.random() > 0.06 else WHOLE
        chosen = self.one_of(*kinds)
        self.blocks.append(chosen.__name__)
        self.depth += 1
        apply, wide = chosen(self, width)
        self.depth -= 1
        return (apply, wide) if wide <= WIDEST else after(apply, *dense(self, wide))

    def keeping(self, width: int) -> Apply:
        """Any block that gives back the width and the number of steps it gets."""
        apply, wide = self.block(width)
        kernel = self.weight(wide, width)

        def fitted(p, x):
            y = apply(p, x)
            y = jnp.concatenate([y] * STEPS, axis=1)[:, :STEPS] if y.shape[1] != x.shape[1] else y
            return y @ p[kernel]

        return fitted


def program(seed: int) -> RandomProgram:
    """The random program of this seed: two to four blocks between two layers."""
    builder = Builder(seed)
    width = builder.one_of(4, 6, 8, 12)
    first, last = builder.weight(5, width), None
    blocks = []
    for _ in range(builder.random.integers(2, 5)):
        apply, width = builder.block(width)
        blocks.append(apply)
    last = builder.weight(width, OUTPUTS)

    def fn(p, x):
        x = jnp.tanh(x @ p[first])
        for apply in blocks:
            x = apply(p, x)
        return x.mean(1) @ p[last]

    inputs = (builder.random.normal(size=(BATCH, STEPS, 5)),)
    return RandomProgram(fn, builder.params, inputs, tuple(builder.blocks))


def after(first: Apply, second: Apply, width: int) -> Block:
    return lambda p, x: second(p, first(p, x)), width


def row(x: jax.Array) -> jax.Array:
    return x[None, None]


# Blocks that keep the axes of batch and steps as they are.


def dense(b: Builder, width: int) -> Block:
    wide = b.one_of(4, 6, 8, 12)
    kernel, bias = b.weight(width, wide), b.weight(wide)
    activation = b.one_of(jax.nn.relu, jax.nn.gelu, jnp.tanh, jax.nn.silu, jax.nn.softplus, jnp.sin)
    return lambda p, x: activation(x @ p[kernel] + row(p[bias])), wide


def dense_of_transposed(b: Builder, width: int) -> Block:
    wide = b.one_of(4, 6, 8)
    kernel = b.weight(wide, width)
    return lambda p, x: jnp.einsum("bsi,oi->bso", x, p[kernel]), wide


def tied(b: Builder, width: int) -> Block:
    kernel = b.weight(width, 6)
    return lambda p, x: jnp.tanh(x @ p[kernel]) @ p[kernel].T, width


def concatenated(b: Builder, width: int) -> Block:
    apply, wide = dense(b, width)
    return lambda p, x: jnp.concatenate([x, apply(p, x)], axis=-1), width + wide


def gated(b: Builder, width: int) -> Block:
    wide = b.one_of(4, 6)
    kernel = b.weight(width, 2 * wide)

    def apply(p, x):
        gate, up = jnp.split(x @ p[kernel], 2, axis=-1)
        return jax.nn.silu(gate) * up

    return apply, wide


def parted(b: Builder, width: int) -> Block:
    at = int(b.random.integers(1, width))
    apply, wide = dense(b, width - at)

    def divided(p, x):
        return jnp.concatenate([apply(p, x[..., at:]), x[..., :at]], axis=-1)

    return divided, at + wide


def grouped_reduction(b: Builder, width: int) -> Block:
    groups = b.one_of(*(g for g in (1, 2, 3, 4) if width % g == 0 and width // g > 1))
    reduce = b.one_of(jnp.mean, jnp.max, jnp.sum, jnp.min, jnp.prod)
    axis = b.one_of(2, 3)
    wide = width // groups if axis == 2 else groups
    kernel = b.weight(wide, 6)
    return lambda p, x: reduce(x.reshape(*x.shape[:2], groups, -1), axis) @ p[kernel], 6


def group_norm(b: Builder, width: int) -> Block:
    groups = b.one_of(*(g for g in (1, 2, 3, 4) if width % g == 0))
    scale = b.weight(width)

    def apply(p, x):
        y = x.reshape(*x.shape[:2], groups, -1)
        y = (y - y.mean(-1, keepdims=True)) / jnp.sqrt(y.var(-1, keepdims=True) + 1)
        return y.reshape(x.shape) * row(p[scale])

    return apply, width


def shuffled(b: Builder, width: int) -> Block:
    groups = b.one_of(*(g for g in (1, 2, 3, 4) if width % g == 0))

    def apply(p, x):
        return x.reshape(*x.shape[:2], groups, -1).swapaxes(-1, -2).reshape(x.shape)

    return apply, width


def layer_norm(b: Builder, width: int) -> Block:
    scale, shift = b.weight(width), b.weight(width)

    def apply(p, x):
        centred = x - x.mean(-1, keepdims=True)
        variance = b_variance(x)
        return centred * lax.rsqrt(variance + 1) * row(p[scale]) + row(p[shift])

    b_variance = b.one_of(
        lambda x: x.var(-1, keepdims=True),
        lambda x: jnp.mean(x**2, -1, keepdims=True) - jnp.mean(x, -1, keepdims=True) ** 2 + 1,
    )
    return apply, width


def softmax(b: Builder, width: int) -> Block:
    kernel = b.weight(width, 5)
    return (
        lambda p, x: (
            jax.nn.softmax(x, axis=-1) @ p[kernel] + jax.nn.logsumexp(x, -1, keepdims=True)
        ),
        5,
    )


def attention(b: Builder, width: int) -> Block:
    heads, shared, size = 4, b.one_of(1, 2, 4), b.one_of(2, 3)
    query = b.weight(width, heads, size)
    key, value = b.weight(width, shared, size), b.weight(width, shared, 3)
    out = b.weight(heads, 3, width)

    def apply(p, x):
        q = jnp.einsum("bsi,ihd->bshd", x, p[query])
        k, v = (jnp.einsum("bsi,ihd->bshd", x, p[name]) for name in (key, value))
        k, v = (jnp.repeat(each, heads // shared, axis=2) for each in (k, v))
        weights = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q, k), axis=-1)
        return jnp.einsum("bhqk,bkhd,hdo->bqo", weights, v, p[out])

    return apply, width


def rotary(b: Builder, width: int) -> Block:
    kernel = b.weight(width, 8)

    def apply(p, x):
        first, second = jnp.split((x @ p[kernel]).reshape(*x.shape[:2], 2, 4), 2, axis=-1)
        angle = jnp.arange(x.shape[1])[:, None] * 0.5 ** jnp.arange(2)[None]
        cos, sin = jnp.cos(angle)[None, :, None], jnp.sin(angle)[None, :, None]
        y = jnp.concatenate([first * cos - second * sin, first * sin + second * cos], axis=-1)
        return y.reshape(*x.shape[:2], 8)

    return apply, 8


def padded(b: Builder, width: int) -> Block:
    low, high = int(b.random.integers(0, 3)), int(b.random.integers(0, 3))
    return lambda p, x: jnp.pad(x, ((0, 0), (0, 0), (low, high))), width + low + high


def repeated(b: Builder, width: int) -> Block:
    again = b.one_of(lambda x: jnp.repeat(x, 2, axis=-1), lambda x: jnp.tile(x, (1, 1, 2)))
    return lambda p, x: again(x), 2 * width


def flipped(b: Builder, width: int) -> Block:
    turned = b.one_of(
        lambda x: jnp.flip(x, -1),
        lambda x: x + jnp.flip(x, -1),
        lambda x: jnp.concatenate([jnp.flip(x[..., : width // 2], -1), x[..., width // 2 :]], -1),
    )
    return lambda p, x: turned(x), width


def solved(b: Builder, width: int) -> Block:
    matrix = b.weight(STEPS, STEPS)

    def apply(p, x):
        # Blocks before may have left fewer or more steps.
        square = jnp.resize(p[matrix], (x.shape[1], x.shape[1])) + 8 * jnp.eye(x.shape[1])
        return jax.vmap(jnp.linalg.solve, (None, 0))(square, x)

    return apply, width


def routed(b: Builder, width: int) -> Block:
    up, down = b.weight(3, width, 4), b.weight(3, 4, 6)

    def apply(p, x):
        tokens = x.reshape(-1, width)
        sizes = jnp.array([1, 0, tokens.shape[0] - 1])
        hidden = jnp.tanh(lax.ragged_dot(tokens, p[up], sizes))
        return lax.ragged_dot(hidden, p[down], sizes).reshape(*x.shape[:2], 6)

    return apply, 6


def every_other(b: Builder, width: int) -> Block:
    apply, wide = dense(b, width)
    return lambda p, x: lax.slice_in_dim(apply(p, x), 1, wide, 2, axis=2), wide // 2


def gram(b: Builder, width: int) -> Block:
    narrow, kernel = b.weight(width, 3), b.weight(9, 4)

    def apply(p, x):
        y = x @ p[narrow]
        return jnp.einsum("bsi,bsj->bsij", y, y).reshape(*x.shape[:2], 9) @ p[kernel]

    return apply, 4


def maxout(b: Builder, width: int) -> Block:
    kernel = b.weight(width, 8)
    return lambda p, x: (x @ p[kernel]).reshape(*x.shape[:2], 4, 2).max(-1), 4


def experts(b: Builder, width: int) -> Block:
    router, up, down = b.weight(width, 3), b.weight(3, width, 4), b.weight(3, 4, 6)

    def apply(p, x):
        hidden = jax.vmap(lambda kernel: jnp.tanh(x @ kernel))(p[up])
        return jnp.einsum("ebsh,eho,bse->bso", hidden, p[down], jax.nn.softmax(x @ p[router]))

    return apply, 6


def dropout(b: Builder, width: int) -> Block:
    seed = int(b.random.integers(9))

    def apply(p, x):
        stay = jax.random.bernoulli(jax.random.key(seed), 0.7, x.shape)
        return jnp.where(stay, x / 0.7, 0)

    return apply, width


def counted(b: Builder, width: int) -> Block:
    return lambda p, x: x * row(jnp.arange(1.0, 1 + width)) / width, width


def constant(b: Builder, width: int) -> Block:
    values = b.random.normal(size=(width,))

    def apply(p, x):
        return jax.jit(lambda x: x * row(jnp.asarray(values)))(x)

    return apply, width


def selected(b: Builder, width: int) -> Block:
    shift = b.weight(width)

    def apply(p, x):
        y = jnp.clip(jnp.where(x > row(p[shift]), x, 0.1 * lax.stop_gradient(x)), -2, 2)
        return lax.optimization_barrier((y, x))[0]

    return apply, width


def stacked(b: Builder, width: int) -> Block:
    scale = b.weight(width)

    def apply(p, x):
        pair = jnp.stack([x, jnp.tanh(x) * row(p[scale])], axis=b.one_of(0, 2) * 0 + 2)
        first, second = jnp.unstack(pair, axis=2)
        return jnp.squeeze(jnp.expand_dims(first, -1), -1) + second

    return apply, width


def bilinear(b: Builder, width: int) -> Block:
    kernel = b.weight(width, width, 4)
    return lambda p, x: jnp.einsum("bsi,bsj,ijo->bso", x, x, p[kernel]), 4


def embedded(b: Builder, width: int) -> Block:
    table = b.weight(5, width)

    def apply(p, x):
        index = (x.sum(-1) > 0).astype(int) + jnp.argmax(x[..., :1], axis=-1)
        return x + p[table][index]

    return apply, width


def scattered(b: Builder, width: int) -> Block:
    update = b.weight(2, width)
    add = b.one_of("add", "set", "max")

    def apply(p, x):
        at = x.at[:, jnp.array([2, 0])]
        return getattr(at, add)(jnp.broadcast_to(p[update][None], (BATCH, 2, width)))

    return apply, width


def looked_up(b: Builder, width: int) -> Block:
    table = b.weight(5, width)

    def apply(p, x):
        index = (x.sum(-1) > 0).astype(int) + jnp.argmax(x[..., :1], axis=-1)
        rows = jax.vmap(jax.vmap(lambda i: p[table][i]))(index)
        last = jax.vmap(lambda x, i: x[i])(x, index[:, 0])
        kept = jax.vmap(lambda x, new, i: lax.dynamic_update_slice(x, new[None], (i, 0 * i)))
        return kept(rows, last, index[:, 1 % x.shape[1]]) + x

    return apply, width


def picked(b: Builder, width: int) -> Block:
    def apply(p, x):
        order = jnp.argsort(x.sum(-1), axis=1)
        return jnp.take_along_axis(x, order[..., None], axis=1)

    return apply, width


def own_gradient(b: Builder, width: int) -> Block:
    kernel = b.weight(width, 5)
    return lambda p, x: jax.grad(lambda x: jnp.sum(jnp.tanh(x @ p[kernel]) ** 2))(x), width


def straight_through(b: Builder, width: int) -> Block:
    @jax.custom_vjp
    def rounded(x, scale):
        return jnp.round(4 * x * row(scale)) / 4

    rounded.defvjp(
        lambda x, scale: (rounded(x, scale), x), lambda x, g: (2 * g, jnp.sum(g * x, (0, 1)))
    )
    scale = b.weight(width)
    return lambda p, x: rounded(x, p[scale]), width


def own_tangent(b: Builder, width: int) -> Block:
    @jax.custom_jvp
    def normal(x):
        return x / jnp.sqrt(jnp.sum(x * x, -1, keepdims=True) + 1)

    @normal.defjvp
    def tangent(primals, tangents):
        (x,), (dx,) = primals, tangents
        y = normal(x)
        return y, dx - y * jnp.sum(y * dx, -1, keepdims=True)

    return lambda p, x: normal(x), width


PLAIN = (
    dense,
    dense,
    dense_of_transposed,
    tied,
    concatenated,
    gated,
    parted,
    grouped_reduction,
    group_norm,
    shuffled,
    layer_norm,
    softmax,
    attention,
    rotary,
    padded,
    repeated,
    flipped,
    solved,
    routed,
    every_other,
    gram,
    maxout,
    experts,
    dropout,
    counted,
    constant,
    selected,
    stacked,
    bilinear,
    embedded,
    looked_up,
    scattered,
    picked,
    own_gradient,
    straight_through,
    own_tangent,
)


# Blocks that mix or lose steps.


def convolution(b: Builder, width: int) -> Block:
    groups = b.one_of(*(g for g in (1, 2, 3, width) if width % g == 0))
    wide = groups * b.one_of(1, 2)
    kernel = b.weight(3, width // groups, wide)
    options = b.one_of({}, {"rhs_dilation": (2,)}, {"lhs_dilation": (2,)}, {"window_strides": (2,)})

    def apply(p, x):
        # Taps two apart reach over five steps: with fewer than one result, pad more.
        pad = 2 if "rhs_dilation" in options and x.shape[1] < 3 else 1
        return lax.conv_general_dilated(
            x,
            p[kernel],
            **({"window_strides": (1,), "padding": [(pad, pad)]} | options),
            dimension_numbers=("NHC", "HIO", "NHC"),
            feature_group_count=groups,
        )

    return apply, wide


def pooled(b: Builder, width: int) -> Block:
    identity, operation = b.one_of((-np.inf, lax.max), (0.0, lax.add))

    def apply(p, x):
        return lax.reduce_window(x, identity, operation, (1, 2, 1), (1, 1, 1), "SAME")

    return apply, width


def cached(b: Builder, width: int) -> Block:
    def apply(p, x):
        last = lax.dynamic_slice_in_dim(x, x.shape[1] - 1, 1, axis=1)
        return lax.dynamic_update_slice_in_dim(jnp.cumsum(x, axis=1), last, 0, axis=1)

    return apply, width


def recurrent(b: Builder, width: int) -> Block:
    size = b.one_of(3, 4)
    inward, across = b.weight(width, 4 * size), b.weight(size, 4 * size)

    def apply(p, x):
        def step(state, x):
            cell, hidden = state
            i, f, g, o = jnp.split(x @ p[inward] + hidden @ p[across], 4, axis=-1)
            cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
            hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
            return (cell, hidden), hidden

        zeros = jnp.zeros((BATCH, size))
        _, hidden = lax.scan(step, (zeros, zeros), x.swapaxes(0, 1), reverse=b_reverse)
        return hidden.swapaxes(0, 1)

    b_reverse = bool(b.one_of(True, False))
    return apply, size


def mixed_steps(b: Builder, width: int) -> Block:
    spread = b.weight(6)
    return lambda p, x: jnp.einsum("bsw,z->bsw", x, p[spread]) + x[:, ::-1], width


ALONG_STEPS = (convolution, convolution, pooled, cached, recurrent, mixed_steps)


# Blocks of blocks.


def residual(b: Builder, width: int) -> Block:
    apply = b.keeping(width)
    return lambda p, x: x + apply(p, x), width


def layers(b: Builder, width: int) -> Block:
    """A scanned stack of gated or plain layers, each with params of its own."""
    count = b.one_of(2, 3)
    up, down = b.weight(count, width, 6), b.weight(count, 6, width)
    scale = b.weight(count, width)
    wrap = b.one_of(jax.checkpoint, lambda layer: layer)

    def apply(p, x):
        def layer(x, w):
            up, down, scale = w
            return x + jax.nn.relu((x * row(scale)) @ up) @ down, x.sum((0, 1))

        x, sums = lax.scan(wrap(layer), x, (p[up], p[down], p[scale]))
        return x + row(sums.mean(0))

    return apply, width


def compiled(b: Builder, width: int) -> Block:
    apply, wide = b.block(width)
    return lambda p, x: jax.jit(apply)(p, x), wide


def rematerialised(b: Builder, width: int) -> Block:
    apply, wide = b.block(width)
    return lambda p, x: jax.checkpoint(apply)(p, x), wide


def branched(b: Builder, width: int) -> Block:
    one, other = b.keeping(width), b.keeping(width)

    def apply(p, x):
        return lax.cond(x.sum() > 0, lambda x: one(p, x), lambda x: other(p, x), x)

    return apply, width


def looped(b: Builder, width: int) -> Block:
    """Runs until the data say so, which JAX cannot differentiate."""
    inner = b.keeping(width)

    def apply(p, x):
        def unfinished(state):
            count, x = state
            return (count < 3) & (x.sum() < 100)

        return lax.while_loop(
            unfinished, lambda s: (s[0] + 1, s[1] + 0.1 * inner(p, s[1])), (0, x)
        )[1]

    return apply, width


NESTED = (residual, residual, residual, layers, layers, compiled, rematerialised, branched, looped)


# Blocks that need the width whole.


def cumulated(b: Builder, width: int) -> Block:
    total = b.one_of(jnp.cumsum, lax.cummax, lax.cumlogsumexp)
    return lambda p, x: total(x, axis=2), width


def ordered(b: Builder, width: int) -> Block:
    return lambda p, x: jnp.sort(x, axis=-1), width


def largest(b: Builder, width: int) -> Block:
    return lambda p, x: lax.top_k(x, 2)[0], 2


def transformed(b: Builder, width: int) -> Block:
    return lambda p, x: jnp.abs(jnp.fft.rfft(x, axis=-1)), width // 2 + 1


def rolled(b: Builder, width: int) -> Block:
    return lambda p, x: x + jnp.roll(x, 1, axis=-1), width


def permuted(b: Builder, width: int) -> Block:
    order = b.random.permutation(width)
    return lambda p, x: x[..., order], width


def extreme(b: Builder, width: int) -> Block:
    return lambda p, x: x * (1 + jnp.argmax(x, axis=-1, keepdims=True)), width


WHOLE = (cumulated, ordered, largest, transformed, rolled, permuted, extreme)

BLOCKS = tuple(dict.fromkeys(itertools.chain(PLAIN, ALONG_STEPS, NESTED, WHOLE)))
