"""How the loss rises with one leaf pruned alone, by NumPy, and shares by it."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress import prune


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def model(params, x):
    return jax.nn.relu(x @ params["in"]) @ params["out"] + params["bias"]


def loss(outputs, targets):
    return jnp.sum((outputs - targets) ** 2, axis=-1)


PARAMS = {"in": random(4, 5, seed=1), "out": random(5, 2, seed=2), "bias": jnp.array(0.5)}
BATCHES = [
    (random(6, 4, seed=4), random(6, 2, seed=5)),
    ((random(3, 4, seed=6),), jnp.ones((3, 2))),
]
SPARSITIES = (0.25, 0.6)


def measured(params=PARAMS, batches=BATCHES, sparsities=SPARSITIES, **options):
    criterion = prune.criteria.magnitude()
    targets = [prune.Target(sparsity, **options) for sparsity in sparsities]
    return prune.sensitivity(model, params, loss, batches, criterion, targets)


def mean_loss(leaves) -> float:
    losses = []
    for inputs, targets in BATCHES:
        (x,) = inputs if isinstance(inputs, tuple) else (inputs,)
        hidden = np.maximum(np.asarray(x, np.float64) @ leaves["in"], 0)
        outputs = hidden @ leaves["out"] + leaves["bias"]
        losses.append(np.mean(np.sum((outputs - np.asarray(targets)) ** 2, axis=-1)))
    return float(np.mean(losses))


def test_rises_equal_the_oracle():
    leaves = {name: np.asarray(leaf, np.float64) for name, leaf in PARAMS.items()}
    found = measured()
    assert found.sparsities == (*SPARSITIES, 1.0)
    assert list(found.rises) == ["in", "out"]
    whole = mean_loss(leaves)
    for name, rises in found.rises.items():
        for sparsity, rise in zip(found.sparsities, rises, strict=True):
            size = np.abs(leaves[name])
            cut = np.sort(size.ravel())[round(sparsity * size.size) - 1]
            alone = mean_loss(leaves | {name: np.where(size > cut, leaves[name], 0)})
            # Differences of means of sums of 2 squares below 64 of some 10 terms.
            np.testing.assert_allclose(rise, alone - whole, rtol=0, atol=64 * 32 * 2**-24)
    assert prune.allocations.Sensitivity(
        **json.loads(json.dumps(found._asdict()))
    ).rises.keys() == {
        "in",
        "out",
    }


def test_the_tender_leaf_keeps_more_and_the_total_is_right():
    def both(params, x):
        return x @ params["tender"] + 0.1 * (x @ params["robust"])

    params = {"tender": random(4, 5), "robust": random(4, 5)}
    x = random(6, 4)
    curves = prune.sensitivity(
        both,
        params,
        lambda outputs, targets: jnp.mean((outputs - targets) ** 2, axis=-1),
        [(x, both(params, x))],
        prune.criteria.magnitude(),
        [prune.Target(each, prune.patterns.within_outputs) for each in (0.25, 0.5, 0.75)],
    )
    allocate = prune.allocations.by_sensitivity(curves)
    masks = prune.masks(params, prune.criteria.magnitude(), prune.Target(0.5, allocate=allocate))
    removed = prune.sparsity_of(masks, params).leaves
    assert abs(20 * removed["tender"] + 20 * removed["robust"] - 20) <= 1
    assert removed["robust"] > 0.6


REFUSED = {
    "no batch": (lambda: measured(batches=[]), "sensitivity(batches=[]) holds no batch"),
    "order": (
        lambda: measured(sparsities=(0.5, 0.5)),
        "sensitivity(targets=...): the sparsity 0.5 follows 0.5. They must rise, from above 0.",
    ),
    "whole": (lambda: measured(sparsities=(1.0,)), "Target(sparsity=1.0) must be in [0, 1)"),
    "no target": (lambda: measured(sparsities=()), "sensitivity(targets=[]) has nothing to try"),
    "rules": (
        lambda: measured(sparsities=(jc.Rules({"in": 0.5, "*": 0.2}),)),
        "sensitivity(targets=...): each leaf is pruned alone, so a target's sparsity is a number",
    ),
    "other leaves": (
        lambda: prune.sensitivity(
            model,
            PARAMS,
            loss,
            BATCHES,
            prune.criteria.magnitude(),
            [0.2, prune.Target(0.5, select=jc.matching("in"))],
        ),
        "must all choose the same leaves, with the same axes. One takes in, out; another in.",
    ),
    "nothing": (
        lambda: measured(select=jc.matching("head")),
        "matching('head') selects no leaf. Leaves are: bias, in, out.",
    ),
    "not finite": (
        lambda: measured(PARAMS | {"in": PARAMS["in"].at[1, 2].set(jnp.nan)}),
        "sensitivity: leaf 'in' holds 1 values that are not finite, the first at (1, 2).",
    ),
    "loss": (
        lambda: measured(batches=[(random(6, 4), jnp.full((6, 2), jnp.inf))]),
        "sensitivity(loss=...): the mean loss of the whole model is inf. Check params, loss",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_measured_is_refused(name):
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
