"""Batches that an explicit mesh splits: every loss traces, and values are the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

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


def test_relations_are_the_same_where_the_batch_is_split(mesh):
    devices = mesh(data=BATCH, axis_type=AxisType.Explicit)
    student, teacher = normal((BATCH, 3), 1), normal((BATCH, 5), 2)
    parameters, bank = CRD.init(jax.random.key(0), student, teacher), CRD.bank(jax.random.key(1), 9)
    indices = np.arange(BATCH)

    def run(student, teacher, indices):
        shares = {name: loss(student, teacher) for name, loss in PLAIN.items()}
        return shares, CRD.loss(parameters, student, teacher, bank, indices, jax.random.key(2))

    whole = jax.jit(run)(student, teacher, indices)
    with jax.set_mesh(devices):
        sharding = NamedSharding(devices, PartitionSpec("data"))
        found = jax.jit(run)(*jax.device_put((student, teacher, indices), sharding))
    # Sums of a few numbers in another order.
    for leaf, wanted in zip(*map(jax.tree.leaves, (found, whole)), strict=True):
        np.testing.assert_allclose(leaf, wanted, rtol=1e-5, atol=1e-5)
