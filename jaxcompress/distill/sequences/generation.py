"""Generates token after token from a functional model with a cache."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_count
from jaxcompress.core.kinds import check_takes
from jaxcompress.core.messages import shown
from jaxcompress.core.models import check_model
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Model, Params, PyTree
from jaxcompress.distill.outputs.logits import log_probabilities
from jaxcompress.distill.sequences.arguments import as_floats, as_tokens
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
    start: tuple[Array, PyTree],
    *,
    steps: int,
    sample: Sampler | None = None,
    end: int | None = None,
) -> Generated:
    """Continues prompts by `steps` tokens, one scan for all of them.

    Not for: prompts of several lengths in one call: group them by length.

    A prompt goes through the decoder in one call, which gives `start`; then each token
    goes through it in one more. To be jitted by the caller, with `steps` fixed.

    Args:
      decoder: `decoder(params, tokens, cache) -> (logits, cache)`, as `Decoder` says;
        `uncached` makes one of a model without a cache. The cache keeps its structure,
        shapes and dtypes.
      params: what it takes, compressed leaves too where it does.
      start: `decoder(params, prompt, cache)` of an empty cache with room for prompt and
        steps: logits (batch, length, vocabulary), floating, of prompts of one length,
        and the cache that holds them.
      steps: tokens to generate.
      sample: `greedy()` by default; `at_temperature(key)`, `among_top(key, k)`, or any
        function of the step's number and logits that gives tokens (batch,).
      end: the token after which a sequence is over; None where none is.

    Returns:
      Generated.

    Raises:
      TypeError: decoder or sampler is no function; `start` is no pair of logits and a
        cache; the sampler gives no integer tokens (batch,).
      ValueError: logits are not of shape (batch, length, vocabulary); `steps` is no
        count; `end` is no token.

    Example:
      >>> def count(params, tokens, cache):
      ...     return params[tokens], cache  # the token after t is t + 1
      >>> table = jnp.roll(jnp.eye(4), 1, axis=1)
      >>> start = count(table, jnp.array([[0]]), ())
      >>> jc.distill.sequences.generate(count, table, start, steps=3).tokens
      Array([[1, 2, 3]], dtype=int32)

    Also known as: decoding, autoregressive sampling.
    """
    caller = "generate"
    check_takes(caller, "decoder", decoder, 3, "It is decoder(params, tokens, cache).")
    check_arrays(caller, "params", params)
    first, cache = _begun(caller, start)
    steps = check_count(caller, "steps", steps)
    sample = greedy() if sample is None else sample
    check_takes(caller, "sample", sample, 2, "For example sequences.greedy().")
    if end is not None:
        _check_end(caller, end, first.shape[-1])

    def turn(carry: tuple[Any, ...], step: Array) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        logits, cache, over = carry
        token = _drawn(caller, sample(step, logits), logits)
        token = token if end is None else jnp.where(over, end, token)
        ended = over if end is None else over | (token == end)
        following, cache = decoder(params, token[:, None], cache)
        carry = following[:, -1].astype(logits.dtype), cache, ended
        return carry, (token, ~over, _log_probability(logits, token))

    begin = first[:, -1], cache, jnp.zeros_like(first[:, -1, 0], bool)
    _, found = jax.lax.scan(turn, begin, jnp.arange(steps, dtype=jnp.int32))
    return Generated(*(jnp.swapaxes(each, 0, 1) for each in found))


def uncached(fn: Model, *, room: int) -> tuple[Decoder, Callable[[int], PyTree]]:
    """Makes a decoder of a model that has no cache: it runs on all tokens each time.

    Right for causal models, whose logits at a position depend on no later token. Slower
    than a cache by the length, and as fast to write as it gets.

    Args:
      fn: `fn(params, tokens (batch, room)) -> logits (batch, room, vocabulary)`.
      room: tokens of prompt and generation together.

    Returns:
      A decoder, and `empty(batch)`, which gives its empty cache. Logits of tokens
      beyond the room are NaN, where their number is known only when it runs.

    Raises:
      TypeError: `fn` is no function; in the decoder, tokens are not integer.
      ValueError: `room` is no count; in the decoder, there are more tokens than room.

    Example:
      >>> fn = lambda params, tokens: params[tokens]
      >>> decoder, empty = jc.distill.sequences.uncached(fn, room=4)
      >>> table = jnp.roll(jnp.eye(4), 1, axis=1)
      >>> start = decoder(table, jnp.array([[0]]), empty(1))
      >>> jc.distill.sequences.generate(decoder, table, start, steps=3).tokens
      Array([[1, 2, 3]], dtype=int32)
    """
    check_model("uncached", fn, 1, "It is the model, fn(params, tokens).")
    room = check_count("uncached", "room", room)

    def decoder(params: Params, tokens: Array, cache: Any) -> tuple[Array, Any]:
        held, used = cache
        tokens = as_tokens("uncached", "tokens", tokens)
        after = used + tokens.shape[1]
        _check_room(room, tokens.shape[1], after)
        held = jax.lax.dynamic_update_slice_in_dim(held, tokens, used, axis=1)
        logits = fn(params, held)
        here = jax.lax.dynamic_slice_in_dim(logits, used, tokens.shape[1], axis=1)
        # A slice beyond the end is moved back, onto other tokens.
        return jnp.where(after <= room, here, jnp.nan), (held, after)

    def empty(batch: int) -> PyTree:
        batch = check_count("empty", "batch", batch)
        return jnp.zeros((batch, room), jnp.int32), jnp.zeros((), jnp.int32)

    return decoder, empty


def _begun(caller: str, start: Any) -> tuple[Array, PyTree]:
    """Logits and cache of the prompt; an error that says how to make them."""
    mend = "Make it with decoder(params, prompt, cache)."
    if not isinstance(start, tuple | list) or len(start) != 2:
        raise TypeError(f"{caller}(start={shown(start)}) must be (logits, cache). {mend}")
    logits = as_floats(caller, "start", start[0], "(batch, length, vocabulary)")
    if logits.ndim != 3 or 0 in logits.shape:
        raise ValueError(
            f"{caller}(start of logits of shape {logits.shape}) needs the shape (batch, length, "
            f"vocabulary). {mend}"
        )
    check_arrays(caller, "start", start[1])
    return logits, start[1]


def _check_end(caller: str, end: int, vocabulary: int) -> None:
    check_count(caller, "end", end, 0)
    if end >= vocabulary:
        raise ValueError(
            f"{caller}(end={end}) must be a token, below {vocabulary}: no other ends a sequence."
        )


def _check_room(room: int, added: int, after: ArrayLike) -> None:
    """Raises a ValueError where tokens are known to be too many."""
    known = added if isinstance(after, Tracer) else int(np.asarray(after))
    if known > room:
        raise ValueError(
            f"uncached(room={room}) holds no {known} tokens. Give it the length of prompt and "
            "generation together."
        )


def _drawn(caller: str, tokens: ArrayLike, logits: Array) -> Array:
    """What a sampler gave, as int32 tokens (batch,)."""
    array = as_tokens(caller, "sample", tokens)
    if array.shape != logits.shape[:-1]:
        raise TypeError(
            f"{caller}(sample) gives tokens of shape {array.shape}, which must be "
            f"{logits.shape[:-1]}, one for each sequence."
        )
    return array


def _log_probability(logits: Array, tokens: Array) -> Array:
    logs = log_probabilities(logits.astype(jnp.float32), 1.0)
    return jnp.take_along_axis(logs, tokens[:, None], axis=-1)[:, 0]
