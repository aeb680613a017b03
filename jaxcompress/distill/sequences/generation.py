"""Generates token after token from a functional model with a cache."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_count
from jaxcompress.core.kinds import check_function, check_key, check_takes
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Key, Model, Params, PyTree
from jaxcompress.distill.sequences.arguments import as_tokens
from jaxcompress.distill.sequences.sampling import Sampler, greedy

Decoder = Callable[[Params, Array, PyTree], tuple[Array, PyTree]]
"""(params, tokens (batch, n) int32, cache) -> logits (batch, n, vocabulary), cache.

It continues what the cache holds by n tokens: a prompt in one call, then one by one."""


class Generated(NamedTuple):
    """What `generate` gave.

    Attributes:
      tokens: (batch, steps) int32; after an end token the end token again.
      counts: (batch, steps) bool, true up to the first end token and with it.
      log_probabilities: (batch, steps) float32, of each token by the model itself, at
        temperature 1 and among all tokens, whatever the sampler drew by.
    """

    tokens: Array
    counts: Array
    log_probabilities: Array


def generate(
    decoder: Decoder,
    params: Params,
    prompt: ArrayLike,
    cache: PyTree,
    *,
    steps: int,
    sample: Sampler | None = None,
    key: Key | None = None,
    end: int | None = None,
) -> Generated:
    """Continues prompts by `steps` tokens, one scan for all of them.

    A prompt goes through the decoder in one call, each token after it in one more.
    To be jitted by the caller, with `steps` fixed.

    Args:
      decoder: `decoder(params, tokens, cache) -> (logits, cache)`, as `Decoder` says;
        `uncached` makes one of a model without a cache. The cache keeps its structure,
        shapes and dtypes.
      params: what it takes, compressed leaves too where it does.
      prompt: (batch, length) integer, at least one token each; prompts of several
        lengths are grouped by length before.
      cache: an empty one, with room for length + steps tokens.
      steps: tokens to generate.
      sample: `greedy()` by default; `at_temperature(...)`, `among_top(...)`, or any
        function of a key and logits.
      key: for samplers that draw; by default a fixed one, which `greedy` ignores.
      end: the token after which a sequence is over; None where none is.

    Returns:
      Generated.

    Raises:
      TypeError: decoder or sampler is no function, the prompt is not integer.
      ValueError: the prompt is not of shape (batch, length), with a token or more;
        `steps` is no count; `end` is no token.

    Example:
      >>> def count(params, tokens, cache):
      ...     return params[tokens], cache  # the token after t is t + 1
      >>> generated = jc.distill.sequences.generate(
      ...     count, jnp.roll(jnp.eye(4), 1, axis=1), jnp.array([[0]]), (), steps=3
      ... )
      >>> generated.tokens
      Array([[1, 2, 3]], dtype=int32)
    """
    caller = "generate"
    check_takes(caller, "decoder", decoder, 3, "It is decoder(params, tokens, cache).")
    check_arrays(caller, "params", params)
    check_arrays(caller, "cache", cache)
    tokens = _prompt(prompt)
    steps = check_count(caller, "steps", steps)
    sample = greedy() if sample is None else sample
    check_takes(caller, "sample", sample, 2, "For example sequences.greedy().")
    key = jax.random.key(0) if key is None else key
    check_key(caller, "key", key)
    if end is not None:
        check_count(caller, "end", end, 0)

    def drawn(logits: Array, over: Array, key: Key) -> tuple[Array, Array]:
        """The next token of each sequence, and its log probability."""
        token = sample(key, logits)
        token = token if end is None else jnp.where(over, end, token)
        logs = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
        return token, jnp.take_along_axis(logs, token[:, None], axis=-1)[:, 0]

    def turn(carry: tuple, key: Key) -> tuple[tuple, tuple]:
        logits, cache, over = carry
        token, log_probability = drawn(logits, over, key)
        ended = over if end is None else over | (token == end)
        following, cache = decoder(params, token[:, None], cache)
        carry = following[:, -1].astype(logits.dtype), cache, ended
        return carry, (token, ~over, log_probability)

    first, cache = decoder(params, tokens, cache)
    start = first[:, -1], cache, jnp.zeros(tokens.shape[0], bool)
    _, found = jax.lax.scan(turn, start, jax.random.split(key, steps))
    return Generated(*(jnp.swapaxes(each, 0, 1) for each in found))


def uncached(fn: Model, *, room: int) -> tuple[Decoder, Callable[[int], PyTree]]:
    """Makes a decoder of a model that has no cache: it runs on all tokens each time.

    Right for causal models, whose logits at a position depend on no later token. Slower
    than a cache by the length, and as fast to write as it gets.

    Args:
      fn: `fn(params, tokens (batch, room)) -> logits (batch, room, vocabulary)`.
      room: tokens of prompt and generation together.

    Returns:
      A decoder, and `empty(batch)`, which gives its empty cache.

    Raises:
      TypeError: `fn` is no function.
      ValueError: `room` is no count.

    Example:
      >>> fn = lambda params, tokens: params[tokens]
      >>> decoder, empty = jc.distill.sequences.uncached(fn, room=4)
      >>> generate, table = jc.distill.sequences.generate, jnp.roll(jnp.eye(4), 1, 1)
      >>> generate(decoder, table, jnp.array([[0]]), empty(1), steps=3).tokens
      Array([[1, 2, 3]], dtype=int32)
    """
    check_function("uncached", "fn", fn, "It is the model, fn(params, tokens).")
    room = check_count("uncached", "room", room)

    def decoder(params: Params, tokens: Array, cache: Any) -> tuple[Array, Any]:
        held, used = cache
        held = jax.lax.dynamic_update_slice_in_dim(held, tokens, used, axis=1)
        logits = fn(params, held)
        here = jax.lax.dynamic_slice_in_dim(logits, used, tokens.shape[1], axis=1)
        return here, (held, used + tokens.shape[1])

    def empty(batch: int) -> PyTree:
        batch = check_count("empty", "batch", batch)
        return jnp.zeros((batch, room), jnp.int32), jnp.zeros((), jnp.int32)

    return decoder, empty


def _prompt(prompt: ArrayLike) -> Array:
    tokens = as_tokens("generate", "prompt", prompt)
    if tokens.ndim != 2 or 0 in tokens.shape:
        raise ValueError(
            f"generate(prompt of shape {tokens.shape}) needs the shape (batch, length), with one "
            "token or more."
        )
    return tokens
