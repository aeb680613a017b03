"""The same run on one device and on a mesh, whose axes are automatic or explicit."""

import jax
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxcompress as jc
from tests.train import tasks

X, LABELS = tasks.examples(40)
DATA = X.reshape(40, 2, 2), np.eye(3, dtype=np.float32)[LABELS]


def model(params, x):
    return tasks.model(params, jax.numpy.concatenate([x[:, 0], x[:, 1]], axis=1))


# No mixup: on few cores XLA's CPU devices may wait for ever where a program has two
# exchanges that do not depend on one another.
AUGMENT = jc.train.augment.chain(jc.train.augment.shifts(1), jc.train.augment.flips())
OBJECTIVE = jc.train.objectives.supervised(model, optax.softmax_cross_entropy)
RECIPE = jc.train.Recipe(OBJECTIVE, optax.adam(0.05), augment=AUGMENT)


def fitted(data, sharding, chunk):
    plan = jc.train.Plan(steps=6, batch_size=16, chunk=chunk, sharding=sharding)
    return jc.train.fit(RECIPE, tasks.initial(), data, plan)


@pytest.mark.parametrize(
    ("axis_type", "held"),
    [
        (AxisType.Auto, lambda data: data),
        (AxisType.Explicit, jax.device_put),
    ],
    ids=["automatic", "explicit"],
)
def test_a_mesh_gives_the_same(axis_type, held, mesh):
    sharding = NamedSharding(mesh(data=8, axis_type=axis_type), PartitionSpec("data"))
    found = fitted(held(DATA), sharding, chunk=3)
    expected = fitted(DATA, None, chunk=3)
    assert len(found.params["out"].sharding.device_set) == 8
    assert found.params["out"].is_fully_replicated
    # Sums over a batch are taken in another order.
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-5)
    np.testing.assert_allclose(found.params["out"], expected.params["out"], rtol=1e-4, atol=1e-5)
