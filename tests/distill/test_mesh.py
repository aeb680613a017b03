"""Batches that an explicit mesh splits: every loss traces, and values are the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxcompress import distill
from tests.distill.features.test_features import LOSSES as FEATURES
from tests.distill.laws import normal
from tests.distill.relations.test_relations import CRD, PLAIN
from tests.distill.relations.test_relations import LOSSES as RELATIONS

BATCH = 4
CASES = FEATURES | RELATIONS


def split(mesh, shapes):
    """A shape, or a list of them, of a batch of 4 over 4 devices."""
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    return jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct((BATCH, *shape[1:]), jnp.float32, sharding=sharding),
        shapes,
        is_leaf=lambda shape: isinstance(shape, tuple),
    )


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_traces_where_the_batch_is_split(case, mesh):
    devices = mesh(data=BATCH, axis_type=AxisType.Explicit)
    run = jax.grad(lambda student, teacher: case.shares(case.parameters, student, teacher).sum())
    with jax.set_mesh(devices):
        student, teacher = split(devices, case.student), split(devices, case.teacher)
        gradient = jax.eval_shape(run, student, teacher)
    shapes = [[leaf.shape for leaf in jax.tree.leaves(tree)] for tree in (gradient, student)]
    assert shapes[0] == shapes[1]


def picking(both, key):
    """What picks classes or examples, of logits of student and teacher."""
    student, teacher = both
    cascade = distill.ensembles.cascade((lambda params, x: params * x,) * 2, 0.6, capacity=2)
    drawn = distill.outputs.draws(teacher, 3, key)
    return (
        distill.outputs.top_k_targets(student, distill.outputs.top_k(teacher, 2)),
        distill.outputs.sampled_targets(student, drawn),
        cascade((jnp.ones(()), -jnp.ones(())), student),
    )


def test_what_picks_classes_or_examples_is_the_same_where_the_batch_is_split(mesh):
    devices = mesh(data=BATCH, axis_type=AxisType.Explicit)
    both, key = (normal((BATCH, 5), 1), normal((BATCH, 5), 2)), jax.random.key(0)
    whole = jax.jit(picking)(both, key)
    with jax.set_mesh(devices):
        split = jax.device_put(both, NamedSharding(devices, PartitionSpec("data")))
        found = jax.jit(picking)(split, key)
    for leaf, wanted in zip(found, whole, strict=True):
        np.testing.assert_allclose(leaf, wanted, rtol=1e-5, atol=1e-5)


def test_generates_where_the_batch_is_split(mesh):
    devices = mesh(data=BATCH, axis_type=AxisType.Explicit)

    def run(logits):
        def decoder(params, tokens, cache):
            return params * cache[:, None], cache  # says always the same

        return distill.sequences.generate(
            decoder, jnp.ones(()), (logits[:, None], logits), steps=2, end=1
        ).tokens

    with jax.set_mesh(devices):
        assert jax.eval_shape(run, split(devices, (BATCH, 3))).shape == (BATCH, 2)


def test_relations_are_the_same_where_the_batch_is_split(mesh):
    devices = mesh(data=BATCH, axis_type=AxisType.Explicit)
    student, teacher = normal((BATCH, 3), 1), normal((BATCH, 5), 2)
    parameters, bank = (
        CRD.init(jax.random.key(0), student, teacher),
        CRD.bank(jax.random.key(1), 16),
    )
    indices = np.arange(BATCH)

    def run(student, teacher, indices, bank):
        shares = {name: loss(student, teacher) for name, loss in PLAIN.items()}
        return shares, CRD.loss(parameters, student, teacher, bank, indices, jax.random.key(2))

    whole = jax.jit(run)(student, teacher, indices, bank)
    with jax.set_mesh(devices):
        sharding = NamedSharding(devices, PartitionSpec("data"))
        given = jax.device_put((student, teacher, indices, bank), sharding)
        found = jax.jit(run)(*given)
    # A loop carries the bank, which stays split as it was.
    _, (_, seen) = found
    assert seen.student.sharding.is_equivalent_to(given[-1].student.sharding, 2)
    # Sums of a few numbers in another order.
    for leaf, wanted in zip(*map(jax.tree.leaves, (found, whole)), strict=True):
        np.testing.assert_allclose(leaf, wanted, rtol=1e-5, atol=1e-5)
