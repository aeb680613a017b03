"""Signals of a model: how it is asked, once or under several changes of the inputs.

A `Signal` is `signal(model, examples) -> (n, …)`, with the model as `fit` gave it and
the inputs as the first of the examples. These take a signal and give one.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from jaxcompress.core.checks import check_count, check_positive
from jaxcompress.core.kinds import check_each, check_function, check_key, check_mapping, check_takes
from jaxcompress.core.types import Array, Key, PyTree

Signal = Callable[[PyTree, PyTree], Array]
"""(model, examples) to (n, …): what a model says of each example, higher = member."""
Query = Callable[[Key, Array], Array]
"""(key, inputs) to changed inputs of the same shape."""

SIGNAL = "It is signal(model, examples) -> (n,)."
_QUERY = "A query is a function (key, inputs) -> inputs."


def augmented(signal: Signal, queries: Sequence[Query], key: Key) -> Signal:
    """The signal under each of several changes of the inputs, such as flips and shifts.

    The unchanged inputs are one of them: `lambda key, x: x`. What a model was trained
    under it also gives away under, so ask with the augmentations of its training.

    Args:
      signal: `signal(model, examples) -> (n,)`, examples a tuple with the inputs first.
      queries: functions `(key, inputs) -> inputs`, one or more.
      key: of the queries, split among them; the same for every model that is asked.

    Returns:
      Signal (n, queries), which `lira_online` and `lira_offline` take.

    Raises:
      TypeError: an argument is not of its kind.
      ValueError: there is no query.

    Example:
      >>> membership, x = jc.validate.membership, jnp.array([[1.0, 3.0]])
      >>> first = lambda model, examples: examples[0][:, 0] * model
      >>> flips = [lambda key, x: x, lambda key, x: x[:, ::-1]]
      >>> membership.augmented(first, flips, jax.random.key(0))(2.0, (x,))
      Array([[2., 6.]], dtype=float32)

    Source: Carlini et al. 2022, arXiv:2112.03570, section VI-B.
    """
    _check_queries("augmented", signal, queries, key)

    def asked(model: PyTree, examples: PyTree) -> Array:
        inputs, *rest = examples
        keys = jax.random.split(key, len(queries))
        return jnp.stack(
            [
                signal(model, (query(one, inputs), *rest))
                for query, one in zip(queries, keys, strict=True)
            ],
            axis=-1,
        )

    return asked


def averaged(signal: Signal, queries: Sequence[Query], key: Key) -> Signal:
    """The mean signal over several changes of the inputs.

    Not for: `lira_online`, which takes the signals of `augmented` one by one.

    Of `correctness` it is the share of changed copies that are still classified right,
    an attack by labels alone.

    Also known as: augmentation attack, data augmentation label-only attack.

    Args:
      signal: `signal(model, examples) -> (n,)`, examples a tuple with the inputs first.
      queries: functions `(key, inputs) -> inputs`, one or more.
      key: of the queries, split among them; the same for every model that is asked.

    Returns:
      Signal (n,).

    Raises:
      TypeError: an argument is not of its kind.
      ValueError: there is no query.

    Example:
      >>> membership, x = jc.validate.membership, jnp.array([[1.0, 3.0]])
      >>> first = lambda model, examples: examples[0][:, 0] * model
      >>> flips = [lambda key, x: x, lambda key, x: x[:, ::-1]]
      >>> membership.averaged(first, flips, jax.random.key(0))(2.0, (x,))
      Array([4.], dtype=float32)

    Source: Choquette-Choo et al. 2021, arXiv:2007.14321, section 3.2.
    """
    _check_queries("averaged", signal, queries, key)
    every = augmented(signal, queries, key)
    return lambda model, examples: jnp.mean(every(model, examples), axis=-1)


def noise_distance(right: Signal, scales: Sequence[float], key: Key, *, draws: int = 16) -> Signal:
    """How much noise an example's right answer survives, by labels alone.

    Not for: models that give logits, of which `scaled_confidence` tells more in one
    call.

        score = right(x) · integral over s of (share of draws with right(x + s · noise))

    A model's training examples lie further from its decision boundary. The integral is
    the trapezoid rule's over 0 and the scales; noise is standard normal, the same for
    every example and every model.

    Also known as: label-only boundary distance attack.

    Args:
      right: `right(model, examples) -> (n,)`, 1 or 0, such as `correctness` of the
        outputs; examples a tuple with the inputs first.
      scales: standard deviations of the noise in the inputs' unit, ascending, above 0.
      key: of the noise.
      draws: noisy copies of each example per scale.

    Returns:
      Signal (n,) from 0, where even the clean answer is wrong, to the last scale.

    Raises:
      TypeError: an argument is not of its kind.
      ValueError: there is no scale, they do not ascend, or a number is out of range.

    Example:
      >>> positive = lambda model, examples: (examples[0][:, 0] > 0).astype(jnp.float32)
      >>> key, x = jax.random.key(0), jnp.array([[0.2], [9.0], [-1.0]])
      >>> signal = jc.validate.membership.noise_distance(positive, [0.5, 1.0], key)
      >>> far = signal(None, (x,))
      >>> bool(far[0] < far[1]), far[1:]
      (True, Array([1., 0.], dtype=float32))

    Source: Choquette-Choo et al. 2021, arXiv:2007.14321, section 3.3. Differs: the
    share right is integrated over scales, instead of one scale calibrated on shadows.
    """
    check_takes("noise_distance", "right", right, 2, SIGNAL)
    check_each("noise_distance", "scales", scales, check_positive)
    ends = [0.0, *(float(scale) for scale in scales)]
    widths = [high - low for low, high in itertools.pairwise(ends)]
    if not scales or min(widths) <= 0:
        raise ValueError(
            f"noise_distance(scales={list(scales)}) must ascend from above 0, such as (0.1, 0.2)."
        )
    check_key("noise_distance", "key", key)
    draws = check_count("noise_distance", "draws", draws)

    def asked(model: PyTree, examples: PyTree) -> Array:
        inputs, *rest = examples

        def share(scale: Array, key: Key) -> Array:
            def one(key: Key) -> Array:
                noise = jax.random.normal(key, inputs.shape[1:], inputs.dtype)
                return right(model, (inputs + scale * noise[None], *rest))

            return jnp.mean(jax.lax.map(one, jax.random.split(key, draws)), axis=0)

        clean = right(model, (inputs, *rest))
        scale = jnp.asarray(ends[1:], inputs.dtype)
        noisy = jax.lax.map(lambda each: share(*each), (scale, jax.random.split(key, len(scales))))
        heights = jnp.concatenate([clean[None], noisy])  # (scales + 1, n)
        areas = (heights[:-1] + heights[1:]) / 2 * jnp.asarray(widths)[:, None]
        return clean * jnp.sum(areas, axis=0)

    return asked


def versions(signal: Signal, compressions: Mapping[str, Callable[[PyTree], PyTree]]) -> Signal:
    """The signal of several versions of one model, for what is published together.

    Args:
      signal: `signal(model, examples) -> (n,)`.
      compressions: by name `compress(model) -> model`, the uncompressed one by
        `lambda model: model`; their order is that of the columns.

    Returns:
      Signal (n, versions): for `lira_joint`, or for any attack a column at a time.

    Raises:
      TypeError: an argument is not of its kind.
      ValueError: there is no compression.

    Example:
      >>> signal = lambda model, examples: -jnp.abs(examples - model)
      >>> copies = {"dense": lambda model: model, "rounded": jnp.round}
      >>> both = jc.validate.membership.versions(signal, copies)
      >>> both(1.5, jnp.array([1.0]))
      Array([[-0.5, -1. ]], dtype=float32)
    """
    check_takes("versions", "signal", signal, 2, SIGNAL)
    check_mapping("versions", "compressions", compressions, "Its values are functions.")
    mend = "It is compress(model) -> model."
    for name, compress in compressions.items():
        check_function("versions", f"compressions[{name!r}]", compress, mend)
    if not compressions:
        raise ValueError("versions(compressions) is empty. Give at least one function.")
    # Where a compression reads values, what follows it is a program all the same.
    program = jax.jit(signal)

    def asked(model: PyTree, examples: PyTree) -> Array:
        each = [program(compress(model), examples) for compress in compressions.values()]
        return jnp.stack(each, axis=-1)

    return asked


def _check_queries(caller: str, signal: Signal, queries: Sequence[Query], key: Key) -> None:
    check_takes(caller, "signal", signal, 2, SIGNAL)
    check_each(
        caller,
        "queries",
        queries,
        lambda who, name, query: check_takes(who, name, query, 2, _QUERY),
    )
    if not queries:
        raise ValueError(f"{caller}(queries) is empty. Give at least lambda key, x: x.")
    check_key(caller, "key", key)
