"""Losses on sequences that the student, or student and teacher, have generated."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_share
from jaxcompress.core.kinds import check_key, check_numeric
from jaxcompress.core.labels import known_factor
from jaxcompress.core.types import Array, Key
from jaxcompress.distill.checks import check_same_shape
from jaxcompress.distill.outputs.arrays import as_float32
from jaxcompress.distill.outputs.logits import (
    checked_pair,
    divergence,
    log_mean,
    log_probabilities,
)
from jaxcompress.distill.sequences.arguments import as_counts, as_floats, as_tokens


def over_tokens(losses: ArrayLike, counts: ArrayLike) -> Array:
    """Mean of the losses of the tokens that count, for each sequence.

    Not for: losses in which each token weighs the same: divide the sum of all by that
    of all counts.

    Turns any loss of `distill.outputs`, which gives one number per token, into one per
    sequence, so that long ones weigh no more than short ones.

    Args:
      losses: (..., length) floating.
      counts: (..., length) bool: `distill.counted(tokens, ignore=...)`, or the `counts`
        of `generate`.

    Returns:
      (...) float32; 0, with a gradient of 0, for a sequence of which no token counts.
      What a token that does not count holds changes nothing.

    Raises:
      TypeError: losses are not floating, or counts not bool.
      ValueError: the shapes differ, or counts that are known hide every token.

    Example:
      >>> counts = jnp.array([[True, True, False]])
      >>> jc.distill.sequences.over_tokens(jnp.array([[1.0, 2.0, 9.0]]), counts)
      Array([1.5], dtype=float32)

    Also known as: token-level distillation with a mask, length normalization.
    """
    losses = as_floats("over_tokens", "losses", losses, "(..., length)")
    counts = as_counts("over_tokens", counts, losses.shape)
    return _mean(losses.astype(jnp.float32), counts)


def student_share(key: Key, generated: Array, given: Array, *, share: float) -> Array:
    """Mixes sequences of a batch: a share of the student's own, the rest of the data.

    Not for: students that reach their teacher: on tiny Shakespeare they ended worse
    with half of the text their own than with the data's.

    Args:
      key: one key, another at each step.
      generated: (batch, ...) what the student generated.
      given: (batch, ...) what the data hold, of the same shape and dtype.
      share: probability of taking a generated sequence, in [0, 1]: 0 is supervised
        distillation, 1 fully on-policy.

    Returns:
      (batch, ...): each row one or the other, drawn independently. The same key takes
      the same rows, so that tokens and counts may be mixed one after the other.

    Raises:
      ValueError: shapes differ, or the share is outside [0, 1].

    Example:
      >>> rows = jnp.zeros((2, 3)), jnp.ones((2, 3))
      >>> mix = jc.distill.sequences.student_share
      >>> mix(jax.random.key(0), *rows, share=1.0).sum()
      Array(0., dtype=float32)

    Also known as: on-policy distillation, GKD (generalized knowledge distillation) with
    student data fraction λ; with `outputs.jensen_shannon` as its divergence.

    Source: Agarwal et al. 2024, arXiv:2306.13649, algorithm 1. Differs: each sequence
    is drawn and not the whole batch: the same mean, and a smaller variance.
    """
    check_key("student_share", "key", key)
    for argument, rows in {"generated": generated, "given": given}.items():
        check_numeric("student_share", argument, rows)
    generated, given = jnp.asarray(generated), jnp.asarray(given)
    check_same_shape("student_share", generated=generated, given=given)
    check_share("student_share", "share", share)
    if generated.ndim == 0:
        raise ValueError("student_share(generated of shape ()) needs the shape (batch, ...).")
    own = jax.random.bernoulli(key, share, generated.shape[:1])
    return jnp.where(own.reshape(-1, *(1,) * (generated.ndim - 1)), generated, given)


def mixed_logits(student_logits: Array, teacher_logits: Array, *, share: float) -> Array:
    """Log of a mixture of both models' probabilities, to draw the student's text by.

    Not for: students that write well, since the teacher runs at each token;
    `student_share` mixes the data's text in.

        log((1 - share) · softmax(student) + share · softmax(teacher))

    A decoder that gives these generates text that a weak student alone would never
    write; `reverse_kl_policy` then wants the log probabilities that tokens were drawn
    with.

    Args:
      student_logits: (..., vocabulary), floating.
      teacher_logits: the same shape.
      share: of the teacher, in [0, 1]; the paper takes 0.2.

    Returns:
      (..., vocabulary) float32, log probabilities.

    Raises:
      TypeError: logits are not floating.
      ValueError: the shapes differ, or the share is outside [0, 1].

    Example:
      >>> logits = jnp.log(jnp.array([[0.5, 0.5], [0.9, 0.1]]))
      >>> jnp.exp(jc.distill.sequences.mixed_logits(*logits, share=0.5))
      Array([0.7, 0.3], dtype=float32)

    Also known as: teacher-mixed sampling.

    Source: Gu et al. 2024, "MiniLLM", arXiv:2306.08543, section 2.2.
    """
    student, teacher = checked_pair("mixed_logits", student_logits, teacher_logits)
    check_share("mixed_logits", "share", share)
    both = jnp.stack([log_probabilities(student, 1.0), log_probabilities(teacher, 1.0)])
    return log_mean(both, jnp.stack([1 - as_float32(share), as_float32(share)]))


def reverse_kl_policy(
    student_logits: Array,
    teacher_logits: Array,
    tokens: ArrayLike,
    counts: ArrayLike,
    drawn_with: ArrayLike | None = None,
) -> Array:
    """Reverse KL of whole sequences, as a loss whose gradient is its policy gradient.

    Not for: short training, since rewards of drawn text are noisy; `outputs.reverse_kl`
    has the exact gradient of each token.

    With q the student and p the teacher, the gradient of KL(q ‖ p) over sequences drawn
    from q is that of

        sum_t  w_t · (KL(q_t ‖ p_t) - R_t · log q(y_t)) / length
        R_t = mean over later tokens s > t of log p(y_s) / q(y_s)

    where KL(q_t ‖ p_t), over the whole vocabulary, takes the place of this token's own
    reward (single-step decomposition), R_t and w_t are constants, and the mean over
    later tokens in place of a sum is the paper's length normalization. The number
    itself says little; its gradient is what counts.

    Args:
      student_logits: (..., length, vocabulary), floating, at the positions that predict
        the tokens.
      teacher_logits: the same shape.
      tokens: (..., length) integer, drawn from the student, or from `mixed_logits`. One
        that counts and is not of the vocabulary gives NaN and a gradient of NaN.
      counts: (..., length) bool, the tokens that count, as `generate` gives them: a run
        from the first on. What others hold changes neither loss nor gradient.
      drawn_with: (..., length) log probabilities that tokens were drawn with, for
        importance weights w_t = q(y_t) / exp(drawn_with_t), one token at a time; None
        where the student itself drew them, w_t = 1.

    Returns:
      (...) float32.

    Raises:
      TypeError: logits are not floating, tokens not integer, counts not bool.
      ValueError: shapes do not fit, or counts that are known hide every token.

    Example:
      >>> logits, tokens = jnp.zeros((1, 2, 3)), jnp.array([[0, 2]])
      >>> loss = jc.distill.sequences.reverse_kl_policy
      >>> loss(logits, logits, tokens, jnp.ones((1, 2), bool))
      Array([0.], dtype=float32)

    Also known as: MiniLLM, on-policy reverse KL.

    Source: Gu et al. 2024, arXiv:2306.08543, equations 3 to 6. Differs: rewards are not
    clipped, and the language-modelling term on a second corpus is left to the caller.
    """
    caller = "reverse_kl_policy"
    student, teacher = checked_pair(caller, student_logits, teacher_logits)
    tokens = as_tokens(caller, "tokens", tokens)
    if student.ndim < 2 or tokens.shape != student.shape[:-1]:
        raise ValueError(
            f"{caller}(tokens of shape {tokens.shape}) needs the shape {student.shape[:-1]}, that "
            "of the logits without vocabulary."
        )
    counts = as_counts(caller, counts, tokens.shape)
    # What does not count may hold anything, also for the gradient.
    tokens = jnp.where(counts, tokens, 0)
    student, teacher = (jnp.where(counts[..., None], x, 0.0) for x in (student, teacher))
    of_student, of_teacher = log_probabilities(student, 1.0), log_probabilities(teacher, 1.0)
    exact = divergence(of_student, of_teacher)
    log_q, log_p = (
        jnp.take_along_axis(logs, tokens[..., None], axis=-1)[..., 0]
        for logs in (of_student, of_teacher)
    )
    fixed = jax.lax.stop_gradient(log_q)
    weights = _importance(caller, fixed, drawn_with, counts)
    later = _mean_of_later(log_p - fixed, counts)
    known = known_factor(tokens, student.shape[-1], counts)
    return _mean(known * weights * (exact - later * log_q), counts)


def _importance(caller: str, own: Array, drawn_with: ArrayLike | None, counts: Array) -> Array:
    """How much likelier each token is to the student than to what it was drawn with."""
    if drawn_with is None:
        return jnp.ones_like(own)
    other = as_floats(caller, "drawn_with", drawn_with, "(..., length)")
    if other.shape != own.shape:
        raise ValueError(
            f"{caller}(drawn_with of shape {other.shape}) needs the shape {own.shape}, that of the "
            "tokens."
        )
    other = jax.lax.stop_gradient(other).astype(jnp.float32)
    return jnp.exp(jnp.where(counts, own - other, 0.0))


def _mean_of_later(rewards: Array, counts: Array) -> Array:
    """For each token the mean reward of those after it that count; 0 after the last."""
    rewards = jnp.where(counts, rewards, 0.0)
    sums = jnp.flip(jnp.cumsum(jnp.flip(rewards, -1), -1), -1) - rewards
    ones = counts.astype(jnp.float32)
    numbers = jnp.flip(jnp.cumsum(jnp.flip(ones, -1), -1), -1) - ones
    return sums / jnp.maximum(numbers, 1)


def _mean(losses: Array, counts: Array) -> Array:
    """Of the tokens that count, along the last axis; 0 of none."""
    total = jnp.sum(jnp.where(counts, losses, 0.0), axis=-1)
    return total / jnp.maximum(jnp.sum(counts, axis=-1, dtype=jnp.float32), 1)
