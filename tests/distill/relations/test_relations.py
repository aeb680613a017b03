"""Losses on relations: each against plain loops, and the laws that its row declares."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.distill import relations
from tests.distill import laws
from tests.distill.laws import BATCH, TOLERANCE, Case, normal
from tests.distill.relations import oracles

SHAPE = (BATCH, 2, 3)
LOSSES = {
    loss.__name__: Case(
        loss,
        SHAPE,
        SHAPE,
        getattr(oracles, loss.__name__),
        scale_free=("student", "teacher"),
        relational=True,
        huge=1e30,
    )
    for loss in (
        relations.relative_distances,
        relations.relative_angles,
        relations.similarity_preserving,
        relations.correlation_congruence,
        relations.probabilistic_transfer,
    )
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


PLAIN: dict[str, Any] = {name: case.loss for name, case in LOSSES.items()}


def test_dimensions_may_differ():
    """Zeros beside the features change no distance and no angle."""
    student, teacher = normal((BATCH, 3), 1), normal((BATCH, 4), 2)
    wide = np.pad(student, ((0, 0), (0, 5)))
    run = jax.jit(lambda x, y: {name: loss(x, y) for name, loss in PLAIN.items()})
    for name, shares in run(student, teacher).items():
        same = run(wide, teacher)[name]
        np.testing.assert_allclose(same, shares, rtol=0, atol=laws.tolerance(shares))


def test_batches_too_small_to_relate_have_shares_0():
    x, y = normal((2, 3), 1), normal((2, 3), 2)
    run = lambda x, y: {name: loss(x[:1], y[:1]) for name, loss in PLAIN.items()}  # noqa: E731
    alone, pair = jax.jit(lambda x, y: (run(x, y), relations.relative_angles(x, y)))(x, y)
    np.testing.assert_array_equal(pair, 0)
    for name, shares in alone.items():
        np.testing.assert_allclose(shares, 0, rtol=0, atol=TOLERANCE, err_msg=name)
        assert jax.eval_shape(PLAIN[name], x[:0], y[:0]).shape == (0,), name


EXAMPLES, WIDTH, NEGATIVES, MOMENTUM = 7, 4, 11, 0.25
CRD = relations.contrastive(width=WIDTH, temperature=0.5, negatives=NEGATIVES, momentum=MOMENTUM)
STUDENT, TEACHER = normal((BATCH, 3), 1), normal((BATCH, 2, 3), 2)
INDICES = np.array([4, 0, 6, 2, 3])
SHAPES = STUDENT.shape, jax.ShapeDtypeStruct(TEACHER.shape, jnp.float32)
PARAMETERS = CRD.init(jax.random.key(0), *SHAPES)
BANK = CRD.bank(jax.random.key(1), EXAMPLES)
DRAW = jax.random.key(2)


@functools.cache
def contrasted():
    def run(parameters, student, teacher, bank, indices):
        losses, bank = CRD.loss(parameters, student, teacher, bank, indices, DRAW)
        return jnp.sum(losses * laws.WEIGHTS), (losses, bank)

    return jax.jit(jax.value_and_grad(run, (0, 1, 2, 3), has_aux=True))


def wide(tree):
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


def by_hand(parameters, student, usual=()):
    drawn = np.asarray(jax.random.randint(DRAW, (NEGATIVES,), 0, EXAMPLES))
    assert set(drawn) & set(INDICES)  # own rows are among the drawn
    return oracles.contrastive(
        parameters, student, wide(TEACHER), wide(BANK), INDICES, drawn, 0.5, usual
    )


def test_contrast_equals_the_loop_and_so_does_its_gradient():
    (_, (losses, _)), gradients = contrasted()(PARAMETERS, STUDENT, TEACHER, BANK, INDICES)
    point = wide((PARAMETERS, STUDENT))
    wanted, *_, usual = by_hand(*point)
    np.testing.assert_allclose(losses, wanted, rtol=0, atol=laws.tolerance(wanted))
    way = jax.tree.map(lambda x: normal(x.shape, 5).astype(np.float64), point)
    ends = [
        laws.WEIGHTS @ by_hand(*jax.tree.map(lambda x, d, s=step: x + s * d, point, way), usual)[0]
        for step in (laws.STEP, -laws.STEP)
    ]
    slopes = jax.tree.map(lambda g, d: np.sum(g * d), gradients[:2], way)
    size = sum(np.sum(np.abs(g)) for g in jax.tree.leaves(gradients[:2]))
    wanted = (ends[0] - ends[1]) / (2 * laws.STEP)
    np.testing.assert_allclose(
        sum(jax.tree.leaves(slopes)), wanted, rtol=0, atol=laws.tolerance(size)
    )
    for leaf in jax.tree.leaves(gradients[2:]):  # the teacher's features and the bank
        np.testing.assert_array_equal(leaf, 0)


def test_the_bank_moves_towards_what_was_seen_and_keeps_the_rest():
    (_, (_, bank)), _ = contrasted()(PARAMETERS, STUDENT, TEACHER, BANK, INDICES)
    _, *embeddings, _ = by_hand(*wide((PARAMETERS, STUDENT)))
    for before, after, seen in zip(BANK, bank, embeddings, strict=True):
        wanted = np.array(before, np.float64)
        for index, embedding in zip(INDICES, seen, strict=True):
            moved = MOMENTUM * wanted[index] + (1 - MOMENTUM) * embedding
            wanted[index] = oracles.unit(moved)
        np.testing.assert_allclose(after, wanted, rtol=0, atol=TOLERANCE)


def test_contrast_goes_with_its_examples_and_knows_an_index_that_is_not_there():
    order = laws.SHUFFLED
    (_, (losses, _)), _ = contrasted()(PARAMETERS, STUDENT, TEACHER, BANK, INDICES)
    (_, (shuffled, bank)), _ = contrasted()(
        PARAMETERS, STUDENT[order], TEACHER[order], BANK, INDICES[order]
    )
    np.testing.assert_allclose(shuffled, losses[order], rtol=0, atol=laws.tolerance(losses))
    beyond = np.where(INDICES == 6, EXAMPLES, np.where(INDICES == 0, -1, INDICES))
    (_, (strange, kept)), _ = contrasted()(PARAMETERS, STUDENT, TEACHER, BANK, beyond)
    np.testing.assert_array_equal(np.isnan(strange), beyond != INDICES)
    np.testing.assert_array_equal(kept.student[np.array([0, 6])], BANK.student[np.array([0, 6])])
    np.testing.assert_allclose(bank.student[2:5], kept.student[2:5], rtol=0, atol=TOLERANCE)


def test_contrast_is_finite_at_zeros_and_at_huge_features():
    student = jnp.asarray(np.sign(STUDENT) * 1e30, jnp.bfloat16).at[0].set(0)
    teacher = jnp.asarray(np.sign(TEACHER) * 60000.0, jnp.float16).at[1].set(0)
    (_, (losses, bank)), gradients = contrasted()(PARAMETERS, student, teacher, BANK, INDICES)
    for leaf in jax.tree.leaves((losses, bank, gradients)):
        assert jnp.isfinite(leaf).all()
    assert losses.dtype == jnp.float32


X = jnp.ones((2, 3))


def contrast(bank: Any = BANK, indices: Any = INDICES, student: Any = STUDENT, key: Any = DRAW):
    return CRD.loss(PARAMETERS, student, jnp.asarray(TEACHER), bank, indices, key)


REFUSED = [
    (
        lambda: relations.relative_distances(X, X[:1]),
        ValueError,
        r"relative_distances\(student of shape \(2, 3\), teacher of shape \(1, 3\)\): the first",
    ),
    (
        lambda: relations.relative_angles(X[0], X),
        ValueError,
        r"relative_angles\(student of shape \(3,\)\) needs the shape \(batch, ..., channels\)",
    ),
    (
        lambda: contrast(bank=STUDENT),
        TypeError,
        r"contrastive.loss\(bank=.*\) must be of type Bank, .* Begin with bank\(key, examples\)",
    ),
    (
        lambda: contrast(bank=BANK._replace(teacher=jnp.ones((EXAMPLES, 9)))),
        ValueError,
        r"contrastive.loss\(bank of shapes \(7, 4\) and \(7, 9\)\) needs \(examples, 4\) twice",
    ),
    (
        lambda: contrast(indices=STUDENT[:, 0]),
        TypeError,
        r"contrastive.loss\(indices=float32\[5\]\) must be an integer array",
    ),
    (
        lambda: contrast(indices=INDICES[:2]),
        ValueError,
        r"contrastive.loss\(indices of shape \(2,\)\) needs the shape \(5,\)",
    ),
    (
        lambda: contrast(student=normal((BATCH, 8))),
        ValueError,
        r"linear.apply\(x of shape \(5, 8\)\): the kernel of shape \(3, 4\)",
    ),
    (lambda: contrast(key=3), TypeError, r"contrastive.loss\(key=3\) must be one random key"),
    (lambda: CRD.bank(DRAW, 0), ValueError, r"contrastive.bank\(examples=0\) must be at least 1"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_refuses_what_does_not_fit(call, error, message):
    with pytest.raises(error, match=message):
        call()
