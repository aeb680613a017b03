"""Which rank each weight gets, by hand; and the budget against all other ranks."""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.structure.decomposition import Decomposition, plain
from jaxcompress.structure.ranks import Ranks, at_most, budget, energy, parameters


def matrix(values, outputs, contracting, seed=0):
    """A random matrix of these singular values."""
    random = np.random.default_rng(seed)
    left, _ = np.linalg.qr(random.standard_normal((outputs, len(values))))
    right, _ = np.linalg.qr(random.standard_normal((contracting, len(values))))
    return jnp.asarray((left * np.asarray(values)) @ right.T, jnp.float32)


WEIGHTS = {
    "steep": plain(matrix([8.0, 2.0, 0.5, 0.1], 8, 12)),
    "even": plain(matrix([3.0, 2.9, 2.8, 2.7, 2.6, 2.5], 10, 6, seed=1)),
    "stacked": plain(jnp.stack([matrix([4.0, 1.0], 6, 6), matrix([1.0, 0.9], 6, 6, seed=2)])),
}


class Case(NamedTuple):
    name: str
    ranks: Ranks
    expected: dict[str, int]


CASES = [
    Case("at most 1", at_most(1), {"steep": 1, "even": 1, "stacked": 1}),
    Case("at most 5", at_most(5), {"steep": 5, "even": 5, "stacked": 5}),
    Case("at most 99", at_most(99), {"steep": 8, "even": 6, "stacked": 6}),
    # 64 / 68.26 = 0.938; five of "even" keep 39.3 / 45.55 = 0.863; 1 / 1.81 = 0.552.
    Case("energy 0.9", energy(0.9), {"steep": 1, "even": 6, "stacked": 2}),
    Case("energy 0.95", energy(0.95), {"steep": 2, "even": 6, "stacked": 2}),
    Case("energy 0.5", energy(0.5), {"steep": 1, "even": 3, "stacked": 1}),
    # 96 / 20, 60 / 16 and 72 / 24 parameters a rank.
    Case("parameters 0.5", parameters(0.5), {"steep": 2, "even": 1, "stacked": 1}),
    Case("parameters 1", parameters(1), {"steep": 4, "even": 3, "stacked": 3}),
    Case("budget of all", budget(228), {"steep": 8, "even": 6, "stacked": 6}),
    Case("budget of rank 1", budget(60), {"steep": 1, "even": 1, "stacked": 1}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_against_a_count_by_hand(case):
    assert case.ranks(WEIGHTS) == case.expected


def spent(found: Decomposition, rank: int) -> int:
    return min(rank * found.cost, found.size)


def error(found: Decomposition, rank: int) -> float:
    """Relative squared error, the mean of a batch; 0 for a weight that stays."""
    if rank > found.saving_rank:
        return 0.0
    return float(found.energies[..., rank:].sum(axis=-1).mean())


def totals(ranks) -> tuple[int, float]:
    return (
        sum(spent(WEIGHTS[name], rank) for name, rank in ranks.items()),
        sum(error(WEIGHTS[name], rank) for name, rank in ranks.items()),
    )


@pytest.mark.parametrize("count", range(60, 230, 7))
def test_no_other_ranks_leave_out_less_for_what_is_spent(count):
    parameters, left_out = totals(budget(count)(WEIGHTS))
    assert parameters <= count
    choices = [range(1, found.full_rank + 1) for found in WEIGHTS.values()]
    best = min(
        left_out
        for each in itertools.product(*choices)
        for held, left_out in [totals(dict(zip(WEIGHTS, each, strict=True)))]
        if held <= count
    )
    # Between two whole steps a budget is filled with what fits: at most one weight's
    # own step off the best.
    steps = [error(found, 1) for found in WEIGHTS.values()]
    assert best - 1e-12 <= left_out <= best + max(steps)


def test_a_budget_at_a_whole_step_is_the_best_there_is():
    for count in (84, 108, 128):
        parameters, left_out = totals(budget(count)(WEIGHTS))
        choices = [range(1, found.full_rank + 1) for found in WEIGHTS.values()]
        pairs = [
            totals(dict(zip(WEIGHTS, each, strict=True))) for each in itertools.product(*choices)
        ]
        assert left_out <= min(b for a, b in pairs if a <= parameters) + 1e-12


def test_more_parameters_never_leave_out_more():
    left_out = [totals(budget(count)(WEIGHTS))[1] for count in range(60, 230)]
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(left_out))


class Unknown(Decomposition):
    @property
    def _directions(self):
        raise RuntimeError("decomposed")


def test_a_budget_out_of_reach_is_refused_before_any_work():
    unknown = Unknown(jnp.ones((8, 12)), jnp.ones(()))
    with pytest.raises(ValueError, match=r"budget\(count=19\): rank 1 in all 1 weights holds 20 "):
        budget(19)({"a": unknown})
    with pytest.raises(RuntimeError, match="decomposed"):
        budget(20)({"a": unknown})


def test_a_share_that_rank_1_exceeds_is_refused():
    with pytest.raises(ValueError, match=r"parameters\(share=0.2\): .*'steep' hold 0.208 of its"):
        parameters(0.2)(WEIGHTS)


def test_weights_of_zero_keep_rank_1():
    zero = {"zero": plain(jnp.zeros((4, 5)))}
    choosers: list[Callable] = [energy(1.0), energy(0.5), budget(20)]
    assert [ranks(zero)["zero"] for ranks in choosers] == [1, 1, 4]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: at_most(0), r"at_most\(rank=0\) must be at least 1"),
        (lambda: energy(0.0), r"energy\(share=0.0\) must be above 0"),
        (lambda: energy(1.1), r"energy\(share=1.1\) must be in"),
        (lambda: parameters(float("nan")), r"parameters\(share=nan\) must be in"),
    ],
)
def test_wrong_numbers_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
