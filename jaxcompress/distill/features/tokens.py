"""Transformers: whom a token attends to, and how tokens relate to one another."""

import jax.numpy as jnp

from jaxcompress.core.checks import check_count
from jaxcompress.core.types import Array
from jaxcompress.distill.checks import broadcast_where, student_and_teacher
from jaxcompress.distill.outputs.targets import soft_targets
from jaxcompress.distill.vectors import mean_where


def attention_maps(student: Array, teacher: Array, *, where: Array | bool = True) -> Array:
    """KL divergence of the student's attention from the teacher's, per head and query.

    Not for: heads that differ in number, for which `token_relations` splits channels
    into as many.

        loss = mean over heads and queries of KL(softmax(teacher) ‖ softmax(student))

    Takes scores, before the softmax; of probabilities pass the logarithm.
    `graph.capture` finds scores as the product of queries and keys. For TinyBERT's loss
    give the scores to `squared_error`.

    Also known as: self-attention distribution transfer (MiniLM, L_AT), attention-map
    loss.

    Args:
      student: (batch, heads, queries, keys), floating; or (batch, ..., keys).
      teacher: of the student's shape; the dtype may differ.
      where: bool, of as many axes and broadcasting to the scores: which keys a query
        may attend to, as causal masks and padding say. Queries without a key count
        nothing.

    Returns:
      (batch,) float32, 0 at equality, never below 0 by more than rounding.

    Raises:
      TypeError: scores are not floating, or `where` is not bool.
      ValueError: the shapes differ. Where heads differ in number, `token_relations` may
        split channels into as many.

    Example:
      >>> scores = jnp.zeros((1, 1, 2, 2))
      >>> jc.distill.features.attention_maps(scores, scores.at[..., 0].set(-jnp.inf))
      Array([0.693...], dtype=float32)

    Source: Wang et al. 2020, arXiv:2002.10957, equation 6. Differs: queries that see no
    key are left out of the mean.
    """
    student, teacher = student_and_teacher("attention_maps", student, teacher)
    if student.shape != teacher.shape:
        raise ValueError(
            f"attention_maps(student of shape {student.shape}, teacher of shape {teacher.shape}): "
            "the shapes must be equal. Where heads differ in number, token_relations(heads=...) "
            "splits queries, keys or values of both into as many."
        )
    return _divergence(student, teacher, broadcast_where("attention_maps", where, student.shape))


def token_relations(
    student: Array, teacher: Array, *, heads: int = 1, where: Array | bool = True
) -> Array:
    """KL divergence between how tokens relate in the student and in the teacher.

    Not for: long sequences, of which it forms a number for each pair of tokens;
    `projected` compares tokens one by one.

        relations = softmax(x_h x_hᵀ / sqrt(d)), x_h (tokens, d) the channels of head h
        loss = mean over heads and tokens of KL(relations_t ‖ relations_s)

    Of the values of the last layer it is MiniLM's value relation; of queries, keys and
    values in turn, summed, MiniLMv2's loss. The channels may differ, and so may the
    model's own heads: concatenate them and split into `heads` anew.

    Also known as: value relation (MiniLM, L_VR), self-attention relations (MiniLMv2).

    Args:
      student: (batch, tokens, channels), floating.
      teacher: (batch, tokens, its channels), floating.
      heads: into how many equal parts to split the channels of both.
      where: (batch, tokens) bool, or (1, tokens): which tokens count.

    Returns:
      (batch,) float32, 0 at equality, never below 0 by more than rounding. Finite for
      features of magnitude up to 1e15, whatever their dtype.

    Raises:
      TypeError: features are not floating, or `where` is not bool.
      ValueError: batch or tokens differ, or `heads` does not divide the channels.

    Example:
      >>> student, teacher = jnp.ones((2, 3, 4)), jnp.ones((2, 3, 8))
      >>> jc.distill.features.token_relations(student, teacher, heads=2)
      Array([0., 0.], dtype=float32)

    Source: Wang et al. 2020, arXiv:2002.10957, equations 7 to 9; relation heads of Wang
    et al. 2021, arXiv:2012.15828. Differs: padding is left out.
    """
    caller = "token_relations"
    student, teacher = student_and_teacher(caller, student, teacher)
    heads = check_count(caller, "heads", heads)
    if student.ndim != 3 or teacher.ndim != 3 or student.shape[1] != teacher.shape[1]:
        raise ValueError(
            f"{caller}(student of shape {student.shape}, teacher of shape {teacher.shape}) need "
            "the shape (batch, tokens, channels), with the same tokens."
        )
    for argument, features in (("student", student), ("teacher", teacher)):
        if features.shape[-1] % heads:
            raise ValueError(
                f"{caller}(heads={heads}) must divide the {features.shape[-1]} channels of the "
                f"{argument} of shape {features.shape}."
            )
    counts = broadcast_where(caller, where, student.shape[:2])
    pairs = counts[:, None, :, None] & counts[:, None, None, :]
    # Padding may hold infinities, whose products would have no gradient.
    student, teacher = (jnp.where(counts[..., None], x, 0.0) for x in (student, teacher))
    scores = _scores(student, heads)
    return _divergence(scores, _scores(teacher, heads), jnp.broadcast_to(pairs, scores.shape))


def _scores(features: Array, heads: int) -> Array:
    """(batch, heads, tokens, tokens): scaled dot products of tokens, head by head."""
    batch, tokens, channels = features.shape
    parts = features.reshape(batch, tokens, heads, channels // heads)
    # Scaled before the product: a factor after it may be fused into the softmax, which
    # then subtracts a maximum that was rounded otherwise, and overflows at huge scores.
    scaled = parts / (channels // heads) ** 0.5
    return jnp.einsum("bthd,bshd->bhts", scaled, parts, precision="highest")


def _divergence(student: Array, teacher: Array, where: Array) -> Array:
    """Mean KL over all between batch and keys, the last axis, where keys count."""
    attends = jnp.any(where, axis=-1, keepdims=True)
    # A query without a key gets scores 0, whose softmax is finite and counts nothing.
    student, teacher = (
        jnp.where(where, scores, jnp.where(attends, -jnp.inf, 0.0)) for scores in (student, teacher)
    )
    return mean_where(soft_targets(student, teacher)[..., None], attends)
