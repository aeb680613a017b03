"""Losses on features: each against plain loops, and the laws that its row declares."""

import functools
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.distill import LearnedLoss, features, projections
from tests.distill import laws
from tests.distill.features import oracles
from tests.distill.laws import BATCH, TOLERANCE, Case, normal

VECTORS, TOKENS = (BATCH, 6), (BATCH, 3, 4)
IMAGES, OTHERS = (BATCH, 4, 6, 3), (BATCH, 2, 9, 4)
STAGES = [(BATCH, 4, 3, 2), (BATCH, 1, 2, 3)]
TEACHER_STAGES = [(BATCH, 6, 3, 3), (BATCH, 2, 2, 2)]
SCORES = (BATCH, 2, 3, 3)
BOTH = ("student", "teacher")
LOSSES = {
    "squared_error": Case(features.squared_error, TOKENS, TOKENS, oracles.squared_error),
    "cosine_distance": Case(
        features.cosine_distance,
        TOKENS,
        TOKENS,
        oracles.cosine_distance,
        scale_free=BOTH,
        huge=1e30,
    ),
    "projected": Case(features.projected(), IMAGES, OTHERS, oracles.projected, zero=False),
    "projected vectors": Case(
        features.projected(features.cosine_distance, projection=projections.perceptron(5)),
        VECTORS,
        (BATCH, 4),
        oracles.projected_cosine,
        zero=False,
        scale_free=("teacher",),
    ),
    "attention_transfer": Case(
        features.attention_transfer,
        IMAGES,
        OTHERS,
        oracles.attention_transfer,
        scale_free=BOTH,
        huge=1e30,
    ),
    "variational_information": Case(
        features.variational_information(variance=0.5),
        IMAGES,
        OTHERS,
        oracles.variational_information,
        zero=False,
        least=0.5 * np.log(1e-5),
    ),
    "factor_transfer": Case(
        LearnedLoss(*features.factor_transfer()[:2]),
        IMAGES,
        OTHERS,
        oracles.factor_transfer,
        zero=False,
        frozen=("encoder", "decoder"),
    ),
    "hierarchical_context": Case(
        features.hierarchical_context,
        (BATCH, 5, 3, 2),
        (BATCH, 5, 3, 2),
        oracles.hierarchical_context,
    ),
    "review": Case(
        features.review(width=3), STAGES, TEACHER_STAGES, oracles.review, zero=False, half=6000.0
    ),
    "attention_maps": Case(features.attention_maps, SCORES, SCORES, oracles.attention_maps),
    "token_relations": Case(
        functools.partial(features.token_relations, heads=2),
        TOKENS,
        (BATCH, 3, 6),
        oracles.token_relations(2),
        half=6000.0,
    ),
    "cka_distance": Case(
        features.cka_distance,
        TOKENS,
        VECTORS,
        oracles.cka_distance,
        scale_free=BOTH,
        relational=True,
        huge=1e30,
    ),
}
each = pytest.mark.parametrize("case", LOSSES.values(), ids=LOSSES)


@each
def test_equals_the_loop(case):
    laws.check_oracle(case)


@each
def test_gradients_are_those_of_the_loop_and_none_reaches_the_teacher(case):
    laws.check_gradient(case)


@each
def test_keeps_its_laws(case):
    laws.check_laws(case)


@each
def test_is_finite_at_zeros_equal_pairs_and_huge_features(case):
    laws.check_finite(case)


@each
def test_what_is_not_finite_is_not_hidden(case):
    laws.check_not_hidden(case)


@each
def test_computes_nothing_in_few_bits(case):
    laws.check_few_bits(case)


def test_losses_of_other_sizes_are_zero_at_equality():
    same = features.attention_transfer, features.token_relations, features.cka_distance
    x = normal(TOKENS)
    for losses in jax.jit(lambda x: [loss(x, x) for loss in same])(x):
        np.testing.assert_allclose(losses, 0, rtol=0, atol=TOLERANCE**2)


WHERE = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 1], [0, 0, 0], [1, 1, 0]], bool)
MASKED = {
    "squared_error": (features.squared_error, WHERE[..., None]),
    "cosine_distance": (features.cosine_distance, WHERE[..., None]),
    "token_relations": (functools.partial(features.token_relations, heads=2), WHERE),
}


@functools.cache
def masked():
    """By padding, of losses by name the shares and the gradients of their sum."""
    student, teacher = normal(TOKENS, 1), normal(TOKENS, 2)

    def run(padding):
        padded = [jnp.where(WHERE[..., None], x, padding) for x in (student, teacher)]
        found = {}
        for name, (loss, where) in MASKED.items():
            masked = functools.partial(loss, teacher=padded[1], where=where)
            shares, pull = jax.vjp(masked, padded[0])
            found[name] = shares, *pull(jnp.ones(BATCH))
        return found

    return jax.jit(jax.vmap(run))(jnp.array([0.0, jnp.inf]))


@pytest.mark.parametrize("name", MASKED)
def test_padding_counts_nothing(name):
    """As if the examples were shorter; without any token the loss is 0."""
    oracle = LOSSES[name].oracle
    wanted = [
        oracle(None, s[keep][None], t[keep][None])[0] if keep.any() else 0.0
        for s, t, keep in zip(normal(TOKENS, 1), normal(TOKENS, 2), WHERE, strict=True)
    ]
    for shares, gradient in zip(*masked()[name], strict=True):
        np.testing.assert_allclose(shares, wanted, rtol=0, atol=laws.tolerance(wanted))
        np.testing.assert_array_equal(gradient[~WHERE], 0)
        assert np.isfinite(gradient).all()


def test_keys_that_a_query_may_not_see_count_nothing():
    student, teacher = normal(SCORES, 1), normal(SCORES, 2)
    causal = jnp.tril(jnp.ones((1, 1, 3, 3), bool))
    causal = causal.at[0, 0, 0].set(False)  # the first query sees nothing at all
    found = features.attention_maps(student, teacher, where=causal)
    # One query after another, with the keys that it sees.
    wanted = [
        oracles.attention_maps(None, *(x[:, :, query : query + 1, : query + 1] for x in pair))
        for pair in [(student, teacher)]
        for query in (1, 2)
    ]
    np.testing.assert_allclose(found, np.mean(wanted, axis=0), rtol=0, atol=TOLERANCE)
    unseen = jnp.where(causal, student, -jnp.inf), jnp.where(causal, teacher, -jnp.inf)
    masked = features.attention_maps(*unseen, where=causal)
    np.testing.assert_allclose(masked, found, rtol=0, atol=TOLERANCE)


def test_an_identity_projection_has_loss_zero_at_equality():
    x = normal(TOKENS)
    parameters = {"kernel": jnp.eye(4), "bias": jnp.zeros(4)}
    np.testing.assert_array_equal(features.projected().loss(parameters, x, x), 0)


def test_the_paraphraser_learns_from_its_own_loss_alone():
    factors = features.factor_transfer(ratio=0.4)
    student, teacher = normal(VECTORS, 1), normal((BATCH, 8), 2)
    parameters = factors.init(jax.random.key(0), student, teacher)
    assert parameters["translator"]["out"]["kernel"].shape == (6, 3)
    wanted = oracles.reconstruction(
        jax.tree.map(lambda x: np.asarray(x, np.float64), parameters), student, teacher
    )

    @jax.jit
    def run(parameters, teacher):
        losses, pull = jax.vjp(factors.reconstruction, parameters, teacher)
        return losses, pull(jnp.ones(BATCH))

    losses, (by_parameters, by_teacher) = run(parameters, teacher)
    np.testing.assert_allclose(losses, wanted, rtol=0, atol=laws.tolerance(wanted))
    moved = {
        name: bool(jnp.any(each["out"]["kernel"] != 0)) for name, each in by_parameters.items()
    }
    assert moved == {"encoder": True, "decoder": True, "translator": False}
    np.testing.assert_array_equal(by_teacher, 0)


@pytest.mark.parametrize("variance", [2e-5, 1.0, 5.0, 200.0])
def test_a_variance_starts_where_it_is_told_to(variance):
    """With features of zeros only its logarithm is left."""
    information = features.variational_information(variance=variance)
    parameters = information.init(jax.random.key(0), (1, 2), (1, 3))
    found = information.loss(parameters, jnp.zeros((1, 2)), jnp.zeros((1, 3)))
    np.testing.assert_allclose(found, np.log(variance) / 2, rtol=TOLERANCE)


@pytest.mark.parametrize("sizes", [(6,), (7,), (9,)])
def test_the_cka_of_a_batch_is_the_ratio_of_u_statistics(sizes):
    batches = [(normal((n, 3), n), normal((n, 2, 2), 50 + n)) for n in (*sizes, 5)]
    terms = np.zeros(3)
    for student, teacher in batches:
        own, other = (
            np.array([[a @ b for b in x] for a in x])
            for x in (
                student.astype(np.float64),
                teacher.reshape(len(teacher), -1).astype(np.float64),
            )
        )
        terms += [oracles.hsic(own, other), oracles.hsic(own, own), oracles.hsic(other, other)]
    wanted = terms[0] / np.sqrt(terms[1] * terms[2])
    np.testing.assert_allclose(features.cka(iter(batches)), wanted, rtol=1e-9)


def test_cka_forgets_rotation_scale_and_shift_and_sees_nothing_in_constants():
    x = normal((6, 3))
    turned, _ = np.linalg.qr(normal((3, 3), 7))
    assert abs(features.cka([(x, 1e20 * (x @ turned))]) - 1) < TOLERANCE
    assert abs(features.cka([(x, x + 1)]) - 1) < TOLERANCE
    assert np.isnan(features.cka([(x, np.ones_like(x))]))


X, Y = jnp.ones((4, 3)), jnp.ones((4, 5))
IMAGE = jnp.ones((4, 2, 2, 3))
KEY = jax.random.key(0)
VID = features.variational_information()
REFUSED = [
    (
        lambda: features.squared_error(X, Y),
        ValueError,
        r"squared_error\(student of shape \(4, 3\), teacher of shape \(4, 5\)\): .* must be equal. "
        r"features.projected\(features.squared_error\) learns a projection from 3 to 5",
    ),
    (
        lambda: features.squared_error(X, IMAGE),
        ValueError,
        "Reshape or average one so that both have as many axes",
    ),
    (
        lambda: features.projected().init(KEY, X, IMAGE),
        ValueError,
        r"projected.init\(student of shape \(4, 3\), teacher .* need as many axes. A projection",
    ),
    (
        lambda: features.projected().init(KEY, 3, X),
        TypeError,
        r"projected.init\(student=3\) must be an array, a jax.ShapeDtypeStruct or a shape",
    ),
    (
        lambda: features.projected().init(KEY, (4, 0), X),
        ValueError,
        r"projected.init\(student of shape \(4, 0\)\) needs the shape",
    ),
    (
        lambda: features.projected().loss(features.projected().init(KEY, X, X), X, Y),
        ValueError,
        r"projected.loss\(parameters=...\) project to 3 channels, and the teacher of shape",
    ),
    (
        lambda: features.projected().loss(features.projected().init(KEY, Y, X), X, X),
        ValueError,
        r"linear.apply\(x of shape \(4, 3\)\): the kernel of shape \(5, 3\) is for 5 channels",
    ),
    (
        lambda: VID.loss(VID.init(KEY, X, X), X, X[:2]),
        ValueError,
        r"variational_information.loss\(student of .*: the first axes must be equal",
    ),
    (
        lambda: features.variational_information(variance=1e-5),
        ValueError,
        r"variational_information\(variance=1e-05\) must be above 1e-5",
    ),
    (
        lambda: features.attention_transfer(X, Y),
        ValueError,
        r"attention_transfer\(student of shape \(4, 3\)\) needs an axis between",
    ),
    (
        lambda: features.hierarchical_context(X, X),
        ValueError,
        r"hierarchical_context\(student of shape \(4, 3\)\) needs an axis between",
    ),
    (
        lambda: features.review().init(KEY, [IMAGE], [IMAGE, IMAGE]),
        ValueError,
        r"review.init\(student of 1 stages, teacher of 2 stages\) need as many",
    ),
    (
        lambda: features.review().init(KEY, IMAGE, [IMAGE]),
        TypeError,
        r"review.init\(student=float32\[4, 2, 2, 3\]\) must be a list. Pass one array per stage",
    ),
    (
        lambda: features.review().init(KEY, [X], [X]),
        ValueError,
        r"review.init\(student of shape \(4, 3\)\) needs stages of shape \(batch, height",
    ),
    (
        lambda: features.review().loss([], [IMAGE], [IMAGE]),
        ValueError,
        r"review.loss\(parameters=...\) are of 0 stages, the student has 1",
    ),
    (
        lambda: features.attention_maps(jnp.ones((1, 2, 3, 3)), jnp.ones((1, 4, 3, 3))),
        ValueError,
        r"attention_maps\(student .* token_relations\(heads=...\)",
    ),
    (
        lambda: features.token_relations(IMAGE[0], IMAGE[0], heads=2),
        ValueError,
        r"token_relations\(heads=2\) must divide the 3 channels of the student",
    ),
    (
        lambda: features.token_relations(X, X),
        ValueError,
        r"token_relations\(student of shape \(4, 3\), .* need the shape \(batch, tokens,",
    ),
    (
        lambda: features.squared_error(X, X, where=jnp.ones(4, bool)),
        ValueError,
        r"squared_error\(where of shape \(4,\)\) must broadcast to \(4, 3\), with as many axes",
    ),
    (lambda: features.cka([]), ValueError, r"cka\(batches=...\) holds no batch"),
    (
        lambda: features.cka(cast(Any, [X])),
        TypeError,
        r"cka\(batches=...\) holds float32\[4, 3\], no pair",
    ),
    (
        lambda: features.cka([(X[:3], X[:3])]),
        ValueError,
        r"cka\(batches=...\) holds a batch of 3 examples; the estimate needs at least 4",
    ),
    (
        lambda: jax.jit(lambda x: features.cka([(x, x)]))(X),
        TypeError,
        r"cka\(batches=...\) reads values, .* Inside of jit use cka_distance",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_refuses_what_does_not_fit(call, error, message):
    with pytest.raises(error, match=message):
        call()
