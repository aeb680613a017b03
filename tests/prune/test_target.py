"""A target is checked when it is built, and a sparsity stands for one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress import prune

PARAMS = {"kernel": jnp.array([[4.0, -1.0], [3.0, 2.0]]), "bias": jnp.ones(2)}
MAGNITUDE = prune.criteria.magnitude()

VERBS = {
    "masks": lambda target: prune.masks(PARAMS, MAGNITUDE, target),
    "one_shot": lambda target: prune.one_shot(PARAMS, MAGNITUDE, target)[0],
    "by_magnitude": lambda target: prune.views.by_magnitude(target)(PARAMS),
    "hard_movement": lambda target: prune.companions.hard_movement(target).view(
        PARAMS, {"kernel": jnp.abs(PARAMS["kernel"])}
    ),
    "iterative": lambda target: (
        prune.iterative(
            PARAMS, MAGNITUDE, [target], train=lambda params, masks, turn: params
        ).params
    ),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("sparsity", [0.5, jc.Rules({"kernel": 0.25})], ids=["number", "rules"])
def test_a_sparsity_stands_for_its_target(verb, sparsity):
    found, expected = VERBS[verb](sparsity), VERBS[verb](prune.Target(sparsity))
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert int(jnp.sum(found["kernel"] == 0)) == (2 if sparsity == 0.5 else 1)


WRONG = {
    "pattern": (prune.patterns.n_of_m(2, 4), (2, 4)),
    "allocate": (prune.allocations.globally, "globally"),
    "select": (jc.matching("kernel"), "kernel"),
}


@pytest.mark.parametrize("argument", WRONG)
def test_what_is_no_function_is_refused_when_built(argument):
    right, wrong = WRONG[argument]
    assert getattr(prune.Target(0.5, **{argument: right}), argument) is right
    with pytest.raises(TypeError, match=rf"Target\({argument}=.* must be a (function|selector)"):
        prune.Target(0.5, **{argument: wrong})


NO_NUMBERS = {
    "text": "half",
    "none": None,
    "a dict": {"kernel": 0.5},
    "a number for each leaf": jnp.array([0.5, 0.5]),
    "rules of text": jc.Rules({"kernel": "half"}),
    "a schedule of arrays": lambda step: jnp.full(2, 0.5),
    "a target": prune.Target(0.5),
}


@pytest.mark.parametrize("name", NO_NUMBERS)
def test_a_sparsity_that_is_no_number_is_refused_when_built(name):
    with pytest.raises(TypeError, match=r"Target\(sparsity=.*a sparsity is a number in \[0, 1\)"):
        prune.Target(NO_NUMBERS[name])


@pytest.mark.parametrize("sparsity", [0, np.float32(0.5), np.array(0.5), jnp.array(0.5)], ids=repr)
def test_every_kind_of_number_is_a_sparsity(sparsity):
    assert prune.Target(sparsity).sparsity is sparsity


def test_a_target_does_not_change():
    target = prune.Target(0.5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        target.sparsity = 0.6  # pyright: ignore[reportAttributeAccessIssue]
    assert dataclasses.replace(target, sparsity=0.6).sparsity == 0.6
