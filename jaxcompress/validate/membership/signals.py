"""What a model's outputs say of each example, before any attack: higher = member.

Array functions, traceable, so that shadow models are asked in the program that trains
them. Values are checked where they are known. Logarithms of probabilities are logits;
probabilities themselves are not, and are not told from logits.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_share
from jaxcompress.core.kinds import check_numeric
from jaxcompress.core.labels import check_ignore, class_labels, counted, cross_entropy
from jaxcompress.core.messages import shown
from jaxcompress.core.types import Array


def log_probability(logits: ArrayLike, labels: ArrayLike) -> Array:
    """Log probability of the label, minus the loss: the signal of the first attacks.

    Args:
      logits: (n, classes), floating; of probabilities their logarithms.
      labels: (n,), integer in [0, classes).

    Returns:
      (n,) float32 in nats, at most 0 up to rounding.

    Raises:
      TypeError: logits are not floating or labels are not integer.
      ValueError: a shape does not fit, a label is out of range, a logit is not finite.

    Example:
      >>> jc.validate.membership.log_probability(jnp.zeros((1, 4)), jnp.array([3]))
      Array([-1.386], dtype=float32)
    """
    logits, labels = _classified("log_probability", logits, labels)
    return -cross_entropy(logits, labels, None)


def label_probability(logits: ArrayLike, labels: ArrayLike) -> Array:
    """Probability that the model gives to the label: the signal of RMIA.

    Args:
      logits: (n, classes), floating; of probabilities their logarithms.
      labels: (n,), integer in [0, classes).

    Returns:
      (n,) float32 in [0, 1] up to rounding.

    Raises:
      TypeError: logits are not floating or labels are not integer.
      ValueError: a shape does not fit, a label is out of range, a logit is not finite.

    Example:
      >>> jc.validate.membership.label_probability(jnp.zeros((1, 4)), jnp.array([3]))
      Array([0.25], dtype=float32)
    """
    logits, labels = _classified("label_probability", logits, labels)
    return jnp.exp(-cross_entropy(logits, labels, None))


def scaled_confidence(logits: ArrayLike, labels: ArrayLike) -> Array:
    """Log odds of the label, close to Gaussian over models: the signal of LiRA.

    Not for: models that give labels alone; take `correctness` or `noise_distance`.

        phi = log p_y - log sum over c ≠ y of p_c
            = logit_y - log sum over c ≠ y of exp(logit_c)

    The second form subtracts no number from 1, so that it stays exact where p_y is 1 in
    float32. Since phi = log(p / (1 - p)), the probability is the sigmoid of it.

    Also known as: logit-scaled confidence, rescaled logit.

    Args:
      logits: (n, classes), floating, two classes or more; of probabilities their
        logarithms.
      labels: (n,), integer in [0, classes).

    Returns:
      (n,) float32.

    Raises:
      TypeError: logits are not floating or labels are not integer.
      ValueError: a shape does not fit, a label is out of range, a logit is not finite.

    Example:
      >>> logits, labels = jnp.array([[40.0, 0.0]]), jnp.array([0])
      >>> jc.validate.membership.scaled_confidence(logits, labels)
      Array([40.], dtype=float32)

    Source: Carlini et al. 2022, arXiv:2112.03570, section IV-C.
    """
    logits, labels = _classified("scaled_confidence", logits, labels)
    classes = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 1)
    chosen = classes == labels[:, None]
    rest = jax.nn.logsumexp(jnp.where(chosen, -jnp.inf, logits), axis=-1)
    known = jnp.where(chosen.any(-1), 1.0, jnp.nan)  # of a label that is no class
    return (jnp.sum(jnp.where(chosen, logits, 0.0), axis=-1) - rest) * known


def correctness(logits: ArrayLike, labels: ArrayLike) -> Array:
    """Whether the highest logit is the label's: all that a label alone says.

    Not for: low false positive rates, since all right answers score alike; take
    `scaled_confidence`.

    Also known as: gap attack.

    Args:
      logits: (n, classes), floating; of probabilities their logarithms.
      labels: (n,), integer in [0, classes).

    Returns:
      (n,) float32, 1 or 0, so that means over queries are shares.

    Raises:
      TypeError: logits are not floating or labels are not integer.
      ValueError: a shape does not fit, a label is out of range, a logit is not finite.

    Example:
      >>> logits = jnp.array([[2.0, 1.0], [2.0, 1.0]])
      >>> jc.validate.membership.correctness(logits, jnp.array([0, 1]))
      Array([1., 0.], dtype=float32)

    Source: Yeom et al. 2018, arXiv:1709.01604, section 3; Choquette-Choo et al. 2021,
    arXiv:2007.14321, section 3.1.
    """
    logits, labels = _classified("correctness", logits, labels)
    right = (jnp.argmax(logits, axis=-1).astype(jnp.int32) == labels).astype(jnp.float32)
    # A label that is no class cannot be refused where it is traced, and is never right.
    exists = (labels >= 0) & (labels < logits.shape[-1])
    return jnp.where(exists, right, jnp.nan)


def token_log_likelihood(
    logits: ArrayLike, labels: ArrayLike, *, ignore: int | None = None
) -> Array:
    """Mean log probability of a sequence's tokens.

    Args:
      logits: (n, time, classes), floating.
      labels: (n, time), integer in [0, classes), or `ignore`.
      ignore: the label of tokens that do not count, such as -100 for padding.

    Returns:
      (n,) float32 in nats per token; NaN for a sequence of which no token counts.

    Raises:
      TypeError: logits are not floating or labels are not integer.
      ValueError: a shape does not fit, a label is out of range, a logit is not finite.

    Example:
      >>> membership, labels = jc.validate.membership, jnp.array([[0, 1, -100]])
      >>> membership.token_log_likelihood(jnp.zeros((1, 3, 2)), labels, ignore=-100)
      Array([-0.693], dtype=float32)
    """
    likelihoods, counts = _tokens("token_log_likelihood", logits, labels, ignore)
    return jnp.sum(jnp.where(counts, likelihoods, 0.0), -1) / jnp.sum(counts, -1)


def min_k(
    logits: ArrayLike, labels: ArrayLike, *, share: float = 0.2, ignore: int | None = None
) -> Array:
    """Mean log probability of a sequence's least likely tokens.

    Not for: short sequences, of which few tokens are left; take `token_log_likelihood`.

    A text that was never seen has a few tokens that surprise; one that was trained on
    has fewer. Of T tokens that count, the round-down of share · T are averaged, at
    least one.

    Also known as: Min-K% Prob.

    Args:
      logits: (n, time, classes), floating.
      labels: (n, time), integer in [0, classes), or `ignore`.
      share: of the tokens, in [0, 1].
      ignore: the label of tokens that do not count, such as -100 for padding.

    Returns:
      (n,) float32 in nats per token; NaN for a sequence of which no token counts.

    Raises:
      TypeError: logits are not floating or labels are not integer.
      ValueError: a shape does not fit, a label is out of range, a logit is not finite,
        or the share is out of range.

    Example:
      >>> logits = jnp.array([[[0.0, 0.0], [9.0, 0.0]]])
      >>> jc.validate.membership.min_k(logits, jnp.array([[0, 0]]), share=0.5)
      Array([-0.693], dtype=float32)

    Source: Shi et al. 2024, arXiv:2310.16789, section 3.
    """
    check_share("min_k", "share", share)
    likelihoods, counts = _tokens("min_k", logits, labels, ignore)
    # Those that do not count stand last.
    ascending = jnp.sort(jnp.where(counts, likelihoods, jnp.inf), axis=-1)
    total = jnp.sum(counts, -1, keepdims=True)
    # Half an ulp up: 0.2 · 5 is one token in float32 too.
    taken = jnp.clip(jnp.floor(share * total * (1 + 1e-6)), 1, total)
    lowest = jnp.arange(ascending.shape[-1])[None] < taken
    return jnp.sum(jnp.where(lowest, ascending, 0.0), -1) / taken[..., 0]


def _tokens(
    caller: str, logits: ArrayLike, labels: ArrayLike, ignore: int | None
) -> tuple[Array, Array]:
    """The log probabilities of tokens, (n, time), and which of them count."""
    check_ignore(caller, ignore)
    logits, labels = _checked(caller, logits, labels, 3, ignore)
    return -cross_entropy(logits, labels, ignore), counted(labels, ignore=ignore)


def _classified(caller: str, logits: ArrayLike, labels: ArrayLike) -> tuple[Array, Array]:
    return _checked(caller, logits, labels, 2, None)


def _checked(
    caller: str, logits: ArrayLike, labels: ArrayLike, ndim: int, ignore: int | None
) -> tuple[Array, Array]:
    """Logits in float32 and labels in int32."""
    check_numeric(caller, "logits", logits)
    logits = jnp.asarray(logits)
    shape = "(n, classes)" if ndim == 2 else "(n, time, classes)"
    if not jnp.issubdtype(logits.dtype, jnp.floating):
        raise TypeError(f"{caller}(logits of dtype {logits.dtype}) needs floating logits.")
    if logits.ndim != ndim or logits.shape[-1] < 2:
        raise ValueError(
            f"{caller}(logits={shown(logits)} of shape {logits.shape}) needs the shape {shape}, two"
            " classes or more."
        )
    labels = class_labels(caller, labels)
    if labels.shape != logits.shape[:-1]:
        raise ValueError(
            f"{caller}(labels of shape {labels.shape}) needs the shape {logits.shape[:-1]}, one"
            " label per row of logits."
        )
    if not isinstance(logits, Tracer) and not np.isfinite(np.asarray(logits, np.float32)).all():
        raise ValueError(
            f"{caller}(logits) are not all finite. Look for an overflow in the model. Of"
            " probabilities give jnp.log(jnp.clip(probabilities, 1e-7)): a 0 has no finite"
            " logarithm."
        )
    if not isinstance(labels, Tracer):
        values = np.asarray(labels)
        bad = ((values < 0) | (values >= logits.shape[-1])) & (values != ignore)
        if bad.any():
            raise ValueError(
                f"{caller}(labels): {bad.sum()} of {bad.size} are no class in"
                f" [0, {logits.shape[-1]}), the first is {values[bad][0]}."
            )
    return logits.astype(jnp.float32), labels
