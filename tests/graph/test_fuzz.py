"""Random programs: shrunk equals masked in all, and most have units to remove."""

import collections
import functools

import jax
import numpy as np
import pytest

from jaxcompress import graph
from jaxcompress.graph import surgery
from tests.graph import oracle
from tests.graph.random_programs import program

SEEDS = range(150)
OFTEN = 3
"""The programs that every run takes have each block so often, if all together do."""
WITH_GRADIENTS = 6
"""Every sixth program is differentiated too, as far as JAX can."""


def needed() -> list[int]:
    """The seeds whose programs have a block that those before had not often enough."""
    seen, found = collections.Counter(), []
    for seed in SEEDS:
        blocks = set(program(seed).blocks)
        if any(seen[block] < OFTEN for block in blocks):
            found.append(seed)
            seen.update(blocks)
    return found


QUICK = needed()


@functools.cache
def settled(seed):
    """The program of the seed in float64, and its couplings."""
    model = program(seed)
    params, inputs = oracle.widened(model.params), oracle.widened(model.inputs)
    return model._replace(params=params, inputs=inputs), graph.couplings(model.fn, params, *inputs)


def chosen(couplings, seed) -> dict[str, list[int]]:
    """Some units of most families, never all of one."""
    random = np.random.default_rng(seed)
    families = [family for family in couplings.families if random.random() < 0.7]
    return {
        family.name: np.sort(
            random.permutation(family.size)[: random.integers(1, family.size)]
        ).tolist()
        for family in families or couplings.families
    }


@pytest.mark.parametrize(
    "seed",
    [seed if seed in QUICK else pytest.param(seed, marks=pytest.mark.slow) for seed in SEEDS],
)
def test_shrunk_equals_masked(seed):
    with jax.enable_x64(True):
        model, couplings = settled(seed)
        removed = couplings.removal(chosen(couplings, seed))
        gradients = seed % WITH_GRADIENTS == 0 and "looped" not in model.blocks
        apart = oracle.difference(
            model.fn, model.params, model.inputs, removed, gradients=gradients
        )
    assert max(apart) <= oracle.TOLERANCE


def test_most_programs_have_units_to_remove():
    with jax.enable_x64(True):
        free = [bool(settled(seed)[1].families) for seed in QUICK]
    assert np.mean(free) >= 0.6


def test_a_wrong_program_would_be_seen():
    """Zero is not neutral under a maximum, so zeroed weights are another program."""

    def fn(params, x):
        return (x @ params["in"]).max(-1)

    params, x = {"in": -np.ones((3, 4), np.float32)}, np.ones((2, 3), np.float32)
    removed = graph.couplings(fn, params, x).removal({"in:1": [0]})
    zeroed = fn(surgery.zero_params(params, removed), x)
    shrunk = surgery.shrink(fn, removed)(surgery.slice_params(params, removed), x)
    assert oracle.apart(zeroed, shrunk) > 0.5
