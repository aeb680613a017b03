"""Every amount against widths counted by hand or found by the plainest loop."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import Rules
from jaxcompress.structure import Cut, amounts
from jaxcompress.structure.amounts.latency import median_milliseconds
from jaxcompress.structure.plan import plan
from tests.graph.zoo import normal

SIZES = {"a": 4, "b": 5, "c": 7, "d": 20}
"""Units of the families of `parallel`."""


def parallel(params, x):
    return sum(jnp.tanh(x @ params[name]["in"]) @ params[name]["out"] for name in SIZES)


PARALLEL = {
    name: {"in": jnp.ones((2, size)), "out": jnp.ones((size, 1))} for name, size in SIZES.items()
}


def widths(amount, **options):
    """What each family of `parallel` keeps, in the order of `SIZES`."""

    def importance(fn, params, found):
        return {family.name: np.arange(family.size) for family in found.families}

    found = plan(parallel, PARALLEL, importance, jnp.ones((1, 2)), cut=Cut(amount, **options))
    return [row.kept for row in found.families]


ONLY_D = Rules({"d/*": 8})

EACH = [
    # Halves go to the even count: 5 / 2 to 2 units, 7 / 2 to 4.
    (amounts.fraction(0.5), {}, [2, 3, 3, 10]),
    (amounts.fraction(0.3), {}, [3, 3, 5, 14]),
    (amounts.fraction(0.0), {}, [4, 5, 7, 20]),
    (amounts.fraction(0.99), {}, [1, 1, 1, 1]),
    (amounts.fraction(0.5), {"floors": 3}, [3, 3, 3, 10]),
    (amounts.fraction(0.5), {"floors": 6}, [4, 5, 6, 10]),
    (amounts.fraction(0.5), {"multiple_of": 8}, [4, 5, 7, 16]),
    (amounts.fraction(0.5), {"multiple_of": 2}, [2, 4, 4, 10]),
    (amounts.fraction(0.7), {"multiple_of": 8, "floors": 9}, [4, 5, 7, 16]),
    (amounts.fraction(0.5), {"multiple_of": ONLY_D}, [2, 3, 3, 16]),
    (amounts.fraction(Rules({"a/*": 0.5, "*": 0.2})), {}, [2, 4, 6, 16]),
    (amounts.fraction(Rules({"c/*": 0.5})), {}, [4, 5, 3, 20]),
    (amounts.count(0), {}, [4, 5, 7, 20]),
    (amounts.count(3), {}, [1, 2, 4, 17]),
    (amounts.count(3), {"floors": Rules({"d/*": 17})}, [1, 2, 4, 17]),
    (amounts.count(2), {"multiple_of": 2}, [2, 4, 6, 18]),
    (amounts.count(Rules({"d/*": 5})), {"multiple_of": 8}, [4, 5, 7, 16]),
    (amounts.count(Rules({"d/*": 12})), {"multiple_of": ONLY_D}, [4, 5, 7, 8]),
    (amounts.count(Rules({"b/*": 1, "c/*": 6})), {}, [4, 4, 1, 20]),
    # Unit i scores i; one that scores the threshold itself stays.
    (amounts.below(-1.0), {}, [4, 5, 7, 20]),
    (amounts.below(2), {}, [2, 3, 5, 18]),
    (amounts.below(2.5), {}, [1, 2, 4, 17]),
    (amounts.below(1e9), {}, [1, 1, 1, 1]),
    (amounts.below(2), {"floors": 3}, [3, 3, 5, 18]),
    (amounts.below(7), {"multiple_of": ONLY_D}, [1, 1, 1, 16]),
    (amounts.below(Rules({"d/*": 4.5, "a/*": 1})), {}, [3, 5, 7, 15]),
]


@pytest.mark.parametrize(("amount", "options", "expected"), EACH)
def test_the_same_of_every_family(amount, options, expected):
    assert widths(amount, **options) == expected


class Leaf(NamedTuple):
    """Sizes of a leaf as functions of the two widths of `chain`."""

    entries: object
    size_bytes: int
    reads: int


LEAVES = {
    "in": Leaf(lambda a, b: 3 * a, 4, 1),
    "bias": Leaf(lambda a, b: a, 4, 0),
    "mid": Leaf(lambda a, b: a * b, 2, 1),
    "out": Leaf(lambda a, b: b * 2, 4, 1),
}


def chain(params, x):
    hidden = jax.nn.relu(x @ params["in"] + params["bias"][None])
    return jnp.tanh(hidden @ params["mid"].astype(jnp.float32)) @ params["out"]


PARAMS = {
    "in": normal(1, 3, 9),
    "bias": normal(2, 9),
    "mid": normal(3, 9, 12).astype(jnp.bfloat16),
    "out": normal(4, 12, 2),
}
EXAMPLES = 2
X = normal(5, EXAMPLES, 3)
SCORES = {
    "in:1": np.random.default_rng(6).uniform(size=9),
    "mid:1": 2 * np.random.default_rng(7).uniform(size=12),
}


def parameters(a, b):
    return sum(leaf.entries(a, b) for leaf in LEAVES.values())


def size_bytes(a, b):
    return sum(leaf.entries(a, b) * leaf.size_bytes for leaf in LEAVES.values())


def macs(a, b):
    return EXAMPLES * sum(leaf.entries(a, b) * leaf.reads for leaf in LEAVES.values())


def importance(fn, params, found):
    return {name: SCORES[name] for name in found.units}


def chosen(amount, **options):
    found = plan(chain, PARAMS, importance, X, cut=Cut(amount, **options))
    return tuple(row.kept for row in found.families)


def lost(name, width):
    """What the scores of the units that go add up to."""
    scores = np.sort(SCORES[name])
    return float(np.sum(scores[: len(scores) - width], dtype=np.float64))


def step(widths, total, rungs):
    """One rung of the family that loses least for what it saves; None at the end."""
    best = None
    for index, name in enumerate(SCORES):
        below = [rung for rung in rungs[index] if rung < widths[index]]
        if below:
            narrower = tuple(max(below) if i == index else w for i, w in enumerate(widths))
            loss = lost(name, narrower[index]) - lost(name, widths[index])
            price = loss / (total(*widths) - total(*narrower))
            if best is None or price < best[0]:
                best = price, narrower
    return best and best[1]


def plainly(limit, total, measured=None, rungs=(range(1, 10), range(1, 13))):
    """The plainest loop: a step at a time until the model fits."""
    measured = total if measured is None else measured
    widths = (9, 12)
    while measured(*widths) > limit:
        widths = step(widths, total, rungs)
    return widths


class Budget(NamedTuple):
    name: str
    amount: object
    total: object
    shown: str


BUDGETS = [
    Budget("parameters", amounts.within_parameters, parameters, "7 parameters"),
    Budget("bytes", amounts.within_bytes, size_bytes, "26 bytes"),
    Budget("macs", amounts.within_macs, macs, "12 multiply-adds"),
]
SHARES = (1.0, 0.9, 0.7, 0.5, 0.3, 0.1)
budgets = pytest.mark.parametrize("budget", BUDGETS, ids=lambda budget: budget.name)


def test_the_closed_forms_are_those_of_the_plan():
    found = plan(chain, PARAMS, importance, X, cut=amounts.count(2))
    for widths, totals in (((9, 12), found.before), ((7, 10), found.after)):
        assert totals.parameters == parameters(*widths)
        assert totals.size_bytes == size_bytes(*widths)
        assert totals.macs == macs(*widths)


@budgets
def test_budgets_are_met_by_the_steps_that_lose_least(budget):
    for share in SHARES:
        limit = int(share * budget.total(9, 12))
        found = chosen(budget.amount(limit))
        assert found == plainly(limit, budget.total)
        assert budget.total(*found) <= limit
        wider = [(found[0] + 1, found[1]), (found[0], found[1] + 1)]
        assert share == 1 or any(budget.total(*each) > limit for each in wider)


@budgets
def test_budgets_in_steps_of_allowed_widths(budget):
    rungs = (range(4, 10, 4), range(4, 13, 4))
    limit = int(0.4 * budget.total(9, 12))
    found = chosen(budget.amount(limit), multiple_of=4)
    assert found == plainly(limit, budget.total, rungs=rungs)
    rungs = (range(6, 10, 3), range(2, 13))
    by_rule = {"multiple_of": Rules({"in:1": 3}), "floors": Rules({"in:1": 5, "*": 2})}
    assert chosen(budget.amount(limit), **by_rule) == plainly(limit, budget.total, rungs=rungs)


@budgets
def test_a_budget_out_of_reach_is_refused_before_anything_is_scored(budget):
    def never(fn, params, found):
        raise AssertionError("scored")

    least = budget.total(1, 1)
    with pytest.raises(
        ValueError, match=rf"limit={least - 1}\) cannot .* still has {budget.shown}"
    ):
        plan(chain, PARAMS, never, X, cut=budget.amount(least - 1))
    assert chosen(budget.amount(least)) == (1, 1)
    floors = Rules({"in:1": 2, "mid:1": 3})
    with pytest.raises(ValueError, match=f"still has {budget.total(2, 3):,} "):
        plan(chain, PARAMS, never, X, cut=Cut(budget.amount(least), floors=floors))


def test_a_budget_out_of_reach_of_the_families_with_scores_is_refused():
    def of_one(fn, params, found):
        return {"in:1": SCORES["in:1"]}

    reachable = parameters(1, 12)
    with pytest.raises(ValueError, match=f"still has {reachable} parameters"):
        plan(chain, PARAMS, of_one, X, cut=amounts.within_parameters(reachable - 1))
    found = plan(chain, PARAMS, of_one, X, cut=amounts.within_parameters(reachable))
    assert [row.kept for row in found.families] == [1, 12]


def test_units_the_model_is_better_without_go_first():
    def harmful(fn, params, found):
        return {"in:1": np.arange(1.0, 10.0), "mid:1": np.where(np.arange(12) % 6 == 2, -1, 100)}

    found = plan(chain, PARAMS, harmful, X, cut=amounts.within_parameters(parameters(9, 10)))
    assert [row.removed for row in found.families] == [(), (2, 8)]


def test_units_of_a_scan_count_in_all_layers():
    def fn(params, x):
        def layer(x, each):
            return x + jnp.tanh(x @ each["up"]) @ each["down"], None

        hidden = jnp.tanh(jax.lax.scan(layer, x, params["layers"])[0] @ params["in"])
        return hidden @ params["out"]

    params = {
        "layers": {"up": normal(1, 2, 3, 4), "down": normal(2, 2, 4, 3)},
        "in": normal(3, 3, 4),
        "out": normal(4, 4, 3),
    }
    # A unit less in both layers saves 12 numbers and loses a score of each: 2 / 12, and
    # then 4 / 12. A plain one saves 6: 1.5 / 6 lies between.
    scores = {
        "layers/up:2": np.array([[1.0, 9.0, 9.0, 2.0], [9.0, 1.0, 9.0, 2.0]]),
        "in:1": np.array([9.0, 1.5, 9.0, 9.0]),
    }

    def importance(fn, params, found):
        return {name: scores[name] for name in found.units}

    def removed(limit):
        amount = amounts.within_parameters(limit)
        found = plan(fn, params, importance, X, cut=amount)
        return {row.name: row.removed for row in found.families}

    assert removed(72 - 12) == {"layers/up:2": ((0,), (1,)), "in:1": ()}
    assert removed(72 - 12 - 6) == {"layers/up:2": ((0,), (1,)), "in:1": (1,)}
    assert removed(72 - 24 - 6) == {"layers/up:2": ((0, 3), (1, 3)), "in:1": (1,)}


def per_parameter(fn, params, *inputs):
    """A probe that says 0.1 ms for every number in the leaves of a model that runs."""
    assert jax.eval_shape(fn, params, *inputs).shape == (EXAMPLES, 2)
    return 0.1 * sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize("share", SHARES[::2])
def test_a_latency_is_met_by_halving_the_steps_of_multiply_adds(share):
    calls = []

    def probe(fn, params, *inputs):
        calls.append(params)
        return per_parameter(fn, params, *inputs)

    limit = share * 0.1 * parameters(9, 12)
    found = chosen(amounts.within_latency(limit, probe))
    assert found == plainly(limit, macs, measured=lambda a, b: 0.1 * parameters(a, b))
    # Two checks, and the logarithm of the 20 steps and none.
    assert len(calls) <= 2 + 5


def test_a_latency_out_of_reach_is_refused_before_anything_is_scored():
    def never(fn, params, found):
        raise AssertionError("scored")

    amount = amounts.within_latency(0.6, per_parameter)
    with pytest.raises(ValueError, match=r"within_latency\(milliseconds=0.6\) .* still has 0.7 ms"):
        plan(chain, PARAMS, never, X, cut=amount)


def test_a_latency_is_that_of_a_compiled_call():
    assert 0 < median_milliseconds(chain, PARAMS, X) < 1e3
    assert chosen(amounts.within_latency(1e6)) == (9, 12)


def test_below_takes_no_unit_at_the_threshold_from_any_layer():
    def stack(params, x):
        step = lambda x, w: (x + jnp.tanh(x @ w["up"]) @ w["down"], None)  # noqa: E731
        return jax.lax.scan(step, x, params)[0]

    params = {"up": jnp.ones((2, 3, 4)), "down": jnp.ones((2, 4, 3))}
    scores = np.array([[0.1, 0.9, 0.2, 0.3], [0.9, 0.8, 0.1, 0.2]])
    layered = lambda fn, params, found: dict.fromkeys(found.units, scores)  # noqa: E731
    (row,) = plan(stack, params, layered, X, cut=amounts.below(0.5)).families
    # The first layer has three units below, the second two: both lose two.
    assert (row.kept, row.removed) == (2, ((0, 2), (2, 3)))


ERRORS = [
    (lambda: amounts.below(float("nan")), r"below\(threshold=nan\) must be a finite number"),
    (
        lambda: amounts.below(Rules({"a": 0.5, "b": float("inf")})),
        r"below\(threshold=inf\) must be a finite number",
    ),
    (
        lambda: widths(amounts.below(Rules({"e/*": 0.5}))),
        r"Rules: 'e/\*' matches nothing. Names are: a/in:1, b/in:1, c/in:1, d/in:1",
    ),
    (lambda: amounts.fraction(1.0), r"fraction\(removed=1.0\) must be in \[0, 1\)"),
    (lambda: amounts.fraction(Rules({"a": 0.5, "b": -0.1})), r"fraction\(removed=-0.1\)"),
    (lambda: amounts.fraction(float("nan")), r"fraction\(removed=nan\)"),
    (lambda: amounts.count(-1), r"count\(removed=-1\) must be at least 0"),
    (lambda: amounts.within_parameters(0), r"within_parameters\(limit=0\) must be above 0"),
    (lambda: amounts.within_bytes(-4), r"within_bytes\(limit=-4\) must be above 0"),
    (lambda: amounts.within_macs(0), r"within_macs\(limit=0\) must be above 0"),
    (lambda: amounts.within_latency(0.0), r"within_latency\(milliseconds=0.0\) must be above 0"),
    (
        lambda: widths(amounts.count(4)),
        r"count\(removed=4\): family 'a/in:1' has 4 units, of which 3 can go",
    ),
    (
        lambda: widths(amounts.count(3), floors=3),
        r"count\(removed=3\): family 'a/in:1' has 4 units, of which 1 can go",
    ),
    (
        lambda: widths(amounts.fraction(Rules({"e/*": 0.5}))),
        r"Rules: 'e/\*' matches nothing. Names are: a/in:1, b/in:1, c/in:1, d/in:1",
    ),
    (
        lambda: widths(amounts.count(Rules({"*": 1, "a/*": 2}))),
        r"Rules: 'a/\*' is never used",
    ),
]


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_errors_name_the_mend(call, message):
    with pytest.raises(ValueError, match=message):
        call()
